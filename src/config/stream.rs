//! Settings of the way of the data: topic, events, model, what is stored and published.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::layers::{duration, number};

/// What is read and how it is cut into batches.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamConfig {
    /// `VIGIE_STREAM__TOPIC`
    pub topic: String,
    /// `VIGIE_STREAM__GROUP`
    pub group: String,
    /// `VIGIE_STREAM__ID`
    #[serde(deserialize_with = "number")]
    pub id: i16,
    /// `VIGIE_STREAM__BUNDLE`
    pub bundle: PathBuf,
    /// `VIGIE_STREAM__LANES`
    #[serde(deserialize_with = "number")]
    pub lanes: usize,
    /// `VIGIE_STREAM__BATCH_ROWS`
    #[serde(deserialize_with = "number")]
    pub batch_rows: usize,
    /// `VIGIE_STREAM__BATCH_WAIT`
    #[serde(deserialize_with = "duration")]
    pub batch_wait: Duration,
    /// `VIGIE_STREAM__KEY_CHECK`
    pub key_check: KeyCheck,
    /// `VIGIE_STREAM__DEAD_LETTER_LIMIT`
    #[serde(deserialize_with = "number")]
    pub dead_letter_limit: u32,
}

/// Whether a record's key must be its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyCheck {
    /// A record with another key is a dead letter.
    Account,
    /// Keys are not looked at.
    Off,
}

/// The broker and the consumer's limits.
#[derive(Debug, Clone, Deserialize)]
pub struct KafkaConfig {
    /// `VIGIE_KAFKA__BROKERS`
    pub brokers: String,
    /// `VIGIE_KAFKA__QUEUE_BUDGET_KIB`
    #[serde(deserialize_with = "number")]
    pub queue_budget_kib: usize,
    /// `VIGIE_KAFKA__SESSION_TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub session_timeout: Duration,
    /// `VIGIE_KAFKA__SECURITY`
    pub security: KafkaSecurity,
    /// `VIGIE_KAFKA__CA_FILE`
    pub ca_file: PathBuf,
    /// `VIGIE_KAFKA__CERTIFICATE_FILE`
    pub certificate_file: PathBuf,
    /// `VIGIE_KAFKA__CERTIFICATE_KEY_FILE`
    pub certificate_key_file: PathBuf,
    /// `VIGIE_KAFKA__SASL_MECHANISM`
    pub sasl_mechanism: SaslMechanism,
    /// `VIGIE_KAFKA__USER`
    pub user: String,
    /// `VIGIE_KAFKA__PASSWORD`
    pub password: Secret,
    /// `VIGIE_KAFKA__PASSWORD_FILE`
    pub password_file: PathBuf,
}

/// How the connection to the brokers is protected, in Kafka's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KafkaSecurity {
    /// In the clear, nobody asked who they are.
    Plaintext,
    /// Encrypted; the broker may ask for a certificate.
    Ssl,
    /// In the clear, with user and password.
    SaslPlaintext,
    /// Encrypted, with user and password.
    SaslSsl,
}

/// How user and password are shown to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A proof of it.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A proof of it.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The key of the card-number tokens.
#[derive(Debug, Clone, Deserialize)]
pub struct TokensConfig {
    /// `VIGIE_TOKENS__KEY`
    pub key: Secret,
    /// `VIGIE_TOKENS__KEY_FILE`
    pub key_file: PathBuf,
}

/// What event times are accepted.
#[derive(Debug, Clone, Deserialize)]
pub struct EventsConfig {
    /// `VIGIE_EVENTS__BUSINESS_ZONE`
    pub business_zone: String,
    /// `VIGIE_EVENTS__FIRST_DAY`
    pub first_day: jiff::civil::Date,
    /// `VIGIE_EVENTS__MAX_AHEAD`
    #[serde(deserialize_with = "duration")]
    pub max_ahead: Duration,
    /// `VIGIE_EVENTS__LATENESS`
    #[serde(deserialize_with = "duration")]
    pub lateness: Duration,
}

/// How long payments are kept.
#[derive(Debug, Clone, Deserialize)]
pub struct StorageConfig {
    /// `VIGIE_STORAGE__RETENTION_DAYS`
    #[serde(deserialize_with = "number")]
    pub retention_days: u32,
}

/// Where the model's run time is.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelConfig {
    /// `VIGIE_MODEL__ONNXRUNTIME`
    pub onnxruntime: PathBuf,
}

/// Where decisions are published.
#[derive(Debug, Clone, Deserialize)]
pub struct OutputConfig {
    /// `VIGIE_OUTPUT__TOPIC`
    pub topic: String,
}
