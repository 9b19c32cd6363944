//! How far decisions are published, and reading those back that were stored and not published.

use tokio_postgres::Row;

use crate::database::{Day, Moment};
use crate::engine::batch::{Micros, Token};

use super::encode::decision_of;
use super::error::StoreError;
use super::warm_up::business_day;
use super::{Store, answered};

/// How far the decisions of one partition are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Decisions at lower offsets are acknowledged.
    pub to: i64,
    /// Earliest business day among those stored from there on; `None` when there is none.
    pub first_day: Option<i32>,
}

/// What a lane has published of a partition that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The partition.
    pub partition: i32,
    /// The epoch it was taken under.
    pub epoch: i64,
    /// How far it is.
    pub published: Published,
}

/// Stored decisions to be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// One past the last.
    pub to: i64,
    /// None of them is of an earlier business day.
    pub first_day: i32,
    /// None of them is of a later moment.
    pub latest: Micros,
}

/// A decision that was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDecision {
    /// Offset of its record.
    pub offset: i64,
    /// The transaction's id.
    pub trans_num: String,
    /// The account's token.
    pub account: Token,
    /// Event time.
    pub time: Micros,
    /// Amount in minor units.
    pub amount: i64,
    /// 0 to 1; `None` is not assessed.
    pub score: Option<f32>,
    /// The decision as it is called.
    pub decision: &'static str,
    /// Why; empty when nothing spoke against it.
    pub reasons: Vec<String>,
    /// Name and version of the model.
    pub model: String,
    /// Version of the policy.
    pub policy: String,
}

/// Under the lane's own epoch only: behind it, the next owner knows better.
const SETTLE: &str = "\
    UPDATE stream_offsets AS o SET published_to = s.published_to, unpublished_day = s.first_day \
    FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::date[]) \
         AS s (partition, epoch, published_to, first_day) \
    WHERE o.stream = $1 AND o.partition = s.partition AND o.epoch = s.epoch";

/// With the days in hand, few partitions of the table are looked into.
const DECISIONS: &str = "\
    SELECT source_offset, trans_num, account, event_time, amount, score, decision, reasons, \
           model_version, policy_version \
    FROM payments_scored \
    WHERE stream = $1 AND source_partition = $2 AND source_offset >= $3 AND source_offset < $4 \
      AND event_day BETWEEN $5 AND $6 AND origin = 0 \
    ORDER BY source_offset";

impl Store {
    /// Stores how far decisions are published, outside of any batch.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the database is away.
    pub async fn settle_published(&mut self, settled: &[Settlement]) -> Result<(), StoreError> {
        let (stream, patience) = (self.stream(), self.patience());
        let partitions: Vec<i32> = settled.iter().map(|s| s.partition).collect();
        let epochs: Vec<i64> = settled.iter().map(|s| s.epoch).collect();
        let positions: Vec<i64> = settled.iter().map(|s| s.published.to).collect();
        let days: Vec<Option<Day>> = settled
            .iter()
            .map(|s| s.published.first_day.map(Day))
            .collect();
        let client = &self.session().await?.client;
        let stored = answered(
            patience,
            client.execute(SETTLE, &[&stream, &partitions, &epochs, &positions, &days]),
        )
        .await;
        self.settle(stored)?;
        Ok(())
    }

    /// The live decisions of a stretch of offsets, in their order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the database is away.
    pub async fn decisions(
        &mut self,
        stretch: &Stretch,
    ) -> Result<Vec<StoredDecision>, StoreError> {
        let (stream, patience) = (self.stream(), self.patience());
        let last_day = business_day(&self.zone, stretch.latest);
        let client = &self.session().await?.client;
        let found = answered(
            patience,
            client.query(
                DECISIONS,
                &[
                    &stream,
                    &stretch.partition,
                    &stretch.from,
                    &stretch.to,
                    &Day(stretch.first_day),
                    &Day(last_day),
                ],
            ),
        )
        .await;
        let rows = self.settle(found)?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn read(row: &Row) -> Result<StoredDecision, tokio_postgres::Error> {
    let account: &[u8] = row.try_get(2)?;
    Ok(StoredDecision {
        offset: row.try_get(0)?,
        trans_num: row.try_get(1)?,
        // The column holds 16 bytes, always.
        account: Token(account.try_into().unwrap_or_default()),
        time: row.try_get::<_, Moment>(3)?.0,
        amount: row.try_get(4)?,
        score: row.try_get(5)?,
        decision: decision_of(row.try_get(6)?).as_str(),
        reasons: row.try_get::<_, Option<_>>(7)?.unwrap_or_default(),
        model: row.try_get(8)?,
        policy: row.try_get(9)?,
    })
}
