//! One member of the consumer group. It records what the group wants of it and leaves the
//! answer to its lane: nothing is assigned before its history is there.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::{BACKFILL_HEADER, BACKFILL_VALUE, KafkaError, client_settings, security};
use crate::config::KafkaConfig;
use crate::engine::batch::Records;

/// How often the client tells its fetch positions, for the lag.
const STATISTICS_EVERY: Duration = Duration::from_secs(2);

/// What the group wants of this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These partitions are to be this member's.
    Assigned(Vec<i32>),
    /// These are no longer.
    Revoked(Vec<i32>),
}

/// What one poll brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    /// A record, added to the batch if it was admitted.
    Record,
    /// Nothing within the time given.
    Nothing,
    /// The partition's next offset is no longer in the topic.
    OffsetOutOfRange,
}

/// A member of the consumer group, used by one lane.
pub struct Consumer {
    client: BaseConsumer<Listener>,
    topic: String,
    brokers: String,
}

/// Hears of changes on the thread that polls.
#[derive(Default)]
struct Listener {
    changes: Mutex<Vec<Change>>,
    ends: Mutex<HashMap<i32, i64>>,
    closing: AtomicBool,
    away: AtomicBool,
    refusal: Mutex<Option<String>>,
}

impl ClientContext for Listener {
    fn stats(&self, statistics: Statistics) {
        let connected = statistics
            .brokers
            .values()
            .any(|broker| broker.state == "UP");
        self.away.store(!connected, Ordering::Release);
        if connected && let Ok(mut refusal) = self.refusal.lock() {
            *refusal = None;
        }
        let Ok(mut ends) = self.ends.lock() else {
            return;
        };
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values() {
                if partition.partition >= 0 && partition.hi_offset >= 0 {
                    ends.insert(partition.partition, partition.hi_offset);
                }
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client reports an error");
        let refused = error
            .rdkafka_error_code()
            .and_then(|code| security::refusal(code, reason));
        if let (Some(refused), Ok(mut known)) = (refused, self.refusal.lock()) {
            // It is tried again and again: said once.
            if known.is_none() {
                tracing::warn!(problem = refused, "Kafka is there and nobody is let in");
            }
            *known = Some(refused);
        }
    }
}

impl ConsumerContext for Listener {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            // No lane answers any more, and closing waits for an answer.
            let answer = match assigned {
                true => client.incremental_assign(&TopicPartitionList::new()),
                false => client.incremental_unassign(partitions),
            };
            if let Err(error) = answer {
                tracing::debug!(%error, "a change of partitions while closing was refused");
            }
            return;
        }
        let numbers = partitions
            .elements()
            .iter()
            .map(|entry| entry.partition())
            .collect();
        let change = if assigned {
            Change::Assigned(numbers)
        } else {
            Change::Revoked(numbers)
        };
        if let Ok(mut changes) = self.changes.lock() {
            changes.push(change);
        }
    }
}

