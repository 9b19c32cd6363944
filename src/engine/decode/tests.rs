//! The table of bad input, line by line, through the decoder as the lanes use it.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::bundle::Bundle;
use crate::engine::batch::{Column, Token};

const DAY: Micros = 86_400_000_000;
/// 2020-06-21T12:14:25Z.
const SENT: Micros = 1_592_741_665_000_000;
const CARD: &str = "4242424242424242";

fn tokens() -> TokenKey {
    TokenKey::new(&"k".repeat(32)).unwrap()
}

fn rules() -> Rules {
    Rules {
        key_check: KeyCheck::Account,
        first_day: 1_420_070_400_000_000,
        max_ahead: DAY,
        business_zone: TimeZone::UTC,
    }
}

fn decoder_with(rules: Rules) -> Decoder {
    let bundle = Bundle::read(Path::new("models/card")).unwrap();
    Decoder::new(bundle.schema, tokens(), rules)
}

fn decoder() -> Decoder {
    decoder_with(rules())
}

fn payment() -> Value {
    json!({
        "": 10753, "trans_date_trans_time": "2020-06-21 12:14:25", "cc_num": CARD,
        "merchant": "fraud_Kirlin and Sons", "category": "personal_care", "amt": 2.86,
        "first": "Jeff", "last": "Elliott", "gender": "M", "street": "351 Darlene Green",
        "city": "Columbia", "state": "SC", "zip": 29209, "lat": 33.9659, "long": -80.9355,
        "city_pop": 333497, "job": "Mechanical engineer", "dob": "1968-03-19",
        "trans_num": "2da90c7d74bd46a0caf3777415b3ebd3", "unix_time": 1371816865,
        "merch_lat": 33.986391, "merch_long": "-81.200714", "is_fraud": 0
    })
}

/// The payment with one field written as this JSON text.
fn with(key: &str, written: &str) -> String {
    let mut payment = payment();
    payment[key] = json!("THE VALUE");
    payment.to_string().replace("\"THE VALUE\"", written)
}

fn without(key: &str) -> String {
    let mut payment = payment();
    payment.as_object_mut().unwrap().remove(key);
    payment.to_string()
}

fn records(payloads: &[Option<&[u8]>]) -> Records {
    let mut records = Records::default();
    for (offset, payload) in payloads.iter().enumerate() {
        records.push((3, offset as i64), SENT, Some(CARD.as_bytes()), *payload);
    }
    records
}

/// Decodes the payload between two good payments, which must come out untouched.
fn between_neighbours(payload: Option<&[u8]>) -> (Events, Vec<DeadLetter>) {
    let good = payment().to_string();
    let records = records(&[Some(good.as_bytes()), payload, Some(good.as_bytes())]);
    let (events, letters) = decode(&decoder(), &records);
    let last = events.len() - 1;
    assert_eq!((events.record[0], events.record[last]), (0, 2));
    assert_eq!(events.body_hash[0], events.body_hash[last]);
    for column in &events.columns {
        let rows = match column {
            Column::Number(c) => c.len(),
            Column::Integer(c) | Column::Amount(c) | Column::Time(c) => c.len(),
            Column::Text(c) => c.len(),
            Column::Label(c) => c.len(),
        };
        assert_eq!(rows, events.len());
    }
    (events, letters)
}

fn refused(payload: impl AsRef<[u8]>) -> (Reason, Option<String>) {
    let (events, letters) = between_neighbours(Some(payload.as_ref()));
    assert_eq!(
        (events.len(), letters.len()),
        (2, 1),
        "{}",
        String::from_utf8_lossy(payload.as_ref())
    );
    assert_eq!((letters[0].partition, letters[0].offset), (3, 1));
    (letters[0].reason, letters[0].field.clone())
}

fn refused_field(payload: impl AsRef<[u8]>) -> (Reason, String) {
    let (reason, field) = refused(payload);
    (reason, field.unwrap())
}

/// The events of a payload that is accepted; row 1 is its.
fn accepted(payload: impl AsRef<[u8]>) -> Events {
    let (events, letters) = between_neighbours(Some(payload.as_ref()));
    assert!(letters.is_empty(), "{letters:?}");
    events
}

fn column<'a>(events: &'a Events, name: &str) -> &'a Column {
    &events.columns[decoder().schema.index_of(name).unwrap()]
}

fn text(events: &Events, name: &str) -> Option<String> {
    let Column::Text(texts) = column(events, name) else {
        panic!("{name} is no text")
    };
    texts.get(1).map(str::to_owned)
}

