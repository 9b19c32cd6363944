//! A batch as the bytes of `COPY … BINARY`, encoded by hand: a writer that goes by declared types
//! costs more a row than the rest of the encoding together.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bundle::Schema;
use crate::bundle::schema::Kind;
use crate::database::{DAYS_TO_2000, MICROS_TO_2000};
use crate::engine::batch::{Column, Decided, Decision, FeatureColumn, Origin, ReasonCode, Texts};

use super::Versions;

/// What `COPY … BINARY` begins with, in and out.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(super) const TRAILER: i16 = -1;
const NULL: i32 = -1;
const TEXT_OID: i32 = 25;

/// The columns of a payment in the order they are sent.
pub(super) const PAYMENT_COLUMNS: &str = "stream, trans_num, account, event_time, event_day, \
     amount, currency, merchant, category, country, event, score, decision, reasons, features, \
     model_version, policy_version, body_hash, source_partition, source_offset, origin";
const PAYMENT_FIELDS: i16 = 21;

/// The columns of a label in the order they are sent.
pub(super) const LABEL_COLUMNS: &str =
    "stream, trans_num, account, event_time, event_day, label, source";
const LABEL_FIELDS: i16 = 7;

/// How a label of the payload names its source.
const LABEL_SOURCE: &str = "payload";

/// Turns batches of one bundle into rows; keeps its memory from batch to batch.
pub(super) struct Encoder {
    stream: i16,
    id: usize,
    label: Option<usize>,
    /// Currency, merchant, category, country: the columns they have, if any.
    named: [Option<usize>; 4],
    others: Vec<Other>,
    order: Vec<u32>,
    payments: BytesMut,
    labels: BytesMut,
}

/// A field without a column of its own: it goes into `event`.
struct Other {
    column: usize,
    /// `"name":`, ready to be copied.
    key: Vec<u8>,
    decimals: u32,
}

impl Encoder {
    pub(super) fn new(stream: i16, schema: &Schema) -> Self {
        let roles = schema.roles;
        let named = [
            roles.currency,
            roles.merchant,
            roles.category,
            roles.country,
        ];
        let has_column = |index: usize| {
            [roles.id, roles.time, roles.account, roles.amount].contains(&index)
                || named.contains(&Some(index))
        };
        let mut others = Vec::new();
        for (column, field) in schema.fields.iter().enumerate() {
            let decimals = match field.kind {
                Kind::Label => continue,
                Kind::Amount { scale, .. } => scale,
                _ => 0,
            };
            if !has_column(column) && !field.pan {
                others.push(Other {
                    column,
                    key: format!("{}:", serde_json::Value::from(field.name.as_str())).into_bytes(),
                    decimals,
                });
            }
        }
        Self {
            stream,
            id: roles.id,
            label: roles.label,
            named,
            others,
            order: Vec::new(),
            payments: BytesMut::new(),
            labels: BytesMut::new(),
        }
    }

