//! `vigie reconcile`: what balances, and every way in which it may not.

mod boundaries;
mod day;

use std::io::Write;
use std::path::PathBuf;

use vigie::config::Config;
use vigie::database::{self, Login};
use vigie::engine::batch::Reason;
use vigie::lab::reconcile::day::{Asked, DayAccount, account};
use vigie::lab::reconcile::{Reconcile, Report, reconcile};
use vigie::stream::store::Span;

use crate::support::database::{card, migrated, owner, store};
use crate::support::payments::{Payment, dead_letter, decided, payment, span, versions};

/// A day's account, as the command makes it.
async fn day_account(config: &Config, asked: Asked) -> DayAccount {
    let mut client = database::connect(config, Login::Desk, "vigie reconcile")
        .await
        .unwrap();
    let mut account = account(&mut client, config, asked).await.unwrap();
    account
        .set_beside_figures(&client, config.stream.id)
        .await
        .unwrap();
    account
}

/// Two partitions of twenty records each: payments, a dead letter at offset 7, a repeat at 8, a
/// gap at 9; offset 3 is fraud.
async fn pass(config: &Config) {
    let mut store = store(config).await;
    let taken = store.take(&[0, 1], |_| 0).await.unwrap();
    let mut batch = decided(&card(), &payments());
    batch.dead_letters = [0, 1]
        .map(|partition| dead_letter(partition, 7, Reason::WrongType))
        .into();
    let spans: Vec<Span> = taken
        .iter()
        .map(|taken| Span {
            to: 20,
            dead: 1,
            duplicates: 1,
            skipped: 1,
            ..span(taken, 17)
        })
        .collect();
    store
        .commit(&batch, &spans, &versions(), |row| {
            panic!("event {row} was refused")
        })
        .await
        .unwrap();
}

fn payments() -> Vec<Payment> {
    (0..40)
        .map(|row| payment(row % 2, i64::from(row / 2)))
        .filter(|payment| !(7..10).contains(&payment.offset))
        .map(|payment| Payment {
            score: if payment.offset == 3 { 0.95 } else { 0.02 },
            ..payment
        })
        .collect()
}

/// What the producer was told: the payments, the dead letter, and the repeat of offset 6.
/// The file goes with the value.
struct Ledger(PathBuf);

impl Drop for Ledger {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn ledger(name: &str, lines: impl Iterator<Item = Payment>) -> Ledger {
    let path = std::env::temp_dir().join(format!("vigie-{}-{name}", std::process::id()));
    let mut file = zstd::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    for p in lines {
        let account = format!("{:02x}", p.account).repeat(16);
        let (partition, offset) = (p.partition, p.offset);
        writeln!(
            file,
            "{partition}\t{offset}\t{account}\t{}\t{}\t{}",
            p.id, p.amount, p.time
        )
        .unwrap();
    }
    file.finish().unwrap();
    Ledger(path)
}

fn sent() -> impl Iterator<Item = Payment> {
    let others = [0, 1].into_iter().flat_map(|partition| {
        let repeat = Payment {
            offset: 8,
            ..payment(partition, 6)
        };
        [payment(partition, 7), repeat]
    });
    payments().into_iter().chain(others)
}

async fn report(config: &Config, request: &Reconcile) -> Report {
    let report = reconcile(config, request).await.unwrap();
    assert_eq!(
        report.holds,
        report.checks.iter().all(|check| check.differences == 0),
        "{report}"
    );
    report
}

/// The checks that do not hold.
fn failing(report: &Report) -> Vec<&'static str> {
    let failing = report.checks.iter().filter(|check| check.differences > 0);
    failing.map(|check| check.name).collect()
}

