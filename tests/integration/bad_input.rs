//! Bad input through real Kafka: one bad record is one dead letter with the right reason and
//! field, its neighbours are scored, and no clear card number is left behind.

mod cards;
mod cases;
mod model;
mod repeats;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::Client;

use super::support::event::{Event, account, recently};
use super::support::topic::Record;
use super::support::vigie::{Place, Totals, Vigie, consumed};

/// What must become of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// It is a row of this amount in minor units.
    Scored(i64),
    /// It is a dead letter of this reason and field.
    Dead(&'static str, Option<&'static str>),
    /// It is counted and leaves nothing.
    Duplicate,
}

/// A record with its name and what must become of it.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    record: Record,
    expected: Expected,
}

impl Case {
    fn new(name: &str, record: Record, expected: Expected) -> Self {
        Self {
            name: name.to_owned(),
            record,
            expected,
        }
    }
}

/// A good payment of an account and with an id that nothing else has.
fn good(number: usize) -> Event {
    Event::new(
        &format!("good-{number}"),
        &account(number as u64),
        recently(),
    )
}

/// Every case between two good payments.
fn among_neighbours(cases: Vec<Case>) -> Vec<Case> {
    let mut all = Vec::new();
    let neighbour = |number: usize| {
        let record = Record::payment(0, &good(number));
        Case::new(
            &format!("neighbour {number}"),
            record,
            Expected::Scored(1234),
        )
    };
    for (number, case) in cases.into_iter().enumerate() {
        all.push(neighbour(number));
        all.push(case);
    }
    all.push(neighbour(all.len()));
    all
}

/// Sends the cases, starts a `vigie` that takes them in as few batches as it can, and compares
/// what became of each of them.
async fn sent_and_checked(place: &Place, cases: &[Case]) -> Vigie {
    let records: Vec<Record> = cases.iter().map(|case| case.record.clone()).collect();
    let offsets = place.send(&records).await;
    let vigie = place.run(&[("VIGIE_STREAM__BATCH_WAIT", "2s")]);
    let client = place.look().await;
    let totals = consumed(&client, cases.len() as i64).await;
    check(&client, cases, &offsets).await;
    assert_eq!(totals, counted(cases));
    vigie
}

/// How the cases add up.
fn counted(cases: &[Case]) -> Totals {
    let count = |fits: fn(&Expected) -> bool| {
        cases.iter().filter(|case| fits(&case.expected)).count() as i64
    };
    Totals {
        consumed: cases.len() as i64,
        scored: count(|expected| matches!(expected, Expected::Scored(_))),
        dead: count(|expected| matches!(expected, Expected::Dead(..))),
        duplicates: count(|expected| *expected == Expected::Duplicate),
        skipped: 0,
    }
}

/// Compares every case with what the database holds at its offset of partition 0.
async fn check(client: &Client, cases: &[Case], offsets: &[i64]) {
    let rows = client
        .query(
            "SELECT source_offset, amount FROM payments_scored WHERE source_partition = 0",
            &[],
        )
        .await
        .unwrap();
    let scored: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(scored.len(), rows.len(), "an offset has two rows");
    let rows = client
        .query("SELECT source_offset, reason, field FROM dead_letters", &[])
        .await
        .unwrap();
    let dead: BTreeMap<i64, (String, Option<String>)> = rows
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    let mut wrong = Vec::new();
    for (case, offset) in cases.iter().zip(offsets) {
        let found = (scored.get(offset), dead.get(offset));
        let right = match (&case.expected, found) {
            (Expected::Scored(amount), (Some(found), None)) => found == amount,
            (Expected::Dead(reason, field), (None, Some(found))) => {
                found.0 == *reason && found.1.as_deref() == *field
            }
            (Expected::Duplicate, (None, None)) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!(
                "{}: expected {:?}, found {found:?}",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// It stops as it should.
async fn stop(mut vigie: Vigie) -> String {
    let status = vigie.stopped(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(0), "{}", vigie.said());
    let said = vigie.said();
    assert!(
        !said.contains("panicked") && !said.contains("backtrace"),
        "{said}"
    );
    said
}
