//! Taking partitions, from an owner that may still believe in itself.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Transaction};

use crate::database::{Day, Moment};
use crate::engine::batch::Micros;

use super::error::{Outage, StoreError};
use super::published::Published;
use super::session::Session;
use super::{Store, answered};

/// How long the owner may finish what it is writing, and how long its session may take to end.
const GRACE: &str = "2s";
pub(super) const END_WITHIN_MS: i64 = 2_000;
pub(super) const ATTEMPTS: usize = 5;

/// A partition that is this lane's from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The partition.
    pub partition: i32,
    /// What its commits must name from now on.
    pub epoch: i64,
    /// Where to go on.
    pub next_offset: i64,
    /// Nobody ever had it: it begins at the earliest offset.
    pub first: bool,
    /// Largest event time accepted so far.
    pub watermark: Option<Micros>,
    /// Outcomes of the last 1,000 records, as they were committed.
    pub recent: Vec<u8>,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// How far its decisions are published, when they are.
    pub published: Option<Published>,
}

const BEGIN: &str = "\
    INSERT INTO stream_offsets (stream, partition, first_offset, next_offset) \
    SELECT $1, p.partition, p.earliest, p.earliest \
    FROM unnest($2::integer[], $3::bigint[]) AS p (partition, earliest) \
    ON CONFLICT DO NOTHING RETURNING partition";

/// Locked in one order by everybody, so that two lanes never wait for each other in a ring.
const LOCK: &str = "\
    SELECT partition FROM stream_offsets WHERE stream = $1 AND partition = ANY($2) \
    ORDER BY partition FOR UPDATE";

/// Publishing begins where the partition is when it is first taken by who publishes, and ends
/// when it is taken by who does not.
const TAKE: &str = "\
    UPDATE stream_offsets SET epoch = epoch + 1, owner_pid = $3, owner_backend_start = $4, \
        published_to = CASE WHEN $5 THEN coalesce(published_to, next_offset) END, \
        unpublished_day = CASE WHEN $5 THEN unpublished_day END \
    WHERE stream = $1 AND partition = ANY($2) \
    RETURNING partition, epoch, next_offset, watermark, recent_dead, held, published_to, \
              unpublished_day";

/// Rows that somebody has locked are left out.
const UNLOCKED: &str = "\
    SELECT partition FROM stream_offsets WHERE stream = $1 AND partition = ANY($2) \
    FOR UPDATE SKIP LOCKED";

/// Ends the session that is recorded as the owner, and no other: a pid is used again, a pid with
/// its start is not.
const END_OWNERS: &str = "\
    SELECT pg_terminate_backend(a.pid, $3) \
    FROM (SELECT DISTINCT owner_pid, owner_backend_start FROM stream_offsets \
          WHERE stream = $1 AND partition = ANY($2)) AS o \
    JOIN pg_stat_activity AS a ON a.pid = o.owner_pid AND a.backend_start = o.owner_backend_start \
    WHERE a.pid <> pg_backend_pid()";

/// Those that a person let go on.
const RELEASED: &str = "\
    SELECT partition FROM stream_offsets \
    WHERE stream = $1 AND partition = ANY($2) AND held IS NULL";