#[test]
fn a_payment_becomes_an_event_with_its_columns() {
    let events = accepted(payment().to_string());
    assert_eq!(events.time[1], SENT);
    assert_eq!(events.day[1], 18_434);
    assert_eq!(events.amount[1], 286);
    assert_eq!(events.account[1], tokens().card(CARD));
    assert_eq!(
        text(&events, "cc_num"),
        Some(tokens().card(CARD).to_string())
    );
    assert_eq!(
        text(&events, "merchant").as_deref(),
        Some("fraud_Kirlin and Sons")
    );
    let Column::Number(long) = column(&events, "merch_long") else {
        panic!("no number")
    };
    assert_eq!(long[1], -81.200714);
    let Column::Integer(population) = column(&events, "city_pop") else {
        panic!("no integer")
    };
    assert_eq!(population[1], Some(333_497));
    let Column::Time(birth) = column(&events, "dob") else {
        panic!("no time")
    };
    assert_eq!(birth[1], Some(-653 * DAY));
    let Column::Label(label) = column(&events, "is_fraud") else {
        panic!("no label")
    };
    assert_eq!(label[1], Some(false));
}

#[test]
fn the_body_hash_is_stored_and_never_changes() {
    let events = accepted(payment().to_string());
    assert_eq!(events.body_hash[1], 10_744_259_907_055_495_014);
}

#[test]
fn the_body_hash_sees_every_value_but_the_label_and_no_notation() {
    let hash = |payload: String| accepted(payload).body_hash[1];
    let same = hash(payment().to_string());
    assert_eq!(hash(with("is_fraud", "1")), same);
    assert_eq!(hash(with("unknown", "[1]")), same);
    assert_eq!(hash(with("amt", "\"2.860\"")), same);
    assert_eq!(hash(with("cc_num", CARD)), same);
    assert_ne!(hash(with("amt", "2.87")), same);
    assert_ne!(hash(with("city", "null")), same);
    assert_ne!(hash(with("lat", "33.9658")), same);
    let moved = with("city", "\"Columbi\"").replace("\"fraud_Kir", "\"afraud_Kir");
    assert_ne!(hash(moved), hash(with("city", "\"Columbia\"")));
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    for value in [
        "1e400",
        "{\"amt\":[null,{}]}",
        "\"\\ud83d\\ude00\"",
        "-0",
        "true",
    ] {
        accepted(with("unknown", value));
    }
    accepted(with("unknown", "1").replace("\"unknown\"", "\"unzip\""));
}

#[test]
fn numbers_and_amounts_come_as_numbers_or_as_text_and_stay_exact() {
    for (written, minor) in [
        ("2.86", 286),
        ("\"2.86\"", 286),
        ("\"002.860000\"", 286),
        ("1.0E7", 1_000_000_000),
        ("\"1.0E7\"", 1_000_000_000),
        ("0", 0),
        ("-0", 0),
        ("90071992547.41", 9_007_199_254_741),
    ] {
        assert_eq!(accepted(with("amt", written)).amount[1], minor, "{written}");
    }
    for (written, value) in [
        ("333497", 333_497),
        ("\"333497\"", 333_497),
        ("12.0", 12),
        ("1e3", 1_000),
    ] {
        let events = accepted(with("city_pop", written));
        let Column::Integer(found) = column(&events, "city_pop") else {
            panic!("no integer")
        };
        assert_eq!(found[1], Some(value));
    }
}

#[test]
fn another_type_names_its_field() {
    for value in [
        "true",
        "{}",
        "[1]",
        "\"NaN\"",
        "\"\"",
        "\"two\"",
        "NaN",
        "Infinity",
        "-Infinity",
    ] {
        for (key, name) in [("amt", "amt"), ("lat", "lat"), ("city_pop", "city_pop")] {
            let found = refused_field(with(key, value));
            assert_eq!(found, (Reason::WrongType, name.into()), "{key} {value}");
        }
    }
    for value in ["true", "{}", "[1]", "1.5", "1e3", "NaN"] {
        let found = refused_field(with("merchant", value));
        assert_eq!(found, (Reason::WrongType, "merchant".into()), "{value}");
        let found = refused_field(with("cc_num", value));
        assert_eq!(found, (Reason::WrongType, "cc_num".into()), "{value}");
    }
    for value in ["true", "{}", "NaN"] {
        let found = refused_field(with("trans_date_trans_time", value));
        assert_eq!(found, (Reason::WrongType, "event_time".into()), "{value}");
    }
}

