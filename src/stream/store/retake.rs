//! Taking partitions again after an outage, as long as they are still this lane's: their
//! histories need no rebuilding then.

use tokio_postgres::types::ToSql;

use super::error::{Outage, StoreError};
use super::session::Session;
use super::take::{ATTEMPTS, END_WITHIN_MS, Taken, lock, read};
use super::{Store, answered};

/// What a lane believes of a partition that it owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The epoch it was taken under.
    pub epoch: i64,
    /// The next offset that the database does not hold.
    pub next_offset: i64,
}

/// Only under the epoch that this lane knows: under another one the row is another lane's.
const RETAKE: &str = "\
    UPDATE stream_offsets AS o \
    SET epoch = o.epoch + 1, owner_pid = $4, owner_backend_start = $5 \
    FROM unnest($2::integer[], $3::bigint[]) AS mine (partition, epoch) \
    WHERE o.stream = $1 AND o.partition = mine.partition AND o.epoch = mine.epoch \
    RETURNING o.partition, o.epoch, o.next_offset, o.watermark, o.recent_dead, o.held, \
              o.published_to, o.unpublished_day";

/// Ends this lane's own lost session, which may still hold the rows: one that is recorded under
/// another epoch is another lane's and goes on.
const END_OWN: &str = "\
    SELECT pg_terminate_backend(a.pid, $4) \
    FROM (SELECT DISTINCT o.owner_pid, o.owner_backend_start FROM stream_offsets AS o \
          JOIN unnest($2::integer[], $3::bigint[]) AS mine (partition, epoch) \
            ON o.partition = mine.partition AND o.epoch = mine.epoch \
          WHERE o.stream = $1) AS o \
    JOIN pg_stat_activity AS a ON a.pid = o.owner_pid AND a.backend_start = o.owner_backend_start \
    WHERE a.pid <> pg_backend_pid()";

impl Store {
    /// Takes these partitions again under a new session. Those that are missing from the answer
    /// are another lane's by now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the database is away or a row stays locked.
    pub async fn retake(&mut self, positions: &[Position]) -> Result<Vec<Taken>, StoreError> {
        let stream = self.stream();
        let patience = self.patience();
        let partitions: Vec<i32> = positions
            .iter()
            .map(|position| position.partition)
            .collect();
        let epochs: Vec<i64> = positions.iter().map(|position| position.epoch).collect();
        for _ in 0..ATTEMPTS {
            let session = self.session().await?;
            let attempt = try_retake(session, stream, &partitions, &epochs);
            let outcome = answered(patience, attempt).await;
            if let Some(taken) = self.settle(outcome)? {
                return Ok(taken);
            }
            let client = &self.session().await?.client;
            let own: [&(dyn ToSql + Sync); 4] = [&stream, &partitions, &epochs, &END_WITHIN_MS];
            let ended = answered(patience, client.execute(END_OWN, &own)).await;
            self.settle(ended)?;
        }
        let stuck = partitions.first().copied().unwrap_or_default();
        Err(StoreError::Unavailable(Outage::Locked(stuck)))
    }
}

/// `None` when a row stayed locked.
async fn try_retake(
    session: &mut Session,
    stream: i16,
    partitions: &[i32],
    epochs: &[i64],
) -> Result<Option<Vec<Taken>>, tokio_postgres::Error> {
    let (pid, started) = (session.pid, session.started);
    let Some((transaction, _)) = lock(session, stream, partitions, None).await? else {
        return Ok(None);
    };
    let rows = transaction
        .query(RETAKE, &[&stream, &partitions, &epochs, &pid, &started])
        .await?;
    transaction.commit().await?;
    rows.iter()
        .map(|row| read(row, &[]))
        .collect::<Result<_, _>>()
        .map(Some)
}
