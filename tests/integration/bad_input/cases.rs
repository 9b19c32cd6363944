//! The table of bad input, line by line.

use jiff::{Timestamp, ToSpan};

use super::{Case, Expected, among_neighbours, sent_and_checked, stop};
use crate::support::event::{Event, account, check_digit, recently, written};
use crate::support::topic::Record;
use crate::support::vigie::Place;

const SCORED: Expected = Expected::Scored(1234);

fn dead(reason: &'static str) -> Expected {
    Expected::Dead(reason, None)
}

fn field(reason: &'static str, field: &'static str) -> Expected {
    Expected::Dead(reason, Some(field))
}

/// Cases with ids and accounts of their own.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// A payment that only this case has.
    fn event(&self) -> Event {
        let number = self.0.len();
        let account = account(50_000 + number as u64);
        Event::new(&format!("case-{number}"), &account, recently())
    }

    fn record(&mut self, name: &str, record: Record, expected: Expected) {
        self.0.push(Case::new(name, record, expected));
    }

    /// A payload that is no payment, under a key that is an account.
    fn payload(&mut self, name: &str, payload: impl Into<Vec<u8>>, expected: Expected) {
        let key = self.event().card().to_owned();
        self.record(name, Record::of(0, payload).keyed(key), expected);
    }

    /// A payment with this JSON text in one field.
    fn with(&mut self, key: &str, text: &str, expected: Expected) {
        let event = self.event().with(key, text);
        let shown: String = text.chars().take(40).collect();
        self.record(
            &format!("{key}: {shown}"),
            Record::payment(0, &event),
            expected,
        );
    }

    /// A payment at this time, sent at that one.
    fn at(&mut self, name: &str, text: &str, sent: Timestamp, expected: Expected) {
        let event = self
            .event()
            .with("trans_date_trans_time", &format!("\"{text}\""));
        let mut record = Record::payment(0, &event);
        record.sent = sent.as_millisecond();
        self.record(name, record, expected);
    }
}

#[tokio::test]
async fn every_line_of_the_table_of_bad_input_has_its_stated_result_and_costs_no_neighbour() {
    let place = Place::new("bad-input", 1).await;
    let mut cases = Cases::default();
    broken_texts(&mut cases);
    records_without_a_payment(&mut cases);
    wrong_types(&mut cases);
    numbers_out_of_range(&mut cases);
    exact_numbers(&mut cases);
    texts(&mut cases);
    times(&mut cases);
    keys_and_missing_fields(&mut cases);
    let cases = among_neighbours(cases.0);
    let vigie = sent_and_checked(&place, &cases).await;

    let client = place.look().await;
    let rows = client
        .query(
            "SELECT source_offset, topic, payload_bytes, octet_length(payload), \
                    octet_length(payload_hash), message, attempt, \
                    extract(epoch FROM record_time)::float8 FROM dead_letters",
            &[],
        )
        .await
        .unwrap();
    for row in &rows {
        let case = &cases[row.get::<_, i64>(0) as usize];
        let payload = case.record.payload.as_deref().unwrap_or_default();
        let name = &case.name;
        assert_eq!(row.get::<_, &str>(1), place.topic, "{name}");
        assert_eq!(row.get::<_, i64>(2), payload.len() as i64, "{name}");
        assert!(row.get::<_, i32>(3) <= 65_536, "{name}");
        assert_eq!(row.get::<_, i32>(4), 32, "{name}");
        assert!(!row.get::<_, &str>(5).is_empty(), "{name}");
        assert_eq!(row.get::<_, i16>(6), 1, "{name}");
        let sent = (row.get::<_, f64>(7) * 1_000.0).round() as i64;
        assert_eq!(sent, case.record.sent, "{name}");
    }
    let (_, page) = vigie.page("/metrics").await;
    for reason in [
        "not_utf8",
        "not_json",
        "too_large",
        "too_deep",
        "tombstone",
        "wrong_key",
    ] {
        let expected = cases
            .iter()
            .filter(|case| matches!(case.expected, Expected::Dead(found, _) if found == reason))
            .count();
        let line = format!("vigie_dead_letters_total{{reason=\"{reason}\"}} {expected}\n");
        assert!(page.contains(&line), "{line}\n{page}");
    }
    stop(vigie).await;
}