#[test]
fn a_declared_key_twice_is_refused_even_when_it_is_escaped() {
    for second in ["\"amt\":2.86", "\"\\u0061mt\":2.86", "\"amt\":null"] {
        let payload = payment().to_string();
        let twice = format!("{},{second}}}", payload.strip_suffix('}').unwrap());
        assert_eq!(refused_field(twice), (Reason::WrongType, "amt".into()));
    }
}

#[test]
fn what_is_not_finite_elsewhere_is_no_json() {
    assert_eq!(refused(with("unknown", "NaN")), (Reason::NotJson, None));
    assert_eq!(refused(with("amt", "[NaN]")), (Reason::NotJson, None));
    assert_eq!(refused(with("amt", "nan")), (Reason::NotJson, None));
}

#[test]
fn what_does_not_fit_is_out_of_range() {
    let long = format!("\"{}\"", "x".repeat(257));
    let long_id = format!("\"{}\"", "x".repeat(129));
    for (key, value) in [
        ("amt", "1e400"),
        ("amt", "2.865"),
        ("amt", "\"2.865\""),
        ("amt", "-0.01"),
        ("amt", "99999999999999"),
        ("lat", "1e400"),
        ("lat", "90.5"),
        ("city_pop", "9223372036854775808"),
        ("merchant", "\"a\\u0000b\""),
        ("merchant", long.as_str()),
        ("cc_num", long.as_str()),
        ("trans_num", long_id.as_str()),
    ] {
        assert_eq!(
            refused_field(with(key, value)),
            (Reason::OutOfRange, key.into()),
            "{value}"
        );
    }
    accepted(with("merchant", &format!("\"{}\"", "é".repeat(128))));
    accepted(with("trans_num", &format!("\"{}\"", "x".repeat(128))));
}

#[test]
fn card_numbers_of_8_to_19_digits_are_valid_as_text_and_as_integer() {
    for card in [
        "12345678",
        "676300000000",
        "4000123412341234567",
        "9999999999999999999",
    ] {
        let decoder = decoder();
        let texts = [with("cc_num", card), with("cc_num", &format!("\"{card}\""))];
        let mut records = Records::default();
        for text in &texts {
            records.push((0, 0), SENT, Some(card.as_bytes()), Some(text.as_bytes()));
        }
        let (events, letters) = decode(&decoder, &records);
        assert!(letters.is_empty(), "{letters:?}");
        assert_eq!(events.account, vec![tokens().card(card); 2]);
        assert_eq!(events.body_hash[0], events.body_hash[1]);
    }
}

#[test]
fn absent_null_and_empty_are_missing() {
    for (key, name) in [
        ("cc_num", "cc_num"),
        ("trans_num", "trans_num"),
        ("amt", "amt"),
        ("trans_date_trans_time", "event_time"),
    ] {
        assert_eq!(
            refused_field(without(key)),
            (Reason::MissingField, name.into())
        );
        assert_eq!(
            refused_field(with(key, "null")),
            (Reason::MissingField, name.into())
        );
    }
    for key in ["cc_num", "trans_num"] {
        assert_eq!(
            refused_field(with(key, "\"\"")),
            (Reason::MissingField, key.into())
        );
    }
    assert_eq!(
        refused_field(with("cc_num", "\" - \"")),
        (Reason::MissingField, "cc_num".into())
    );
    for written in ["null", "\"\""] {
        assert_eq!(text(&accepted(with("city", written)), "city"), None);
    }
    let events = accepted(without("lat"));
    let Column::Number(lat) = column(&events, "lat") else {
        panic!("no number")
    };
    assert!(lat[1].is_nan());
    assert_eq!(refused("{}"), (Reason::MissingField, Some("amt".into())));
}

#[test]
fn what_is_no_moment_and_what_is_outside_the_time() {
    let time = |written: &str| refused_field(with("trans_date_trans_time", written));
    for written in ["\"yesterday\"", "\"2020-02-30 00:00:00\"", "\"\"", "12"] {
        assert_eq!(
            time(written),
            (Reason::BadTime, "event_time".into()),
            "{written}"
        );
    }
    for written in [
        "\"0000-01-01 00:00:00\"",
        "\"9999-12-31 23:59:59\"",
        "\"2014-12-31 23:59:59\"",
        "\"2020-06-22 12:14:26\"",
    ] {
        assert_eq!(
            time(written),
            (Reason::TimeOutOfRange, "event_time".into()),
            "{written}"
        );
    }
    accepted(with("trans_date_trans_time", "\"2020-06-22 12:14:25\""));
    accepted(with("trans_date_trans_time", "\"2015-01-01 00:00:00\""));
    accepted(with("dob", "\"1868-03-19\""));
    assert_eq!(
        refused_field(with("dob", "\"9999-01-01\"")),
        (Reason::TimeOutOfRange, "dob".into())
    );
}

