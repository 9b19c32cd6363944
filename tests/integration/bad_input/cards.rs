//! Card numbers where nobody expects them: none is left in the clear.

use tokio_postgres::Client;

use super::{Case, Expected, among_neighbours, sent_and_checked, stop};
use crate::support::database::count;
use crate::support::event::{Event, account, card, check_digit, recently};
use crate::support::topic::Record;
use crate::support::vigie::Place;

const SCORED: Expected = Expected::Scored(1234);

/// A payment of an account and with an id that nothing else has.
fn event(number: u64) -> Event {
    Event::new(
        &format!("case-{number}"),
        &account(60_000 + number),
        recently(),
    )
}

fn in_escapes(digits: &str) -> String {
    digits
        .chars()
        .map(|digit| format!("\\u003{digit}"))
        .collect()
}

fn grouped(digits: &str, between: &str) -> String {
    let groups = digits.as_bytes().chunks(4);
    let groups: Vec<&str> = groups
        .map(|four| std::str::from_utf8(four).unwrap())
        .collect();
    groups.join(between)
}

#[tokio::test]
async fn no_clear_card_number_is_left_in_tables_logs_or_metrics() {
    let place = Place::new("cards", 1).await;
    let hidden: Vec<String> = (1..=16).map(card).collect();
    let text = |words: String| format!("\"{words}\"");
    let mut cases = Vec::new();
    let mut case = |name: &str, record: Record, expected: Expected| {
        cases.push(Case::new(name, record, expected));
    };
    let scored = |number: u64, key: &str, value: String| {
        Record::payment(0, &event(number).with(key, &text(value)))
    };
    let broken = |number: u64, key: &str, value: String| {
        let whole = event(number).with(key, &text(value)).text();
        Record::of(0, whole.trim_end_matches('}')).keyed(account(60_000 + number))
    };
    let not_json = Expected::Dead("not_json", None);
    case(
        "in a merchant",
        scored(1, "merchant", format!("shop {}", hidden[0])),
        SCORED,
    );
    case(
        "in groups",
        scored(2, "merchant", format!("shop {}", grouped(&hidden[1], " "))),
        SCORED,
    );
    case(
        "in escapes",
        scored(3, "merchant", format!("x {}", in_escapes(&hidden[2]))),
        SCORED,
    );
    case(
        "in an id",
        scored(4, "trans_num", format!("pay-{}-1", hidden[3])),
        SCORED,
    );
    case(
        "in the city, grouped",
        scored(5, "city", grouped(&hidden[4], "-")),
        SCORED,
    );
    case(
        "in a broken payload",
        broken(6, "merchant", hidden[5].clone()),
        not_json.clone(),
    );
    case(
        "broken, in escapes",
        broken(7, "merchant", in_escapes(&hidden[6])),
        not_json.clone(),
    );
    case(
        "broken, as the account",
        broken(8, "cc_num", hidden[7].clone()),
        not_json.clone(),
    );
    case(
        "broken, in an unknown field",
        broken(9, "pan", grouped(&hidden[8], " ")),
        not_json.clone(),
    );
    let other_key = Record::payment(0, &event(10)).keyed(hidden[9].as_str());
    case(
        "as another key",
        other_key,
        Expected::Dead("wrong_key", Some("cc_num")),
    );
    let keyed = Record::of(0, "{").keyed(hidden[10].as_str());
    case("as the key of no JSON", keyed, not_json.clone());
    let amount = event(12).with("amt", &text(hidden[11].clone()));
    case(
        "as an amount",
        Record::payment(0, &amount),
        Expected::Dead("out_of_range", Some("amt")),
    );
    let account_of_luhn = Event::new("case-13", &hidden[12], recently());
    case(
        "as the account",
        Record::payment(0, &account_of_luhn),
        SCORED,
    );
    let refused = Event::new("case-14", &hidden[13], recently()).with("amt", "true");
    case(
        "as a refused account",
        Record::payment(0, &refused),
        Expected::Dead("wrong_type", Some("amt")),
    );
    let words = Record::of(0, format!("card {} declined", hidden[14]));
    case("in words", words, not_json.clone());
    let bytes = [b"\xff\xfe ", hidden[15].as_bytes(), b" \xff"].concat();
    case(
        "among bytes that are no text",
        Record::of(0, bytes),
        Expected::Dead("not_utf8", None),
    );
    // The account of a dead letter is masked although it is no card number of 11 to 19 digits.
    let short = event(17).with("cc_num", "77712345").with("amt", "true");
    let short = Record::of(0, short.text()).keyed("77712345");
    case(
        "a short account",
        short,
        Expected::Dead("wrong_type", Some("amt")),
    );
    let mut clear = hidden.clone();
    clear.push("77712345".into());
    clear.extend((6..=14).map(|number| account(60_000 + number)));

    let vigie = sent_and_checked(&place, &among_neighbours(cases)).await;
    let (_, page) = vigie.page("/metrics").await;
    let client = place.look().await;
    let mut places = vec![
        ("/metrics".to_owned(), page),
        ("the logs".to_owned(), stop(vigie).await),
    ];
    for table in [
        "dead_letters",
        "payments_scored",
        "fraud_alerts",
        "incidents",
        "labels",
        "outbox",
        "attachments",
        "streams",
    ] {
        places.push((table.to_owned(), dump(&client, table).await));
    }
    for (name, text) in &places {
        let plain = unescaped(text);
        let joined = plain.replace([' ', '-'], "");
        for number in &clear {
            assert!(!plain.contains(number), "{number} is in {name}");
            assert!(!joined.contains(number), "{number} is in {name}, grouped");
        }
    }
    let masked = "SELECT count(*) FROM payments_scored WHERE merchant LIKE '%****%'";
    assert_eq!(count(&client, masked).await, 3);
}

