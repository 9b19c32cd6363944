//! One row: the fields of one event as they are read, before any of it enters a column.

use std::borrow::Cow;

use super::Decoder;
use super::json::{Broken, Scanner, Value, Written};
use super::number;
use super::time::{Stretch, TimeReader};
use crate::bundle::{Kind, Schema};
use crate::config::KeyCheck;
use crate::engine::batch::{Micros, Reason, Token};
use crate::engine::mask;
use crate::engine::token::{TokenKey, canonical_card};

/// Longest id, in bytes, unless its field says less: a database index must hold it.
const ID_BYTES: usize = 128;

/// Why a row is no event.
#[derive(Debug)]
pub struct Fault {
    pub reason: Reason,
    pub field: Option<usize>,
    pub message: String,
}

impl Fault {
    /// A fault of the record as a whole.
    pub fn of_record(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            field: None,
            message: message.into(),
        }
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        let Broken {
            reason,
            at,
            expected,
        } = broken;
        Self::of_record(reason, format!("expected {expected} at byte {at}"))
    }
}

/// How one field's value is read.
#[derive(Debug)]
pub enum Reader {
    /// A card number: only its token is kept.
    Card { max_bytes: usize },
    /// Any other text.
    Text { max_bytes: usize, masking: Masking },
    /// A double within bounds.
    Number { min: f64, max: f64 },
    /// A decimal number in units of its scale, within bounds.
    Decimal { scale: u32, min: i64, max: i64 },
    /// A moment.
    Time(TimeReader),
    /// The label.
    Label,
}

/// What is done about card numbers in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// They are replaced by a mask.
    Mask,
    /// They are replaced by a token: the text tells payments or accounts apart.
    Token,
    /// Its numbers are known to be none.
    Off,
}

/// A field's value.
#[derive(Debug, Clone)]
pub enum Slot<'a> {
    /// The text does not have the field.
    Absent,
    /// It is there without a value.
    Null,
    /// A number.
    Number(f64),
    /// An integer, an amount or a moment.
    Whole(i64),
    /// A text, masked.
    Text(Cow<'a, str>),
    /// A card number's token.
    Token(Token),
    /// The label.
    Label(bool),
}

/// The row that is being read.
#[derive(Debug)]
pub struct Row<'a> {
    pub decoder: &'a Decoder,
    pub slots: Vec<Slot<'a>>,
    pub account: Token,
    account_text: Cow<'a, str>,
    timestamp: Micros,
    stretches: Vec<Stretch>,
}

impl Reader {
    pub fn new(schema: &Schema, index: usize) -> Self {
        let field = schema.field(index);
        match field.kind {
            Kind::Text { max_bytes } if field.pan => Self::Card { max_bytes },
            Kind::Text { max_bytes } => Self::Text {
                max_bytes: if index == schema.roles.id {
                    max_bytes.min(ID_BYTES)
                } else {
                    max_bytes
                },
                masking: if field.not_pan {
                    Masking::Off
                } else if index == schema.roles.id || index == schema.roles.account {
                    Masking::Token
                } else {
                    Masking::Mask
                },
            },
            Kind::Number { min, max } => Self::Number { min, max },
            Kind::Integer { min, max } => Self::Decimal { scale: 0, min, max },
            Kind::Amount { scale, min, max } => Self::Decimal { scale, min, max },
            Kind::Time {
                ref format,
                ref zone,
            } => Self::Time(TimeReader::new(format, zone)),
            Kind::Label => Self::Label,
        }
    }

    /// What such a field takes, for messages.
    fn expected(&self) -> String {
        match self {
            Self::Card { max_bytes } | Self::Text { max_bytes, .. } => {
                format!("a text of 1 to {max_bytes} bytes without NUL")
            }
            Self::Number { min, max } if *min == f64::MIN && *max == f64::MAX => {
                "a number that a double holds".into()
            }
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Decimal {
                scale: 0,
                min: i64::MIN,
                max: i64::MAX,
            } => "a whole number of 64 bits".into(),
            Self::Decimal { scale, min, max } => {
                let (min, max) = (in_major_units(*min, *scale), in_major_units(*max, *scale));
                format!("a number from {min} to {max} of at most {scale} decimals")
            }
            Self::Time(reader) => reader.expected().into(),
            Self::Label => "0, 1, false or true".into(),
        }
    }
}

