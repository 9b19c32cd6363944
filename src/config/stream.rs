//! Settings of the way of the data: topic, events, model, what is stored and published.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::layers::{duration, number};
use super::{ConfigError, Secret};

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

impl KafkaSecurity {
    /// Whether what is sent can be read on the way.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether the brokers ask for user and password.
    pub fn has_password(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl KafkaConfig {
    /// Refuses settings that would silently do nothing, or tell a password to anybody.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem: &str| {
            Err(ConfigError::Wrong {
                setting,
                problem: problem.into(),
            })
        };
        let is_set = |path: &PathBuf| !path.as_os_str().is_empty();
        let encrypted = self.security.is_encrypted();
        if !encrypted && is_set(&self.ca_file) {
            return wrong("kafka.ca_file", NOT_ENCRYPTED);
        }
        if !encrypted && is_set(&self.certificate_file) {
            return wrong("kafka.certificate_file", NOT_ENCRYPTED);
        }
        if is_set(&self.certificate_file) != is_set(&self.certificate_key_file) {
            return wrong(
                "kafka.certificate_key_file",
                "a certificate and its key belong together: set kafka.certificate_file as well, or neither",
            );
        }
        match (self.security.has_password(), self.user.is_empty()) {
            (true, true) => return wrong("kafka.user", "kafka.security asks for a user: set it"),
            (false, false) => return wrong("kafka.user", NO_LOGIN),
            _ => {}
        }
        match (self.security.has_password(), self.password.is_empty()) {
            (true, true) => {
                return wrong(
                    "kafka.password",
                    "kafka.security asks for a password: set it or kafka.password_file",
                );
            }
            (false, false) => return wrong("kafka.password", NO_LOGIN),
            _ => {}
        }
        let readable = self.security == KafkaSecurity::SaslPlaintext
            && self.sasl_mechanism == SaslMechanism::Plain;
        if readable && !self.brokers.split(',').all(is_loopback) {
            return wrong(
                "kafka.sasl_mechanism",
                "PLAIN over sasl_plaintext sends the password in the clear: take a SCRAM mechanism, or \
                 kafka.security = \"sasl_ssl\"",
            );
        }
        Ok(())
    }
}

const NOT_ENCRYPTED: &str = "is of no use as kafka.security is: \"ssl\" or \"sasl_ssl\" encrypt";
const NO_LOGIN: &str =
    "is of no use as kafka.security is: \"sasl_ssl\" or \"sasl_plaintext\" log in";

/// Whether `host:port`, or a host alone, never leaves this machine.
pub(super) fn is_loopback(address: &str) -> bool {
    let address = address.trim();
    let host = match address.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => host,
        _ => address,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refused(change: impl FnOnce(&mut KafkaConfig)) -> String {
        let mut kafka = Config::load(None).unwrap().kafka;
        change(&mut kafka);
        match kafka.check() {
            Ok(()) => "nothing".to_owned(),
            Err(problem) => problem.to_string(),
        }
    }

    fn with_login(kafka: &mut KafkaConfig, security: KafkaSecurity) {
        kafka.security = security;
        kafka.user = "vigie".into();
        kafka.password = Secret::from("hunter2".to_owned());
    }

    #[test]
    fn what_would_silently_do_nothing_is_refused_by_its_setting() {
        let file = || PathBuf::from("file.pem");
        for (setting, problem) in [
            ("kafka.ca_file", refused(|kafka| kafka.ca_file = file())),
            (
                "kafka.certificate_file",
                refused(|kafka| kafka.certificate_file = file()),
            ),
            (
                "kafka.certificate_key_file",
                refused(|kafka| {
                    kafka.security = KafkaSecurity::Ssl;
                    kafka.certificate_file = file();
                }),
            ),
            ("kafka.user", refused(|kafka| kafka.user = "vigie".into())),
            (
                "kafka.user",
                refused(|kafka| kafka.security = KafkaSecurity::SaslSsl),
            ),
            (
                "kafka.password",
                refused(|kafka| {
                    kafka.security = KafkaSecurity::SaslSsl;
                    kafka.user = "vigie".into();
                }),
            ),
            (
                "kafka.password",
                refused(|kafka| kafka.password = Secret::from("hunter2".to_owned())),
            ),
        ] {
            assert!(problem.starts_with(&format!("{setting}: ")), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let whole = refused(|kafka| with_login(kafka, KafkaSecurity::SaslSsl));
        assert_eq!(whole, "nothing");
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_but_to_this_machine() {
        let plain = |brokers: &str| {
            refused(|kafka| {
                with_login(kafka, KafkaSecurity::SaslPlaintext);
                kafka.sasl_mechanism = SaslMechanism::Plain;
                kafka.brokers = brokers.to_owned();
            })
        };
        assert_eq!(plain("127.0.0.1:9092,localhost:9093,[::1]:9094"), "nothing");
        let problem = plain("127.0.0.1:9092, kafka.example.test:9092");
        assert!(problem.starts_with("kafka.sasl_mechanism: "), "{problem}");
    }
}
