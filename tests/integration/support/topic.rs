//! A topic per test, and records exactly as a test wants them.

use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::event::Event;
use vigie::kafka::BACKFILL_HEADER;

const WAIT: Duration = Duration::from_secs(60);

/// One record: where it goes, its key, its payload, when it was sent, and whether a header says
/// that it was loaded from the past.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub sent: i64,
    pub backfill: bool,
}

impl Record {
    /// Any payload, sent now without a key.
    pub fn of(partition: i32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            partition,
            key: None,
            payload: Some(payload.into()),
            sent: jiff::Timestamp::now().as_millisecond(),
            backfill: false,
        }
    }

    /// A payment, sent now under its account.
    pub fn payment(partition: i32, event: &Event) -> Self {
        Self::of(partition, event.text()).keyed(event.card())
    }

    /// The same under this key.
    pub fn keyed(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same with the header of a backfill, among others.
    pub fn backfilled(mut self) -> Self {
        self.backfill = true;
        self
    }
}

pub fn brokers() -> String {
    std::env::var("VIGIE_KAFKA__BROKERS").expect("VIGIE_KAFKA__BROKERS: source .stack/NAME/env")
}

/// A name that no other test and no other run has.
pub fn unused(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!("{name}-{}-{}", std::process::id(), now.unwrap().as_nanos())
}

/// Makes a topic that takes records of up to 16 MiB.
pub async fn make(topic: &str, partitions: i32) {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", brokers());
    let client: AdminClient<DefaultClientContext> = settings.create().unwrap();
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1))
        .set("max.message.bytes", "16777216");
    let options = AdminOptions::new().operation_timeout(Some(WAIT));
    for answer in client.create_topics([&wanted], &options).await.unwrap() {
        answer.unwrap();
    }
}

/// Sends the records in this order and returns their offsets.
pub async fn send(topic: &str, records: &[Record]) -> Vec<i64> {
    let producer = producer(None);
    let mut pending = Vec::with_capacity(records.len());
    for record in records {
        let queued = producer.send_result(as_sent(topic, record));
        pending.push(queued.map_err(|(error, _)| error).unwrap());
    }
    let mut offsets = Vec::with_capacity(records.len());
    for delivery in pending {
        let delivered = delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        offsets.push(delivered.offset);
    }
    offsets
}

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Commit,
    Abort,
}

/// Sends each group of records as one transaction: its end leaves a marker in every partition
/// that it wrote to.
pub async fn send_transactions(topic: &str, transactions: &[(Vec<Record>, End)]) {
    let producer = producer(Some(topic));
    producer.init_transactions(WAIT).unwrap();
    for (records, end) in transactions {
        producer.begin_transaction().unwrap();
        for record in records {
            let queued = producer.send_result(as_sent(topic, record));
            let delivery = queued.map_err(|(error, _)| error).unwrap();
            delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
        }
        match end {
            End::Commit => producer.commit_transaction(WAIT).unwrap(),
            End::Abort => producer.abort_transaction(WAIT).unwrap(),
        }
    }
}

fn producer(transactional_id: Option<&str>) -> FutureProducer {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", brokers())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "16777216")
        .set("queue.buffering.max.messages", "1000000")
        .set("message.timeout.ms", WAIT.as_millis().to_string());
    if let Some(id) = transactional_id {
        settings.set("transactional.id", id);
    }
    settings.create().unwrap()
}

fn as_sent<'a>(topic: &'a str, record: &'a Record) -> FutureRecord<'a, [u8], [u8]> {
    FutureRecord {
        topic,
        partition: Some(record.partition),
        key: record.key.as_deref().map(ToBytes::to_bytes),
        payload: record.payload.as_deref().map(ToBytes::to_bytes),
        timestamp: Some(record.sent),
        headers: record.backfill.then(backfill_headers),
    }
}

fn backfill_headers() -> OwnedHeaders {
    let header = |key, value| Header { key, value };
    OwnedHeaders::new()
        .insert(header("traceparent", Some("00-af-01")))
        .insert(header(BACKFILL_HEADER, Some("1")))
}
