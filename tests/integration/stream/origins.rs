//! Payments loaded from the past, and our own canary.

use jiff::{Timestamp, ToSpan};
use tokio_postgres::Client;

use super::ended_well;
use crate::support::bundle::Thresholds;
use crate::support::database::{card, count};
use crate::support::event::{Event, account, recently};
use crate::support::topic::Record;
use crate::support::vigie::{Place, Vigie, consumed};

/// How the canary's account is called in these tests.
const CANARY: &str = "our-own-canary";

/// Under these thresholds, with or without canaries.
fn run(place: &Place, thresholds: &Thresholds, canary_every: &str) -> Vigie {
    place.run(&[
        ("VIGIE_STREAM__BUNDLE", thresholds.path()),
        ("VIGIE_CANARY__EVERY", canary_every),
        ("VIGIE_CANARY__ACCOUNT", CANARY),
    ])
}

fn payment(id: &str, of: &str, time: Timestamp) -> Record {
    Record::payment(0, &Event::new(id, of, time))
}

/// Origin of each payment that a test sent, by id.
async fn origins(client: &Client, table: &str) -> Vec<(String, i16)> {
    let query = format!(
        "SELECT trans_num, origin FROM {table} \
         WHERE trans_num IN ('past', 'fresh', 'late', 'canary', 'customer') ORDER BY trans_num"
    );
    let rows = client.query(&query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A feature of a stored payment.
async fn feature(client: &Client, id: &str, name: &str) -> f32 {
    let at = card().features.iter().position(|f| f.name == name).unwrap();
    let query = "SELECT features[$2] FROM payments WHERE trans_num = $1";
    let row = client.query_one(query, &[&id, &(at as i32 + 1)]).await;
    row.unwrap().get(0)
}

fn named(rows: &[(&str, i16)]) -> Vec<(String, i16)> {
    rows.iter()
        .map(|(id, of)| ((*id).to_owned(), *of))
        .collect()
}

#[tokio::test]
async fn a_backfill_fills_the_history_and_alerts_nobody_and_a_fresh_payment_is_no_backfill() {
    let (place, strict) = (
        Place::new("backfill", 1).await,
        Thresholds::new("0.000001", "1.0"),
    );
    let (ada, now) = (account(1), recently());
    let mut vigie = run(&place, &strict, "0s");
    let client = place.look().await;
    place
        .send(&[
            payment("past", &ada, now - 72.hours()).backfilled(),
            // A header alone silences nothing.
            payment("fresh", &ada, now).backfilled(),
            payment("late", &ada, now - 72.hours()),
            Record::of(0, "no payment").backfilled(),
        ])
        .await;
    let totals = consumed(&client, 4).await;
    assert_eq!((totals.scored, totals.dead), (3, 1));
    assert_eq!(
        origins(&client, "payments_scored").await,
        named(&[("fresh", 0), ("late", 0), ("past", 1)])
    );
    assert_eq!(
        origins(&client, "fraud_alerts").await,
        named(&[("fresh", 0), ("late", 0)])
    );
    assert_eq!(feature(&client, "fresh", "count_7d").await, 1.0);
    assert_eq!(feature(&client, "fresh", "count_24h").await, 0.0);
    let letters = "SELECT count(*) FROM dead_letters WHERE reason = 'not_json'";
    assert_eq!(count(&client, letters).await, 1);
    let lines = [
        "vigie_backfill_total 1",
        "vigie_decisions_total{decision=\"review\"} 3",
        "vigie_score_count 3",
    ];
    vigie
        .until_page("/metrics", |_, page| {
            lines.iter().all(|line| page.lines().any(|l| l == *line))
        })
        .await;
    ended_well(&mut vigie).await;

    // The history is there after a restart, too: it is read back from the rows.
    let mut vigie = run(&place, &strict, "0s");
    place.send(&[payment("next", &ada, now + 1.minute())]).await;
    consumed(&client, 5).await;
    assert_eq!(feature(&client, "next", "count_7d").await, 3.0);
    ended_well(&mut vigie).await;
    reconciles(&place);
}

#[tokio::test]
async fn the_canary_has_its_alert_whatever_is_decided_and_is_left_out_of_the_figures() {
    let (place, lax) = (Place::new("canary", 1).await, Thresholds::new("1.0", "1.0"));
    let now = recently();
    let mut vigie = run(&place, &lax, "1h");
    let client = place.look().await;
    let canary = Event::new("canary", CANARY, now).with("is_fraud", "1");
    place
        .send(&[
            Record::payment(0, &canary),
            payment("customer", &account(1), now),
        ])
        .await;
    // The process has sent one of its own, too.
    assert_eq!(consumed(&client, 3).await.scored, 3);
    let expected = named(&[("canary", 2), ("customer", 0)]);
    assert_eq!(origins(&client, "payments_scored").await, expected);
    assert_eq!(origins(&client, "fraud_alerts").await, expected[..1]);
    let decided = "SELECT count(*) FROM fraud_alerts WHERE decision = 0";
    assert_eq!(count(&client, decided).await, 2);
    assert_eq!(count(&client, "SELECT count(*) FROM labels").await, 1);
    let lines = [
        "vigie_decisions_total{decision=\"allow\"} 1",
        "vigie_score_count 1",
        "vigie_events_total{outcome=\"scored\"} 1",
        "vigie_canaries_total 2",
        "vigie_end_to_end_seconds_count 1",
    ];
    vigie
        .until_page("/metrics", |_, page| {
            lines.iter().all(|line| page.lines().any(|l| l == *line))
        })
        .await;
    ended_well(&mut vigie).await;
    reconciles(&place);
}

#[tokio::test]
async fn a_canary_that_waits_while_canaries_are_switched_off_is_no_payment() {
    let (place, strict) = (
        Place::new("canary-off", 1).await,
        Thresholds::new("0.000001", "1.0"),
    );
    let now = recently();
    place
        .send(&[
            payment("canary", CANARY, now),
            payment("customer", &account(1), now),
        ])
        .await;
    let mut vigie = run(&place, &strict, "0s");
    let client = place.look().await;
    assert_eq!(consumed(&client, 2).await.scored, 2);
    let expected = named(&[("canary", 2), ("customer", 0)]);
    assert_eq!(origins(&client, "payments_scored").await, expected);
    assert_eq!(origins(&client, "fraud_alerts").await, expected);
    ended_well(&mut vigie).await;
}

fn reconciles(place: &Place) {
    let report = place.command(&["reconcile"]).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(report.status.success(), "{text}");
}
