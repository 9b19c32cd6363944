//! What flows through the engine: raw records in, columns of events, dead letters.
//!
//! Rows of one batch keep the batch's order throughout; every table is by column, and a row
//! is an index into all of them.

use std::ops::Range;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// A keyed, irreversible stand-in for an account: the first 128 bits of an HMAC-SHA256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub [u8; 16]);

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({self})")
    }
}

/// Raw records as they came from the topic, in one allocation.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    heads: Vec<RecordHead>,
}

/// Where a record stands and when it was sent.
#[derive(Debug, Clone)]
pub struct RecordHead {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's own timestamp.
    pub timestamp: Micros,
    /// Whether its header says that it was loaded from the past; see [`Origin::Backfill`].
    pub backfill: bool,
    key: Option<Range<usize>>,
    payload: Option<Range<usize>>,
}

impl Records {
    /// Adds a record; `payload` is `None` for a tombstone. It is no backfill until its head
    /// says so.
    pub fn push(
        &mut self,
        (partition, offset): (i32, i64),
        timestamp: Micros,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> &mut RecordHead {
        let mut keep = |part: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            start..self.bytes.len()
        };
        let head = RecordHead {
            partition,
            offset,
            timestamp,
            backfill: false,
            key: key.map(&mut keep),
            payload: payload.map(&mut keep),
        };
        self.heads.push_mut(head)
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of all keys and payloads.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Position and timestamp of record `row`.
    pub fn head(&self, row: usize) -> &RecordHead {
        &self.heads[row]
    }

    /// Positions and timestamps, in order.
    pub fn heads(&self) -> &[RecordHead] {
        &self.heads
    }

    /// The key of record `row`.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        self.heads[row].key.clone().map(|range| &self.bytes[range])
    }

    /// The payload of record `row`; `None` is a tombstone.
    pub fn payload(&self, row: usize) -> Option<&[u8]> {
        self.heads[row]
            .payload
            .clone()
            .map(|range| &self.bytes[range])
    }

    /// Forgets the records of partitions that are no longer this lane's.
    pub fn retain_partitions(&mut self, mut ours: impl FnMut(i32) -> bool) {
        self.heads.retain(|head| ours(head.partition));
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.heads.clear();
    }
}

/// One column of a batch.
#[derive(Debug, Clone)]
pub enum Column {
    /// Doubles; NaN is missing.
    Number(Vec<f64>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Texts; a card number's column holds its token instead.
    Text(Texts),
    /// Moments.
    Time(Vec<Option<Micros>>),
    /// Exact amounts in minor units.
    Amount(Vec<Option<i64>>),
    /// The late truth.
    Label(Vec<Option<bool>>),
}

/// A column of texts in one allocation.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
    missing: Vec<bool>,
}

impl Texts {
    /// Adds a text, or a missing one.
    pub fn push(&mut self, text: Option<&str>) {
        self.bytes.push_str(text.unwrap_or_default());
        self.ends.push(self.bytes.len());
        self.missing.push(text.is_none());
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut kept = Self::default();
        for (row, _) in keep.iter().enumerate().filter(|(_, keep)| **keep) {
            kept.push(self.get(row));
        }
        *self = kept;
    }

    /// The text of row `row`; `None` is missing.
    pub fn get(&self, row: usize) -> Option<&str> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        (!self.missing[row]).then(|| &self.bytes[start..self.ends[row]])
    }
}

/// Decoded events of one batch; every vector has one entry per event.
#[derive(Debug, Default)]
pub struct Events {
    /// Index of the event's record in the batch's [`Records`].
    pub record: Vec<u32>,
    /// One column per schema field, in the schema's order.
    pub columns: Vec<Column>,
    /// The account's token.
    pub account: Vec<Token>,
    /// Event time.
    pub time: Vec<Micros>,
    /// Business day of the event, in days since 1970-01-01.
    pub day: Vec<i32>,
    /// Amount in minor units.
    pub amount: Vec<i64>,
    /// Keyed hash of the transaction's id; never stored.
    pub id_hash: Vec<u64>,
    /// Hash of all decoded fields but the label; stored, so it must never change.
    pub body_hash: Vec<u64>,
}

impl Events {
    /// How many events.
    pub fn len(&self) -> usize {
        self.record.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.record.is_empty()
    }

    /// Keeps the events whose entry in `keep` is true.
    pub fn retain(&mut self, keep: &[bool]) {
        for column in &mut self.columns {
            match column {
                Column::Number(values) => retain(values, keep),
                Column::Integer(values) | Column::Time(values) | Column::Amount(values) => {
                    retain(values, keep);
                }
                Column::Text(texts) => texts.retain(keep),
                Column::Label(labels) => retain(labels, keep),
            }
        }
        retain(&mut self.record, keep);
        retain(&mut self.account, keep);
        retain(&mut self.time, keep);
        retain(&mut self.day, keep);
        retain(&mut self.amount, keep);
        retain(&mut self.id_hash, keep);
        retain(&mut self.body_hash, keep);
    }

    /// The text column of a field that the schema declares as text.
    pub fn texts(&self, field: usize) -> &Texts {
        match &self.columns[field] {
            Column::Text(texts) => texts,
            other => unreachable!("field {field} is declared as text, decoded as {other:?}"),
        }
    }
}

fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut row = 0;
    values.retain(|_| {
        row += 1;
        keep[row - 1]
    });
}

