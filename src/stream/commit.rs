//! Storing a decided batch, through whatever happens to the database meanwhile. The commit is
//! retried, the computation never: a decided batch is a function of what was read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::store::{Committed, Span, StoreError};
use super::{Lane, LaneError};
use crate::engine::batch::Decided;
use crate::metrics::{self, CommitError};

/// Pauses between attempts grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

impl Lane {
    /// Stores the batch that `self.batch` was decided to; returns when it is stored, as far as
    /// its partitions are still this lane's, or when the process stops.
    pub(super) async fn commit(&mut self, mut decided: Decided) -> Result<(), LaneError> {
        let shards = &self.engine.preparation;
        let mut spans = self.source.ownership.spans(&decided, |partition| {
            shards.shard(partition).and_then(|shard| shard.watermark())
        });
        if let Some(publisher) = &mut self.publisher {
            publisher.stamp(&mut spans, &decided);
        }
        let mut pause = FIRST_PAUSE;
        while !spans.is_empty() {
            let (batch, events) = (&self.batch, &decided.events);
            let preparation = &self.engine.preparation;
            let refuse = |row: usize| preparation.conflicting(batch, events.record[row] as usize);
            let work = self.store.commit(&decided, &spans, &self.versions, refuse);
            let slow = self.source.keep_polling_while(work, &mut self.watch);
            let Some(outcome) = slow.await? else {
                return Ok(());
            };
            match outcome {
                Ok(committed) => {
                    self.stored(&mut decided, &spans, committed)?;
                    self.publish(&decided, &spans).await?;
                    spans.clear();
                }
                Err(StoreError::Fenced { partitions }) => {
                    metrics::commit_error(CommitError::Fenced);
                    tracing::warn!(
                        lane = self.number,
                        ?partitions,
                        "fenced: another lane owns them"
                    );
                    self.source.ownership.fenced(&partitions);
                    self.drop_partitions(&partitions, &mut decided, &mut spans)?;
                }
                Err(StoreError::Unavailable(problem) | StoreError::Unknown(problem)) => {
                    metrics::commit_error(CommitError::Unavailable);
                    self.watch.database_away(&problem.to_string());
                    if !self
                        .compare_after_outage(&mut decided, &mut spans, &mut pause)
                        .await?
                    {
                        return Ok(());
                    }
                    self.watch.database_back();
                }
                Err(error) => {
                    metrics::commit_error(CommitError::Refused);
                    return Err(error.into());
                }
            }
        }
        self.disown_gone();
        Ok(())
    }

    /// Waits for the database, takes the partitions again without rebuilding them, and finds
    /// out what became of the batch. False when the process stops first.
    async fn compare_after_outage(
        &mut self,
        decided: &mut Decided,
        spans: &mut Vec<Span>,
        pause: &mut Duration,
    ) -> Result<bool, LaneError> {
        loop {
            let waited = self
                .source
                .keep_polling_while(tokio::time::sleep(*pause), &mut self.watch)
                .await?;
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            if waited.is_none() || self.stop.is_requested() {
                return Ok(false);
            }
            let positions = self.source.ownership.positions();
            let work = self.store.retake(&positions);
            let slow = self.source.keep_polling_while(work, &mut self.watch);
            let taken = match slow.await? {
                None => return Ok(false),
                Some(Ok(taken)) => taken,
                Some(Err(StoreError::Unavailable(problem) | StoreError::Unknown(problem))) => {
                    self.watch.database_away(&problem.to_string());
                    continue;
                }
                Some(Err(error)) => return Err(error.into()),
            };
            let verdict = self.source.ownership.compare(spans, &taken);
            tracing::info!(
                lane = self.number,
                resend = ?verdict.resend,
                committed = ?verdict.committed,
                lost = ?verdict.lost,
                "the database is back"
            );
            for span in spans.iter_mut() {
                if let Some(row) = taken.iter().find(|row| row.partition == span.partition) {
                    span.epoch = row.epoch;
                }
            }
            self.keep_committed(decided, spans, &verdict.committed);
            self.drop_partitions(&verdict.lost, decided, spans)?;
            return Ok(true);
        }
    }

    /// These partitions' part of the batch was stored before its answer was lost.
    fn keep_committed(&mut self, decided: &mut Decided, spans: &mut Vec<Span>, stored: &[i32]) {
        if stored.is_empty() {
            return;
        }
        let (done, open): (Vec<Span>, Vec<Span>) = std::mem::take(spans)
            .into_iter()
            .partition(|span| stored.contains(&span.partition));
        *spans = open;
        self.source.ownership.committed(&done);
        if let Some(publisher) = &mut self.publisher {
            publisher.progress().stored(&done);
        }
        decided.retain_partitions(|partition| !stored.contains(&partition));
    }

    /// Forgets rows and histories of partitions that are not this lane's any more.
    fn drop_partitions(
        &mut self,
        lost: &[i32],
        decided: &mut Decided,
        spans: &mut Vec<Span>,
    ) -> Result<(), LaneError> {
        // A partition that the group revoked meanwhile is no more to be sent than a fenced one.
        let owned = self.source.ownership.owned();
        let ours = |partition: i32| owned.contains(&partition);
        for partition in lost {
            self.disown(*partition);
        }
        if !lost.is_empty() {
            self.source.stop_reading(lost)?;
            self.take_from = std::time::Instant::now() + super::TAKE_PAUSE;
        }
        spans.retain(|span| ours(span.partition));
        decided.retain_partitions(ours);
        Ok(())
    }

    fn stored(
        &mut self,
        decided: &mut Decided,
        spans: &[Span],
        committed: Committed,
    ) -> Result<(), LaneError> {
        let held = self.source.ownership.committed(spans);
        if let Some(publisher) = &mut self.publisher {
            publisher.progress().stored(spans);
        }
        if !held.is_empty() {
            tracing::error!(
                lane = self.number,
                partitions = ?held,
                "too many dead letters: the partitions are held; see `vigie dead-letters list`, \
                 then `vigie offsets release`"
            );
            self.source.stop_reading(&held)?;
        }
        self.correct(decided, committed);
        self.watch.committed(decided);
        Ok(())
    }

    /// Counts as the database did: what it knew before is a repeat or a dead letter.
    fn correct(&self, decided: &mut Decided, committed: Committed) {
        let Committed {
            duplicates,
            conflicts,
        } = committed;
        if duplicates.is_empty() && conflicts.is_empty() {
            return;
        }
        for row in &conflicts {
            let record = decided.events.record[*row] as usize;
            let letter = self.engine.preparation.conflicting(&self.batch, record);
            decided.dead_letters.push(letter);
        }
        for row in &duplicates {
            let head = decided.head(*row);
            decided.duplicates.push((head.partition, head.offset));
        }
        let gone: BTreeSet<usize> = duplicates.into_iter().chain(conflicts).collect();
        decided.retain_rows(|row| !gone.contains(&row));
    }
}
