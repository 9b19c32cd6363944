//! Where payments go, as the command line and the configuration say it together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use vigie::config::{Config, KafkaConfig};
use vigie::kafka::KafkaError;
use vigie::kafka::admin::{Ensured, ensure_topic};
use vigie::kafka::producer::Compression;

/// How long Kafka may take to answer at the start.
const START: Duration = Duration::from_secs(10);

/// Options of every verb that sends to Kafka.
#[derive(Args)]
pub struct TargetArgs {
    /// Topic to send to; made when it is absent [default: stream.topic of the configuration]
    #[arg(long)]
    topic: Option<String>,
    /// host:port, comma-separated [default: kafka.brokers of the configuration]
    #[arg(long)]
    brokers: Option<String>,
    /// Partitions of a topic that is made; one that is there keeps its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// How records are packed
    #[arg(long, value_enum, default_value_t = Packing::Lz4)]
    compression: Packing,
    /// Seconds that a payment may wait for its acknowledgement, retries included
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    give_up_after: u64,
    /// Settings file [default: VIGIE_CONFIG]
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Packing {
    None,
    Lz4,
}

/// A topic to be filled.
pub struct Target {
    /// Its name.
    pub topic: String,
    /// Where Kafka is, and how to log in.
    pub kafka: KafkaConfig,
    /// Partitions of a topic that is made.
    partitions: i32,
    /// How records are packed.
    pub compression: Compression,
    /// How long a payment may wait for its acknowledgement.
    pub patience: Duration,
}

impl TargetArgs {
    /// The settings of the file that is named, or else of the environment's.
    pub fn config(&self) -> anyhow::Result<Config> {
        let named = self.config.clone().or_else(|| {
            std::env::var_os("VIGIE_CONFIG")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        });
        Ok(Config::load(named.as_deref())?)
    }

    /// What the options say, and the configuration where they say nothing.
    pub fn resolve(self, config: &Config) -> Target {
        Target {
            topic: self.topic.unwrap_or_else(|| config.stream.topic.clone()),
            kafka: KafkaConfig {
                brokers: self.brokers.unwrap_or_else(|| config.kafka.brokers.clone()),
                ..config.kafka.clone()
            },
            partitions: self.partitions,
            compression: match self.compression {
                Packing::None => Compression::None,
                Packing::Lz4 => Compression::Lz4,
            },
            patience: Duration::from_secs(self.give_up_after),
        }
    }
}

impl Target {
    /// Makes the topic, or says that it is there with other partitions than asked for.
    pub fn make_topic(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let ensured = runtime
            .block_on(ensure_topic(
                &self.kafka,
                &self.topic,
                self.partitions,
                START,
            ))
            .map_err(|error| match error {
                away @ KafkaError::Away { .. } => {
                    anyhow!(away).context("check --brokers or kafka.brokers (VIGIE_KAFKA__BROKERS)")
                }
                other => anyhow!(other),
            })?;
        if let Ensured::Found { partitions } = ensured
            && partitions != self.partitions
        {
            eprintln!(
                "topic {} is there with {partitions} partitions and keeps them (--partitions {} is \
                 for a topic that is made)",
                self.topic, self.partitions
            );
        }
        Ok(())
    }
}

/// A folder as it is; a bare name also means the one under models/.
pub fn bundle_folder(given: PathBuf) -> PathBuf {
    let mut parts = given.components();
    let bare = parts.next().is_some() && parts.next().is_none();
    if bare && !given.join("bundle.toml").exists() {
        return Path::new("models").join(given);
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_a_bundle_under_models_and_a_folder_is_itself() {
        assert_eq!(bundle_folder("card".into()), Path::new("models/card"));
        assert_eq!(bundle_folder("a/card".into()), Path::new("a/card"));
    }
}