#[test]
fn what_is_too_large_or_too_deep_is_said_before_anything_else() {
    let mut large = vec![0xff; PAYLOAD_BYTES];
    assert_eq!(refused(&large).0, Reason::NotUtf8);
    large.push(b'x');
    assert_eq!(refused(&large).0, Reason::TooLarge);
    assert_eq!(refused(vec![b'['; 5_000_000]).0, Reason::TooLarge);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(refused(with("unknown", &deep)), (Reason::TooDeep, None));
    assert_eq!(refused(with("amt", &deep)), (Reason::TooDeep, None));
    let just = format!("{}{}", "[".repeat(63), "]".repeat(63));
    accepted(with("unknown", &just));
}

#[test]
fn what_is_no_json_object_of_utf_8() {
    assert_eq!(refused(b"{\"amt\":\"\xff\"}").0, Reason::NotUtf8);
    let whole = payment().to_string();
    for end in (0..whole.len()).step_by(7) {
        assert_eq!(refused(&whole[..end]), (Reason::NotJson, None), "{end}");
    }
    for text in ["", " ", "[]", "null", "12", "{} x", "\u{feff}{}"] {
        assert_eq!(refused(text), (Reason::NotJson, None), "{text:?}");
    }
    assert_eq!(refused(with("amt", "012")), (Reason::NotJson, None));
    assert_eq!(
        refused(with("unknown", "\"\\ud800\"")),
        (Reason::NotJson, None)
    );
    assert_eq!(
        refused(format!("{}]", with("amt", "true"))),
        (Reason::NotJson, None)
    );
}

#[test]
fn a_tombstone_is_a_dead_letter_without_payload() {
    let (events, letters) = between_neighbours(None);
    assert_eq!((events.len(), letters[0].reason), (2, Reason::Tombstone));
    assert_eq!(
        (letters[0].payload.as_str(), letters[0].payload_bytes),
        ("", 0)
    );
}

#[test]
fn of_several_faults_the_first_in_the_text_is_named_and_a_missing_field_after_it() {
    let first = "{\"lat\":true,\"amt\":true,\"trans_num\":\"\"}";
    assert_eq!(refused_field(first), (Reason::WrongType, "lat".into()));
    let then = "{\"amt\":1e400,\"lat\":true}";
    assert_eq!(refused_field(then), (Reason::OutOfRange, "amt".into()));
}

#[test]
fn the_key_must_be_the_account_unless_the_rule_is_off() {
    let payload = payment().to_string();
    let good: [&[u8]; 2] = [CARD.as_bytes(), b"4242-4242 4242 4242"];
    let bad: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"4242424242424241"), Some(b"\xff")];
    let mut records = Records::default();
    for key in good.into_iter().map(Some).chain(bad) {
        records.push((0, 0), SENT, key, Some(payload.as_bytes()));
    }
    let (events, letters) = decode(&decoder(), &records);
    assert_eq!(events.len(), good.len());
    let expected = (Reason::WrongKey, Some("cc_num".to_owned()));
    for letter in &letters {
        assert_eq!((letter.reason, letter.field.clone()), expected);
    }
    let off = Rules {
        key_check: KeyCheck::Off,
        ..rules()
    };
    let (events, letters) = decode(&decoder_with(off), &records);
    assert_eq!((events.len(), letters.len()), (6, 0));
}

#[test]
fn labels_come_in_several_forms() {
    for (written, expected) in [
        ("0", Some(false)),
        ("1", Some(true)),
        ("\"1\"", Some(true)),
        ("true", Some(true)),
        ("\"false\"", Some(false)),
        ("1.0", Some(true)),
        ("null", None),
    ] {
        let events = accepted(with("is_fraud", written));
        let Column::Label(label) = column(&events, "is_fraud") else {
            panic!("no label")
        };
        assert_eq!(label[1], expected, "{written}");
    }
    for written in ["2", "\"maybe\"", "\"\"", "{}"] {
        assert_eq!(
            refused_field(with("is_fraud", written)),
            (Reason::WrongType, "is_fraud".into())
        );
    }
}

