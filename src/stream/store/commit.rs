//! The batch's transaction.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::time::error::Elapsed;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Statement};

use crate::database::Day;
use crate::engine::batch::{DeadLetter, Decided, Micros};

use super::encode::Encoder;
use super::error::{Outage, StoreError};
use super::published::Published;
use super::session::Session;
use super::{Store, answered, rows};

/// What a batch does to one partition: `scored + dead + duplicates + skipped = to - from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: i32,
    /// The epoch it was taken under.
    pub epoch: i64,
    /// `next_offset` before the batch.
    pub from: i64,
    /// `next_offset` after it.
    pub to: i64,
    /// Payments scored.
    pub scored: i64,
    /// Dead letters.
    pub dead: i64,
    /// Repeats.
    pub duplicates: i64,
    /// Offsets without a record.
    pub skipped: i64,
    /// Largest event time accepted below `to`.
    pub watermark: Option<Micros>,
    /// Outcomes of the last 1,000 records; stored as it is.
    pub recent: Vec<u8>,
    /// Why nothing is read after this batch, if so.
    pub held: Option<String>,
    /// How far decisions are published, when they are.
    pub published: Option<Published>,
}

/// What made the decisions of a batch; stored with every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Name and version of the bundle.
    pub model: String,
    /// Version of the policy.
    pub policy: String,
}

/// What only the database knew about a batch that it now holds. Usually both are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Events of the batch (indices into `decided.events`) that had been stored before with the
    /// same body: counted as duplicates.
    pub duplicates: Vec<usize>,
    /// Events that had been stored before with another body: dead letters.
    pub conflicts: Vec<usize>,
}

/// Why a way of writing did not end in a commit.
pub(super) enum Failure {
    Store(StoreError),
    /// A payment is stored already.
    Repeated,
    /// Somebody removed a day that was thought to exist.
    MissingDay,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let of_payments = || {
            error
                .as_db_error()
                .and_then(|db| db.table())
                .is_some_and(|table| table.starts_with("payments_scored"))
        };
        match error.code() {
            Some(&SqlState::UNIQUE_VIOLATION) if of_payments() => Self::Repeated,
            // "no partition of relation found for row"
            Some(&SqlState::CHECK_VIOLATION) => Self::MissingDay,
            _ => Self::Store(error.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Stores a batch: offsets, payments, dead letters, labels and alerts, all or nothing.
    ///
    /// `spans` has one entry for every partition that moves; `decided` may be empty. Payments
    /// that turn out to be stored already are duplicates, or, with another body, dead letters
    /// that `refuse` makes from the event's index; the counts of `spans` are corrected for them.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`StoreError::Fenced`] nothing is written and the session goes on.
    pub async fn commit(
        &mut self,
        decided: &Decided,
        spans: &[Span],
        versions: &Versions,
        refuse: impl Fn(usize) -> DeadLetter,
    ) -> Result<Committed, StoreError> {
        let payments = self.encoder.payments(decided, versions);
        for _ in 0..2 {
            self.ensure_days(&decided.events.day).await?;
            let mut batch = self.batch(decided, spans, payments.clone()).await?;
            let outcome = match batch.write().await {
                Err(Failure::Repeated) => batch.upsert(&refuse).await,
                other => other.map(|()| Committed::default()),
            };
            match outcome {
                Ok(committed) => return Ok(committed),
                Err(Failure::Store(error)) => return self.settle(Err(error)),
                Err(Failure::MissingDay | Failure::Repeated) => self.days.clear(),
            }
        }
        let text = "the partition of a day is removed as soon as it is made: is a job deleting \
                    days that payments still arrive for?";
        Err(StoreError::Refused(text.into()))
    }

    /// Makes the partitions of days that this lane has not seen, before the transaction: whole
    /// weeks, since every new partition has each session look at all of them again.
    async fn ensure_days(&mut self, days: &[i32]) -> Result<(), StoreError> {
        let new: BTreeSet<i32> = days
            .iter()
            .copied()
            .filter(|day| !self.days.contains(day))
            .flat_map(week_of)
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let wanted: Vec<Day> = new.iter().copied().map(Day).collect();
        let patience = self.patience();
        let client = &self.session().await?.client;
        let made = answered(
            patience,
            client.query_one("SELECT ensure_days($1)", &[&wanted]),
        )
        .await;
        self.settle(made)?;
        self.days.extend(new);
        Ok(())
    }

    async fn batch<'a>(
        &'a mut self,
        decided: &'a Decided,
        spans: &'a [Span],
        payments: Bytes,
    ) -> Result<Batch<'a>, StoreError> {
        let (stream, patience) = (self.stream(), self.patience());
        self.session().await?;
        match &mut self.session {
            Some(session) => Ok(Batch {
                session,
                encoder: &mut self.encoder,
                stream,
                topic: &self.config.stream.topic,
                patience,
                decided,
                spans,
                payments,
            }),
            None => unreachable!("the session was opened a line above"),
        }
    }
}

