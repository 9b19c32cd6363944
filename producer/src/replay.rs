//! `vigie-producer replay`: a file becomes a topic.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use vigie::bundle::{Bundle, Kind, Schema};
use vigie::config::KeyCheck;
use vigie::engine::decode::{Decoder, Rules};
use vigie::engine::token::TokenKey;
use vigie::input::{Pass, Span, Window, passes};

use crate::ledger::Ledger;
use crate::moment::Moment;
use crate::pace::{Rate, Speed};
use crate::reader::{Block, Blocks, Reader, now};
use crate::sender::{Outgoing, Sender};
use crate::target::{Target, TargetArgs, bundle_folder};
use crate::trouble::Trouble;

/// What `--help` ends with.
pub const EXAMPLE: &str = "Examples:
  vigie-producer replay payments.csv.zst --topic payments --rate 100 --shift-to-now --bundle card
  vigie-producer replay last_year.parquet --backfill
  vigie-producer replay day.jsonl --speed 60x --from 2026-03-01 --to 2026-03-02
  vigie-producer replay payments.log.jsonl --follow

Settings (brokers, topic, bundle, token key) come from the same file and VIGIE_ variables as
vigie's own. Exit code: 0 done or stopped by a signal, 1 failed, 2 usage or configuration.";

/// What is to be replayed, and how.
#[derive(Args)]
pub struct ReplayArgs {
    /// The payments: CSV with a header or JSON lines, plain or zstd, or Parquet
    file: PathBuf,
    #[command(flatten)]
    target: TargetArgs,
    /// Payments per second, evenly spread; `max` is as fast as Kafka takes them
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// By event time instead, so many times faster than it happened: 1x, 100x
    #[arg(long, conflicts_with = "rate")]
    speed: Option<Speed>,
    /// Only payments from then on: a date, or a moment with its offset; as the file has them
    #[arg(long)]
    from: Option<Moment>,
    /// Only payments before then; a date is its midnight in the time field's zone
    #[arg(long)]
    to: Option<Moment>,
    /// Go on as the file grows (CSV or JSON lines), also when it is replaced, until a signal. Once
    /// another file has the name, what is still added to the old one is not read
    #[arg(long, conflicts_with_all = ["repeat", "shift_to_now"])]
    follow: bool,
    /// Mark the payments so that they fill the history only: no alert, mail or published decision
    /// where the payment is more than a day old
    #[arg(long)]
    backfill: bool,
    /// Move event times by whole days so that the last payment is the latest not after now
    #[arg(long)]
    shift_to_now: bool,
    /// How often the file is sent; each pass has ids of its own and lies on later days
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Only the first rows of the file within --from and --to, in each pass
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The bundle that declares the payments: a folder, or a name under models/
    /// [default: stream.bundle of the configuration]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Keep a line for every acknowledged payment here: partition, offset, account token, id,
    /// amount in minor units, event time in microseconds; zstd when the name ends in .zst. Rows that
    /// Vigie could not read are then refused, and accounts are written as tokens only
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Key of the ledger's account tokens [default: tokens.key of the configuration]
    #[arg(long)]
    key_file: Option<PathBuf>,
}

/// The same, with the configuration brought in.
struct Plan {
    file: PathBuf,
    schema: Schema,
    rules: Rules,
    target: Target,
    rate: Rate,
    window: Window,
    follow: bool,
    backfill: bool,
    shift_to_now: bool,
    repeat: u32,
    limit: u64,
    ledger: Option<(PathBuf, TokenKey)>,
}

/// Sends the file and waits until all of it is acknowledged, or as much as was sent before a signal.
///
/// # Errors
/// When something is wrong before the first payment, or afterwards.
pub fn run(arguments: ReplayArgs) -> Result<(), Trouble> {
    let file = arguments.file.clone();
    let (mut sender, blocks, backfill) = plan(arguments)
        .and_then(prepare)
        .map_err(Trouble::Configuration)?;
    let sent = blocks.each(|block| match block {
        Some(block) => send(&mut sender, &file, block, backfill),
        None => sender.rest(),
    });
    sender.finish(sent).map_err(Trouble::Failure)
}