#[tokio::test]
async fn a_clean_pass_balances_with_its_ledger_and_with_a_second_pass() {
    let (first, second) = (migrated().await, migrated().await);
    pass(&first).await;
    pass(&second).await;
    let ledger = ledger("balances.tsv.zst", sent());
    let request = Reconcile {
        ledger: vec![ledger.0.clone()],
        against: Some(second.database.schema.clone()),
        ..Reconcile::default()
    };
    let report = report(&first, &request).await;
    assert!(report.holds, "{report}");
    let said = report.to_string();
    for words in [
        "34 scored + 2 dead + 2 duplicates + 2 skipped = 40 offsets consumed",
        "38 records acknowledged",
        "34 payments sent",
        "34 payments have the same features",
        "0 incidents, 2 alerts wait for theirs",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn our_own_canary_is_in_no_ledger_and_nothing_is_said_to_be_invented() {
    let config = migrated().await;
    pass(&config).await;
    owner(&config)
        .await
        .batch_execute(
            "UPDATE payments_scored SET origin = 2 WHERE source_partition = 0 AND source_offset = 3;
             UPDATE fraud_alerts SET origin = 2 WHERE source_partition = 0 AND source_offset = 3",
        )
        .await
        .unwrap();
    let customers = sent().filter(|payment| (payment.partition, payment.offset) != (0, 3));
    let ledger = ledger("canary.tsv.zst", customers);
    let request = Reconcile {
        ledger: vec![ledger.0.clone()],
        ..Reconcile::default()
    };
    let report = report(&config, &request).await;
    assert!(report.holds, "{report}");
}

/// The two alerts in one incident, told of in one notice.
const TOLD: &str = "
    INSERT INTO incidents (kind, group_by, group_key, stream, severity, opened_at, last_alert_at, alerts, untold)
    VALUES ('fraud', 'rule', 'score_block', 1, 'warning', now(), now(), 2, 0);
    INSERT INTO notices (kind) VALUES ('incident');
    INSERT INTO outbox (notice_id, channel, message_id, subject, body_text, body_html)
    VALUES (1, 'mail', 'one@vigie', '', '', '');
    INSERT INTO notice_incidents VALUES (1, 1, 2);
    UPDATE fraud_alerts SET outbox_id = 1, incident_id = 1";

#[tokio::test]
async fn alerts_without_an_incident_are_a_difference_once_all_should_be_settled() {
    let config = migrated().await;
    pass(&config).await;
    let settled = Reconcile {
        settled: true,
        ..Reconcile::default()
    };
    let waiting = report(&config, &settled).await;
    assert_eq!(failing(&waiting), ["settled"]);
    let owner = owner(&config).await;
    owner.batch_execute(TOLD).await.unwrap();
    let taken = report(&config, &settled).await;
    assert!(taken.holds, "{taken}");
    // In an incident, and its message is still to come: settled as well.
    let untold = "UPDATE fraud_alerts SET outbox_id = NULL WHERE source_partition = 0;
                  UPDATE incidents SET untold = 1; UPDATE notice_incidents SET alerts = 1";
    owner.batch_execute(untold).await.unwrap();
    let waiting = report(&config, &settled).await;
    assert!(waiting.holds, "{waiting}");
    assert!(
        waiting
            .to_string()
            .contains("1 alerts of incidents are untold")
    );
}

#[tokio::test]
async fn incidents_and_notices_that_count_other_alerts_than_they_have_are_found() {
    let config = migrated().await;
    pass(&config).await;
    let owner = owner(&config).await;
    owner.batch_execute(TOLD).await.unwrap();
    for (damage, mended) in [
        (
            "UPDATE incidents SET alerts = 3",
            "UPDATE incidents SET alerts = 2",
        ),
        (
            "UPDATE incidents SET untold = 1",
            "UPDATE incidents SET untold = 0",
        ),
        (
            "UPDATE notice_incidents SET alerts = 1",
            "UPDATE notice_incidents SET alerts = 2",
        ),
        (
            "UPDATE fraud_alerts SET outbox_id = NULL WHERE source_partition = 0",
            "UPDATE fraud_alerts SET outbox_id = 1",
        ),
        (
            "UPDATE outbox SET notice_id = NULL",
            "UPDATE outbox SET notice_id = 1",
        ),
    ] {
        owner.batch_execute(damage).await.unwrap();
        let found = report(&config, &Reconcile::default()).await;
        assert_eq!(failing(&found), ["incidents"], "{damage}");
        owner.batch_execute(mended).await.unwrap();
    }
    let balanced = report(&config, &Reconcile::default()).await;
    assert!(balanced.holds, "{balanced}");
}

#[tokio::test]
async fn whatever_is_missing_or_too_much_is_found() {
    for (damage, expected) in [
        (
            "DELETE FROM payments_scored WHERE trans_num = 't-1-12'",
            vec!["payments", "sent", "sums"],
        ),
        (
            "UPDATE payments_scored SET trans_num = 'other' WHERE trans_num = 't-1-12'",
            vec!["sent", "stored"],
        ),
        (
            "UPDATE payments_scored SET amount = amount + 1 WHERE trans_num = 't-1-12'",
            vec!["sums"],
        ),
        (
            "UPDATE payments_scored SET source_offset = 11 WHERE trans_num = 't-1-12'",
            vec!["payments"],
        ),
        (
            "UPDATE stream_offsets SET scored = scored + 1 WHERE partition = 0",
            vec!["offsets", "payments"],
        ),
        (
            "DELETE FROM dead_letters WHERE source_partition = 1",
            vec!["dead letters", "sent", "sums"],
        ),
        (
            "UPDATE dead_letters SET source_offset = 5 WHERE source_partition = 0",
            vec!["one place", "sent", "stored", "sums"],
        ),
        (
            "DELETE FROM fraud_alerts WHERE source_partition = 0",
            vec!["alerts"],
        ),
        (
            "UPDATE payments_scored SET decision = 1 WHERE trans_num = 't-0-4'",
            vec!["alerts"],
        ),
        (
            // A canary has an alert, whatever was decided, and is none of the producer's.
            "UPDATE payments_scored SET origin = 2 WHERE trans_num = 't-0-4'",
            vec!["alerts", "sums"],
        ),
        (
            // What was loaded from the past has none.
            "UPDATE payments_scored SET origin = 1 WHERE decision > 0",
            vec!["alerts"],
        ),
        (
            "UPDATE stream_offsets SET next_offset = 19, skipped = 0 WHERE partition = 0",
            vec!["payments", "consumed"],
        ),
    ] {
        let config = migrated().await;
        pass(&config).await;
        owner(&config).await.batch_execute(damage).await.unwrap();
        let ledger = ledger("damage.tsv.zst", sent());
        let request = Reconcile {
            ledger: vec![ledger.0.clone()],
            ..Reconcile::default()
        };
        let report = report(&config, &request).await;
        assert_eq!(failing(&report), expected, "{damage}\n{report}");
        for check in report.checks.iter().filter(|check| check.differences > 0) {
            assert!(!check.examples.is_empty() && check.examples.len() <= 5);
        }
    }
}

#[tokio::test]
async fn a_second_pass_that_differs_in_one_bit_is_found_by_name() {
    let (first, second) = (migrated().await, migrated().await);
    pass(&first).await;
    pass(&second).await;
    owner(&second)
        .await
        .batch_execute(
            "UPDATE payments_scored SET features = set_bit(features, 0, 1 - get_bit(features, 0)) \
             WHERE trans_num = 't-0-1'; \
             UPDATE payments_scored SET score = 0.03 WHERE trans_num = 't-0-2'; \
             DELETE FROM payments_scored WHERE trans_num = 't-0-5'; \
             UPDATE payments_scored SET trans_num = 'new' WHERE trans_num = 't-0-10'; \
             UPDATE dead_letters SET reason = 'bad_time' WHERE source_partition = 0",
        )
        .await
        .unwrap();
    let request = Reconcile {
        against: Some(second.database.schema.clone()),
        ..Reconcile::default()
    };
    let report = report(&first, &request).await;
    assert_eq!(failing(&report), ["dead there", "rows there"]);
    let rows = report.checks.last().unwrap();
    assert_eq!(rows.differences, 5);
    for (example, words) in rows.examples.iter().zip([
        "t-0-1 (partition 0 offset 1) differs in feature 0",
        "t-0-2 (partition 0 offset 2) differs in score (Some(0.02), there Some(0.03))",
        "t-0-5 (partition 0 offset 5) is only here",
        "new (partition 0 offset 10) is only there",
        "t-0-10 (partition 0 offset 10) is only here",
    ]) {
        assert!(example.starts_with(words), "{example}");
    }
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_named() {
    let config = migrated().await;
    let request = Reconcile {
        ledger: vec!["/nowhere/ledger.tsv".into()],
        ..Reconcile::default()
    };
    let error = reconcile(&config, &request).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("/nowhere/ledger.tsv"),
        "{error:#}"
    );
}