/// The days from Monday to Sunday around `day`; 1970-01-01 was a Thursday.
fn week_of(day: i32) -> std::ops::Range<i32> {
    let monday = day - (day + 3).rem_euclid(7);
    monday..monday + 7
}

/// One batch on its way into one session.
pub(super) struct Batch<'a> {
    pub(super) session: &'a mut Session,
    pub(super) encoder: &'a mut Encoder,
    pub(super) stream: i16,
    pub(super) topic: &'a str,
    pub(super) patience: Duration,
    pub(super) decided: &'a Decided,
    pub(super) spans: &'a [Span],
    pub(super) payments: Bytes,
}

impl Batch<'_> {
    /// The common way: nothing of the batch is stored yet.
    async fn write(&mut self) -> Result<(), Failure> {
        let mut committing = false;
        let written = tokio::time::timeout(self.patience, self.try_write(&mut committing)).await;
        self.end(written, committing).await
    }

    async fn try_write(&mut self, committing: &mut bool) -> Result<(), Failure> {
        let labels = self.encoder.labels(self.decided, |_| true);
        self.begin().await?;
        let (session, decided) = (&*self.session, self.decided);
        let (letters, alerts) = tokio::join!(
            biased;
            rows::insert_dead_letters(session, (self.stream, self.topic), &decided.dead_letters),
            rows::insert_alerts(session, self.stream, self.encoder, decided, |_| true),
        );
        letters?;
        alerts?;
        let (client, statements) = (&session.client, &session.statements);
        let rows = (!decided.events.is_empty()).then(|| self.payments.clone());
        let (before, (statement, last)) = match labels {
            Some(labels) => (rows, (&statements.copy_labels, Some(labels))),
            None => (None, (&statements.copy_payments, rows)),
        };
        copy(client, &statements.copy_payments, before).await?;
        *committing = true;
        commit_after(client, copy(client, statement, last)).await
    }

    /// Begins the transaction and moves the offsets: whoever does not own them stops here.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        let (begun, moved) = tokio::join!(
            biased;
            self.session.client.batch_execute("BEGIN"),
            rows::move_offsets(self.session, self.stream, self.spans),
        );
        begun?;
        let moved = moved?;
        let lost: Vec<i32> = self
            .spans
            .iter()
            .map(|span| span.partition)
            .filter(|partition| !moved.contains(partition))
            .collect();
        if lost.is_empty() {
            Ok(())
        } else {
            Err(StoreError::Fenced { partitions: lost }.into())
        }
    }

    /// Leaves no transaction open, and says of a session that was lost whether it may have
    /// committed.
    pub(super) async fn end<T>(
        &self,
        written: Result<Result<T, Failure>, Elapsed>,
        committing: bool,
    ) -> Result<T, Failure> {
        let failure = match written {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_) => StoreError::Unavailable(Outage::Silent(self.patience)).into(),
        };
        let failure = match failure {
            Failure::Store(error) if committing => Failure::Store(error.while_committing()),
            other => other,
        };
        let alive = matches!(
            failure,
            Failure::Repeated | Failure::MissingDay | Failure::Store(StoreError::Fenced { .. })
        );
        if alive {
            let rollback = self.session.client.batch_execute("ROLLBACK");
            answered(self.patience, rollback).await?;
        }
        Err(failure)
    }
}

/// Sends COMMIT right behind the last COPY; behind one that fails it is a rollback. (Two COPYs in
/// a row must not be sent like this: one that is refused before it begins leaves the client
/// confused about whose answer is whose.)
async fn commit_after(
    client: &Client,
    last: impl Future<Output = Result<(), Error>>,
) -> Result<(), Failure> {
    let (copied, committed) = tokio::join!(biased; last, client.batch_execute("COMMIT"));
    copied?;
    committed?;
    Ok(())
}

/// Sends rows; none is no statement.
pub(super) async fn copy(
    client: &Client,
    statement: &Statement,
    rows: Option<Bytes>,
) -> Result<(), Error> {
    if let Some(rows) = rows {
        let mut sink = pin!(client.copy_in(statement).await?);
        sink.send(rows).await?;
        sink.finish().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::week_of;

    #[test]
    fn a_week_begins_on_monday_and_holds_its_day() {
        // 2026-11-16 was a Monday.
        for day in 20_773..20_780 {
            assert_eq!(week_of(day), 20_773..20_780);
        }
        assert_eq!(week_of(-1), -3..4);
    }
}
