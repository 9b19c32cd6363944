//! Where a lane's records come from: its member of the group, what it owns, the next batch.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::ownership::Ownership;
use super::stop::Stop;
use super::watch::Watch;
use super::{LaneError, Setup};
use crate::engine::batch::Records;
use crate::kafka::consumer::{Change, Consumer, Polled};

/// How long a lane without records waits before it looks at its other duties.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// A transaction that takes longer than this has its partitions paused and the group served.
const SLOW: Duration = Duration::from_secs(1);

/// How long brokers may take to see a member off.
const LEAVE_WITHIN: Duration = Duration::from_millis(1_500);

/// A batch also closes at this many bytes.
const BATCH_BYTES: usize = 16 << 20;

/// Polls made while a slow transaction goes on, each time: enough to hear of changes.
const POLLS_WHILE_SLOW: usize = 64;

/// The lane's side of Kafka.
pub struct Source {
    consumer: Consumer,
    /// Which partitions are this lane's, and how far.
    pub ownership: Ownership,
    next: Records,
    batch_rows: usize,
    batch_wait: Duration,
    /// Partitions that were revoked and whose histories still stand.
    gone: Vec<i32>,
    /// How many partitions the stream is bound to.
    partitions: i32,
    stop: Stop,
}

impl Source {
    /// A source that owns nothing yet.
    pub fn new(consumer: Consumer, setup: &Setup, stop: Stop) -> Self {
        let config = &setup.config.stream;
        Self {
            consumer,
            ownership: Ownership::new(config.dead_letter_limit),
            next: Records::default(),
            batch_rows: config.batch_rows,
            batch_wait: config.batch_wait,
            gone: Vec::new(),
            partitions: setup.partitions,
            stop,
        }
    }

    /// The member of the group.
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Leaves the group.
    pub fn leave(self) {
        self.consumer.leave(LEAVE_WITHIN);
    }

    /// Collects the next batch into `batch`: up to the configured records or time. It stays
    /// empty when nothing came, or when the group wants something else first.
    ///
    /// # Errors
    /// When Kafka refuses.
    pub fn next_batch(&mut self, batch: &mut Records) -> Result<(), LaneError> {
        let mut closes = None;
        loop {
            if !self.next.is_empty() {
                closes.get_or_insert_with(|| Instant::now() + self.batch_wait);
            }
            let full = self.next.len() >= self.batch_rows || self.next.byte_len() >= BATCH_BYTES;
            let wait = closes.map_or(IDLE_WAIT, |at| at.saturating_duration_since(Instant::now()));
            if full || wait.is_zero() {
                break;
            }
            if self.poll(wait)? == Polled::Nothing || self.hear()? {
                break;
            }
        }
        batch.clear();
        std::mem::swap(batch, &mut self.next);
        Ok(())
    }

    /// Answers what the group wants; true when anything changed. Rows of revoked partitions
    /// leave the next batch at once; their histories are named by [`Source::take_gone`].
    ///
    /// # Errors
    /// When Kafka refuses.
    pub fn hear(&mut self) -> Result<bool, LaneError> {
        let changes = self.consumer.take_changes();
        let changed = !changes.is_empty();
        for change in changes {
            match change {
                Change::Assigned(partitions) => {
                    tracing::info!(?partitions, "the group assigns partitions");
                    self.consumer.acknowledge()?;
                    self.refuse_added(&partitions)?;
                    self.ownership.assigned(&partitions);
                }
                Change::Revoked(partitions) => {
                    tracing::info!(?partitions, "the group revokes partitions");
                    self.ownership.revoked(&partitions);
                    self.forget_records();
                    self.consumer.unassign(&partitions)?;
                    self.gone.extend(partitions);
                }
            }
        }
        Ok(changed)
    }

    /// With more partitions than before, accounts would move between histories.
    fn refuse_added(&self, partitions: &[i32]) -> Result<(), LaneError> {
        match partitions
            .iter()
            .find(|partition| **partition >= self.partitions)
        {
            None => Ok(()),
            Some(added) => Err(LaneError::Refused(format!(
                "the topic has a partition {added} now, but the stream was bound to {} partitions: \
                 accounts would move between histories; use another stream.id",
                self.partitions
            ))),
        }
    }

    /// Partitions that are no longer this lane's since the last call.
    pub fn take_gone(&mut self) -> Vec<i32> {
        std::mem::take(&mut self.gone)
    }

    /// Drops the records that are not this lane's to decide, and stops reading `partitions`.
    ///
    /// # Errors
    /// When Kafka refuses.
    pub fn stop_reading(&mut self, partitions: &[i32]) -> Result<(), LaneError> {
        self.forget_records();
        Ok(self.consumer.unassign(partitions)?)
    }

    fn forget_records(&mut self) {
        self.next
            .retain_partitions(|partition| self.ownership.owns(partition));
    }

    fn poll(&mut self, wait: Duration) -> Result<Polled, LaneError> {
        let ownership = &mut self.ownership;
        let polled = self
            .consumer
            .poll(wait, &mut self.next, |partition, offset| {
                ownership.admits(partition, offset)
            })?;
        match polled {
            Polled::OffsetOutOfRange => Err(LaneError::Refused(
                "an offset that the database names is no longer in the topic: records are lost; \
                 see `vigie offsets show`, and choose another stream.id to begin anew"
                    .into(),
            )),
            other => Ok(other),
        }
    }

    /// Does `work`, and when it takes long, pauses the partitions, keeps serving the group and
    /// tells the watch. `None` when the process is stopping and its grace is over.
    ///
    /// # Errors
    /// When Kafka refuses.
    pub async fn keep_polling_while<T>(
        &mut self,
        work: impl Future<Output = T>,
        watch: &mut Watch,
    ) -> Result<Option<T>, LaneError> {
        let mut work = pin!(work);
        let mut paused = false;
        loop {
            if let Ok(done) = tokio::time::timeout(SLOW, &mut work).await {
                if paused {
                    self.consumer.resume(&self.reading())?;
                }
                return Ok(Some(done));
            }
            if self.stop.grace_is_over() {
                return Ok(None);
            }
            // Once more each time: what was assigned meanwhile is paused too.
            self.consumer.pause(&self.reading())?;
            paused = true;
            self.look_up()?;
            watch.slow(self);
        }
    }

    /// Hears what the group wants, in the middle of work that goes on; records that come meanwhile
    /// wait in the next batch.
    ///
    /// # Errors
    /// When Kafka refuses.
    pub fn look_up(&mut self) -> Result<(), LaneError> {
        for _ in 0..POLLS_WHILE_SLOW {
            if self.poll(Duration::ZERO)? == Polled::Nothing {
                break;
            }
        }
        self.hear()?;
        Ok(())
    }

    fn reading(&self) -> Vec<i32> {
        let mut partitions = self.ownership.owned();
        partitions.retain(|partition| self.ownership.owns(*partition));
        partitions
    }
}
