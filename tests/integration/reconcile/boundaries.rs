//! `vigie reconcile --day` over days that are hard to tell apart, or hide a loss.

use indicatif::ProgressBar;
use jiff::civil::{Date, date};
use tokio_postgres::Client;
use vigie::config::Config;
use vigie::desk::figures::{self, Pace};
use vigie::engine::policy::Policy;
use vigie::lab::reconcile::day::{Asked, DayAccount};

use super::day_account;
use crate::support::database::{count, owner};
use crate::support::eventually;
use crate::support::history::{Other, Paid, paid, store, stream};
use crate::support::payments::{DAY, HOUR, MARCH};

const SECOND: i64 = 1_000_000;

async fn asked(config: &Config, day: Date, sample: u32) -> DayAccount {
    let asked = Asked {
        day,
        sample,
        seed: Some(1),
    };
    day_account(config, asked).await
}

async fn bring_up_to_date(client: &Client) {
    figures::bring_up_to_date(client, 1, Pace::AtOnce(&ProgressBar::hidden()))
        .await
        .unwrap();
}

/// Payments of one day from an offset on, a second after the other.
fn payments(from: i64, number: i64, day: i64) -> Vec<Paid> {
    (0..number)
        .map(|n| paid(0, from + n, day + n * SECOND))
        .collect()
}

#[tokio::test]
async fn a_payment_that_is_gone_is_seen_though_the_partition_has_had_duplicates() {
    let (config, mut client) = stream(1, "Asia/Kolkata").await;
    let midnight = MARCH - 5 * HOUR - HOUR / 2;
    store(
        &mut client,
        &payments(0, 50, midnight - 2 * DAY),
        &[(0, 50, Other::Duplicate), (0, 51, Other::Dead("not_json"))],
    )
    .await;
    store(&mut client, &payments(52, 50, midnight), &[]).await;
    // One that comes three days later and pays on that day.
    let mut later = payments(102, 10, midnight + 3 * DAY);
    later.push(paid(0, 112, midnight + 5 * HOUR));
    store(&mut client, &later, &[]).await;
    let day = date(2026, 3, 1);
    // What is not counted yet is not missed.
    assert!(asked(&config, day, 0).await.holds);
    bring_up_to_date(&client).await;
    let whole = asked(&config, day, 0).await;
    assert!(whole.holds, "{whole}: {:?}", whole.differences);

    let owner = owner(&config).await;
    let gone = "DELETE FROM payments_scored WHERE trans_num IN ('t-0-60', 't-0-112')";
    assert_eq!(owner.execute(gone, &[]).await.unwrap(), 2);
    let account = asked(&config, day, 0).await;
    assert!(!account.holds && account.gone == 2, "{account}");
    assert_eq!(
        account.to_string(),
        "50 consumed = 49 scored + 0 dead + 1 duplicates; 2 payments are GONE; 0 sampled decisions \
         recomputed from stored history, 0 different"
    );
    assert_eq!(
        account.differences,
        ["payments: 2 were counted when they were stored and are gone"]
    );
    let others = asked(&config, date(2026, 2, 27), 0).await;
    assert!(others.holds, "{others}: {:?}", others.differences);

    // The same of dead letters, on the day on which they were stored.
    let stored = "SELECT to_char(at AT TIME ZONE 'Asia/Kolkata', 'YYYY-MM-DD') FROM dead_letters";
    let stored: String = owner.query_one(stored, &[]).await.unwrap().get(0);
    let letter = "DELETE FROM dead_letters";
    assert_eq!(owner.execute(letter, &[]).await.unwrap(), 1);
    let account = asked(&config, stored.parse().unwrap(), 0).await;
    assert!(!account.holds && account.letters_gone == 1, "{account}");

    // A day that was removed as a whole is no loss.
    owner
        .batch_execute("DROP TABLE payments_scored_20260301")
        .await
        .unwrap();
    let account = asked(&config, day, 0).await;
    assert_eq!(account.gone, 0, "{account}");
}