    /// The ids of the batch's payments.
    pub(super) fn ids<'a>(&self, decided: &'a Decided) -> &'a Texts {
        decided.events.texts(self.id)
    }

    /// The text of the batch's currency, merchant, category or country column (0 to 3).
    pub(super) fn named<'a>(&self, decided: &'a Decided, which: usize) -> Option<&'a Texts> {
        self.named[which].map(|column| decided.events.texts(column))
    }

    /// All payments of the batch, sorted by day and key, so that neither partitions nor pages of
    /// the index are visited twice.
    pub(super) fn payments(&mut self, decided: &Decided, versions: &Versions) -> Bytes {
        self.sort(decided);
        let mut out = std::mem::take(&mut self.payments);
        out.reserve(HEADER.len() + 2 + 640 * decided.events.len());
        out.put_slice(HEADER);
        for &row in &self.order {
            self.payment(decided, row as usize, versions, &mut out);
        }
        out.put_i16(TRAILER);
        let bytes = out.split().freeze();
        self.payments = out;
        bytes
    }

    /// The labels that payloads carried, of the rows that `stored` is true for.
    pub(super) fn labels(
        &mut self,
        decided: &Decided,
        stored: impl Fn(usize) -> bool,
    ) -> Option<Bytes> {
        let Column::Label(labels) = &decided.events.columns[self.label?] else {
            return None;
        };
        let mut out = std::mem::take(&mut self.labels);
        out.put_slice(HEADER);
        let empty = out.len();
        for &row in &self.order {
            let row = row as usize;
            // The canary is no truth about payments.
            let is_truth = decided.origins[row] != Origin::Canary;
            if let (Some(label), true) = (labels[row], is_truth && stored(row)) {
                self.label(decided, row, label, &mut out);
            }
        }
        let any = out.len() > empty;
        out.put_i16(TRAILER);
        let bytes = out.split().freeze();
        self.labels = out;
        any.then_some(bytes)
    }

    fn sort(&mut self, decided: &Decided) {
        let events = &decided.events;
        let ids = events.texts(self.id);
        self.order.clear();
        self.order.extend(0..events.len() as u32);
        self.order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            (events.day[a], events.time[a])
                .cmp(&(events.day[b], events.time[b]))
                .then_with(|| ids.get(a).cmp(&ids.get(b)))
                .then_with(|| events.account[a].cmp(&events.account[b]))
        });
    }

    fn payment(&self, decided: &Decided, row: usize, versions: &Versions, out: &mut BytesMut) {
        let events = &decided.events;
        let head = &decided.heads[events.record[row] as usize];
        out.put_i16(PAYMENT_FIELDS);
        self.identity(decided, row, out);
        put_i64(out, events.amount[row]);
        for column in self.named {
            put_text(out, column.and_then(|column| events.texts(column).get(row)));
        }
        measured(out, |out| self.others(&events.columns, row, out));
        let score = decided.scores[row];
        if score.is_nan() {
            out.put_i32(NULL);
        } else {
            out.put_i32(4);
            out.put_f32(score);
        }
        out.put_i32(2);
        out.put_i16(decision_code(decided.decisions[row]));
        put_reason(out, decided.reasons[row]);
        put_features(out, &decided.features.columns, row);
        put_text(out, Some(&versions.model));
        put_text(out, Some(&versions.policy));
        put_i64(out, events.body_hash[row].cast_signed());
        out.put_i32(4);
        out.put_i32(head.partition);
        put_i64(out, head.offset);
        out.put_i32(2);
        out.put_i16(origin_code(decided.origins[row]));
    }

    fn label(&self, decided: &Decided, row: usize, label: bool, out: &mut BytesMut) {
        out.put_i16(LABEL_FIELDS);
        self.identity(decided, row, out);
        out.put_i32(1);
        out.put_u8(label.into());
        put_text(out, Some(LABEL_SOURCE));
    }

    /// What payments and labels begin with: stream, id, account, time, day.
    fn identity(&self, decided: &Decided, row: usize, out: &mut BytesMut) {
        let events = &decided.events;
        out.put_i32(2);
        out.put_i16(self.stream);
        put_text(out, events.texts(self.id).get(row));
        out.put_i32(16);
        out.put_slice(&events.account[row].0);
        put_i64(out, events.time[row] - MICROS_TO_2000);
        out.put_i32(4);
        out.put_i32(events.day[row] - DAYS_TO_2000);
    }

    /// The other declared fields as one JSON object; what is missing is left out.
    fn others(&self, columns: &[Column], row: usize, out: &mut BytesMut) {
        out.put_u8(b'{');
        let mut first = true;
        for other in &self.others {
            let column = &columns[other.column];
            if is_missing(column, row) {
                continue;
            }
            if !first {
                out.put_u8(b',');
            }
            first = false;
            out.put_slice(&other.key);
            put_json(out, column, row, other.decimals);
        }
        out.put_u8(b'}');
    }
}

/// How a decision is stored; larger is graver.
pub(super) fn decision_code(decision: Decision) -> i16 {
    match decision {
        Decision::Allow => 0,
        Decision::Review => 1,
        Decision::Block => 2,
    }
}