/// Why a record could not become an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text is not a JSON object.
    NotJson,
    /// A required field is absent or null.
    MissingField,
    /// A field holds another kind of value, or stands twice.
    WrongType,
    /// A value beyond what the field may hold.
    OutOfRange,
    /// Not a moment in the declared format.
    BadTime,
    /// A moment before the first day, or too far ahead of its record.
    TimeOutOfRange,
    /// More than 1 MiB.
    TooLarge,
    /// Nested more than 64 deep.
    TooDeep,
    /// No payload at all.
    Tombstone,
    /// The record's key is not its account.
    WrongKey,
    /// The same payment again with another body.
    ConflictingDuplicate,
}

impl Reason {
    /// All reasons, for metrics and help.
    pub const ALL: [Self; 12] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::MissingField,
        Self::WrongType,
        Self::OutOfRange,
        Self::BadTime,
        Self::TimeOutOfRange,
        Self::TooLarge,
        Self::TooDeep,
        Self::Tombstone,
        Self::WrongKey,
        Self::ConflictingDuplicate,
    ];

    /// The reason as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::BadTime => "bad_time",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::Tombstone => "tombstone",
            Self::WrongKey => "wrong_key",
            Self::ConflictingDuplicate => "conflicting_duplicate",
        }
    }
}

/// A record that could not be scored, with what a person needs to mend it.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's own timestamp.
    pub timestamp: Micros,
    /// The record's key, masked.
    pub key: Option<String>,
    /// Why.
    pub reason: Reason,
    /// Which field, by its name within Vigie.
    pub field: Option<String>,
    /// What was expected and found; never a value.
    pub message: String,
    /// The payload as text, card numbers masked, at most 64 KiB.
    pub payload: String,
    /// The payload's full length in bytes.
    pub payload_bytes: u64,
    /// Keyed hash of the whole payload.
    pub payload_hash: [u8; 32],
}

/// Feature columns, in the bundle's order; every column has one entry per event.
#[derive(Debug, Default)]
pub struct Features {
    /// One column per feature.
    pub columns: Vec<FeatureColumn>,
}

/// One feature of every event, as the graph takes it.
#[derive(Debug)]
pub enum FeatureColumn {
    /// Numbers; NaN is missing.
    Number(Vec<f32>),
    /// Categories; the empty text is missing.
    Text(Texts),
}

/// What to do with a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Let it pass.
    Allow,
    /// Have a person look at it.
    Review,
    /// Refuse it.
    Block,
}

impl Decision {
    /// All decisions, for metrics.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Review, Self::Block];

    /// The decision as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Review => "review",
            Self::Block => "block",
        }
    }
}

/// Why a decision was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// Nothing spoke against it.
    None,
    /// The score reached the review threshold.
    ScoreReview,
    /// The score reached the block threshold.
    ScoreBlock,
    /// There was no score; the policy's fallback decided.
    NotAssessed,
}

impl ReasonCode {
    /// The reason code as it is stored; empty for none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::ScoreReview => "score_review",
            Self::ScoreBlock => "score_block",
            Self::NotAssessed => "not_assessed",
        }
    }
}

/// Where a payment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Of a customer, now.
    Live,
    /// Loaded from the past: it fills the account's history, and nobody is told of it.
    Backfill,
    /// Our own, sent to see that everything works: always told, and left out of every figure.
    Canary,
}

/// A batch with its decisions: what one transaction stores.
///
/// Only payments that are to be stored are left in `events`; every vector has one entry each.
#[derive(Debug, Default)]
pub struct Decided {
    /// Positions and timestamps; `events.record` points into it.
    pub heads: Vec<RecordHead>,
    /// The scored payments.
    pub events: Events,
    /// Their features.
    pub features: Features,
    /// Their risk scores, 0 to 1; NaN is not assessed.
    pub scores: Vec<f32>,
    /// What to do with them.
    pub decisions: Vec<Decision>,
    /// Why.
    pub reasons: Vec<ReasonCode>,
    /// Where they come from.
    pub origins: Vec<Origin>,
    /// Records that are no payment, in no particular order.
    pub dead_letters: Vec<DeadLetter>,
    /// Repeats of payments already known, by partition and offset.
    pub duplicates: Vec<(i32, i64)>,
    /// Why the model gave no score, when it failed on the batch.
    pub score_error: Option<String>,
}

impl Decided {
    /// Where the record of the payment in `row` stands.
    pub fn head(&self, row: usize) -> &RecordHead {
        &self.heads[self.events.record[row] as usize]
    }

    /// Whether on-call is to hear of the payment in `row`.
    pub fn raises_alert(&self, row: usize) -> bool {
        match self.origins[row] {
            Origin::Live => self.decisions[row] != Decision::Allow,
            Origin::Backfill => false,
            Origin::Canary => true,
        }
    }

    /// Forgets everything of partitions that are no longer this lane's.
    pub fn retain_partitions(&mut self, ours: impl Fn(i32) -> bool) {
        let partitions: Vec<i32> = (0..self.events.len())
            .map(|row| self.head(row).partition)
            .collect();
        self.retain_rows(|row| ours(partitions[row]));
        self.dead_letters.retain(|letter| ours(letter.partition));
        self.duplicates.retain(|(partition, _)| ours(*partition));
    }

    /// Keeps the scored payments of these rows.
    pub fn retain_rows(&mut self, keeps: impl Fn(usize) -> bool) {
        let keep: Vec<bool> = (0..self.events.len()).map(keeps).collect();
        if !keep.contains(&false) {
            return;
        }
        self.events.retain(&keep);
        for column in &mut self.features.columns {
            match column {
                FeatureColumn::Number(values) => retain(values, &keep),
                FeatureColumn::Text(texts) => texts.retain(&keep),
            }
        }
        retain(&mut self.scores, &keep);
        retain(&mut self.decisions, &keep);
        retain(&mut self.reasons, &keep);
        retain(&mut self.origins, &keep);
    }
}
