//! Publishing what was stored, through whatever happens to the output meanwhile. A lane whose
//! decisions are not taken reads nothing more: what is not published is a bounded number, and
//! all of it is stored.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::publisher::{Gap, Ticket, is_published};
use super::store::{Settlement, Span, StoreError, Stretch};
use super::{Lane, LaneError};
use crate::engine::batch::Decided;

/// Offsets whose decisions are read back at once.
const STRETCH: i64 = 5_000;

/// How often a lane stores how far it has published, where no batch of the partition does.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// How long a lane that stops waits for what is on its way.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

impl Lane {
    /// Publishes a batch that was just stored. What cannot be handed over before the process
    /// stops is read back by whoever takes the partitions next.
    pub(super) async fn publish(
        &mut self,
        decided: &Decided,
        spans: &[Span],
    ) -> Result<(), LaneError> {
        let Some(publisher) = &mut self.publisher else {
            return Ok(());
        };
        publisher.listen();
        let mut tickets: BTreeMap<i32, Ticket> = BTreeMap::new();
        for span in spans {
            let opened = publisher
                .progress()
                .open(span.partition, span.from, span.to);
            tickets.extend(opened.map(|ticket| (span.partition, ticket)));
        }
        for row in (0..decided.events.len()).filter(|row| is_published(decided, *row)) {
            let partition = decided.head(row).partition;
            let Some(ticket) = tickets.get(&partition) else {
                continue;
            };
            if !self.make_room().await? {
                return Ok(());
            }
            if let Some(publisher) = &mut self.publisher
                && publisher.progress().takes(*ticket)
            {
                publisher.hand_over(*ticket, decided, row);
            }
        }
        if let Some(publisher) = &mut self.publisher {
            for ticket in tickets.into_values() {
                publisher.progress().close(ticket);
            }
        }
        Ok(())
    }

    /// Reads back and publishes what is stored and was not handed over: by an owner before this
    /// lane, in a commit whose answer was lost, or to a client that is no more.
    pub(super) async fn catch_up(&mut self) -> Result<(), LaneError> {
        while !self.stop.is_requested() {
            let Some(publisher) = &mut self.publisher else {
                return Ok(());
            };
            publisher.listen();
            let Some(gap) = publisher.progress().gap() else {
                return Ok(());
            };
            if !self.make_room().await? {
                return Ok(());
            }
            if !self.read_back(gap).await? {
                return Ok(());
            }
            self.source.look_up()?;
            self.disown_gone();
        }
        Ok(())
    }

    /// Publishes the first stretch of a gap; false when the database is away or the process
    /// stops.
    async fn read_back(&mut self, gap: Gap) -> Result<bool, LaneError> {
        let to = gap.to.min(gap.from + STRETCH);
        let shard = self.engine.preparation.shard(gap.partition);
        let latest = shard.and_then(|shard| shard.watermark());
        let mut decisions = Vec::new();
        if let (Some(first_day), Some(latest)) = (gap.first_day, latest) {
            let stretch = Stretch {
                partition: gap.partition,
                from: gap.from,
                to,
                first_day,
                latest,
            };
            let work = self.store.decisions(&stretch);
            let slow = self.source.keep_polling_while(work, &mut self.watch);
            decisions = match slow.await? {
                None => return Ok(false),
                Some(Ok(decisions)) => decisions,
                // The lane's next transaction waits for the database; then it is asked again.
                Some(Err(StoreError::Unavailable(problem) | StoreError::Unknown(problem))) => {
                    tracing::warn!(lane = self.number, %problem, "decisions are not read back yet");
                    return Ok(false);
                }
                Some(Err(error)) => return Err(error.into()),
            };
        }
        self.disown_gone();
        let opened = self.publisher.as_mut().and_then(|publisher| {
            let progress = publisher.progress();
            progress.open(gap.partition, gap.from, to)
        });
        // The partition may have gone while its rows were read.
        let Some(ticket) = opened else {
            return Ok(true);
        };
        tracing::info!(
            lane = self.number,
            partition = gap.partition,
            from = gap.from,
            to,
            decisions = decisions.len(),
            "decisions that were stored and not published are read back"
        );
        for decision in &decisions {
            if !self.make_room().await? {
                return Ok(false);
            }
            if let Some(publisher) = &mut self.publisher
                && publisher.progress().takes(ticket)
            {
                publisher.hand_over_stored(ticket, gap.partition, decision);
            }
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.progress().close(ticket);
        }
        Ok(true)
    }

    /// Waits until a decision may be handed over, with the partitions paused and the group
    /// served; false when the process stops first.
    async fn make_room(&mut self) -> Result<bool, LaneError> {
        loop {
            let Some(publisher) = &mut self.publisher else {
                return Ok(false);
            };
            if publisher.is_ready() && publisher.has_room() {
                self.watch.output_takes();
                return Ok(true);
            }
            if self.stop.is_requested() {
                return Ok(false);
            }
            if let Some(silence) = publisher.silence() {
                let backlog = publisher.backlog();
                self.watch
                    .output_waits(publisher.output(), silence, backlog);
            }
            let work = publisher.room(&self.stop);
            let slow = self.source.keep_polling_while(work, &mut self.watch);
            if slow.await?.is_none() {
                return Ok(false);
            }
            self.disown_gone();
        }
    }

    /// Batches store how far the lane has published of the partitions that they move. A partition
    /// without records has none: it is stored by itself then, every second or so.
    pub(super) async fn settle_published(&mut self) -> Result<(), LaneError> {
        if self.settled.elapsed() < SETTLE_EVERY {
            return Ok(());
        }
        self.settled = Instant::now();
        self.settle_now().await
    }

    async fn settle_now(&mut self) -> Result<(), LaneError> {
        let Some(publisher) = &mut self.publisher else {
            return Ok(());
        };
        publisher.listen();
        let mut settled = Vec::new();
        for position in self.source.ownership.positions() {
            let unstored = publisher.progress().unstored(position.partition);
            settled.extend(unstored.map(|published| Settlement {
                partition: position.partition,
                epoch: position.epoch,
                published,
            }));
        }
        if settled.is_empty() {
            return Ok(());
        }
        let work = self.store.settle_published(&settled);
        let slow = self.source.keep_polling_while(work, &mut self.watch);
        match slow.await? {
            Some(Ok(())) => {}
            // It is tried again in a moment, or stored with the next batch.
            Some(Err(StoreError::Unavailable(_) | StoreError::Unknown(_))) | None => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
        }
        if let Some(publisher) = &mut self.publisher {
            for done in settled {
                publisher.progress().settled(done.partition, done.published);
            }
        }
        Ok(())
    }

    /// Waits a moment for what is on its way, so that the next process repeats nothing.
    pub(super) async fn finish_publishing(&mut self) -> Result<(), LaneError> {
        // Beyond its grace the process leaves its session in mid-transaction.
        if self.stop.grace_is_over() {
            return Ok(());
        }
        if let Some(publisher) = &mut self.publisher {
            let work = tokio::time::timeout(FLUSH_WITHIN, publisher.flush());
            let slow = self.source.keep_polling_while(work, &mut self.watch);
            // What is not acknowledged by then is published again.
            let _ = slow.await?;
        }
        self.settle_now().await
    }
}
