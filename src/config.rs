//! Settings: defaults, then a file, then variables; one struct per concern.
//!
//! `config.default.toml` is the reference: it lists every key with its default, and a key that
//! it does not list is refused.

mod layers;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use layers::{
    TextVariables, duration, invalid, keys_of, number, read_secret, read_toml,
    refuse_misspelt_variables, refuse_unknown,
};

pub use layers::variable_of;

/// The commented reference of all settings.
pub const DEFAULTS: &str = include_str!("config.default.toml");

const PREFIX: &str = "VIGIE_";

/// All settings.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// `[stream]`
    pub stream: StreamConfig,
    /// `[kafka]`
    pub kafka: KafkaConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[migrate]`
    pub migrate: MigrateConfig,
    /// `[tokens]`
    pub tokens: TokensConfig,
    /// `[events]`
    pub events: EventsConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[model]`
    pub model: ModelConfig,
    /// `[mail]`
    pub mail: MailConfig,
    /// `[http]`
    pub http: HttpConfig,
    /// `[log]`
    pub log: LogConfig,
}

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
}

/// The database as the processor sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct DatabaseConfig {
    /// `VIGIE_DATABASE__HOST`
    pub host: String,
    /// `VIGIE_DATABASE__PORT`
    #[serde(deserialize_with = "number")]
    pub port: u16,
    /// `VIGIE_DATABASE__NAME`
    pub name: String,
    /// `VIGIE_DATABASE__USER`
    pub user: String,
    /// `VIGIE_DATABASE__PASSWORD`
    pub password: Secret,
    /// `VIGIE_DATABASE__PASSWORD_FILE`
    pub password_file: PathBuf,
    /// `VIGIE_DATABASE__SCHEMA`
    pub schema: String,
    /// `VIGIE_DATABASE__STATEMENT_TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub statement_timeout: Duration,
}

/// The schema's owner.
#[derive(Debug, Clone, Deserialize)]
pub struct MigrateConfig {
    /// `VIGIE_MIGRATE__USER`
    pub user: String,
    /// `VIGIE_MIGRATE__PASSWORD`
    pub password: Secret,
    /// `VIGIE_MIGRATE__PASSWORD_FILE`
    pub password_file: PathBuf,
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

/// How on-call is reached.
#[derive(Debug, Clone, Deserialize)]
pub struct MailConfig {
    /// `VIGIE_MAIL__HOST`
    pub host: String,
    /// `VIGIE_MAIL__PORT`
    #[serde(deserialize_with = "number")]
    pub port: u16,
    /// `VIGIE_MAIL__TLS`
    pub tls: MailTls,
    /// `VIGIE_MAIL__CA_FILE`
    pub ca_file: PathBuf,
    /// `VIGIE_MAIL__USER`
    pub user: String,
    /// `VIGIE_MAIL__PASSWORD`
    pub password: Secret,
    /// `VIGIE_MAIL__PASSWORD_FILE`
    pub password_file: PathBuf,
    /// `VIGIE_MAIL__FROM`
    pub from: String,
    /// `VIGIE_MAIL__TO`
    pub to: String,
    /// `VIGIE_MAIL__EVERY`
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// `VIGIE_MAIL__TIMEOUT`
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// In the clear first, then upgraded; refused when the server cannot.
    Starttls,
    /// Encrypted from the first byte.
    Tls,
    /// In the clear.
    Plain,
}

/// Health and metrics pages.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpConfig {
    /// `VIGIE_HTTP__LISTEN`
    pub listen: String,
    /// `VIGIE_HTTP__METRICS_TOKEN`
    pub metrics_token: Secret,
    /// `VIGIE_HTTP__METRICS_TOKEN_FILE`
    pub metrics_token_file: PathBuf,
}

/// What is logged and how.
#[derive(Debug, Clone, Deserialize)]
pub struct LogConfig {
    /// `VIGIE_LOG__FILTER`
    pub filter: String,
    /// `VIGIE_LOG__FORMAT`
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// A secret: never printed.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "not set" } else { "***" })
    }
}

/// Why the settings cannot be used; the message names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that the reference does not list.
    #[error("unknown setting `{key}` in {place}{hint}")]
    Unknown {
        /// The key.
        key: String,
        /// The file or the variable.
        place: String,
        /// The nearest known key, as a sentence.
        hint: String,
    },
    /// The file given is not there.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file given is no TOML. Its lines are not shown: one may hold a secret.
    #[error("{path}: line {line}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What was expected.
        problem: String,
    },
    /// A value of the wrong kind.
    #[error("{setting} in {place}: {problem}")]
    Invalid {
        /// The setting.
        setting: String,
        /// The file or the variable.
        place: String,
        /// What was expected; what was found only when it cannot be a secret.
        problem: String,
    },
    /// A secret's file that cannot be read.
    #[error("{setting}: cannot read {path}: {source}")]
    Secret {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A setting that contradicts another or makes no sense.
    #[error("{setting}: {problem}")]
    Wrong {
        /// The setting.
        setting: &'static str,
        /// What was expected and found.
        problem: String,
    },
}

