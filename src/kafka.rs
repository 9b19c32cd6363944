//! Kafka: the clients and their settings. The only place that names rdkafka; the processor
//! and the producer both come here.
//!
//! Errors say what the caller can do about them: wait ([`KafkaError::Away`]), create
//! ([`KafkaError::NoTopic`]), or stop ([`KafkaError::Refused`]).

pub mod admin;
pub mod consumer;
pub mod peek;
pub mod producer;
mod security;
mod topic_id;

use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::config::KafkaConfig;

/// Header of a record that was loaded from the past, with the value [`BACKFILL_VALUE`].
pub const BACKFILL_HEADER: &str = "vigie-backfill";
/// What [`BACKFILL_HEADER`] says of a backfill.
pub const BACKFILL_VALUE: &[u8] = b"1";

/// What went wrong between us and the brokers.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No broker answered in time: waiting may help.
    #[error("Kafka at {brokers} does not answer ({problem})")]
    Away {
        /// Where it was looked for.
        brokers: String,
        /// What librdkafka said.
        problem: String,
    },
    /// The brokers answer and know no such topic.
    #[error("Kafka at {brokers} has no topic {topic}")]
    NoTopic {
        /// Where it was looked for.
        brokers: String,
        /// The topic.
        topic: String,
    },
    /// The brokers or the client said no, and will say so again.
    #[error("Kafka at {brokers}: {problem}")]
    Refused {
        /// Where it was asked.
        brokers: String,
        /// What was asked, and the answer.
        problem: String,
    },
}

impl KafkaError {
    /// Sorts librdkafka's code by the reaction it needs; `doing` is what was asked.
    fn sort(brokers: &str, topic: &str, doing: &str, code: Code) -> Self {
        let brokers = brokers.to_owned();
        match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition => Self::NoTopic {
                brokers,
                topic: topic.to_owned(),
            },
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::NetworkException
            | Code::NotController => Self::Away {
                brokers,
                problem: format!("{doing}: {code}"),
            },
            _ => Self::Refused {
                brokers,
                problem: format!("{doing}: {code}"),
            },
        }
    }

    /// Sorts an error of the client library.
    fn of(brokers: &str, topic: &str, doing: &str, error: &rdkafka::error::KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => Self::sort(brokers, topic, doing, code),
            None => Self::Refused {
                brokers: brokers.to_owned(),
                problem: format!("{doing}: {}", security::in_our_words(&error.to_string())),
            },
        }
    }
}

/// What every client of ours starts from.
///
/// # Errors
/// When a file of certificates cannot be read.
fn client_settings(kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", "vigie")
        // A broker that restarts is found again within a second, not within ten.
        .set("reconnect.backoff.max.ms", "1000");
    security::protect(&mut settings, kafka)?;
    Ok(settings)
}

/// What a client says of itself. The offsets shown to lag tools may be refused while partitions
/// move, and a broker that is away is looked for again: whoever uses the client says so in words
/// of its own.
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "the Kafka client");
        }
        _ => tracing::debug!(facility, message, "the Kafka client"),
    }
}

/// A time span as librdkafka takes it.
fn milliseconds(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}