#[tokio::test]
async fn a_payment_that_is_dated_ahead_leaves_the_day_before_its_records() {
    let (config, mut client) = stream(2, "UTC").await;
    let ahead = Paid {
        latency_ms: -86_400_000,
        ..paid(0, 0, MARCH + DAY)
    };
    let mut today = payments(1, 100, MARCH);
    today.push(ahead.clone());
    // Two of the next days in the midst of it.
    today[50].time += DAY;
    today[50].latency_ms = -80_000_000;
    today[51].time += 4 * DAY;
    today[51].latency_ms = -5 * 86_400_000;
    store(&mut client, &today, &[(1, 0, Other::Duplicate)]).await;
    let [first, second, third] = [1, 2, 3].map(|day| date(2026, 3, day));
    let account = asked(&config, first, 0).await;
    assert_eq!((account.consumed, account.scored), (101, 101), "{account}");
    let account = asked(&config, second, 0).await;
    assert_eq!(account.consumed, 0, "{account}");

    // Every offset belongs to one day, also when the next days have come.
    store(&mut client, &payments(101, 3, MARCH + DAY), &[]).await;
    store(&mut client, &payments(104, 1, MARCH + 2 * DAY), &[]).await;
    for (day, consumed) in [(first, 101), (second, 3), (third, 1)] {
        let account = asked(&config, day, 0).await;
        assert_eq!(account.consumed, consumed, "{account}");
    }
}

#[tokio::test]
async fn a_day_that_was_loaded_later_says_so_and_keeps_what_its_sample_showed() {
    let (config, mut client) = stream(1, "UTC").await;
    store(&mut client, &payments(0, 10, MARCH), &[]).await;
    let loaded: Vec<Paid> = payments(10, 10, MARCH - 5 * DAY)
        .into_iter()
        .map(|payment| Paid {
            origin: 1,
            ..payment
        })
        .collect();
    store(&mut client, &loaded, &[]).await;
    let account = asked(&config, date(2026, 2, 24), 5).await;
    assert!(account.holds, "{account}: {:?}", account.differences);
    let said = account.to_string();
    assert_eq!(
        said,
        "nothing of 2026-02-24 was consumed; its payments were read on other days; 0 sampled \
         decisions recomputed from stored history, 0 different, 5 of another version"
    );
}

/// Loads a day at once, of which the planner knows nothing.
const LOAD: &str = "
    ALTER TABLE payments_scored_20260301 SET (autovacuum_enabled = false);
    INSERT INTO payments_scored (event_time, amount, body_hash, source_offset, source_partition, event_day, stream,
        decision, account, trans_num, features, event, model_version, policy_version, origin)
    SELECT timestamptz '2026-03-01 00:00Z' + n * interval '1 s', 100, n, n, 0, date '2026-03-01', 1, 0,
           decode(lpad(to_hex(n % 5000), 32, '0'), 'hex'), 'load-' || n, '', '{}', $m$MODEL$m$, $p$POLICY$p$, 0
    FROM generate_series(1, 20000) AS n;
    UPDATE stream_offsets SET next_offset = 20001, scored = 20001 WHERE partition = 0";

#[tokio::test]
async fn histories_of_a_day_that_was_just_loaded_are_found_by_their_accounts() {
    let (config, mut client) = stream(1, "UTC").await;
    store(&mut client, &payments(0, 1, MARCH), &[]).await;
    let card = crate::support::database::card();
    let load = LOAD.replace("MODEL", &card.model_version()).replace(
        "POLICY",
        &Policy::of_bundle(&card.version, card.policy).version,
    );
    let owner = owner(&config).await;
    owner.batch_execute(&load).await.unwrap();
    let account = asked(&config, date(2026, 3, 1), 300).await;
    // What was loaded has no features: each of them is different.
    assert_eq!((account.recomputed, account.different), (300, 300));
    let read = |index: &str| {
        format!(
            "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes
             WHERE schemaname = current_schema AND relname = 'payments_scored_20260301'
               AND indexrelname LIKE '%{index}'"
        )
    };
    eventually("its session has told what it read", async || {
        let by_account = count(&owner, &read("account_event_time_idx")).await;
        let by_time = count(&owner, &read("pkey")).await;
        (by_account + by_time > 0).then_some(())
    })
    .await;
    assert!(count(&owner, &read("account_event_time_idx")).await >= 300);
    assert_eq!(count(&owner, &read("pkey")).await, 0);
}
