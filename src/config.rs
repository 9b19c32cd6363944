//! Settings: defaults, then a file, then variables; one struct per concern.
//!
//! `config.default.toml` is the reference: it lists every key with its default, and a key that
//! it does not list is refused.

mod database;
mod desk;
mod layers;
mod process;
mod stream;

use std::fmt;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use layers::{
    TextVariables, invalid, keys_of, read_secret, read_toml, refuse_misspelt_variables,
    refuse_unknown,
};

pub use database::{DatabaseConfig, DatabaseTls, DeskConfig, MigrateConfig};
pub use desk::{
    CanaryConfig, GroupBy, IncidentsConfig, MailConfig, MailTls, ReportConfig, SlackConfig,
    WebhookConfig,
};
pub use layers::variable_of;
pub use process::{HttpConfig, LogConfig, LogFormat};
pub use stream::{
    EventsConfig, KafkaConfig, KafkaSecurity, KeyCheck, ModelConfig, OutputConfig, SaslMechanism,
    StorageConfig, StreamConfig, TokensConfig,
};

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
    /// `[desk]`
    pub desk: DeskConfig,
    /// `[tokens]`
    pub tokens: TokensConfig,
    /// `[events]`
    pub events: EventsConfig,
    /// `[storage]`
    pub storage: StorageConfig,
    /// `[model]`
    pub model: ModelConfig,
    /// `[output]`
    pub output: OutputConfig,
    /// `[incidents]`
    pub incidents: IncidentsConfig,
    /// `[mail]`
    pub mail: MailConfig,
    /// `[slack]`
    pub slack: SlackConfig,
    /// `[webhook]`
    pub webhook: WebhookConfig,
    /// `[canary]`
    pub canary: CanaryConfig,
    /// `[report]`
    pub report: ReportConfig,
    /// `[http]`
    pub http: HttpConfig,
    /// `[log]`
    pub log: LogConfig,
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

    /// Every secret may stand in a file of its own, which wins.
    fn read_secrets(&mut self) -> Result<(), ConfigError> {
        let (kafka, database, migrate) = (&mut self.kafka, &mut self.database, &mut self.migrate);
        let (desk, tokens, mail) = (&mut self.desk, &mut self.tokens, &mut self.mail);
        let (slack, webhook, http) = (&mut self.slack, &mut self.webhook, &mut self.http);
        for (setting, file, secret) in [
            (
                "kafka.password_file",
                &kafka.password_file,
                &mut kafka.password,
            ),
            (
                "database.password_file",
                &database.password_file,
                &mut database.password,
            ),
            (
                "migrate.password_file",
                &migrate.password_file,
                &mut migrate.password,
            ),
            (
                "desk.password_file",
                &desk.password_file,
                &mut desk.password,
            ),
            ("tokens.key_file", &tokens.key_file, &mut tokens.key),
            (
                "mail.password_file",
                &mail.password_file,
                &mut mail.password,
            ),
            ("slack.url_file", &slack.url_file, &mut slack.url),
            ("webhook.url_file", &webhook.url_file, &mut webhook.url),
            (
                "webhook.secret_file",
                &webhook.secret_file,
                &mut webhook.secret,
            ),
            (
                "http.metrics_token_file",
                &http.metrics_token_file,
                &mut http.metrics_token,
            ),
        ] {
            read_secret(setting, file, secret)?;
        }
        Ok(())
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
        if self.output.topic == self.stream.topic {
            return wrong(
                "output.topic",
                "expected another topic than stream.topic: decisions would be read as payments",
            );
        }
        self.kafka.check()?;
        self.database.check()?;
        desk::check(self)?;
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
    use std::time::Duration;

    use super::layers::number;
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
    fn decisions_are_not_published_to_where_payments_are_read() {
        let mut config = Config::load(None).unwrap();
        config.output.topic.clone_from(&config.stream.topic);
        let problem = config.check().unwrap_err().to_string();
        assert!(problem.starts_with("output.topic: "), "{problem}");
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