/// A table as text, a row a line.
async fn dump(client: &Client, table: &str) -> String {
    let query = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {table} AS t");
    client.query_one(&query, &[]).await.unwrap().get(0)
}

/// Digits written as escapes stand as digits; a row as text has its backslashes doubled.
fn unescaped(text: &str) -> String {
    let mut plain = text.replace("\\\\", "\\");
    for digit in 0..10 {
        plain = plain.replace(&format!("\\u003{digit}"), &digit.to_string());
    }
    plain
}

/// As `vigie-producer poll` makes them; of ten moments one has the check digit of a card number.
#[tokio::test]
async fn an_id_that_ends_with_a_moment_is_stored_as_it_was_sent() {
    let place = Place::new("moments", 1).await;
    let start = recently().as_millisecond();
    let mut sent: Vec<String> = (start..start + 30)
        .map(|moment| format!("3cb54a48d7a1f0c5:{moment}"))
        .collect();
    let case = |id: &String| {
        let event = Event::new(id, &account(61_000), recently());
        Case::new(id, Record::payment(0, &event), SCORED)
    };
    let cases: Vec<Case> = sent.iter().map(case).collect();
    let vigie = sent_and_checked(&place, &cases).await;
    let client = place.look().await;
    let query = "SELECT trans_num FROM payments_scored ORDER BY trans_num COLLATE \"C\"";
    let rows = client.query(query, &[]).await.unwrap();
    let stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    sent.sort();
    assert_eq!(stored, sent);
    stop(vigie).await;
}

#[tokio::test]
async fn a_card_number_of_19_digits_is_one_account_as_text_as_integer_and_grouped() {
    let place = Place::new("one-account", 1).await;
    let front = "912345678901234567";
    let card = format!("{front}{}", check_digit(front));
    let written = [
        card.clone(),
        format!("\"{card}\""),
        format!("\"{}\"", grouped(&card, " ")),
    ];
    let mut cases = Vec::new();
    for (number, text) in written.iter().enumerate() {
        let event = event(100 + number as u64).with("cc_num", text);
        let record = Record::of(0, event.text()).keyed(card.as_str());
        cases.push(Case::new(text, record, SCORED));
    }
    let vigie = sent_and_checked(&place, &cases).await;
    let client = place.look().await;
    let accounts = "SELECT count(DISTINCT account) FROM payments_scored";
    assert_eq!(count(&client, accounts).await, 1);
    stop(vigie).await;
}