#[test]
fn card_numbers_in_texts_are_masked_and_in_ids_told_apart() {
    let events = accepted(with("merchant", "\"shop 3782 822463 10005\""));
    assert_eq!(text(&events, "merchant").as_deref(), Some("shop ****"));
    let one = accepted(with("trans_num", "\"tx-378282246310005\""));
    let two = accepted(with("trans_num", "\"tx-4242424242424242\""));
    assert_ne!(one.id_hash[1], two.id_hash[1]);
    let id = text(&one, "trans_num").unwrap();
    assert!(
        id.starts_with("tx-t") && !id.contains("378282246310005"),
        "{id}"
    );
    let mut schema = decoder().schema;
    let merchant = schema.index_of("merchant").unwrap();
    schema.fields[merchant].not_pan = true;
    let payload = with("merchant", "\"shop 378282246310005\"");
    let decoder = Decoder::new(schema, tokens(), rules());
    let (events, _) = decode(&decoder, &records(&[Some(payload.as_bytes())]));
    assert_eq!(events.texts(merchant).get(0), Some("shop 378282246310005"));
}

#[test]
fn an_account_that_is_no_card_is_taken_as_it_is() {
    let mut schema = decoder().schema;
    let account = schema.roles.account;
    schema.fields[account].pan = false;
    let decoder = Decoder::new(schema, tokens(), rules());
    let decode_with = |account: &str, key: &str| {
        let payload = with("cc_num", &format!("\"{account}\""));
        let mut records = Records::default();
        records.push((0, 0), SENT, Some(key.as_bytes()), Some(payload.as_bytes()));
        decode(&decoder, &records)
    };
    let (events, _) = decode_with("C 1-2", "C 1-2");
    assert_eq!(events.account, [tokens().account("C 1-2")]);
    assert_eq!(events.texts(account).get(0), Some("C 1-2"));
    assert_eq!(decode_with("C 1-2", "C12").1[0].reason, Reason::WrongKey);
}

#[test]
fn a_dead_letter_shows_no_card_number() {
    let payload = with("amt", "true").replace("Columbia", CARD);
    let (_, letters) = between_neighbours(Some(payload.as_bytes()));
    let letter = &letters[0];
    assert!(!format!("{letter:?}").contains(CARD), "{letter:?}");
    assert_eq!(letter.key, Some(tokens().card(CARD).to_string()));
    assert_eq!(letter.payload_bytes, payload.len() as u64);
    assert_eq!(
        letter.payload_hash,
        tokens().payload_hash(payload.as_bytes())
    );
    assert_eq!(
        letter.message,
        "expected a number from 0.00 to 100000000000.00 of at most 2 decimals, found a boolean"
    );
}

#[test]
fn the_business_day_is_the_zone_s() {
    let zone = Rules {
        business_zone: TimeZone::get("Asia/Tokyo").unwrap(),
        ..rules()
    };
    let payload = with("trans_date_trans_time", "\"2020-06-21 15:00:00\"");
    let (events, _) = decode(&decoder_with(zone), &records(&[Some(payload.as_bytes())]));
    assert_eq!(events.day, [18_435]);
}

#[test]
fn an_id_is_hashed_under_the_key() {
    let events = accepted(payment().to_string());
    let other = Decoder::new(
        decoder().schema,
        TokenKey::new(&"o".repeat(32)).unwrap(),
        rules(),
    );
    let payload = payment().to_string();
    let (others, _) = decode(&other, &records(&[Some(payload.as_bytes())]));
    assert_ne!(events.id_hash[1], others.id_hash[0]);
    assert_ne!(others.account[0], Token([0; 16]));
}

fn is_longer_number(text: &str) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    text.match_indices(CARD).any(|(at, card)| {
        digit(text[..at].chars().next_back()) || digit(text[at + card.len()..].chars().next())
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        between_neighbours(Some(&bytes));
    }

    #[test]
    fn no_edit_makes_it_panic_or_show_the_card(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = payment().to_string().into_bytes();
        for (index, byte) in edits {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        // With one more digit it is another number, and no card's.
        prop_assume!(!is_longer_number(&String::from_utf8_lossy(&bytes)));
        let (_, letters) = between_neighbours(Some(&bytes));
        for letter in letters {
            prop_assert!(!letter.payload.contains(CARD), "{}", letter.payload);
        }
    }
}
