//! The history that shards are rebuilt from: one streaming read for all partitions together.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::database::{DAYS_TO_2000, MICROS_TO_2000};
use crate::engine::batch::{Micros, Token};

use super::encode::{HEADER, TRAILER};
use super::error::StoreError;
use super::{Store, answered};

/// Values of a row, as [`Store::history`] asks for them.
const FIELDS: i16 = 8;

/// What of a partition's history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The partition.
    pub partition: i32,
    /// Rows below this offset.
    pub next_offset: i64,
    /// Rows with a later event time than this.
    pub horizon: Micros,
}

/// A stored payment, as much of it as a window reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmRow<'a> {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The account's token.
    pub account: Token,
    /// Event time.
    pub time: Micros,
    /// Business day, in days since 1970-01-01.
    pub day: i32,
    /// Amount in minor units.
    pub amount: i64,
    /// The transaction's id.
    pub trans_num: &'a str,
    /// Hash of the decoded fields.
    pub body_hash: u64,
}

impl Store {
    /// Reads what the shards of these partitions were made of. Rows come in no particular order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database falls silent; what `row` was given so far is
    /// then worth nothing.
    pub async fn warm_up(
        &mut self,
        since: &[Since],
        mut row: impl FnMut(WarmRow<'_>),
    ) -> Result<(), StoreError> {
        let Some(earliest) = since.iter().map(|since| since.horizon).min() else {
            return Ok(());
        };
        let query = self.history(since, earliest);
        let wanted: HashMap<i32, Since> = since.iter().map(|s| (s.partition, *s)).collect();
        let patience = self.patience();
        let client = &self.session().await?.client;
        let read = async {
            // The whole of a long history in one statement: what is watched is each row instead.
            answered(patience, client.batch_execute("SET statement_timeout = 0")).await?;
            let mut rows = pin!(answered(patience, client.copy_out(&query)).await?);
            while let Some(bytes) = answered(patience, rows.try_next()).await? {
                // The header comes together with the first row, the trailer alone.
                let bytes = bytes.strip_prefix(HEADER).unwrap_or(&bytes);
                if bytes == TRAILER.to_be_bytes() {
                    continue;
                }
                let found = parse(bytes).ok_or_else(malformed)?;
                if let Some(since) = wanted.get(&found.partition)
                    && found.offset < since.next_offset
                    && found.time > since.horizon
                {
                    row(found);
                }
            }
            answered(patience, client.batch_execute("RESET statement_timeout")).await
        };
        let outcome = read.await;
        self.settle(outcome)
    }

    /// COPY takes no parameters; all that goes in are numbers.
    fn history(&self, since: &[Since], earliest: Micros) -> String {
        let partitions: Vec<String> = since.iter().map(|s| s.partition.to_string()).collect();
        // An event later than the horizon lies on its day or a later one.
        let first_day = business_day(&self.zone, earliest);
        format!(
            "COPY (SELECT source_partition, source_offset, account, event_time, event_day, \
                          amount, trans_num, body_hash \
                   FROM payments_scored \
                   WHERE stream = {} AND source_partition = ANY ('{{{}}}') \
                     AND event_day >= DATE '1970-01-01' + {first_day} \
                     AND event_time > TIMESTAMPTZ '1970-01-01T00:00:00Z' \
                                      + {earliest} * INTERVAL '1 microsecond') \
             TO STDOUT (FORMAT binary)",
            self.stream(),
            partitions.join(","),
        )
    }
}

/// The day, in days since 1970-01-01, that a moment lies on in the business zone. Beyond the
/// calendar is the earliest day: nothing is left out.
pub(super) fn business_day(zone: &TimeZone, time: Micros) -> i32 {
    let Ok(moment) = Timestamp::from_microsecond(time) else {
        return i32::MIN / 2;
    };
    let day = moment.to_zoned(zone.clone()).date();
    // Both are dates of jiff's calendar, whose days fit an i32.
    day.duration_since(date(1970, 1, 1)).as_hours() as i32 / 24
}

fn malformed() -> StoreError {
    StoreError::Refused("payments_scored holds a row that this program did not write".into())
}

/// One row of the binary form.
fn parse(row: &[u8]) -> Option<WarmRow<'_>> {
    let mut fields = Fields(row.strip_prefix(&FIELDS.to_be_bytes())?);
    Some(WarmRow {
        partition: i32::from_be_bytes(fields.fixed()?),
        offset: i64::from_be_bytes(fields.fixed()?),
        account: Token(fields.fixed()?),
        time: i64::from_be_bytes(fields.fixed()?) + MICROS_TO_2000,
        day: i32::from_be_bytes(fields.fixed()?) + DAYS_TO_2000,
        amount: i64::from_be_bytes(fields.fixed()?),
        trans_num: std::str::from_utf8(fields.next()?).ok()?,
        body_hash: u64::from_be_bytes(fields.fixed()?),
    })
}

/// What is left of a row: a length before each value.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.next()?.try_into().ok()
    }
}
