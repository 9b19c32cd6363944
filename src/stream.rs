//! The live stream: a lane takes its partitions, then goes round from poll to commit.
//!
//! A lane is one consumer of the group, an engine and one database connection on a thread of
//! its own. It has one batch in flight and no queue: what it has not committed is still in
//! Kafka.

mod commit;
mod lanes;
mod ownership;
mod publish;
mod publisher;
mod recent;
mod source;
mod stop;
pub mod store;
mod warm_up;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bundle::Bundle;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::batch::Records;
use crate::engine::features::Plan;
use crate::engine::token::TokenKey;
use crate::kafka::KafkaError;

pub use lanes::run;
pub use stop::Stop;

use publisher::Publisher;
use source::Source;
use store::{Store, StoreError, Versions};
use warm_up::WarmUp;
use watch::Watch;

/// How often held partitions are looked up: has somebody released them?
const HELD_EVERY: Duration = Duration::from_secs(2);

/// How long to wait before taking partitions again after the database was away or said that
/// they are another's.
const TAKE_PAUSE: Duration = Duration::from_secs(1);

/// How often the offsets are shown to lag tools.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How long Kafka may take to say where a partition begins.
const EARLIEST_WAIT: Duration = Duration::from_secs(3);

/// Why a lane ends.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// A person must act, and the sentence says how.
    #[error("{0}")]
    Refused(String),
    /// Kafka refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What all lanes of a process share.
pub struct Setup {
    /// Settings.
    pub config: Config,
    /// The model's bundle.
    pub bundle: Bundle,
    /// How features are computed.
    pub plan: Plan,
    /// The key of tokens.
    pub key: TokenKey,
    /// Partitions of the topic, as the stream is bound to them.
    pub partitions: i32,
}

/// One lane.
struct Lane {
    number: usize,
    setup: Arc<Setup>,
    source: Source,
    engine: Engine,
    store: Store,
    versions: Versions,
    batch: Records,
    warm_ups: Vec<WarmUp>,
    /// Publishes decisions, where there is an output topic.
    publisher: Option<Publisher>,
    watch: Watch,
    stop: Stop,
    take_from: Instant,
    held_from: Instant,
    published: Instant,
    settled: Instant,
}

impl Lane {
    /// From poll to commit, until the process stops.
    async fn run(&mut self) -> Result<(), LaneError> {
        while !self.stop.is_requested() {
            self.follow_group().await?;
            self.watch.begin();
            self.source.next_batch(&mut self.batch)?;
            self.watch.polled(&self.batch);
            if self.batch.is_empty() {
                continue;
            }
            self.disown_gone();
            let decided = self
                .engine
                .decide(&self.batch, &mut |step| self.watch.ended(step));
            self.commit(decided).await?;
        }
        self.publish_offsets();
        self.finish_publishing().await
    }

    /// Does what the group, the database and rebuilt histories ask for.
    async fn follow_group(&mut self) -> Result<(), LaneError> {
        self.source.hear()?;
        self.disown_gone();
        if self.take_from <= Instant::now() {
            self.take_wanted().await?;
        }
        self.own_rebuilt()?;
        self.catch_up().await?;
        self.settle_published().await?;
        if self.held_from <= Instant::now() {
            self.resume_released().await?;
            self.held_from = Instant::now() + HELD_EVERY;
        }
        if self.published.elapsed() > PUBLISH_EVERY {
            self.publish_offsets();
        }
        let backlog = self.publisher.as_ref().map_or(0, Publisher::backlog);
        self.watch.state(&self.source, &self.engine, backlog);
        Ok(())
    }

    fn disown_gone(&mut self) {
        for partition in self.source.take_gone() {
            self.disown(partition);
        }
    }

    /// Forgets a partition that is no longer this lane's.
    fn disown(&mut self, partition: i32) {
        self.engine.preparation.disown(partition);
        if let Some(publisher) = &mut self.publisher {
            publisher.progress().forget(partition);
        }
    }