impl<'a> Row<'a> {
    pub fn new(decoder: &'a Decoder) -> Self {
        let fields = decoder.readers.len();
        Self {
            decoder,
            slots: vec![Slot::Absent; fields],
            account: Token([0; 16]),
            account_text: Cow::Borrowed(""),
            timestamp: 0,
            stretches: vec![Stretch::default(); fields],
        }
    }

    /// Reads an event. The scan goes on behind a faulty field: a broken text is the worse fault.
    pub fn read(&mut self, text: &'a str, timestamp: Micros) -> Result<(), Fault> {
        self.slots.fill(Slot::Absent);
        self.timestamp = timestamp;
        let decoder = self.decoder;
        let mut first_fault = None;
        let mut scanner = Scanner::new(text);
        scanner.open()?;
        while let Some(key) = scanner.key()? {
            let value = scanner.value()?;
            match decoder.keys.find(&key.text()) {
                Some(_) if first_fault.is_some() => {}
                Some(field) => first_fault = self.take(field, value).err(),
                None if value == Value::NotFinite => Err(scanner.refuse_value())?,
                None => {}
            }
        }
        scanner.close()?;
        match first_fault {
            Some(fault) => Err(fault),
            None => self.check_required(),
        }
    }

    fn check_required(&self) -> Result<(), Fault> {
        let fields = self.decoder.schema.fields.iter();
        for (index, (field, slot)) in fields.zip(&self.slots).enumerate() {
            if field.required && matches!(slot, Slot::Absent | Slot::Null) {
                let found = match slot {
                    Slot::Absent => "nothing",
                    _ => "an empty value",
                };
                return Err(self.fault(index, Reason::MissingField, found));
            }
        }
        Ok(())
    }

    /// Accounts and their histories live in the partition that the key chose.
    pub fn check_key(&self, key: Option<&[u8]>) -> Result<(), Fault> {
        if self.decoder.rules.key_check == KeyCheck::Off {
            return Ok(());
        }
        let index = self.decoder.schema.roles.account;
        let is_card = self.decoder.schema.field(index).pan;
        let account = self.account_text.as_bytes();
        let grouping = |byte: &&u8| !matches!(byte, b' ' | b'-');
        let found = match key {
            Some(key) if key == account => return Ok(()),
            Some(key)
                if is_card
                    && key
                        .iter()
                        .filter(grouping)
                        .eq(account.iter().filter(grouping)) =>
            {
                return Ok(());
            }
            Some(_) => "another key",
            None => "no key",
        };
        Err(Fault {
            reason: Reason::WrongKey,
            field: Some(index),
            message: format!("expected the record's key to be its account, found {found}"),
        })
    }

    fn fault(&self, index: usize, reason: Reason, found: &str) -> Fault {
        let expected = self.decoder.readers[index].expected();
        Fault {
            reason,
            field: Some(index),
            message: format!("expected {expected}, found {found}"),
        }
    }

    fn take(&mut self, index: usize, value: Value<'a>) -> Result<(), Fault> {
        if !matches!(self.slots[index], Slot::Absent) {
            return Err(Fault {
                reason: Reason::WrongType,
                field: Some(index),
                message: "expected the key once, found it twice".into(),
            });
        }
        let slot = match value {
            Value::Null => Ok(Slot::Null),
            Value::NotFinite | Value::Nested => Err(Reason::WrongType),
            value => self.slot(index, value),
        };
        match slot {
            Ok(slot) => {
                self.slots[index] = slot;
                Ok(())
            }
            Err(reason) => Err(self.fault(index, reason, found(value, reason))),
        }
    }

