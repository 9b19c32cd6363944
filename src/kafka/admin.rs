//! What the brokers know of a topic, and making one.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::types::RDKafkaErrorCode;

use super::{KafkaError, client_settings, topic_id};

/// What binds a stream to its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// Id of the cluster, as its brokers agreed on it.
    pub cluster_id: String,
    /// Id of the topic, which a recreated one does not share; brokers before 2.8 have none.
    pub topic_id: Option<String>,
    /// How many partitions the topic has.
    pub partitions: i32,
}

/// What of a partition can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset still kept.
    pub earliest: i64,
    /// One past the last offset.
    pub latest: i64,
}

/// How a topic came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It was made, with the partitions asked for.
    Created,
    /// It was there, with this many partitions, which were left alone.
    Found {
        /// How many.
        partitions: i32,
    },
}

/// Asks for the topic's facts; never creates it. Blocks for at most about `timeout`.
///
/// # Errors
/// When no broker answers in time, or when there is no such topic.
pub fn facts(brokers: &str, topic: &str, timeout: Duration) -> Result<TopicFacts, KafkaError> {
    let deadline = Instant::now() + timeout;
    let client = connect(brokers)?;
    let description = topic_id::describe(&client, topic, timeout)
        .map_err(|code| KafkaError::sort(brokers, topic, "asking for the topic", code))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let cluster_id = client
        .inner()
        .fetch_cluster_id(left)
        .ok_or_else(|| KafkaError::Away {
            brokers: brokers.to_owned(),
            problem: "asking for the cluster's id: nothing came".into(),
        })?;
    Ok(TopicFacts {
        cluster_id,
        topic_id: description.id,
        partitions: description.partitions,
    })
}

/// Asks for the offsets of partitions 0 to `partitions`. Blocks for at most about `timeout` each.
///
/// # Errors
/// When no broker answers in time, or when a partition is not there.
pub fn offsets(
    brokers: &str,
    topic: &str,
    partitions: i32,
    timeout: Duration,
) -> Result<Vec<OffsetRange>, KafkaError> {
    let client = connect(brokers)?;
    let mut ranges = Vec::new();
    for partition in 0..partitions {
        let (earliest, latest) = client
            .inner()
            .fetch_watermarks(topic, partition, timeout)
            .map_err(|error| KafkaError::of(brokers, topic, "asking for offsets", &error))?;
        ranges.push(OffsetRange { earliest, latest });
    }
    Ok(ranges)
}

/// Makes the topic when it is absent, with the brokers' own replication; leaves it alone when it
/// is there. Returns once the brokers describe it.
///
/// # Errors
/// When no broker answers in time, or when the brokers refuse to make it.
pub async fn ensure_topic(
    brokers: &str,
    topic: &str,
    partitions: i32,
    timeout: Duration,
) -> Result<Ensured, KafkaError> {
    let deadline = Instant::now() + timeout;
    let client = connect(brokers)?;
    let sort = |code| KafkaError::sort(brokers, topic, "creating the topic", code);
    match topic_id::describe(&client, topic, timeout) {
        Ok(found) => {
            return Ok(Ensured::Found {
                partitions: found.partitions,
            });
        }
        Err(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {}
        Err(code) => return Err(sort(code)),
    }
    let asked = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(timeout));
    let answers = client
        .create_topics([&asked], &options)
        .await
        .map_err(|error| KafkaError::of(brokers, topic, "creating the topic", &error))?;
    let mut created = Ensured::Created;
    for answer in answers {
        match answer {
            Ok(_) => {}
            // Another producer was faster; its partitions count.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                created = Ensured::Found { partitions };
            }
            Err((_, code)) => return Err(sort(code)),
        }
    }
    // The controller has it; the brokers learn of it a moment later.
    loop {
        match (topic_id::describe(&client, topic, timeout), created) {
            (Ok(_), Ensured::Created) => return Ok(created),
            (Ok(found), Ensured::Found { .. }) => {
                return Ok(Ensured::Found {
                    partitions: found.partitions,
                });
            }
            (Err(code), _) if Instant::now() >= deadline => return Err(sort(code)),
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn connect(brokers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    AdminClient::from_config(&client_settings(brokers))
        .map_err(|error| KafkaError::of(brokers, "", "starting a client", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_not_there_is_named_as_away() {
        // A port that was just free: nothing listens there.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap();
        let brokers = free.to_string();
        let error = facts(&brokers, "payments", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, KafkaError::Away { .. }), "{error}");
        assert!(error.to_string().contains(&brokers), "{error}");
    }
}
