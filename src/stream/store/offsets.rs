//! How far each partition is, for people; and letting a held one go on.

use tokio_postgres::{Client, Error};

use crate::database::Moment;
use crate::engine::batch::Micros;

use super::error::StoreError;
use super::{Store, answered};

const RELEASED: &str = "\
    SELECT partition FROM stream_offsets \
    WHERE stream = $1 AND partition = ANY($2) AND held IS NULL";

/// How far a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: i32,
    /// Where reading began.
    pub first_offset: i64,
    /// Where it goes on.
    pub next_offset: i64,
    /// How often it was taken.
    pub epoch: i64,
    /// Payments scored.
    pub scored: i64,
    /// Dead letters.
    pub dead: i64,
    /// Repeats.
    pub duplicates: i64,
    /// Offsets without a record.
    pub skipped: i64,
    /// Largest event time accepted.
    pub watermark: Option<Micros>,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// When it last moved.
    pub moved_at: Micros,
}

/// Every partition of a stream, in order.
///
/// # Errors
/// What the database said.
pub async fn show(client: &Client, stream: i16) -> Result<Vec<Progress>, Error> {
    let rows = client
        .query(
            "SELECT partition, first_offset, next_offset, epoch, scored, dead, duplicates, \
                    skipped, watermark, held, moved_at \
             FROM stream_offsets WHERE stream = $1 ORDER BY partition",
            &[&stream],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Progress {
                partition: row.try_get(0)?,
                first_offset: row.try_get(1)?,
                next_offset: row.try_get(2)?,
                epoch: row.try_get(3)?,
                scored: row.try_get(4)?,
                dead: row.try_get(5)?,
                duplicates: row.try_get(6)?,
                skipped: row.try_get(7)?,
                watermark: row.try_get::<_, Option<Moment>>(8)?.map(|moment| moment.0),
                held: row.try_get(9)?,
                moved_at: row.try_get::<_, Moment>(10)?.0,
            })
        })
        .collect()
}

/// Lets a held partition go on from where it is, its recent outcomes forgotten (it would be held
/// again at once). `false` when it was not held.
///
/// # Errors
/// What the database said.
pub async fn release(client: &Client, stream: i16, partition: i32) -> Result<bool, Error> {
    let released = client
        .execute(
            "UPDATE stream_offsets SET held = NULL, held_at = NULL, recent_dead = '' \
             WHERE stream = $1 AND partition = $2 AND held IS NOT NULL",
            &[&stream, &partition],
        )
        .await?;
    Ok(released == 1)
}

impl Store {
    /// Which of these partitions are not held any more: a person released them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database is away.
    pub async fn released(&mut self, held: &[i32]) -> Result<Vec<i32>, StoreError> {
        let (stream, patience) = (self.stream(), self.patience());
        let client = &self.session().await?.client;
        let rows = answered(patience, client.query(RELEASED, &[&stream, &held])).await;
        let rows = self.settle(rows)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