fn broken_texts(cases: &mut Cases) {
    let whole = cases.event().text().into_bytes();
    let mut broken = whole.clone();
    let middle = whole.len() / 2;
    broken[middle] = 0xff;
    cases.payload("a byte that no UTF-8 has", broken, dead("not_utf8"));
    cases.payload(
        "half a character",
        [&whole[..], b"\xc3"].concat(),
        dead("not_utf8"),
    );
    cases.payload(
        "a surrogate",
        [&b"\xed\xa0\x80"[..], &whole].concat(),
        dead("not_utf8"),
    );
    for end in [1, middle, whole.len() - 1] {
        let name = format!("the first {end} bytes");
        cases.payload(&name, &whole[..end], dead("not_json"));
    }
    cases.payload(
        "something behind it",
        [&whole[..], b"{}"].concat(),
        dead("not_json"),
    );
    cases.payload("nothing", "", dead("not_json"));
    cases.payload("only space", " \n", dead("not_json"));
    cases.payload("an array", "[]", dead("not_json"));
    cases.payload("null", "null", dead("not_json"));
    cases.payload("words", "hello", dead("not_json"));
    cases.payload("an empty object", "{}", field("missing_field", "amt"));
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    cases.with("unknown", &deep(10_000), dead("too_deep"));
    cases.with("amt", &deep(10_000), dead("too_deep"));
    cases.payload(
        "10,000 opened, none closed",
        "{\"a\":".repeat(10_000),
        dead("too_deep"),
    );
    cases.with("unknown", &deep(63), SCORED);
    let event = cases.event();
    let spaces = |bytes: usize| {
        let text = event.text();
        format!("{text}{}", " ".repeat(bytes - text.len()))
    };
    let record = |bytes: usize| Record::of(0, spaces(bytes)).keyed(event.card());
    cases.record(
        "a byte more than 1 MiB",
        record((1 << 20) + 1),
        dead("too_large"),
    );
    cases.record("5 MB", record(5_000_000), dead("too_large"));
    cases.record("exactly 1 MiB", record(1 << 20), SCORED);
}

fn records_without_a_payment(cases: &mut Cases) {
    let mut tombstone = Record::of(0, "").keyed(cases.event().card());
    tombstone.payload = None;
    cases.record("a tombstone", tombstone.clone(), dead("tombstone"));
    tombstone.key = None;
    cases.record("a tombstone without a key", tombstone, dead("tombstone"));
}

fn wrong_types(cases: &mut Cases) {
    for key in ["amt", "lat", "city_pop"] {
        for text in [
            "true",
            "{}",
            "[1]",
            "\"NaN\"",
            "\"Infinity\"",
            "NaN",
            "Infinity",
            "-Infinity",
            "\"two\"",
        ] {
            cases.with(key, text, field("wrong_type", key));
        }
    }
    cases.with("merchant", "1.5", field("wrong_type", "merchant"));
    cases.with(
        "merchant",
        "{\"name\":\"x\"}",
        field("wrong_type", "merchant"),
    );
    cases.with(
        "trans_date_trans_time",
        "true",
        field("wrong_type", "event_time"),
    );
    cases.with("is_fraud", "2", field("wrong_type", "is_fraud"));
    cases.with("unknown", "NaN", dead("not_json"));
    for second in ["99.99", "12.34", "null"] {
        let event = cases.event().and("amt", second);
        let name = format!("amt twice, {second} the second time");
        cases.record(
            &name,
            Record::payment(0, &event),
            field("wrong_type", "amt"),
        );
    }
    let event = cases.event().and("\\u0061mt", "12.34");
    cases.record(
        "amt twice, once in escapes",
        Record::payment(0, &event),
        field("wrong_type", "amt"),
    );
    let event = cases.event().and("unknown", "1").and("unknown", "2");
    cases.record("an unknown field twice", Record::payment(0, &event), SCORED);
}

fn numbers_out_of_range(cases: &mut Cases) {
    for (key, text) in [
        ("amt", "1e400"),
        ("amt", "\"1e400\""),
        ("amt", "12.345"),
        ("amt", "1e-3"),
        ("amt", "-0.01"),
        ("amt", "92233720368547758.08"),
        ("amt", "9223372036854775808"),
        ("lat", "1e400"),
        ("lat", "90.0001"),
        ("city_pop", "9223372036854775808"),
        ("city_pop", "1.5"),
    ] {
        cases.with(key, text, field("out_of_range", key));
    }
}