impl Consumer {
    /// Joins the group; `lanes` share the memory for records fetched ahead.
    ///
    /// # Errors
    /// When a setting is refused by the client.
    pub fn join(
        config: &KafkaConfig,
        topic: &str,
        group: &str,
        lanes: usize,
    ) -> Result<Self, KafkaError> {
        let refused = |error: ClientError| KafkaError::Refused {
            brokers: config.brokers.clone(),
            problem: format!("joining the group {group}: {error}"),
        };
        let queue_kib = (config.queue_budget_kib / lanes).max(1024);
        let client: BaseConsumer<Listener> = client_settings(config)?
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set(
                "session.timeout.ms",
                config.session_timeout.as_millis().to_string(),
            )
            .set(
                "heartbeat.interval.ms",
                (config.session_timeout.as_millis() / 4).to_string(),
            )
            .set("queued.min.messages", "10000")
            .set("queued.max.messages.kbytes", queue_kib.to_string())
            // What one answer brings is unpacked whole, beyond the queue's limit: JSON to about
            // eight times its size on the wire.
            .set(
                "fetch.max.bytes",
                (queue_kib * 1024 / 8).clamp(1 << 20, 50 << 20).to_string(),
            )
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("check.crcs", "true")
            .set(
                "statistics.interval.ms",
                STATISTICS_EVERY.as_millis().to_string(),
            )
            .create_with_context(Listener::default())
            .map_err(refused)?;
        client.subscribe(&[topic]).map_err(refused)?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            brokers: config.brokers.clone(),
        })
    }

    /// Waits at most `wait` for a record and adds it to `records`, if its position is admitted.
    ///
    /// # Errors
    /// When the client says that it cannot go on.
    pub fn poll(
        &self,
        wait: Duration,
        records: &mut Records,
        admits: impl FnOnce(i32, i64) -> bool,
    ) -> Result<Polled, KafkaError> {
        match self.client.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) if !admits(message.partition(), message.offset()) => {
                Ok(Polled::Record)
            }
            Some(Ok(message)) => {
                let millis = message.timestamp().to_millis().unwrap_or(0);
                let head = records.push(
                    (message.partition(), message.offset()),
                    millis.saturating_mul(1_000),
                    message.key(),
                    message.payload(),
                );
                head.backfill = says_backfill(&message);
                Ok(Polled::Record)
            }
            Some(Err(error)) => self.sort_poll_error(&error),
        }
    }

    /// What the group has wanted since the last call, in order.
    pub fn take_changes(&self) -> Vec<Change> {
        self.client
            .context()
            .changes
            .lock()
            .map(|mut changes| std::mem::take(&mut *changes))
            .unwrap_or_default()
    }

    /// Tells the group that an assignment was heard, so that the other partitions go on while
    /// histories are rebuilt.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn acknowledge(&self) -> Result<(), KafkaError> {
        let none = TopicPartitionList::new();
        self.client
            .incremental_assign(&none)
            .map_err(|error| self.refused("acknowledging partitions", &error))
    }

    /// Reads these partitions from these offsets on.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn assign(&self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .map_err(|error| self.refused("assigning partitions", &error))?;
        }
        self.client
            .incremental_assign(&list)
            .map_err(|error| self.refused("assigning partitions", &error))
    }

    /// Stops reading those of these partitions that are read. It also answers a revocation, so
    /// the group is told even when none of them is: they were held, or still being rebuilt.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn unassign(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        let assigned = self
            .client
            .assignment()
            .map_err(|error| self.refused("asking for the assignment", &error))?;
        let read: Vec<i32> = assigned
            .elements()
            .iter()
            .map(|entry| entry.partition())
            .filter(|partition| partitions.contains(partition))
            .collect();
        self.client
            .incremental_unassign(&self.list(&read))
            .map_err(|error| self.refused("giving partitions up", &error))
    }

    /// Fetches nothing more of these partitions for now.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn pause(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.client
            .pause(&self.list(partitions))
            .map_err(|error| self.refused("pausing partitions", &error))
    }

    /// Goes on with these partitions.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn resume(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.client
            .resume(&self.list(partitions))
            .map_err(|error| self.refused("resuming partitions", &error))
    }

    /// Tells Kafka how far the database is, for lag tools only: the database is the truth, so a
    /// failure changes nothing.
    pub fn publish_offsets(&self, positions: &[(i32, i64)]) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            if list
                .add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .is_err()
            {
                return;
            }
        }
        if let Err(error) = self.client.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "the offsets shown to lag tools were not taken");
        }
    }

    /// The first offset that the topic still holds of a partition.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn earliest(&self, partition: i32, wait: Duration) -> Result<i64, KafkaError> {
        self.client
            .fetch_watermarks(&self.topic, partition, wait)
            .map(|(earliest, _)| earliest)
            .map_err(|error| self.refused("asking for the earliest offset", &error))
    }

    /// The end of a partition as the client last heard of it.
    pub fn end_of(&self, partition: i32) -> Option<i64> {
        let ends = self.client.context().ends.lock().ok()?;
        ends.get(&partition).copied()
    }

    /// Whether no broker is connected, as the client last looked.
    pub fn is_away(&self) -> bool {
        self.client.context().away.load(Ordering::Acquire)
    }

    /// Why the brokers refuse us since they were last connected, if they do: it may pass, when
    /// the brokers' side is mended.
    pub fn refusal(&self) -> Option<String> {
        self.client.context().refusal.lock().ok()?.clone()
    }

    /// Leaves the group. Brokers that say nothing are waited for at most `within`: the group
    /// then notices by itself.
    pub fn leave(self, within: Duration) {
        let Self {
            client, brokers, ..
        } = self;
        // From here on changes are answered without the lane.
        client.context().closing.store(true, Ordering::Release);
        let (left, answered) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(client);
            // Whoever waited may have given up.
            let _ = left.send(());
        });
        if answered.recv_timeout(within).is_err() {
            tracing::warn!(brokers, "Kafka does not answer: left the group unheard");
        }
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn sort_poll_error(&self, error: &ClientError) -> Result<Polled, KafkaError> {
        match error {
            ClientError::MessageConsumptionFatal(_) => Err(self.refused("reading", error)),
            ClientError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                Ok(Polled::OffsetOutOfRange)
            }
            ClientError::MessageConsumption(
                Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::TopicAuthorizationFailed,
            ) => Err(self.refused("reading", error)),
            // The client reconnects by itself; polling again is the wait.
            _ => {
                tracing::debug!(%error, "reading from Kafka failed for now");
                Ok(Polled::Nothing)
            }
        }
    }

    fn refused(&self, doing: &str, error: &ClientError) -> KafkaError {
        KafkaError::Refused {
            brokers: self.brokers.clone(),
            problem: format!("{doing}: {error}"),
        }
    }
}

/// Headers are unpacked only where there are any.
fn says_backfill(message: &BorrowedMessage<'_>) -> bool {
    let says = Header {
        key: BACKFILL_HEADER,
        value: Some(BACKFILL_VALUE),
    };
    message
        .headers()
        .is_some_and(|headers| headers.iter().any(|header| header == says))
}