/// The decision that is stored so.
pub(super) fn decision_of(code: i16) -> Decision {
    match code {
        0 => Decision::Allow,
        1 => Decision::Review,
        _ => Decision::Block,
    }
}

/// How an origin is stored.
pub(super) fn origin_code(origin: Origin) -> i16 {
    match origin {
        Origin::Live => 0,
        Origin::Backfill => 1,
        Origin::Canary => 2,
    }
}

/// The length goes before the value; it is known after.
fn measured(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    write(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_i64(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn put_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        None => out.put_i32(NULL),
        Some(text) => {
            out.put_i32(text.len() as i32);
            out.put_slice(text.as_bytes());
        }
    }
}

/// An array of one text, or null.
fn put_reason(out: &mut BytesMut, reason: ReasonCode) {
    if reason == ReasonCode::None {
        out.put_i32(NULL);
        return;
    }
    measured(out, |out| {
        // Dimensions, no nulls, element type, length, lower bound.
        for word in [1, 0, TEXT_OID, 1, 1] {
            out.put_i32(word);
        }
        put_text(out, Some(reason.as_str()));
    });
}

fn put_features(out: &mut BytesMut, columns: &[FeatureColumn], row: usize) {
    out.put_i32(4 * columns.len() as i32);
    for column in columns {
        out.put_f32_le(match column {
            FeatureColumn::Number(values) => values[row],
            // Its text is a declared field, which the row holds elsewhere.
            FeatureColumn::Text(_) => f32::NAN,
        });
    }
}

fn is_missing(column: &Column, row: usize) -> bool {
    match column {
        Column::Number(values) => values[row].is_nan(),
        Column::Integer(values) | Column::Time(values) | Column::Amount(values) => {
            values[row].is_none()
        }
        Column::Text(texts) => texts.get(row).is_none(),
        Column::Label(_) => true,
    }
}

/// A value that is there, as JSON.
fn put_json(out: &mut BytesMut, column: &Column, row: usize, decimals: u32) {
    // Numbers and texts always have a JSON form, and memory never refuses bytes.
    let result = match column {
        Column::Number(values) => serde_json::to_writer(out.writer(), &values[row]),
        Column::Integer(values) => serde_json::to_writer(out.writer(), &values[row]),
        Column::Text(texts) => serde_json::to_writer(out.writer(), &texts.get(row)),
        Column::Time(values) => {
            put_time(out, values[row].unwrap_or_default());
            Ok(())
        }
        Column::Amount(values) => {
            put_decimal(out, values[row].unwrap_or_default(), decimals);
            Ok(())
        }
        Column::Label(_) => Ok(()),
    };
    debug_assert!(result.is_ok());
}

/// `"1988-03-09T00:00:00Z"`, with microseconds where there are any.
fn put_time(out: &mut BytesMut, micros: i64) {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) => out.put_slice(format!("\"{time}\"").as_bytes()),
        // Beyond the year 9999, which decode refuses.
        Err(_) => out.put_slice(micros.to_string().as_bytes()),
    }
}

/// An exact decimal: 1205 with two decimals is `12.05`.
fn put_decimal(out: &mut BytesMut, minor: i64, decimals: u32) {
    let unit = 10u64.pow(decimals);
    let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    let sign = if minor < 0 { "-" } else { "" };
    let text = match decimals {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0width$}", width = decimals as usize),
    };
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_in_minor_units_is_written_as_an_exact_decimal() {
        for (minor, decimals, expected) in [
            (1205, 2, "12.05"),
            (-5, 2, "-0.05"),
            (7, 0, "7"),
            (i64::MIN, 6, "-9223372036854.775808"),
        ] {
            let mut out = BytesMut::new();
            put_decimal(&mut out, minor, decimals);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn a_moment_is_written_so_that_a_person_can_read_it() {
        let mut out = BytesMut::new();
        put_time(&mut out, 573_868_800_000_000);
        assert_eq!(out, b"\"1988-03-09T00:00:00Z\"".as_slice());
    }
}
