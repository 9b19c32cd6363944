//! Bytes and a schema become events, or dead letters; clear card numbers end here.
//!
//! A row is read whole before any of it enters a column, so that one bad row costs one dead
//! letter and its neighbours nothing. Of several faults, one of the text as JSON comes first,
//! then the first faulty field in the text, then a missing one, then the record's key.

mod columns;
mod json;
mod keys;
pub(super) mod number;
mod row;
pub(crate) mod time;

use jiff::tz::TimeZone;

use self::columns::Columns;
use self::keys::Keys;
use self::row::{Fault, Reader, Row};
use super::batch::{DeadLetter, Events, Micros, Reason, Records};
use super::mask;
use super::token::TokenKey;
use crate::bundle::{Kind, Schema};
use crate::config::{ConfigError, EventsConfig, KeyCheck};

/// Largest payload, in bytes.
const PAYLOAD_BYTES: usize = 1 << 20;

/// Decodes the records of one stream.
#[derive(Debug)]
pub struct Decoder {
    schema: Schema,
    tokens: TokenKey,
    rules: Rules,
    keys: Keys,
    readers: Vec<Reader>,
}

/// What is accepted beyond the schema.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether a record's key must be its account.
    pub key_check: KeyCheck,
    /// Earlier event times are refused.
    pub first_day: Micros,
    /// How far an event time may be ahead of its record's timestamp, in microseconds.
    pub max_ahead: Micros,
    /// The zone whose midnight separates business days.
    pub business_zone: TimeZone,
}

impl Rules {
    /// The rules that the settings ask for.
    ///
    /// # Errors
    /// When the zone is unknown or the first day is beyond the calendar.
    pub fn new(events: &EventsConfig, key_check: KeyCheck) -> Result<Self, ConfigError> {
        let wrong = |setting, error: jiff::Error| ConfigError::Wrong {
            setting,
            problem: error.to_string(),
        };
        let zone = TimeZone::get(&events.business_zone)
            .map_err(|error| wrong("events.business_zone", error))?;
        let first_day = events
            .first_day
            .to_zoned(zone.clone())
            .map_err(|error| wrong("events.first_day", error))?;
        Ok(Self {
            key_check,
            first_day: first_day.timestamp().as_microsecond(),
            max_ahead: Micros::try_from(events.max_ahead.as_micros()).unwrap_or(Micros::MAX),
            business_zone: zone,
        })
    }
}

impl Decoder {
    /// Prepares the readers of all fields.
    pub fn new(schema: Schema, tokens: TokenKey, rules: Rules) -> Self {
        let readers = (0..schema.fields.len())
            .map(|index| Reader::new(&schema, index))
            .collect();
        Self {
            keys: Keys::of(&schema),
            schema,
            tokens,
            rules,
            readers,
        }
    }

    /// The schema of the events.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The dead letter of a record: where it stands, why, and what may be shown of it.
    ///
    /// `message` says what was expected and found, and no value.
    pub fn dead_letter(
        &self,
        records: &Records,
        row: usize,
        reason: Reason,
        field: Option<&str>,
        message: String,
    ) -> DeadLetter {
        let head = records.head(row);
        let payload = records.payload(row).unwrap_or_default();
        let fields = self.schema.fields.iter();
        let pan_keys: Vec<&str> = fields
            .filter(|field| field.pan)
            .map(|field| field.key.as_str())
            .collect();
        let is_card = self.schema.field(self.schema.roles.account).pan;
        DeadLetter {
            partition: head.partition,
            offset: head.offset,
            timestamp: head.timestamp,
            key: records
                .key(row)
                .map(|key| mask::masked_key(&self.tokens, key, is_card)),
            reason,
            field: field.map(str::to_owned),
            message,
            payload: mask::masked_payload(payload, &pan_keys),
            payload_bytes: payload.len() as u64,
            payload_hash: self.tokens.payload_hash(payload),
        }
    }
}

/// Decodes a batch; events and dead letters keep its order.
pub fn decode(decoder: &Decoder, records: &Records) -> (Events, Vec<DeadLetter>) {
    let mut columns = Columns::new(decoder, records.len());
    let mut dead_letters = Vec::new();
    let mut row = Row::new(decoder);
    for index in 0..records.len() {
        match event(&mut row, records, index) {
            Ok(()) => columns.push(index, &row),
            Err(fault) => {
                let field = fault.field.map(|field| decoder.schema.field(field));
                let field = field.map(|field| field.name.as_str());
                let letter =
                    decoder.dead_letter(records, index, fault.reason, field, fault.message);
                dead_letters.push(letter);
            }
        }
    }
    (columns.events, dead_letters)
}

fn event<'a>(row: &mut Row<'a>, records: &'a Records, index: usize) -> Result<(), Fault> {
    let Some(payload) = records.payload(index) else {
        return Err(Fault::of_record(
            Reason::Tombstone,
            "expected a payload, found none",
        ));
    };
    if payload.len() > PAYLOAD_BYTES {
        return Err(Fault::of_record(
            Reason::TooLarge,
            format!(
                "expected at most {PAYLOAD_BYTES} bytes, found {}",
                payload.len()
            ),
        ));
    }
    let text = std::str::from_utf8(payload).map_err(|error| {
        Fault::of_record(
            Reason::NotUtf8,
            format!(
                "expected UTF-8, found another byte at {}",
                error.valid_up_to()
            ),
        )
    })?;
    row.read(text, records.head(index).timestamp)?;
    row.check_key(records.key(index))
}

#[cfg(test)]
mod tests;
