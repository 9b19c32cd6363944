//! Whether offsets that were not read hold anything: the end of a transaction takes one without a
//! record, and so does whatever was aborted or compacted away.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::{KafkaError, client_settings};
use crate::config::KafkaConfig;

/// Longest wait for one answer of the client.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of these partitions with offsets, those that hold a record there or behind. Blocks for at most
/// about `timeout`. It reads beside the group, which does not notice.
///
/// # Errors
/// When the brokers do not answer for every partition in time, or refuse to.
pub fn with_records(
    kafka: &KafkaConfig,
    (topic, group): (&str, &str),
    positions: &[(i32, i64)],
    timeout: Duration,
) -> Result<Vec<i32>, KafkaError> {
    let explain = |error: &ClientError| {
        KafkaError::of(&kafka.brokers, topic, "looking for unread records", error)
    };
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .map_err(|error| explain(&error))?;
    }
    let client: BaseConsumer = client_settings(kafka)?
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("queued.min.messages", "1")
        .create()
        .map_err(|error| explain(&error))?;
    client.assign(&list).map_err(|error| explain(&error))?;
    let deadline = Instant::now() + timeout;
    let mut open: Vec<i32> = positions.iter().map(|(partition, _)| *partition).collect();
    let mut found = Vec::new();
    while !open.is_empty() {
        let answered = match client.poll(LOOK_EVERY) {
            Some(Ok(record)) => {
                let partition = record.partition();
                if open.contains(&partition) {
                    found.push(partition);
                }
                partition
            }
            Some(Err(ClientError::PartitionEOF(partition))) => partition,
            Some(Err(error)) => return Err(explain(&error)),
            None if Instant::now() >= deadline => {
                return Err(KafkaError::Away {
                    brokers: kafka.brokers.clone(),
                    problem: "looking for unread records: nothing came".to_owned(),
                });
            }
            None => continue,
        };
        open.retain(|partition| *partition != answered);
    }
    Ok(found)
}
