//! What the brokers know of a topic, and making one.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::{KafkaError, client_settings, security, topic_id};
use crate::config::KafkaConfig;

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
/// When no broker answers in time or lets us in, or when there is no such topic.
pub fn facts(
    kafka: &KafkaConfig,
    topic: &str,
    timeout: Duration,
) -> Result<TopicFacts, KafkaError> {
    let deadline = Instant::now() + timeout;
    let connection = Connection::open(kafka)?;
    let description = connection
        .describe(topic, timeout)
        .map_err(|code| connection.sort(topic, "asking for the topic", code))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let cluster_id = connection
        .client
        .client()
        .fetch_cluster_id(left)
        .ok_or_else(|| KafkaError::Away {
            brokers: kafka.brokers.clone(),
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
/// When no broker answers in time or lets us in, or when a partition is not there.
pub fn offsets(
    kafka: &KafkaConfig,
    topic: &str,
    partitions: i32,
    timeout: Duration,
) -> Result<Vec<OffsetRange>, KafkaError> {
    let connection = Connection::open(kafka)?;
    let mut ranges = Vec::new();
    for partition in 0..partitions {
        let (earliest, latest) = connection
            .client
            .client()
            .fetch_watermarks(topic, partition, timeout)
            .map_err(|error| connection.explain(topic, "asking for offsets", &error))?;
        ranges.push(OffsetRange { earliest, latest });
    }
    Ok(ranges)
}

/// Makes the topic when it is absent, with the brokers' own replication; leaves it alone when it
/// is there. Returns once the brokers describe it.
///
/// # Errors
/// When no broker answers in time or lets us in, or when the brokers refuse to make it.
pub async fn ensure_topic(
    kafka: &KafkaConfig,
    topic: &str,
    partitions: i32,
    timeout: Duration,
) -> Result<Ensured, KafkaError> {
    let deadline = Instant::now() + timeout;
    let connection = Connection::open(kafka)?;
    let sort = |code| connection.sort(topic, "creating the topic", code);
    match connection.describe(topic, timeout) {
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
    let client: AdminClient<DefaultClientContext> =
        AdminClient::from_config(&client_settings(kafka)?)
            .map_err(|error| connection.explain(topic, "starting a client", &error))?;
    let answers = client
        .create_topics([&asked], &options)
        .await
        .map_err(|error| connection.explain(topic, "creating the topic", &error))?;
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
        match (connection.describe(topic, timeout), created) {
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

/// A client that only asks. Made as a producer, which tells why it is not connected: the client
/// for administration does not, and a wrong password would look like a broker that is away.
struct Connection {
    client: BaseProducer<Heard>,
    brokers: String,
}

/// What the client says of its connections.
#[derive(Default)]
struct Heard {
    refusal: Mutex<Option<String>>,
    trouble: Mutex<Option<String>>,
}

impl Connection {
    fn open(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let mut settings = client_settings(kafka)?;
        // Whatever is shown of it: a broker that hangs up is told at this level.
        settings.set_log_level(RDKafkaLogLevel::Info);
        let client = BaseProducer::from_config_and_context(&settings, Heard::default())
            .map_err(|error| KafkaError::of(&kafka.brokers, "", "starting a client", &error))?;
        Ok(Self {
            client,
            brokers: kafka.brokers.clone(),
        })
    }

    /// Waits for the answer as long as the brokers may let us in.
    fn describe(
        &self,
        topic: &str,
        timeout: Duration,
    ) -> Result<topic_id::Description, RDKafkaErrorCode> {
        topic_id::describe(self.client.client(), topic, timeout, || {
            self.refusal().is_none()
        })
    }

    /// Why the brokers will not have us, if they said so.
    fn refusal(&self) -> Option<String> {
        self.client.poll(Duration::ZERO);
        self.client.context().refusal.lock().ok()?.clone()
    }

    fn sort(&self, topic: &str, doing: &str, code: RDKafkaErrorCode) -> KafkaError {
        if let Some(problem) = self.refusal() {
            return KafkaError::Refused {
                brokers: self.brokers.clone(),
                problem,
            };
        }
        let trouble = self.client.context().trouble.lock();
        match (KafkaError::sort(&self.brokers, topic, doing, code), trouble) {
            (KafkaError::Away { brokers, problem }, Ok(mut trouble)) => KafkaError::Away {
                brokers,
                problem: match trouble.take() {
                    Some(trouble) => format!("{problem}; {trouble}"),
                    None => problem,
                },
            },
            (sorted, _) => sorted,
        }
    }

    fn explain(&self, topic: &str, doing: &str, error: &rdkafka::error::KafkaError) -> KafkaError {
        match error.rdkafka_error_code() {
            Some(code) => self.sort(topic, doing, code),
            None => KafkaError::of(&self.brokers, topic, doing, error),
        }
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "the Kafka client");
        // A broker that hangs up is not reported as an error, only said.
        if facility == "FAIL" {
            let reason = message.split_once("]: ").map_or(message, |(_, said)| said);
            keep(&self.trouble, security::trouble(reason));
        }
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            // It says only that there was something else.
            return;
        }
        let refused = code.and_then(|code| security::refusal(code, reason));
        match refused {
            Some(refused) => keep(&self.refusal, refused),
            None => keep(&self.trouble, security::trouble(reason)),
        }
    }
}

fn keep(place: &Mutex<Option<String>>, text: String) {
    if let Ok(mut place) = place.lock() {
        *place = Some(text);
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
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
        let mut kafka = crate::config::Config::load(None).unwrap().kafka;
        kafka.brokers.clone_from(&brokers);
        let error = facts(&kafka, "payments", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, KafkaError::Away { .. }), "{error}");
        assert!(error.to_string().contains(&brokers), "{error}");
    }
}
