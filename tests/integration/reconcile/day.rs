//! `vigie reconcile --day`: one day's account over payments that the real process stored.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use vigie::lab::reconcile::day::{Asked, DayAccount};

use super::day_account;
use crate::support::database::owner;
use crate::support::event::{Event, account as card};
use crate::support::topic::Record;
use crate::support::vigie::{Place, consumed};

/// How the canary's account is called here.
const CANARY: &str = "our-own-canary";

/// Midnight, long ago: everything here lies in the past.
fn midnight() -> Timestamp {
    let day = Timestamp::now() - (24 * 70).hours();
    Timestamp::from_second(day.as_second().div_euclid(86_400) * 86_400).unwrap()
}

fn date(time: Timestamp) -> Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn payment(id: &str, of: &str, time: Timestamp, amount: u32) -> Record {
    let amount = format!("{}.{:02}", amount / 100, amount % 100);
    Record::payment(0, &Event::new(id, of, time).with("amt", &amount))
}

/// A partition's life: a day before, the day, and days after that bring late payments of the day
/// whose windows the horizon cuts, or empties.
fn records(day: Timestamp) -> Vec<Record> {
    let mut records = Vec::new();
    let mut add = |id: String, of: &str, time: Timestamp| {
        let amount = 100 + records.len() as u32 * 37;
        records.push(payment(&id, of, time, amount));
    };
    let (ada, bob) = (card(1), card(2));
    for hour in 1..=20 {
        add(
            format!("eve-{hour}"),
            &ada,
            day - (24 * 29).hours() + hour.hours(),
        );
    }
    for minute in 0..240_i64 {
        let of = if minute % 3 == 0 { &ada } else { &bob };
        // Every fifth shares its time with the one before; every seventh is hours late.
        let time = day + (minute - i64::from(minute % 5 == 4)).minutes() * 5;
        let late = if minute % 7 == 6 {
            3.hours()
        } else {
            0.hours()
        };
        add(format!("day-{minute}"), of, (time - late).max(day));
    }
    add("our-own".into(), CANARY, day + 21.hours());
    add("tenth".into(), &ada, day + (24 * 10).hours());
    add("late-by-9".into(), &ada, day + 22.hours());
    add("late-by-9-too".into(), &ada, day + 1.hours());
    add("fortieth".into(), &bob, day + (24 * 40).hours());
    add("below".into(), &bob, day + 23.hours());
    records.insert(100, Record::of(0, "no payment"));
    // The same again: a duplicate of the day.
    let again = records[120].clone();
    records.insert(130, again);
    records.push(payment("loaded", &bob, day + (24 * 41).hours(), 5).backfilled());
    records
}

async fn processed(name: &str) -> (Place, Timestamp) {
    let place = Place::new(name, 1).await;
    let day = midnight();
    let records = records(day);
    place.send(&records).await;
    let mut vigie = place.run(&[
        ("VIGIE_CANARY__EVERY", "1h"),
        ("VIGIE_CANARY__ACCOUNT", CANARY),
        ("VIGIE_STREAM__BATCH_ROWS", "50"),
    ]);
    consumed(&place.look().await, records.len() as i64).await;
    assert!(vigie.stopped(crate::support::vigie::LONG).await.success());
    (place, day)
}

async fn asked(place: &Place, day: Timestamp, sample: u32, seed: Option<i64>) -> DayAccount {
    let mut config = place.config.clone();
    config.stream.topic.clone_from(&place.topic);
    let asked = Asked {
        day: date(day),
        sample,
        seed,
    };
    day_account(&config, asked).await
}

