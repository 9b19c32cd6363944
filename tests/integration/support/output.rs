//! A topic that decisions are published to, and what stands in it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::Value;
use tokio_postgres::Client;

use super::topic::{self, brokers};
use super::vigie::{LONG, Place};
use super::{database, eventually_within};

const PARTITIONS: i32 = 3;
const WAIT: Duration = Duration::from_secs(60);

/// A decision as it stands in the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub partition: i32,
    pub key: String,
    pub json: Value,
}

/// Partition and offset of the record that was decided.
pub type Position = (i64, i64);

/// An output topic that only one test uses.
pub struct Output {
    pub topic: String,
}

impl Output {
    pub async fn new(name: &str) -> Self {
        let topic = topic::unused(name);
        topic::make(&topic, PARTITIONS).await;
        Self { topic }
    }

    /// Sets a property of the topic and forgets those that were set before.
    pub async fn set(&self, key: &str, value: &str) {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers());
        let client: AdminClient<DefaultClientContext> = settings.create().unwrap();
        let change = AlterConfig::new(ResourceSpecifier::Topic(&self.topic)).set(key, value);
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        for answer in client.alter_configs([&change], &options).await.unwrap() {
            answer.unwrap();
        }
    }

    /// Everything that stands in it now, each partition in its order.
    pub fn decisions(&self) -> Vec<Decision> {
        let mut settings = ClientConfig::new();
        settings
            .set("bootstrap.servers", brokers())
            .set("group.id", "a test that commits nothing");
        let consumer: BaseConsumer = settings.create().unwrap();
        let mut wanted = TopicPartitionList::new();
        let mut left = 0;
        for partition in 0..PARTITIONS {
            let (first, end) = consumer
                .fetch_watermarks(&self.topic, partition, WAIT)
                .unwrap();
            assert_eq!(first, 0);
            left += end;
            wanted
                .add_partition_offset(&self.topic, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&wanted).unwrap();
        let mut found = Vec::new();
        while left > 0 {
            let message = consumer
                .poll(WAIT)
                .expect("a record that is there")
                .unwrap();
            found.push(Decision {
                partition: message.partition(),
                key: String::from_utf8(message.key().unwrap().to_vec()).unwrap(),
                json: serde_json::from_slice(message.payload().unwrap()).unwrap(),
            });
            left -= 1;
        }
        found
    }
}

impl Decision {
    pub fn position(&self) -> Position {
        let source = &self.json["source"];
        let number = |name: &str| source[name].as_i64().unwrap();
        (number("partition"), number("offset"))
    }
}

/// Waits until the database holds that everything stored is published.
pub async fn all_published(client: &Client) {
    let open =
        "SELECT count(*) FROM stream_offsets WHERE published_to IS DISTINCT FROM next_offset";
    eventually_within(LONG, "everything is published", || async {
        (database::count(client, open).await == 0).then_some(())
    })
    .await;
}

/// Every live payment that is stored stands in the topic under its account, as it is stored, and
/// nothing else does. A repeat says what the first said, and each account's decisions are in
/// their order, repeats aside. Returns how many repeats there are.
pub async fn assert_every_decision_is_there(
    place: &Place,
    client: &Client,
    output: &Output,
) -> usize {
    let mut expected = stored(place, client).await;
    let mut seen: BTreeMap<Position, Decision> = BTreeMap::new();
    let mut latest: BTreeMap<(i32, i64), i64> = BTreeMap::new();
    let mut repeats = 0;
    for decision in output.decisions() {
        let (partition, offset) = decision.position();
        if let Some(first) = seen.get(&(partition, offset)) {
            assert_eq!(*first, decision);
            repeats += 1;
            continue;
        }
        let before = latest.insert((decision.partition, partition), offset);
        assert!(
            before < Some(offset),
            "{decision:?} comes behind {before:?}"
        );
        let row = expected.remove(&(partition, offset));
        assert_eq!(row.as_ref(), Some(&decision.json), "what is stored");
        assert_eq!(decision.key, decision.json["account"].as_str().unwrap());
        seen.insert((partition, offset), decision);
    }
    assert!(expected.is_empty(), "missing: {:?}", expected.keys());
    repeats
}

/// What the topic must hold, by position.
async fn stored(place: &Place, client: &Client) -> BTreeMap<Position, Value> {
    let rows = client
        .query(
            "SELECT source_partition::bigint, source_offset, \
                    json_build_object( \
                        'id', trans_num, 'account', encode(account, 'hex'), \
                        'decision', (ARRAY['allow', 'review', 'block'])[decision + 1], \
                        'score', score, 'reasons', coalesce(reasons, '{}'), \
                        'event_time', to_char(event_time AT TIME ZONE 'UTC', \
                                              'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
                        'amount', amount, 'amount_scale', 2, \
                        'model_version', model_version, 'policy_version', policy_version, \
                        'source', json_build_object('topic', $1::text, 'partition', source_partition, \
                                                    'offset', source_offset))::text \
             FROM payments_scored WHERE origin = 0",
            &[&place.topic],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let json: &str = row.get(2);
            let position = (row.get(0), row.get(1));
            (position, serde_json::from_str(json).unwrap())
        })
        .collect()
}