/// Brings the arguments and the configuration together.
fn plan(arguments: ReplayArgs) -> anyhow::Result<Plan> {
    let config = arguments.target.config()?;
    let folder = arguments
        .bundle
        .unwrap_or_else(|| config.stream.bundle.clone());
    let schema = Bundle::read(&bundle_folder(folder))?.schema;
    let key = match &arguments.ledger {
        None => None,
        Some(_) => Some(token_key(
            arguments.key_file.as_deref(),
            config.tokens.key.reveal(),
        )?),
    };
    Ok(Plan {
        file: arguments.file,
        window: window(&schema, arguments.from, arguments.to)?,
        schema,
        // What Vigie will hold against a payment is held against it before it is sent.
        rules: Rules::new(&config.events, KeyCheck::Account)?,
        target: arguments.target.resolve(&config),
        rate: arguments.speed.map_or(arguments.rate, Rate::Speed),
        follow: arguments.follow,
        backfill: arguments.backfill,
        shift_to_now: arguments.shift_to_now,
        repeat: arguments.repeat,
        limit: arguments.limit.unwrap_or(u64::MAX),
        ledger: arguments.ledger.zip(key),
    })
}

/// The event times that are wanted.
fn window(schema: &Schema, from: Option<Moment>, to: Option<Moment>) -> anyhow::Result<Window> {
    let Kind::Time { zone, .. } = &schema.field(schema.roles.time).kind else {
        return Ok(Window::ALL);
    };
    let at = |moment: Option<Moment>| moment.map(|moment| moment.at(zone)).transpose();
    let window = Window {
        from: at(from).context("--from")?.unwrap_or(Window::ALL.from),
        to: at(to).context("--to")?.unwrap_or(Window::ALL.to),
    };
    anyhow::ensure!(
        window.from < window.to,
        "--from and --to: expected the first to be before the second"
    );
    Ok(window)
}

/// Everything that can be wrong before the first payment is sent.
fn prepare(plan: Plan) -> anyhow::Result<(Sender, Blocks, bool)> {
    let (passes, total) = layout(&plan)?;
    plan.target.make_topic()?;
    let (ledger, decoder) = match plan.ledger {
        None => (None, None),
        Some((path, key)) => {
            let ledger = Ledger::create(&path)
                .with_context(|| format!("--ledger: cannot write {}", path.display()))?;
            let decoder = Decoder::new(plan.schema.clone(), key, plan.rules);
            (Some(ledger), Some(decoder))
        }
    };
    let sender = Sender::new("the replay", &plan.target, plan.rate, total, ledger)?;
    let reader = Reader {
        file: plan.file,
        schema: plan.schema,
        passes,
        window: plan.window,
        timed: sender.follows_event_time(),
        limit: plan.limit,
        decoder,
        follow: plan.follow.then(|| sender.signals().clone()),
    };
    Ok((sender, reader.start()?, plan.backfill))
}

/// The passes over the file and how many payments they are; of a growing file nobody knows.
fn layout(plan: &Plan) -> anyhow::Result<(Vec<Pass>, Option<u64>)> {
    if plan.follow {
        if !plan.file.exists() {
            eprintln!("waiting for {}", plan.file.display());
        }
        return Ok((vec![Pass::default()], None));
    }
    let span =
        Span::of(&plan.file, &plan.schema, &plan.window, plan.limit)?.with_context(|| {
            let within = if plan.window == Window::ALL {
                ""
            } else {
                " between --from and --to"
            };
            format!("{} holds no payment{within}", plan.file.display())
        })?;
    let end = plan.shift_to_now.then(now).transpose()?;
    let total = span.rows.saturating_mul(u64::from(plan.repeat));
    Ok((passes(&span, plan.repeat, end), Some(total)))
}

/// Sends a block; false when no more is to be sent.
fn send(
    sender: &mut Sender,
    file: &Path,
    mut block: Block,
    backfill: bool,
) -> anyhow::Result<bool> {
    for row in 0..block.records.len() {
        let payment = Outgoing {
            key: block.records.key(row).unwrap_or_default(),
            payload: block.records.payload(row).unwrap_or_default(),
            time: block.times.get(row).copied().unwrap_or_default(),
            backfill,
            from: block.places.get(row).map(|place| (file, *place)),
            entry: block.entries.get_mut(row).and_then(Option::take),
        };
        if !sender.send(payment)? {
            return Ok(false);
        }
    }
    Ok(true)
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

    #[test]
    fn a_ledger_without_a_key_is_refused_by_the_setting_s_name() {
        let problem = token_key(None, "").unwrap_err().to_string();
        assert!(problem.contains("VIGIE_TOKENS__KEY_FILE"), "{problem}");
        let problem = format!("{:#}", token_key(None, "short").unwrap_err());
        assert!(problem.contains("tokens.key"), "{problem}");
    }
}