#[tokio::test]
async fn a_day_balances_and_its_decisions_come_out_the_same_from_what_is_stored() {
    let (place, day) = processed("reconcile-day").await;
    let whole = asked(&place, day, 1_000, None).await;
    assert!(whole.holds, "{whole}: {:?}", whole.differences);
    // The late payments of the day came on other days.
    assert_eq!(
        whole.to_string(),
        "243 consumed = 240 scored + 1 canaries + 1 dead + 1 duplicates; 243 sampled decisions \
         recomputed from stored history, 0 different"
    );
    let tenth = asked(&place, day + (24 * 10).hours(), 1_000, None).await;
    assert_eq!((tenth.consumed, tenth.recomputed), (3, 1), "{tenth}");
    let fortieth = asked(&place, day + (24 * 40).hours(), 1_000, None).await;
    assert_eq!(
        (fortieth.consumed, fortieth.recomputed),
        (2, 1),
        "{fortieth}"
    );
    let loaded = asked(&place, day + (24 * 41).hours(), 1_000, None).await;
    // The process sends a canary of its own, which comes last and may or may not be stored yet.
    let loaded_alone = loaded.consumed - loaded.canaries;
    assert_eq!((loaded_alone, loaded.recomputed), (1, 1), "{loaded}");
    let nothing = asked(&place, day + (24 * 5).hours(), 1_000, None).await;
    assert!(nothing.holds);
    assert!(nothing.to_string().starts_with("nothing of "), "{nothing}");
    let some = asked(&place, day, 20, Some(7)).await;
    assert_eq!((some.recomputed, some.seed), (20, 7));
}

#[tokio::test]
async fn a_changed_feature_score_or_decision_is_found_by_its_payment() {
    let (place, day) = processed("reconcile-tampered").await;
    let owner = owner(&place.config).await;
    for damage in [
        "UPDATE payments_scored SET features = set_byte(features, 40, 255 - get_byte(features, 40))
         WHERE trans_num = 'day-17'",
        "UPDATE payments_scored SET score = score / 2 WHERE trans_num = 'late-by-9'",
        "UPDATE payments_scored SET decision = 2 - decision WHERE trans_num = 'below'",
        "UPDATE payments_scored SET model_version = 'card-2020.1.1' WHERE trans_num = 'day-30'",
        // A window that read it comes out differently: what is stored of others is proof too.
        "UPDATE payments_scored SET amount = amount + 1 WHERE trans_num = 'eve-3'",
    ] {
        assert_eq!(owner.execute(damage, &[]).await.unwrap(), 1, "{damage}");
    }
    let account = asked(&place, day, 1_000, None).await;
    assert!(!account.holds);
    assert_eq!((account.recomputed, account.other_version), (242, 1));
    // The three above, and all of Ada's whose longest window reaches that payment.
    assert!(account.different > 3 + 60, "{account}");
    assert_eq!(account.differences.len(), 20, "{account}");
    let one = |sql: &'static str| owner.execute(sql, &[]);
    one("UPDATE payments_scored SET amount = amount - 1 WHERE trans_num = 'eve-3'")
        .await
        .unwrap();
    let account = asked(&place, day, 1_000, None).await;
    assert_eq!(account.different, 3, "{:?}", account.differences);
    let said = account.differences.join("\n");
    for words in [
        "\"day-17\" (partition 0 offset",
        "\"late-by-9\" (partition 0 offset",
        "score is",
        "\"below\" (partition 0 offset",
        "decision is block, recomputed allow",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_payment_that_is_gone_is_missing_and_one_too_many_is_seen() {
    let (place, day) = processed("reconcile-missing").await;
    let owner = owner(&place.config).await;
    let gone = "DELETE FROM payments_scored WHERE trans_num IN ('day-100', 'day-101')";
    assert_eq!(owner.execute(gone, &[]).await.unwrap(), 2);
    let account = asked(&place, day, 0, None).await;
    assert!(!account.holds && account.missing == 2, "{account}");
    assert!(account.to_string().contains("+ 2 MISSING"), "{account}");
    assert!(account.differences[0].contains("2 ended nowhere"));
    let twice = "INSERT INTO dead_letters
                 SELECT stream, 0, generate_series(21, 30), topic, record_time, key, reason, field, message, payload,
                        payload_bytes, payload_hash, attempt, at
                 FROM dead_letters";
    assert_eq!(owner.execute(twice, &[]).await.unwrap(), 10);
    let account = asked(&place, day, 0, None).await;
    assert!(!account.holds && account.doubled == 7, "{account}");
    let verb = place
        .command(&[
            "reconcile",
            "--day",
            &date(day).to_string(),
            "--sample",
            "5",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(verb.stdout).unwrap();
    assert_eq!(verb.status.code(), Some(1), "{said}");
    assert!(
        said.contains("7 rows more than offsets") && said.contains("--seed "),
        "{said}"
    );
}
