//! Payments as a producer writes them, field by field, so that a test can break any of them.

use jiff::{Timestamp, ToSpan};

/// A payment of the `card` bundle as JSON that is written, not serialised: what no serialiser
/// would write can be written too.
#[derive(Debug, Clone)]
pub struct Event {
    card: String,
    /// Keys and their values, both as JSON text.
    fields: Vec<(String, String)>,
}

impl Event {
    /// A good payment of 12.34 at `time`.
    pub fn new(id: &str, card: &str, time: Timestamp) -> Self {
        let texts = [
            ("trans_num", id),
            ("trans_date_trans_time", &written(time)),
            ("merchant", "fraud_Kirlin and Sons"),
            ("category", "personal_care"),
            ("gender", "F"),
            ("city", "Columbia"),
            ("state", "SC"),
            ("job", "Mechanical engineer"),
            ("dob", "1968-03-19"),
        ]
        .map(|(key, text)| (key, format!("\"{text}\"")));
        let numbers = [
            ("amt", "12.34"),
            ("city_pop", "333497"),
            ("lat", "33.9659"),
            ("long", "-80.9355"),
            ("merch_lat", "33.986391"),
            ("merch_long", "-81.200714"),
            ("is_fraud", "0"),
        ]
        .map(|(key, number)| (key, number.to_owned()));
        let fields = texts.into_iter().chain(numbers);
        let mut event = Self {
            card: card.to_owned(),
            fields: fields.map(|(key, text)| (key.to_owned(), text)).collect(),
        };
        event = event.with("cc_num", &format!("\"{card}\""));
        event
    }

    /// The account, which a record's key must be.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// With this JSON text as the field's value.
    pub fn with(mut self, key: &str, text: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == key) {
            Some((_, value)) => *value = text.to_owned(),
            None => self.fields.push((key.to_owned(), text.to_owned())),
        }
        self
    }

    /// With the key once more at the end.
    pub fn and(mut self, key: &str, text: &str) -> Self {
        self.fields.push((key.to_owned(), text.to_owned()));
        self
    }

    /// Without the field.
    pub fn without(mut self, key: &str) -> Self {
        self.fields.retain(|(known, _)| known != key);
        self
    }

    /// The JSON text.
    pub fn text(&self) -> String {
        let pair = |(key, value): &(String, String)| format!("\"{key}\":{value}");
        let pairs: Vec<String> = self.fields.iter().map(pair).collect();
        format!("{{{}}}", pairs.join(","))
    }
}

/// A time as the `card` bundle's payments have it.
pub fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A whole second, some minutes ago: no test runs into the future.
pub fn recently() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap() - 30.minutes()
}

/// An invented account of 16 digits, which fails the check of card numbers.
pub fn account(number: u64) -> String {
    let card = card(number);
    let (front, last) = card.split_at(card.len() - 1);
    let wrong = (last.parse::<u32>().unwrap() + 1) % 10;
    format!("{front}{wrong}")
}

/// An invented card number of 16 digits that passes the check of card numbers (Luhn).
pub fn card(number: u64) -> String {
    let front = format!("9{number:014}");
    assert_eq!(front.len(), 15, "an account number of at most 14 digits");
    format!("{front}{}", check_digit(&front))
}

/// The digit that makes the number pass (Luhn).
pub fn check_digit(front: &str) -> u32 {
    let digits = front.chars().rev().map(|c| c.to_digit(10).unwrap());
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit * 2 / 10 + digit * 2 % 10,
            _ => digit,
        })
        .sum();
    (10 - sum % 10) % 10
}