fn exact_numbers(cases: &mut Cases) {
    for (text, amount) in [
        ("0", 0),
        ("\"12.34\"", 1_234),
        ("12.340000", 1_234),
        ("1.0E7", 1_000_000_000),
        ("\"1.0E7\"", 1_000_000_000),
        ("1234e-2", 1_234),
        // A double cannot hold these.
        ("90071992547.41", 9_007_199_254_741),
        ("\"90071992547.43\"", 9_007_199_254_743),
    ] {
        cases.with("amt", text, Expected::Scored(amount));
    }
    cases.with("city_pop", "\"333497\"", SCORED);
    cases.with("city_pop", "3.33497E5", SCORED);
    cases.with("lat", "\"33.9659\"", SCORED);
    cases.with("unknown", "1e400", SCORED);
    cases.with("unknown", "{\"amt\":[null,{\"cc_num\":1}]}", SCORED);
}

fn texts(cases: &mut Cases) {
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    cases.with(
        "merchant",
        "\"a\\u0000b\"",
        field("out_of_range", "merchant"),
    );
    cases.with(
        "trans_num",
        "\"a\\u0000b\"",
        field("out_of_range", "trans_num"),
    );
    cases.with("merchant", &long(257), field("out_of_range", "merchant"));
    cases.with("trans_num", &long(129), field("out_of_range", "trans_num"));
    cases.with("merchant", &format!("\"{}\"", "é".repeat(128)), SCORED);
    cases.with("trans_num", &long(128), SCORED);
    cases.with("merchant", "null", SCORED);
    cases.with("merchant", "\"\\ud83d\\ude00 \\\"quoted\\\"\\n\"", SCORED);
    for digits in [8, 12, 19] {
        let front = format!("7{}", "3".repeat(digits - 2));
        let card = format!("{front}{}", (check_digit(&front) + 1) % 10);
        let event = cases.event().with("cc_num", &card);
        let record = Record::of(0, event.text()).keyed(card.as_str());
        cases.record(&format!("{digits} digits as an integer"), record, SCORED);
        let event = cases.event().with("cc_num", &format!("\"{card}\""));
        let record = Record::of(0, event.text()).keyed(card.as_str());
        cases.record(&format!("{digits} digits as text"), record, SCORED);
    }
}

fn times(cases: &mut Cases) {
    let now = recently();
    let outside = || field("time_out_of_range", "event_time");
    let bad = || field("bad_time", "event_time");
    cases.at("year 0", "0000-01-01 00:00:00", now, outside());
    cases.at("year 9999", "9999-12-31 23:59:59", now, outside());
    cases.at(
        "the last second before the first day",
        "2014-12-31 23:59:59",
        now,
        outside(),
    );
    cases.at("the first day", "2015-01-01 00:00:00", now, SCORED);
    let ahead = |seconds: i64| written(now + 24.hours() + seconds.seconds());
    cases.at(
        "a day and a second ahead of its record",
        &ahead(1),
        now,
        outside(),
    );
    cases.at("a day ahead of its record", &ahead(0), now, SCORED);
    let year = Timestamp::from_second(1_600_000_000).unwrap();
    cases.at("now, in a record of 2020", &written(now), year, outside());
    cases.at("30 February", "2026-02-30 10:00:00", now, bad());
    cases.at("hour 25", "2026-02-20 25:00:00", now, bad());
    cases.at("a word", "yesterday", now, bad());
    cases.at("a date alone", "2026-02-20", now, bad());
    cases.at("one more character", "2026-02-20 10:00:00Z", now, bad());
}

fn keys_and_missing_fields(cases: &mut Cases) {
    for (key, name) in [
        ("trans_num", "trans_num"),
        ("cc_num", "cc_num"),
        ("trans_date_trans_time", "event_time"),
        ("amt", "amt"),
    ] {
        for (how, event) in [
            ("without", cases.event().without(key)),
            ("null in", cases.event().with(key, "null")),
        ] {
            let record = Record::payment(0, &event);
            cases.record(
                &format!("{how} {key}"),
                record,
                field("missing_field", name),
            );
        }
    }
    let wrong_key = || field("wrong_key", "cc_num");
    let event = cases.event();
    let other = Record::payment(0, &event).keyed(account(7));
    cases.record("another account's key", other, wrong_key());
    let empty = Record::payment(0, &event).keyed("");
    cases.record("an empty key", empty, wrong_key());
    let binary = Record::payment(0, &event).keyed(vec![0xff, 0, 0xfe]);
    cases.record("a key of bytes", binary, wrong_key());
    let mut absent = Record::payment(0, &event);
    absent.key = None;
    cases.record("no key", absent, wrong_key());
}
