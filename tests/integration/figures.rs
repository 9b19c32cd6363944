//! Figures against a count of the rows.

use std::time::Duration;

use indicatif::ProgressBar;
use tokio_postgres::Client;
use vigie::config::Config;
use vigie::desk::figures::{self, Pace};

use crate::support::database::{count, owner, writer};
use crate::support::eventually;
use crate::support::history::{Other, Paid, paid, store, stream};
use crate::support::payments::{DAY, HOUR, MARCH};

const SECOND: i64 = 1_000_000;

/// Numbers that are the same in every run and look like none (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides) as i64
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }
}

/// A stream in the making: where each partition is, and what time it is.
struct Making {
    dice: Dice,
    next: [i64; 3],
    now: i64,
    /// Seconds between two payments, fewer than these.
    gap: u64,
}

impl Making {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            next: [0; 3],
            now: MARCH,
            gap: 600,
        }
    }

    fn position(&mut self) -> (i32, i64) {
        let partition = self.dice.below(3) as i32;
        let offset = self.next[partition as usize];
        self.next[partition as usize] += 1;
        (partition, offset)
    }

    /// Most are on time, some are late by seconds, hours or days, in any mixture of everything.
    fn payment(&mut self) -> Paid {
        let (partition, offset) = self.position();
        self.now += self.dice.below(self.gap) * SECOND;
        let dice = &mut self.dice;
        let late = dice.one_of(&[0, 0, 0, 0, 0, 0, 20 * SECOND, 3 * HOUR, 2 * DAY, 9 * DAY]);
        let decision = dice.one_of(&[0, 0, 0, 0, 1, 2]) as i16;
        let merchant = dice.one_of(&[
            None,
            Some("Corner shop"),
            Some("=cmd()"),
            Some("Ünder\n\"x\""),
        ]);
        Paid {
            time: self.now - late,
            latency_ms: dice.one_of(&[-5, 1, 40, 900, 86_400_000]),
            account: dice.below(9) as u8,
            amount: dice.below(1_000_000),
            currency: dice.one_of(&[None, Some("EUR"), Some("JPY")]),
            merchant: merchant.map(str::to_owned),
            score: dice.one_of(&[
                None,
                Some(0.0),
                Some(0.049_999),
                Some(0.5),
                Some(0.95),
                Some(1.0),
            ]),
            decision,
            label: dice.one_of(&[None, Some(false), Some(true)]),
            origin: dice.one_of(&[0, 0, 0, 0, 1, 2]),
            ..paid(partition, offset, 0)
        }
    }

    async fn batch(&mut self, client: &mut Client) {
        let payments: Vec<Paid> = (0..self.dice.below(60)).map(|_| self.payment()).collect();
        let mut others = Vec::new();
        for _ in 0..self.dice.below(5) {
            let other = self.dice.one_of(&[
                Other::Dead("not_json"),
                Other::Dead("bad_time"),
                Other::Duplicate,
                Other::Skipped,
            ]);
            let (partition, offset) = self.position();
            others.push((partition, offset, other));
        }
        store(client, &payments, &others).await;
    }
}

async fn bring_up_to_date(client: &Client) {
    figures::bring_up_to_date(client, 1, Pace::AtOnce(&ProgressBar::hidden()))
        .await
        .unwrap();
}

/// Rows of one query that are not among those of the other, either way.
async fn differences(client: &Client, one: &str, other: &str) -> i64 {
    let both = format!(
        "SELECT count(*) FROM ((({one}) EXCEPT ALL ({other})) UNION ALL (({other}) EXCEPT ALL ({one}))) AS d"
    );
    count(client, &both).await
}

/// The same counted from the rows themselves, without the canary.
const ROWS: &str = "(SELECT p.*, l.label FROM payments_scored AS p
     LEFT JOIN labels AS l USING (event_time, trans_num, account, event_day, stream) WHERE p.origin <> 2) AS r";

