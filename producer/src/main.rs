//! The command line of `vigie-producer`: one match over the verbs.

mod ledger;
mod pace;
mod progress;
mod reader;
mod replay;
mod signals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use vigie::bundle::Bundle;
use vigie::config::{Config, KafkaConfig, KeyCheck};
use vigie::engine::decode::Rules;
use vigie::engine::token::TokenKey;
use vigie::kafka::producer::Compression;

use pace::Rate;
use replay::{Plan, Trouble};

/// Pushes payments to Kafka for Vigie.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLE: &str = "Example:
  vigie-producer replay payments.csv.zst --topic payments --rate 100 --shift-to-now --bundle card

Settings (brokers, topic, bundle, token key) come from the same file and VIGIE_ variables as
vigie's own. Exit code: 0 done or stopped by a signal, 1 failed, 2 usage or configuration.";

#[derive(Subcommand)]
enum Verb {
    /// Send every row of a CSV file as a payment, in the file's order
    #[command(after_help = EXAMPLE)]
    Replay(Replay),
}

#[derive(Args)]
struct Replay {
    /// The payments: CSV with a header, plain or zstd
    file: PathBuf,
    /// Topic to send to; made when it is absent [default: stream.topic of the configuration]
    #[arg(long)]
    topic: Option<String>,
    /// Payments per second, evenly spread; `max` is as fast as Kafka takes them
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Move event times by whole days so that the last payment is the latest not after now
    #[arg(long)]
    shift_to_now: bool,
    /// How often the file is sent; each pass has ids of its own and lies on later days
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Only the first rows of the file, in each pass
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The bundle that declares the payments: a folder, or a name under models/
    /// [default: stream.bundle of the configuration]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// host:port, comma-separated [default: kafka.brokers of the configuration]
    #[arg(long)]
    brokers: Option<String>,
    /// Partitions of a topic that is made; one that is there keeps its own
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Keep a line for every acknowledged payment here: partition, offset, account token, id,
    /// amount in minor units, event time in microseconds; zstd when the name ends in .zst. Rows that
    /// Vigie could not read are then refused, and accounts are written as tokens only
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Key of the ledger's account tokens [default: tokens.key of the configuration]
    #[arg(long)]
    key_file: Option<PathBuf>,
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

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Replay(arguments) => plan(arguments)
            .map_err(Trouble::Configuration)
            .and_then(replay::run),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            let (code, error) = match trouble {
                Trouble::Configuration(error) => (2, error),
                Trouble::Failure(error) => (1, error),
            };
            eprintln!("vigie-producer: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Brings the arguments and the configuration together.
fn plan(arguments: Replay) -> anyhow::Result<Plan> {
    let file = arguments.config.or_else(|| {
        std::env::var_os("VIGIE_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let config = Config::load(file.as_deref())?;
    let bundle = Bundle::read(&bundle_folder(
        arguments.bundle.unwrap_or(config.stream.bundle),
    ))?;
    let key = match &arguments.ledger {
        None => None,
        Some(_) => Some(token_key(
            arguments.key_file.as_deref(),
            config.tokens.key.reveal(),
        )?),
    };
    Ok(Plan {
        file: arguments.file,
        schema: bundle.schema,
        // What Vigie will hold against a payment is held against it before it is sent.
        rules: Rules::new(&config.events, KeyCheck::Account)?,
        topic: arguments.topic.unwrap_or(config.stream.topic),
        kafka: KafkaConfig {
            brokers: arguments.brokers.unwrap_or(config.kafka.brokers),
            ..config.kafka
        },
        partitions: arguments.partitions,
        rate: arguments.rate,
        shift_to_now: arguments.shift_to_now,
        repeat: arguments.repeat,
        limit: arguments.limit.unwrap_or(u64::MAX),
        ledger: arguments.ledger.zip(key),
        compression: match arguments.compression {
            Packing::None => Compression::None,
            Packing::Lz4 => Compression::Lz4,
        },
        patience: Duration::from_secs(arguments.give_up_after),
    })
}

/// A folder as it is; a bare name also means the one under models/.
fn bundle_folder(given: PathBuf) -> PathBuf {
    let mut parts = given.components();
    let bare = parts.next().is_some() && parts.next().is_none();
    if bare && !given.join("bundle.toml").exists() {
        return Path::new("models").join(given);
    }
    given
}

fn token_key(file: Option<&Path>, configured: &str) -> anyhow::Result<TokenKey> {
    let read;
    let (secret, setting) = match file {
        Some(path) => {
            read = std::fs::read_to_string(path)
                .with_context(|| format!("--key-file: cannot read {}", path.display()))?;
            (read.trim_end_matches(['\r', '\n']), "--key-file")
        }
        None => (configured, "tokens.key"),
    };
    if secret.is_empty() {
        anyhow::bail!(
            "--ledger writes account tokens and needs their key: give --key-file, or set \
             tokens.key_file (VIGIE_TOKENS__KEY_FILE)"
        );
    }
    TokenKey::new(secret).with_context(|| setting.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bare_name_is_a_bundle_under_models_and_a_folder_is_itself() {
        assert_eq!(bundle_folder("card".into()), Path::new("models/card"));
        assert_eq!(bundle_folder("a/card".into()), Path::new("a/card"));
    }

    #[test]
    fn a_ledger_without_a_key_is_refused_by_the_setting_s_name() {
        let problem = token_key(None, "").unwrap_err().to_string();
        assert!(problem.contains("VIGIE_TOKENS__KEY_FILE"), "{problem}");
        let problem = format!("{:#}", token_key(None, "short").unwrap_err());
        assert!(problem.contains("tokens.key"), "{problem}");
    }
}