impl Config {
    /// Reads the layers: defaults, `file` when given, then the process's variables.
    ///
    /// # Errors
    /// When a key is unknown, a value has the wrong kind, or a secret's file is unreadable.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let known = keys_of(&defaults)?;
        let mut layers = defaults;
        if let Some(path) = file {
            let text = read_toml(path)?;
            let place = path.display().to_string();
            let found = keys_of(&Figment::from(Toml::string(&text)))?;
            refuse_unknown(&found, &known, |_| place.clone())?;
            layers = layers.merge(Toml::string(&text));
        }
        refuse_misspelt_variables(&known)?;
        let variables = Env::prefixed(PREFIX)
            .filter(|name| name.as_str().contains("__"))
            .split("__");
        let found = keys_of(&Figment::from(variables.clone()))?;
        refuse_unknown(&found, &known, |key| {
            format!("the variable {}", variable_of(key))
        })?;
        let mut config: Self = layers
            .merge(TextVariables(variables))
            .extract()
            .map_err(|error| invalid(&error, file))?;
        config.read_secrets()?;
        config.check()?;
        Ok(config)
    }

    fn read_secrets(&mut self) -> Result<(), ConfigError> {
        read_secret(
            "database.password_file",
            &self.database.password_file,
            &mut self.database.password,
        )?;
        read_secret(
            "migrate.password_file",
            &self.migrate.password_file,
            &mut self.migrate.password,
        )?;
        read_secret(
            "tokens.key_file",
            &self.tokens.key_file,
            &mut self.tokens.key,
        )?;
        read_secret(
            "mail.password_file",
            &self.mail.password_file,
            &mut self.mail.password,
        )?;
        read_secret(
            "http.metrics_token_file",
            &self.http.metrics_token_file,
            &mut self.http.metrics_token,
        )
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem: &str| {
            Err(ConfigError::Wrong {
                setting,
                problem: problem.into(),
            })
        };
        let schema = &self.database.schema;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > 48 || !schema.chars().all(plain) {
            return wrong("database.schema", "expected 1 to 48 of a-z, 0-9 and _");
        }
        if self.stream.lanes == 0 || self.stream.lanes > 256 {
            return wrong("stream.lanes", "expected 1 to 256");
        }
        if self.stream.batch_rows == 0 || self.stream.batch_rows > 100_000 {
            return wrong("stream.batch_rows", "expected 1 to 100000");
        }
        if self.stream.dead_letter_limit == 0 || self.stream.dead_letter_limit > 1_000 {
            return wrong("stream.dead_letter_limit", "expected 1 to 1000");
        }
        jiff::tz::TimeZone::get(&self.events.business_zone).map_err(|_| ConfigError::Wrong {
            setting: "events.business_zone",
            problem: format!("no time zone {:?}", self.events.business_zone),
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_reference_alone_is_a_valid_configuration() {
        let config: Config = Figment::from(Toml::string(DEFAULTS)).extract().unwrap();
        assert_eq!(config.stream.batch_rows, 2000);
        assert_eq!(config.stream.batch_wait, Duration::from_millis(20));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let known = keys_of(&Figment::from(Toml::string(DEFAULTS))).unwrap();
        let found = BTreeSet::from(["stream.batch_row".to_owned()]);
        let problem = refuse_unknown(&found, &known, |_| "vigie.toml".into()).unwrap_err();
        let text = problem.to_string();
        assert!(
            text.contains("vigie.toml") && text.contains("`stream.batch_rows`"),
            "{text}"
        );
    }

    #[test]
    fn the_example_file_lists_every_variable_with_its_default() {
        let example = std::fs::read_to_string(".env.example").unwrap();
        let listed: Vec<&str> = example
            .lines()
            .filter_map(|line| line.trim_start_matches('#').trim().split_once('='))
            .map(|(name, _)| name)
            .collect();
        let expected: Vec<String> = ordered_keys().iter().map(|key| variable_of(key)).collect();
        assert_eq!(listed, expected);
    }

    fn ordered_keys() -> Vec<String> {
        let mut section = String::new();
        let mut keys = Vec::new();
        for line in DEFAULTS.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#'))
            {
                keys.push(format!("{section}.{key}"));
            }
        }
        keys
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2".to_owned());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn numbers_may_be_written_as_text() {
        #[derive(Deserialize)]
        struct One {
            #[serde(deserialize_with = "number")]
            port: u16,
        }
        let one: One = Figment::from(("port", "5432")).extract().unwrap();
        assert_eq!(one.port, 5432);
        assert!(Figment::from(("port", "70000")).extract::<One>().is_err());
    }
}
