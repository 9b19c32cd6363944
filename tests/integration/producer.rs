//! The Kafka clients against a real broker.

use std::time::{Duration, Instant, SystemTime};

use vigie::config::{Config, KafkaConfig};
use vigie::kafka::KafkaError;
use vigie::kafka::admin::{Ensured, OffsetRange, ensure_topic, facts, offsets};
use vigie::kafka::producer::{Acknowledged, Compression, Handed, Producer};

const WAIT: Duration = Duration::from_secs(20);

fn kafka() -> KafkaConfig {
    let config = Config::load(None).expect("settings of a stack: source .stack/NAME/env");
    config.kafka
}

/// A topic's name that no other test and no other run has.
fn unused(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!("{name}-{}-{}", std::process::id(), now.unwrap().as_nanos())
}

async fn fresh_topic(name: &str) -> String {
    let topic = unused(name);
    let ensured = ensure_topic(&kafka(), &topic, 8, WAIT).await.unwrap();
    assert_eq!(ensured, Ensured::Created);
    topic
}

fn producer<T: Send + Sync>(topic: &str) -> Producer<T> {
    Producer::new(&kafka(), topic, Compression::Lz4, WAIT).unwrap()
}

fn settle<T: Send + Sync>(producer: &Producer<T>, into: &mut Vec<Acknowledged<T>>) {
    let deadline = Instant::now() + WAIT;
    while producer.in_flight() > 0 && Instant::now() < deadline {
        producer.poll(Duration::from_millis(10));
    }
    producer.acknowledged(into).unwrap();
}

#[tokio::test]
async fn a_key_goes_to_the_partition_that_the_java_client_chooses() {
    // Kafka's own UtilsTest: the hash of each key by its Java client.
    let known: [(&str, i32); 6] = [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58897971,
        ),
        ("abc", 479470107),
    ];
    let topic = fresh_topic("partitioner").await;
    let producer = producer::<i32>(&topic);
    for (key, hash) in known {
        let expected = (hash & 0x7fff_ffff) % 8;
        let handed = producer.hand_over(key.as_bytes(), b"{}", Box::new(expected));
        assert!(matches!(handed, Ok(Handed::Queued)));
    }
    let mut acknowledged = Vec::new();
    settle(&producer, &mut acknowledged);
    assert_eq!(acknowledged.len(), known.len());
    for record in acknowledged {
        assert_eq!(record.partition, *record.carried);
    }
}

#[tokio::test]
async fn a_full_queue_says_so_and_loses_nothing() {
    const RECORDS: u64 = 250_000;
    let topic = fresh_topic("pressure").await;
    let producer = producer::<u64>(&topic);
    let (mut full, mut acknowledged) = (0, Vec::new());
    for number in 0..RECORDS {
        let key = (number % 64).to_string();
        let mut carried = Box::new(number);
        // Nothing is polled until the queue is full, so it must fill up.
        while let Handed::Full(back) = producer.hand_over(key.as_bytes(), b"{}", carried).unwrap() {
            carried = back;
            full += 1;
            producer.poll(Duration::from_millis(5));
            producer.acknowledged(&mut acknowledged).unwrap();
        }
    }
    settle(&producer, &mut acknowledged);
    assert!(full > 0);
    let mut numbers: Vec<u64> = acknowledged.iter().map(|record| *record.carried).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..RECORDS));
    let ranges = offsets(&kafka(), &topic, 8, WAIT).unwrap();
    let stored: i64 = ranges.iter().map(|range| range.latest).sum();
    assert_eq!(stored, RECORDS as i64);
}

#[tokio::test]
async fn a_topic_is_made_once_and_keeps_its_id_and_partitions() {
    let topic = fresh_topic("facts").await;
    let made = facts(&kafka(), &topic, WAIT).unwrap();
    assert_eq!(made.partitions, 8);
    assert!(made.topic_id.is_some() && !made.cluster_id.is_empty());
    let again = ensure_topic(&kafka(), &topic, 3, WAIT).await.unwrap();
    assert_eq!(again, Ensured::Found { partitions: 8 });
    assert_eq!(facts(&kafka(), &topic, WAIT).unwrap(), made);
    let empty = OffsetRange {
        earliest: 0,
        latest: 0,
    };
    assert_eq!(offsets(&kafka(), &topic, 8, WAIT).unwrap(), [empty; 8]);
    let other = fresh_topic("facts").await;
    let other = facts(&kafka(), &other, WAIT).unwrap();
    assert_ne!(other.topic_id, made.topic_id);
    assert_eq!(other.cluster_id, made.cluster_id);
}

#[test]
fn asking_for_a_topic_that_is_missing_says_so_and_does_not_make_it() {
    let topic = unused("missing");
    for _ in 0..3 {
        let error = facts(&kafka(), &topic, WAIT).unwrap_err();
        assert!(matches!(error, KafkaError::NoTopic { .. }), "{error}");
    }
}