async fn are_those_of_the_rows(client: &Client) {
    let hourly = format!(
        "SELECT date_trunc('hour', event_time, 'UTC'), event_day, origin, decision,
                CASE WHEN score IS NULL THEN -1 ELSE width_bucket(least(score::float8, 0.999), 0, 1, 20) - 1 END,
                coalesce(label::int, -1), coalesce(currency, ''), count(*), sum(amount)
         FROM {ROWS} GROUP BY 1, 2, 3, 4, 5, 6, 7"
    );
    let counted = "SELECT hour, event_day, origin, decision, score_bin::int, label::int, currency, payments, amount
                   FROM figures_hourly";
    assert_eq!(
        differences(client, counted, &hourly).await,
        0,
        "by the hour"
    );
    for (dimension, column) in [
        ("merchant", "merchant"),
        ("category", "category"),
        ("country", "country"),
    ] {
        let rows = format!(
            "SELECT event_day, coalesce({column}, ''), coalesce(currency, ''), count(*), sum(amount),
                    sum((decision > 0)::int), sum(CASE WHEN decision > 0 THEN amount ELSE 0 END),
                    sum((decision = 2)::int), sum(CASE WHEN decision = 2 THEN amount ELSE 0 END), count(label),
                    sum((label IS TRUE)::int), sum(CASE WHEN label THEN amount ELSE 0 END),
                    sum((label IS TRUE AND decision > 0)::int)
             FROM {ROWS} GROUP BY 1, 2, 3"
        );
        let counted = format!(
            "SELECT event_day, value, currency, payments, amount, flagged, flagged_amount, blocked, blocked_amount,
                    labelled, fraud, fraud_amount, flagged_fraud
             FROM figures_daily WHERE dimension = '{dimension}'"
        );
        assert_eq!(
            differences(client, &counted, &rows).await,
            0,
            "by {dimension}"
        );
    }
    let customers = format!(
        "SELECT event_day, account, coalesce(currency, ''), count(*), sum(amount), sum((decision = 2)::int),
                sum(CASE WHEN decision = 2 THEN amount ELSE 0 END), sum((label IS TRUE)::int), max(score)
         FROM {ROWS} WHERE decision > 0 AND origin = 0 GROUP BY 1, 2, 3"
    );
    let counted = "SELECT event_day, account, currency, flagged, flagged_amount, blocked, blocked_amount, fraud,
                          highest_score FROM figures_customers";
    assert_eq!(
        differences(client, counted, &customers).await,
        0,
        "by customer"
    );
    let slower = format!(
        "SELECT event_day, count(*) FROM {ROWS} WHERE origin = 0 AND scored_at - event_time > interval '0.1 s'
         GROUP BY 1"
    );
    let counted = "SELECT event_day, sum(payments) FROM v_latency_hourly WHERE at_most_seconds > 0.11 GROUP BY 1";
    assert_eq!(differences(client, counted, &slower).await, 0, "latency");
    let letters = "SELECT reason, count(*) FROM dead_letters GROUP BY 1";
    let counted = "SELECT reason, sum(letters) FROM v_daily_dead_letters GROUP BY 1";
    assert_eq!(
        differences(client, counted, letters).await,
        0,
        "dead letters"
    );
    let canaries = "(SELECT count(*) FROM payments_scored WHERE origin = 2)";
    let consumed = format!(
        "SELECT sum(next_offset - first_offset) - {canaries}, sum(scored) - {canaries}, sum(dead), sum(duplicates),
                sum(skipped), {canaries} FROM stream_offsets"
    );
    let counted =
        "SELECT sum(consumed), sum(scored), sum(dead), sum(duplicates), sum(skipped), sum(canaries)
                   FROM v_daily_consumed";
    assert_eq!(differences(client, counted, &consumed).await, 0, "consumed");
}