    async fn take_wanted(&mut self) -> Result<(), LaneError> {
        let wanted = self.source.ownership.to_take();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut earliest = Vec::new();
        for partition in &wanted {
            match self.source.consumer().earliest(*partition, EARLIEST_WAIT) {
                Ok(offset) => earliest.push((*partition, offset)),
                Err(problem) => {
                    tracing::warn!(lane = self.number, %problem, "waiting for Kafka");
                    self.take_from = Instant::now() + TAKE_PAUSE;
                    return Ok(());
                }
            }
        }
        let begins = |partition| {
            let found = earliest.iter().find(|(known, _)| *known == partition);
            found.map_or(0, |(_, offset)| *offset)
        };
        let work = self.store.take(&wanted, begins);
        let slow = self.source.keep_polling_while(work, &mut self.watch);
        let taken = match slow.await? {
            None => return Ok(()),
            Some(Ok(taken)) => taken,
            Some(Err(StoreError::Unavailable(problem) | StoreError::Unknown(problem))) => {
                self.watch.database_away(&problem.to_string());
                self.take_from = Instant::now() + TAKE_PAUSE;
                return Ok(());
            }
            Some(Err(error)) => return Err(error.into()),
        };
        self.watch.database_back();
        let rebuild = self.source.ownership.taken(taken);
        if !rebuild.is_empty() {
            let setup = Arc::clone(&self.setup);
            let warm_up = WarmUp::start(setup, self.number, rebuild, self.stop.clone());
            self.warm_ups.push(warm_up);
        }
        Ok(())
    }

    fn own_rebuilt(&mut self) -> Result<(), LaneError> {
        let mut positions = Vec::new();
        let mut under_way = Vec::new();
        for warm_up in std::mem::take(&mut self.warm_ups) {
            let Some(mut shards) = warm_up.finished()? else {
                under_way.push(warm_up);
                continue;
            };
            for taken in warm_up.taken() {
                let ready = self.source.ownership.rebuilt(taken.partition, taken.epoch);
                let (Some(ready), Some(shard)) = (ready, shards.remove(&taken.partition)) else {
                    continue;
                };
                self.engine.preparation.own(ready.partition, shard);
                if let Some(publisher) = &mut self.publisher {
                    publisher.begin(ready.partition, ready.offset, taken.published);
                }
                match ready.held {
                    None => positions.push((ready.partition, ready.offset)),
                    Some(why) => tracing::warn!(
                        lane = self.number,
                        partition = ready.partition,
                        why,
                        "the partition is held"
                    ),
                }
            }
        }
        self.warm_ups = under_way;
        if !positions.is_empty() {
            tracing::info!(
                lane = self.number,
                ?positions,
                "reading partitions from offsets"
            );
            self.source.consumer().assign(&positions)?;
        }
        Ok(())
    }

    /// Goes on with held partitions that somebody released.
    async fn resume_released(&mut self) -> Result<(), LaneError> {
        let held: Vec<i32> = self
            .source
            .ownership
            .held()
            .iter()
            .map(|(partition, _)| *partition)
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        let work = self.store.released(&held);
        let slow = self.source.keep_polling_while(work, &mut self.watch);
        let released = match slow.await? {
            Some(Ok(released)) => released,
            // It is asked again in a moment.
            Some(Err(StoreError::Unavailable(_) | StoreError::Unknown(_))) | None => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
        };
        let mut positions = Vec::new();
        for partition in released {
            if let Some(offset) = self.source.ownership.released(partition) {
                positions.push((partition, offset));
            }
        }
        if !positions.is_empty() {
            tracing::info!(lane = self.number, ?positions, "released partitions go on");
            self.source.consumer().assign(&positions)?;
        }
        Ok(())
    }

    fn publish_offsets(&mut self) {
        self.published = Instant::now();
        let positions: Vec<(i32, i64)> = self
            .source
            .ownership
            .positions()
            .iter()
            .map(|position| (position.partition, position.next_offset))
            .collect();
        if !positions.is_empty() {
            self.source.consumer().publish_offsets(&positions);
        }
    }
}

fn single_threaded() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
