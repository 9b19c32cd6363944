//! Rows that were read whole enter the columns of their batch.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::row::{Row, Slot};
use super::time::Stretch;
use super::{Decoder, Kind};
use crate::bundle::Field;
use crate::engine::batch::{Column, Events, Texts, Token};

/// The events of a batch as they grow.
#[derive(Debug)]
pub struct Columns {
    pub events: Events,
    body: Vec<u8>,
    hexadecimal: String,
    stretch: Stretch,
}

impl Columns {
    pub fn new(decoder: &Decoder, rows: usize) -> Self {
        let fields = decoder.schema.fields.iter();
        Self {
            events: Events {
                record: Vec::with_capacity(rows),
                columns: fields.map(|field| column(field, rows)).collect(),
                account: Vec::with_capacity(rows),
                time: Vec::with_capacity(rows),
                day: Vec::with_capacity(rows),
                amount: Vec::with_capacity(rows),
                id_hash: Vec::with_capacity(rows),
                body_hash: Vec::with_capacity(rows),
            },
            body: Vec::new(),
            hexadecimal: String::new(),
            stretch: Stretch::default(),
        }
    }

    /// Adds a row whose required fields are all there.
    pub fn push(&mut self, record: usize, row: &Row<'_>) {
        let decoder = row.decoder;
        let roles = &decoder.schema.roles;
        let whole = |index: usize| match row.slots[index] {
            Slot::Whole(value) => value,
            ref other => unreachable!("a required amount or time was read as {other:?}"),
        };
        let time = whole(roles.time);
        let events = &mut self.events;
        events.record.push(record as u32);
        events.account.push(row.account);
        events.time.push(time);
        let zone = &decoder.rules.business_zone;
        events.day.push(self.stretch.day(time, zone));
        events.amount.push(whole(roles.amount));
        self.push_values(row);
        let id = match &row.slots[roles.id] {
            Slot::Token(token) => {
                hexadecimal(*token, &mut self.hexadecimal);
                self.hexadecimal.as_bytes()
            }
            Slot::Text(text) => text.as_bytes(),
            other => unreachable!("a required id was read as {other:?}"),
        };
        let seed = decoder.tokens.id_seed();
        self.events.id_hash.push(xxh3_64_with_seed(id, seed));
    }

    /// Fills the columns and hashes what went into them.
    ///
    /// The hash is stored and compared years later, so its form never changes: for every field
    /// but labels, in the order of their names, a zero byte when missing, otherwise a one and
    /// the value: texts as their length in four bytes and their UTF-8, card numbers as the 16
    /// bytes of their token, numbers as a double, all others as a 64-bit integer (amounts in
    /// minor units, moments in microseconds since 1970); little-endian; XXH3 of 64 bits, seed 0.
    fn push_values(&mut self, row: &Row<'_>) {
        self.body.clear();
        for (column, slot) in self.events.columns.iter_mut().zip(&row.slots) {
            if !matches!(column, Column::Label(_)) {
                write_canonical(&mut self.body, slot);
            }
            match (column, slot) {
                (Column::Number(column), Slot::Number(value)) => column.push(*value),
                (Column::Number(column), _) => column.push(f64::NAN),
                (Column::Integer(column) | Column::Amount(column) | Column::Time(column), slot) => {
                    column.push(match slot {
                        Slot::Whole(value) => Some(*value),
                        _ => None,
                    })
                }
                (Column::Text(column), Slot::Text(text)) => column.push(Some(text)),
                (Column::Text(column), Slot::Token(token)) => {
                    hexadecimal(*token, &mut self.hexadecimal);
                    column.push(Some(&self.hexadecimal));
                }
                (Column::Text(column), _) => column.push(None),
                (Column::Label(column), slot) => column.push(match slot {
                    Slot::Label(label) => Some(*label),
                    _ => None,
                }),
            }
        }
        self.events.body_hash.push(xxh3_64(&self.body));
    }
}

fn column(field: &Field, rows: usize) -> Column {
    match field.kind {
        Kind::Text { .. } => Column::Text(Texts::default()),
        Kind::Number { .. } => Column::Number(Vec::with_capacity(rows)),
        Kind::Integer { .. } => Column::Integer(Vec::with_capacity(rows)),
        Kind::Amount { .. } => Column::Amount(Vec::with_capacity(rows)),
        Kind::Time { .. } => Column::Time(Vec::with_capacity(rows)),
        Kind::Label => Column::Label(Vec::with_capacity(rows)),
    }
}

fn write_canonical(body: &mut Vec<u8>, slot: &Slot<'_>) {
    body.push(u8::from(!matches!(slot, Slot::Absent | Slot::Null)));
    match slot {
        Slot::Absent | Slot::Null => {}
        Slot::Number(value) => body.extend_from_slice(&value.to_le_bytes()),
        Slot::Whole(value) => body.extend_from_slice(&value.to_le_bytes()),
        Slot::Text(text) => {
            body.extend_from_slice(&(text.len() as u32).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        Slot::Token(token) => body.extend_from_slice(&token.0),
        Slot::Label(label) => body.push(u8::from(*label)),
    }
}

/// The text of a token, without the cost of a formatter.
fn hexadecimal(token: Token, text: &mut String) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    text.clear();
    for byte in token.0 {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