/// A step that counts a slice, where one was to be cut, and is ended before it commits.
async fn killed_in_the_middle(config: &Config, client: &Client) {
    let victim = writer(config).await;
    for step in [
        "SELECT figures_step(1::smallint)",
        "BEGIN; SELECT figures_step(1::smallint)",
    ] {
        victim.batch_execute(step).await.unwrap();
    }
    let pid: i32 = victim
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    client
        .query_one("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .unwrap();
    eventually("its session is gone", async || {
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = ";
        (count(client, &format!("{gone}{pid}")).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn figures_equal_a_count_of_the_rows_after_batches_late_payments_and_kills() {
    for (seed, zone) in [(1, "UTC"), (2, "America/New_York"), (3, "Asia/Kolkata")] {
        let (config, mut client) = stream(3, zone).await;
        let mut making = Making::new(seed);
        for _ in 0..25 {
            making.batch(&mut client).await;
            match making.dice.below(5) {
                // Somebody counts a little and goes.
                0 => {
                    let step = "SELECT figures_step(1::smallint)";
                    client.query_one(step, &[]).await.unwrap();
                }
                1 => killed_in_the_middle(&config, &client).await,
                2 => bring_up_to_date(&client).await,
                _ => {}
            }
        }
        bring_up_to_date(&client).await;
        are_those_of_the_rows(&client).await;
        assert!(count(&client, "SELECT sum(payments)::bigint FROM figures_hourly").await > 300);
        let state = figures::state(&client, 1).await.unwrap().unwrap();
        assert_eq!(state.missing, 0);
        assert!(state.age.unwrap() < Duration::from_secs(600));
    }
}

#[tokio::test]
async fn several_that_count_at_once_count_every_payment_once() {
    let (config, mut client) = stream(3, "UTC").await;
    let mut making = Making::new(7);
    for _ in 0..6 {
        making.batch(&mut client).await;
        let others = [writer(&config).await, writer(&config).await];
        tokio::join!(bring_up_to_date(&others[0]), bring_up_to_date(&others[1]));
        are_those_of_the_rows(&client).await;
    }
}

#[tokio::test]
async fn very_many_are_counted_by_two_as_few_are_by_one() {
    let (config, mut client) = stream(3, "UTC").await;
    let mut making = Making::new(13);
    making.batch(&mut client).await;
    bring_up_to_date(&client).await;
    making.gap = 4;
    for _ in 0..4 {
        let payments: Vec<Paid> = (0..15_000).map(|_| making.payment()).collect();
        store(&mut client, &payments, &[]).await;
    }
    killed_in_the_middle(&config, &client).await;
    let hours = "SELECT count(*) FROM figures_slices WHERE lower > '-infinity'";
    assert_eq!(count(&client, hours).await, 2, "hours to be counted now");
    let helper = writer(&config).await;
    tokio::select! {
        () = bring_up_to_date(&client) => (),
        Err(problem) = figures::help(&helper, 1) => panic!("{problem}"),
    }
    are_those_of_the_rows(&client).await;
    // Nothing is left for who comes too late.
    assert_eq!(
        count(&client, "SELECT count(*) FROM figures_slices").await,
        0
    );
}

#[tokio::test]
async fn what_was_stored_before_there_were_figures_is_counted_too_and_only_once() {
    let (_config, mut client) = stream(3, "UTC").await;
    let mut making = Making::new(11);
    for _ in 0..5 {
        making.batch(&mut client).await;
    }
    bring_up_to_date(&client).await;
    bring_up_to_date(&client).await;
    are_those_of_the_rows(&client).await;
}

#[tokio::test]
async fn a_day_that_was_removed_before_it_was_counted_is_said_and_holds_nothing_up() {
    let (config, mut client) = stream(1, "UTC").await;
    let old: Vec<Paid> = (0..5).map(|n| paid(0, n, MARCH - 30 * DAY)).collect();
    let new: Vec<Paid> = (5..8).map(|n| paid(0, n, MARCH)).collect();
    store(&mut client, &old, &[]).await;
    store(&mut client, &new, &[]).await;
    owner(&config)
        .await
        .batch_execute("DROP TABLE payments_scored_20260130")
        .await
        .unwrap();
    bring_up_to_date(&client).await;
    let state = figures::state(&client, 1).await.unwrap().unwrap();
    assert_eq!(state.missing, 5);
    store(&mut client, &[paid(0, 8, MARCH + HOUR)], &[]).await;
    bring_up_to_date(&client).await;
    let counted = "SELECT sum(payments)::bigint FROM figures_hourly";
    assert_eq!(count(&client, counted).await, 4);
    assert_eq!(
        figures::state(&client, 1).await.unwrap().unwrap().missing,
        5
    );
}

#[tokio::test]
async fn the_canary_is_in_no_view() {
    let (_config, mut client) = stream(1, "UTC").await;
    let canaries: Vec<Paid> = (0..4)
        .map(|n| Paid {
            origin: 2,
            decision: 2,
            label: Some(true),
            ..paid(0, n, MARCH + n * HOUR)
        })
        .collect();
    store(&mut client, &canaries, &[]).await;
    bring_up_to_date(&client).await;
    let views = client
        .query(
            "SELECT DISTINCT table_name::text FROM information_schema.columns
             WHERE table_schema = current_schema AND table_name LIKE 'v\\_%' AND column_name = 'event_day'",
            &[],
        )
        .await
        .unwrap();
    assert!(views.len() >= 10, "{}", views.len());
    for view in views {
        let view: String = view.get(0);
        let rows = count(&client, &format!("SELECT count(*) FROM {view}")).await;
        assert_eq!(rows, 0, "{view}");
    }
    for (column, expected) in [("consumed", 0), ("scored", 0), ("canaries", 4)] {
        let told = format!("SELECT sum({column})::bigint FROM v_daily_consumed");
        assert_eq!(count(&client, &told).await, expected, "{column}");
    }
}

#[tokio::test]
async fn backfilled_payments_are_counted_and_are_no_alerts() {
    let (_config, mut client) = stream(1, "UTC").await;
    let flagged = |offset, origin| Paid {
        origin,
        decision: 2,
        score: Some(0.97),
        ..paid(0, offset, MARCH)
    };
    store(
        &mut client,
        &[flagged(0, 0), flagged(1, 1), flagged(2, 1)],
        &[],
    )
    .await;
    bring_up_to_date(&client).await;
    for (what, expected) in [
        ("payments FROM v_daily_fraud_report", 3),
        ("blocked FROM v_daily_fraud_report", 3),
        ("alerts FROM v_daily_fraud_report", 1),
        ("flagged FROM v_daily_by_merchant", 3),
        ("flagged FROM v_daily_by_customer", 1),
        ("count(*) FROM v_flagged", 1),
        ("sum(payments)::bigint FROM v_latency_hourly", 1),
        ("payments FROM v_hourly WHERE origin = 'backfill'", 2),
    ] {
        assert_eq!(
            count(&client, &format!("SELECT {what}")).await,
            expected,
            "{what}"
        );
    }
}
