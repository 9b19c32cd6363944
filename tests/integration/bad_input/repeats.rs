//! The same payment again, with the same body and with another.

use jiff::{Timestamp, ToSpan};

use super::{Case, Expected, check, counted, stop};
use crate::support::event::{Event, account, recently};
use crate::support::topic::Record;
use crate::support::vigie::{Place, consumed};

const SCORED: Expected = Expected::Scored(1234);
const CONFLICT: Expected = Expected::Dead("conflicting_duplicate", None);

fn payment(id: &str, time: Timestamp) -> Event {
    Event::new(id, &account(1), time)
}

fn case(name: &str, event: &Event, expected: Expected) -> Case {
    Case::new(name, Record::payment(0, event), expected)
}

/// A payment, the same again, and the same with another body.
fn thrice(name: &str, event: &Event) -> Vec<Case> {
    let mut cases = vec![case(name, event, SCORED)];
    cases.extend(again(name, event));
    cases
}

/// A stored payment again, and with another body.
fn again(name: &str, event: &Event) -> Vec<Case> {
    let other = event.clone().with("amt", "99.99");
    let labelled = event.clone().with("is_fraud", "1");
    vec![
        case(&format!("{name} again"), event, Expected::Duplicate),
        case(&format!("{name} with another body"), &other, CONFLICT),
        case(
            &format!("{name} with another label"),
            &labelled,
            Expected::Duplicate,
        ),
    ]
}

#[tokio::test]
async fn a_payment_again_is_a_duplicate_or_a_conflict_and_the_first_stands_however_late() {
    let place = Place::new("repeats", 1).await;
    let now = recently();
    let first = payment("first", now);
    let another_day = payment("first", now - 48.hours());
    let another_account = Event::new("first", &account(2), now);
    let late = payment("late", now - (5 * 24).hours());
    // Windows and lateness look back 37 days: only the primary key knows this one.
    let old = payment("old", now - (60 * 24).hours());
    let mut cases = thrice("a payment", &first);
    cases.extend(thrice("its id on another day", &another_day));
    cases.extend(thrice("its id for another account", &another_account));
    cases.extend(thrice("a late payment", &late));
    cases.extend(thrice("a payment below the horizon", &old));

    let mut offsets = place.send(&records(&cases)).await;
    let vigie = place.run(&[("VIGIE_STREAM__BATCH_WAIT", "2s")]);
    let client = place.look().await;
    consumed(&client, cases.len() as i64).await;
    check(&client, &cases, &offsets).await;

    // Once more in later batches, the repeats of each among new payments.
    for (round, event) in [&first, &late, &old].into_iter().enumerate() {
        let mut batch = again("a stored payment", event);
        batch.push(case(
            "a new one",
            &payment(&format!("new-{round}"), now),
            SCORED,
        ));
        offsets.extend(place.send(&records(&batch)).await);
        cases.extend(batch);
        consumed(&client, cases.len() as i64).await;
    }
    stop(vigie).await;

    // A process that has only what is stored to go by knows them all the same.
    let vigie = place.run(&[]);
    for event in [&first, &another_day, &another_account, &late, &old] {
        let batch = again("after a restart", event);
        offsets.extend(place.send(&records(&batch)).await);
        cases.extend(batch);
    }
    let totals = consumed(&client, cases.len() as i64).await;
    check(&client, &cases, &offsets).await;
    assert_eq!(totals, counted(&cases));
    let (_, page) = vigie.page("/metrics").await;
    // Of the second process: 5 payments, of each two repeats and a conflict.
    for (outcome, expected) in [("scored", 0), ("duplicate", 10), ("dead", 5)] {
        let line = format!("vigie_events_total{{outcome=\"{outcome}\"}} {expected}\n");
        assert!(page.contains(&line), "{line}\n{page}");
    }
    stop(vigie).await;
}

fn records(cases: &[Case]) -> Vec<Record> {
    cases.iter().map(|case| case.record.clone()).collect()
}
