//! The producing client: nothing lost, nothing doubled, order kept per key.
//!
//! Not a thread of its own: whoever sends also polls, so that what was acknowledged is seen in
//! one place and memory stays bounded by librdkafka's queue.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::{BACKFILL_HEADER, BACKFILL_VALUE, KafkaError, client_settings, security};
use crate::config::KafkaConfig;

/// How records are packed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4: card payments take two fifths of the bytes, for 40 % more work to send and none
    /// that could be measured to read.
    Lz4,
}

/// Sends to one topic; each record carries a `T` that comes back when it was acknowledged.
pub struct Producer<T: Send + Sync + 'static> {
    client: BaseProducer<Reports<T>>,
    brokers: String,
    topic: String,
}

/// A record that all in-sync replicas hold.
#[derive(Debug)]
pub struct Acknowledged<T> {
    /// Where it went.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// What the sender gave along.
    pub carried: Box<T>,
}

/// What became of a record handed over.
#[derive(Debug)]
pub enum Handed<T> {
    /// It is in the client's queue.
    Queued,
    /// The queue is full: poll, then hand it over again.
    Full(Box<T>),
}

impl<T: Send + Sync + 'static> Producer<T> {
    /// Makes the client; connects in the background. `patience` is how long a record may wait
    /// for its acknowledgement, retries included, before it fails.
    ///
    /// # Errors
    /// When librdkafka refuses the settings, or a file of certificates cannot be read.
    pub fn new(
        kafka: &KafkaConfig,
        topic: &str,
        compression: Compression,
        patience: Duration,
    ) -> Result<Self, KafkaError> {
        let mut settings = settings(kafka)?;
        let compression = match compression {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
        };
        settings
            .set("client.id", "vigie-producer")
            .set("compression.type", compression)
            .set("message.timeout.ms", patience.as_millis().to_string());
        Self::of(&settings, kafka, topic)
    }

    /// A client that waits for the brokers as long as it must, and would rather refuse all that
    /// is on its way than leave a record out between others: whoever uses it then makes another
    /// and goes on behind what was acknowledged.
    ///
    /// # Errors
    /// As [`Producer::new`].
    pub fn endless(kafka: &KafkaConfig, topic: &str) -> Result<Self, KafkaError> {
        let mut settings = settings(kafka)?;
        settings
            .set("client.id", "vigie-decisions")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", "0")
            .set("enable.gapless.guarantee", "true");
        Self::of(&settings, kafka, topic)
    }

    fn of(settings: &ClientConfig, kafka: &KafkaConfig, topic: &str) -> Result<Self, KafkaError> {
        let client = BaseProducer::from_config_and_context(settings, Reports::default()).map_err(
            |error| KafkaError::of(&kafka.brokers, topic, "starting a producer", &error),
        )?;
        Ok(Self {
            client,
            brokers: kafka.brokers.clone(),
            topic: topic.to_owned(),
        })
    }

    /// Hands a record over; its timestamp is now. Never waits.
    ///
    /// # Errors
    /// When the record can never be sent, for instance because it is too large.
    pub fn hand_over(
        &self,
        key: &[u8],
        payload: &[u8],
        carried: Box<T>,
    ) -> Result<Handed<T>, KafkaError> {
        self.send(
            BaseRecord::with_opaque_to(&self.topic, carried)
                .key(key)
                .payload(payload),
        )
    }

    /// The same for a record that only fills the history ([`BACKFILL_HEADER`]).
    ///
    /// # Errors
    /// When the record can never be sent.
    pub fn hand_over_backfill(
        &self,
        key: &[u8],
        payload: &[u8],
        carried: Box<T>,
    ) -> Result<Handed<T>, KafkaError> {
        let mark = Header {
            key: BACKFILL_HEADER,
            value: Some(BACKFILL_VALUE),
        };
        self.send(
            BaseRecord::with_opaque_to(&self.topic, carried)
                .key(key)
                .payload(payload)
                .headers(OwnedHeaders::new_with_capacity(1).insert(mark)),
        )
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8], Box<T>>) -> Result<Handed<T>, KafkaError> {
        match self.client.send(record) {
            Ok(()) => Ok(Handed::Queued),
            Err((error, record))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
            {
                Ok(Handed::Full(record.delivery_opaque))
            }
            Err((error, _)) => Err(self.sort(&error)),
        }
    }

    /// Waits `span` and takes what the brokers say meanwhile; zero only looks.
    pub fn poll(&self, span: Duration) {
        self.client.poll(span);
    }

    /// Moves what was acknowledged since the last call to the end of `into`.
    ///
    /// # Errors
    /// When a record was given up: what was acknowledged before and after is in `into` all the same.
    pub fn acknowledged(&self, into: &mut Vec<Acknowledged<T>>) -> Result<(), KafkaError> {
        let mut reports = self.client.context().lock();
        into.append(&mut reports.acknowledged);
        match mem::take(&mut reports.failed) {
            None => Ok(()),
            Some(error) => Err(self.sort(&error)),
        }
    }

    /// Records handed over whose fate is open.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.client.in_flight_count()).unwrap_or(0)
    }

    /// What last kept the client from its brokers, since the last call.
    pub fn trouble(&self) -> Option<String> {
        self.client.context().lock().trouble.take()
    }

    fn sort(&self, error: &rdkafka::error::KafkaError) -> KafkaError {
        KafkaError::of(&self.brokers, &self.topic, "sending", error)
    }
}

/// Nothing lost, nothing doubled, order kept per key.
fn settings(kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
    let mut settings = client_settings(kafka)?;
    settings
        // The Java client's choice, so that any producer agrees on an account's partition.
        .set("partitioner", "murmur2_random")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536");
    Ok(settings)
}

/// What librdkafka reported since it was last asked.
struct Reports<T>(Mutex<Pending<T>>);

struct Pending<T> {
    acknowledged: Vec<Acknowledged<T>>,
    failed: Option<rdkafka::error::KafkaError>,
    trouble: Option<String>,
}

impl<T> Default for Reports<T> {
    fn default() -> Self {
        Self(Mutex::new(Pending {
            acknowledged: Vec::new(),
            failed: None,
            trouble: None,
        }))
    }
}

impl<T> Reports<T> {
    fn lock(&self) -> MutexGuard<'_, Pending<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync + 'static> ClientContext for Reports<T> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }

    fn error(&self, _: rdkafka::error::KafkaError, reason: &str) {
        self.lock().trouble = Some(security::trouble(reason));
    }
}

impl<T: Send + Sync + 'static> ProducerContext for Reports<T> {
    type DeliveryOpaque = Box<T>;

    fn delivery(&self, result: &DeliveryResult<'_>, carried: Box<T>) {
        let mut pending = self.lock();
        match result {
            Ok(message) => pending.acknowledged.push(Acknowledged {
                partition: message.partition(),
                offset: message.offset(),
                carried,
            }),
            Err((error, _)) => {
                // The first failure is the cause; those after it follow from it.
                pending.failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}