    fn slot(&mut self, index: usize, value: Value<'a>) -> Result<Slot<'a>, Reason> {
        let decoder = self.decoder;
        match &decoder.readers[index] {
            Reader::Card { max_bytes } => {
                let text = text(value, *max_bytes)?;
                Ok(self.card(index, text))
            }
            Reader::Text { max_bytes, masking } => {
                let text = text(value, *max_bytes)?;
                Ok(self.text(index, text, *masking))
            }
            Reader::Number { min, max } => {
                let number = number::double(&digits(value)?)?;
                let fits = (*min..=*max).contains(&number);
                fits.then_some(Slot::Number(number))
                    .ok_or(Reason::OutOfRange)
            }
            Reader::Decimal { scale, min, max } => {
                let number = number::scaled(&digits(value)?, *scale)?;
                let fits = (*min..=*max).contains(&number);
                fits.then_some(Slot::Whole(number))
                    .ok_or(Reason::OutOfRange)
            }
            Reader::Time(reader) => {
                let moment = reader.read(&digits(value)?, &mut self.stretches[index])?;
                if index == decoder.schema.roles.time {
                    self.check_time(moment)?;
                }
                Ok(Slot::Whole(moment))
            }
            Reader::Label => label(value).map(Slot::Label).ok_or(Reason::WrongType),
        }
    }

    /// Judged against the record, never the clock, so that a second pass agrees.
    fn check_time(&self, moment: Micros) -> Result<(), Reason> {
        let rules = &self.decoder.rules;
        let latest = self.timestamp.saturating_add(rules.max_ahead);
        if moment < rules.first_day || moment > latest {
            return Err(Reason::TimeOutOfRange);
        }
        Ok(())
    }

    fn card(&mut self, index: usize, text: Cow<'a, str>) -> Slot<'a> {
        let number = canonical_card(&text);
        if number.is_empty() {
            return Slot::Null;
        }
        let token = self.decoder.tokens.account(&number);
        if index == self.decoder.schema.roles.account {
            self.account = token;
            drop(number);
            self.account_text = text;
        }
        Slot::Token(token)
    }

    fn text(&mut self, index: usize, text: Cow<'a, str>, masking: Masking) -> Slot<'a> {
        if text.is_empty() {
            return Slot::Null;
        }
        let tokens = &self.decoder.tokens;
        if index == self.decoder.schema.roles.account {
            self.account = tokens.account(&text);
            self.account_text = text.clone();
        }
        Slot::Text(without_cards(tokens, text, masking))
    }
}

fn without_cards<'a>(tokens: &TokenKey, text: Cow<'a, str>, masking: Masking) -> Cow<'a, str> {
    let masked = match masking {
        Masking::Off => return text,
        Masking::Mask => mask::masked(&text),
        Masking::Token => mask::masked_id(tokens, &text),
    };
    match masked {
        Cow::Owned(masked) => Cow::Owned(masked),
        Cow::Borrowed(_) => text,
    }
}

/// A text, or a whole number's digits: a card number may come as either.
fn text(value: Value<'_>, max_bytes: usize) -> Result<Cow<'_, str>, Reason> {
    let text = match value {
        Value::Text(written) => written.text(),
        Value::Number(number) if number::is_whole(number) => Cow::Borrowed(number),
        _ => return Err(Reason::WrongType),
    };
    if text.len() > max_bytes || text.as_bytes().contains(&0) {
        return Err(Reason::OutOfRange);
    }
    Ok(text)
}

/// What is written where a number or a moment belongs.
fn digits(value: Value<'_>) -> Result<Cow<'_, str>, Reason> {
    match value {
        Value::Number(number) => Ok(Cow::Borrowed(number)),
        Value::Text(written) => Ok(written.text()),
        _ => Err(Reason::WrongType),
    }
}

fn label(value: Value<'_>) -> Option<bool> {
    let one = |text: &str| match number::scaled(text, 0) {
        Ok(0) => Some(false),
        Ok(1) => Some(true),
        _ => None,
    };
    let word = |text: &str| match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        text => one(text),
    };
    match value {
        Value::Bool(label) => Some(label),
        Value::Number(number) => one(number),
        Value::Text(written) => word(&Written::text(written)),
        _ => None,
    }
}

/// What was found, without its value.
fn found(value: Value<'_>, reason: Reason) -> &'static str {
    match (reason, value) {
        (Reason::OutOfRange, Value::Text(_)) => "a text beyond that",
        (Reason::OutOfRange, _) => "a number beyond that",
        (Reason::TimeOutOfRange, _) => {
            "one outside the accepted time: before the first day, or too far ahead of its record"
        }
        (_, Value::Text(_)) => "another text",
        (_, Value::Number(_)) => "another number",
        (_, Value::Bool(_)) => "a boolean",
        (_, Value::Null) => "null",
        (_, Value::Nested) => "an object or an array",
        (_, Value::NotFinite) => "a bare NaN or Infinity",
    }
}

fn in_major_units(minor: i64, scale: u32) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let unit = 10u64.pow(scale);
    let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    match scale as usize {
        0 => format!("{sign}{whole}"),
        scale => format!("{sign}{whole}.{rest:0scale$}"),
    }
}