impl Store {
    /// Takes these partitions: waits at most 2 s for whoever is writing to their rows, then ends
    /// its session, and fences it by a new epoch. `earliest` is asked where a partition begins
    /// that nobody ever had.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when a row stays locked by somebody who is not its owner.
    pub async fn take(
        &mut self,
        partitions: &[i32],
        earliest: impl Fn(i32) -> i64,
    ) -> Result<Vec<Taken>, StoreError> {
        let stream = self.stream();
        let publishes = !self.config.output.topic.is_empty();
        let patience = self.patience();
        let beginnings: Vec<i64> = partitions.iter().map(|&p| earliest(p)).collect();
        for _ in 0..ATTEMPTS {
            let session = self.session().await?;
            let attempt = try_take(session, (stream, publishes), partitions, &beginnings);
            let outcome = answered(patience, attempt).await;
            if let Some(taken) = self.settle(outcome)? {
                return Ok(taken);
            }
            let client = &self.session().await?.client;
            let ended = answered(patience, end_owners(client, stream, partitions)).await;
            self.settle(ended)?;
        }
        let stuck = partitions.first().copied().unwrap_or_default();
        Err(StoreError::Unavailable(Outage::Locked(stuck)))
    }

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

/// A transaction that has locked these rows, and which of them it made: those that were not
/// there, when `beginnings` says where they begin. `None` when a row stayed locked.
pub(super) async fn lock<'a>(
    session: &'a mut Session,
    stream: i16,
    partitions: &[i32],
    beginnings: Option<&[i64]>,
) -> Result<Option<(Transaction<'a>, Vec<i32>)>, tokio_postgres::Error> {
    let transaction = session.client.transaction().await?;
    transaction
        .batch_execute(&format!("SET LOCAL lock_timeout = '{GRACE}'"))
        .await?;
    let work = async {
        let made = match beginnings {
            Some(beginnings) => {
                transaction
                    .query(BEGIN, &[&stream, &partitions, &beginnings])
                    .await?
            }
            None => Vec::new(),
        };
        transaction.query(LOCK, &[&stream, &partitions]).await?;
        Ok(made.iter().map(|row| row.get(0)).collect())
    };
    match work.await {
        Ok(made) => Ok(Some((transaction, made))),
        Err(error) => {
            let error: tokio_postgres::Error = error;
            if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
                return Err(error);
            }
            transaction.rollback().await?;
            Ok(None)
        }
    }
}

/// `None` when a row stayed locked.
async fn try_take(
    session: &mut Session,
    (stream, publishes): (i16, bool),
    partitions: &[i32],
    beginnings: &[i64],
) -> Result<Option<Vec<Taken>>, tokio_postgres::Error> {
    let (pid, started) = (session.pid, session.started);
    let locked = lock(session, stream, partitions, Some(beginnings)).await?;
    let Some((transaction, new)) = locked else {
        return Ok(None);
    };
    let rows = transaction
        .query(TAKE, &[&stream, &partitions, &pid, &started, &publishes])
        .await?;
    transaction.commit().await?;
    let mut taken = rows
        .iter()
        .map(|row| read(row, &new))
        .collect::<Result<Vec<_>, _>>()?;
    taken.sort_unstable_by_key(|taken| taken.partition);
    Ok(Some(taken))
}

pub(super) fn read(row: &Row, new: &[i32]) -> Result<Taken, tokio_postgres::Error> {
    let partition = row.try_get(0)?;
    Ok(Taken {
        partition,
        epoch: row.try_get(1)?,
        next_offset: row.try_get(2)?,
        first: new.contains(&partition),
        watermark: row.try_get::<_, Option<Moment>>(3)?.map(|moment| moment.0),
        recent: row.try_get(4)?,
        held: row.try_get(5)?,
        published: published(row)?,
    })
}

fn published(row: &Row) -> Result<Option<Published>, tokio_postgres::Error> {
    let first_day = row.try_get::<_, Option<Day>>(7)?.map(|day| day.0);
    let to: Option<i64> = row.try_get(6)?;
    Ok(to.map(|to| Published { to, first_day }))
}

/// Ends the sessions of the recorded owners of those partitions whose rows are locked.
async fn end_owners(
    client: &Client,
    stream: i16,
    partitions: &[i32],
) -> Result<(), tokio_postgres::Error> {
    let unlocked = client.query(UNLOCKED, &[&stream, &partitions]).await?;
    let free: Vec<i32> = unlocked.iter().map(|row| row.get(0)).collect();
    let locked: Vec<i32> = partitions
        .iter()
        .copied()
        .filter(|partition| !free.contains(partition))
        .collect();
    let ended = client
        .query(END_OWNERS, &[&stream, &locked, &END_WITHIN_MS])
        .await?;
    if !ended.is_empty() {
        tracing::warn!(
            partitions = ?locked,
            "ended the database session of a stale owner that held its partitions' rows"
        );
    }
    Ok(())
}
