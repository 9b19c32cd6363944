//! What a stream's number stands for.

use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::{Store, answered};

/// What the broker and the token key say about the stream, beside what is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The topic's own id, new when it is made anew under the same name.
    pub topic_id: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Fingerprint of the token key.
    pub token_fingerprint: String,
}

const REMEMBER: &str = "\
    INSERT INTO streams (stream, topic, consumer_group, topic_id, cluster_id, partitions, \
                         token_fingerprint, business_zone, amount_scale) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";

const RECALL: &str = "\
    SELECT topic, consumer_group, topic_id, cluster_id, partitions::text, token_fingerprint, \
           business_zone, amount_scale::text \
    FROM streams WHERE stream = $1";

/// What each column of [`RECALL`] is called, and what to do when it differs.
const FACTS: [(&str, &str); 8] = [
    (
        "topic",
        "give each topic a number of its own (stream.id), or set stream.topic",
    ),
    (
        "consumer group",
        "set stream.group: two groups under one number would fence each other for ever",
    ),
    (
        "topic id",
        "the topic was made anew and its offsets began again: use another stream.id or another \
         database.schema",
    ),
    (
        "Kafka cluster id",
        "check kafka.brokers, or use another stream.id",
    ),
    (
        "number of partitions",
        "accounts would move between histories: use another stream.id",
    ),
    (
        "token key's fingerprint",
        "another key splits every account's history: set tokens.key or tokens.key_file back",
    ),
    (
        "business zone",
        "days are fixed at the first start: set events.business_zone back",
    ),
    (
        "amount's scale",
        "stored amounts would change their meaning: use another stream.id",
    ),
];

impl Store {
    /// Binds the stream's number to its topic, group, cluster and token key the first time, and
    /// refuses anything else from then on.
    ///
    /// # Errors
    /// [`StoreError::Refused`] naming what differs and what to do.
    pub async fn bind(&mut self, binding: &Binding) -> Result<(), StoreError> {
        let patience = self.patience();
        let id = self.stream();
        let scale = self.amount_scale;
        let (stream, zone) = (
            self.config.stream.clone(),
            self.config.events.business_zone.clone(),
        );
        let client = &self.session().await?.client;
        let facts: [&(dyn ToSql + Sync); 9] = [
            &id,
            &stream.topic,
            &stream.group,
            &binding.topic_id,
            &binding.cluster_id,
            &binding.partitions,
            &binding.token_fingerprint,
            &zone,
            &scale,
        ];
        answered(patience, client.execute(REMEMBER, &facts)).await?;
        let row = answered(patience, client.query_one(RECALL, &[&id])).await?;
        let ours = [
            stream.topic,
            stream.group,
            binding.topic_id.clone(),
            binding.cluster_id.clone(),
            binding.partitions.to_string(),
            binding.token_fingerprint.clone(),
            zone,
            scale.to_string(),
        ];
        for (column, (ours, (what, remedy))) in ours.iter().zip(FACTS).enumerate() {
            let known: String = row.try_get(column)?;
            if known != *ours {
                return Err(StoreError::Refused(format!(
                    "stream {id} was bound to the {what} \"{known}\", found \"{ours}\": {remedy}"
                )));
            }
        }
        Ok(())
    }
}
