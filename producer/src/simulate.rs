//! `vigie-producer simulate`: invented customers with habits, and fraud among their payments.

mod customers;
mod event;
mod habits;
mod random;
mod scenarios;
mod summary;
mod traffic;
mod world;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::tz::TimeZone;
use vigie::engine::batch::Micros;

use crate::moment::{Moment, Stretch};
use crate::pace::Rate;
use crate::reader::now;
use crate::sender::{Outgoing, Sender};
use crate::signals::Signals;
use crate::target::TargetArgs;
use crate::trouble::Trouble;
use event::Layout;
use summary::Summary;
use traffic::{Payment, Setting, Traffic};

/// What `--help` ends with.
pub const EXAMPLE: &str = "Examples:
  vigie-producer simulate --rate 50 --accounts 20000 --seed 7 --history 30d --topic payments
  vigie-producer simulate --history 90d --accounts 1000 --start 2026-04-01 --limit 0 --output card.jsonl.zst

The same arguments and --start give the same bytes. The past (--history) is marked so that it fills
the windows only; its last day has no fraud, since what is younger than a day rings alarms.";

/// What is to be simulated.
#[derive(Args)]
pub struct SimulateArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Payments per second, evenly spread, after the past
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,
    /// Customers; people pay one or two times a day, so 50,000 of them pay about once a second
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    accounts: u32,
    /// Decides everything that chance decides; the same payments come again with the same --start
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Layout of the events; `simple` needs a bundle of yours with its nine fields
    #[arg(long, value_enum, default_value_t = Layout::Card)]
    schema: Layout,
    /// First a past of this length: 30d, 12h
    #[arg(long, default_value = "0d")]
    history: Stretch,
    /// When the present begins: a date, or a moment with its offset [default: now]
    #[arg(long, alias = "now")]
    start: Option<Moment>,
    /// Payments after the past; 0 is the past alone [default: until a signal]
    #[arg(long)]
    limit: Option<u64>,
    /// Share of fraudulent payments in the long run: scenarios take hours and days of the customers'
    /// lives, so that a short run has fewer
    #[arg(long, default_value_t = 0.005, value_parser = share)]
    fraud_share: f64,
    /// Write JSON lines here instead of sending; `-` is the standard output; zstd when the name
    /// ends in .zst. As fast as it goes; needs --limit
    #[arg(long, requires = "limit")]
    output: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected payments per second".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=0.5).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 0.5".into()),
    }
}

/// Simulates, until the limit or a signal.
///
/// # Errors
/// When something is wrong before the first payment, or afterwards.
pub fn run(arguments: SimulateArgs) -> Result<(), Trouble> {
    let setting = setting(&arguments).map_err(Trouble::Configuration)?;
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let layout = arguments.schema;
    match arguments.output {
        Some(path) => write(&path, setting, layout, limit),
        None => send(arguments.target, setting, layout, limit),
    }
}

fn setting(arguments: &SimulateArgs) -> anyhow::Result<Setting> {
    const SECOND: Micros = 1_000_000;
    let start = match arguments.start {
        Some(moment) => moment.at(&TimeZone::UTC).context("--start")?,
        None => now()?,
    };
    ensure!(
        start >= arguments.history.micros(),
        "--history: expected to begin after 1970"
    );
    Ok(Setting {
        seed: arguments.seed,
        accounts: arguments.accounts,
        start: start - start.rem_euclid(SECOND),
        history: arguments.history.micros(),
        rate: arguments.rate,
        fraud_share: arguments.fraud_share,
        cities: arguments.schema.cities(),
    })
}

fn send(target: TargetArgs, setting: Setting, layout: Layout, limit: u64) -> Result<(), Trouble> {
    let began = Instant::now();
    let prepare = || {
        let config = target.config()?;
        let target = target.resolve(&config);
        target.make_topic()?;
        Sender::new("the simulation", &target, Rate::Max, None, None)
    };
    let mut sender = prepare().map_err(Trouble::Configuration)?;
    let start = setting.start;
    let mut traffic = Traffic::new(setting);
    if limit > 0 {
        warn_of_haste(&traffic);
    }
    let mut summary = Summary::default();
    let sent = simulate(&mut traffic, layout, limit, |payment, key, payload| {
        let backfill = payment.time < start;
        if !backfill {
            // The present begins when the program did, however long the past took to be sent.
            sender.go_by_event_time(began, start);
        }
        let sent = sender.send(Outgoing {
            key: key.as_bytes(),
            payload,
            time: payment.time,
            backfill,
            from: None,
            entry: None,
        })?;
        if sent {
            summary.add(payment);
        }
        Ok(sent)
    });
    let finished = sender.finish(sent);
    eprint!("{}", summary.text());
    finished.map_err(Trouble::Failure)
}

fn write(path: &Path, setting: Setting, layout: Layout, limit: u64) -> Result<(), Trouble> {
    let to = || path.display().to_string();
    let mut out = Lines::create(path)
        .with_context(|| format!("--output: cannot write {}", to()))
        .map_err(Trouble::Configuration)?;
    // What was written until a signal is a whole file.
    let signals = Signals::listen().map_err(Trouble::Configuration)?;
    let mut summary = Summary::default();
    let mut traffic = Traffic::new(setting);
    if limit > 0 {
        warn_of_haste(&traffic);
    }
    let simulated = simulate(&mut traffic, layout, limit, |payment, _, payload| {
        out.add(payload)?;
        summary.add(payment);
        Ok(!signals.stop())
    });
    simulated
        .and_then(|()| Ok(out.finish()?))
        .with_context(|| format!("cannot write {}", to()))
        .map_err(Trouble::Failure)?;
    eprint!("{}", summary.text());
    Ok(())
}

/// Hands every payment to `take` until it wants no more: the past, then `limit` of the present.
fn simulate(
    traffic: &mut Traffic,
    layout: Layout,
    limit: u64,
    mut take: impl FnMut(&Payment, &str, &[u8]) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let (mut key, mut payload) = (String::new(), Vec::new());
    let mut live = 0;
    loop {
        let payment = match traffic.next_past() {
            Some(payment) => payment,
            None if live < limit => {
                live += 1;
                traffic.next_live()
            }
            None => return Ok(()),
        };
        layout.write(traffic, &payment, &mut key, &mut payload)?;
        if !take(&payment, &key, &payload)? {
            return Ok(());
        }
    }
}

fn warn_of_haste(traffic: &Traffic) {
    if traffic.haste() > 4.0 {
        eprintln!(
            "vigie-producer: at this rate customers pay {:.0} times as often as people do; --accounts says how many \
             there are",
            traffic.haste()
        );
    }
}

/// JSON lines, compressed or not.
enum Lines {
    Plain(BufWriter<Box<dyn Write>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Lines {
    fn create(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Plain(BufWriter::new(Box::new(io::stdout().lock()))));
        }
        let file = File::create(path)?;
        Ok(if path.extension().is_some_and(|ending| ending == "zst") {
            Self::Zstd(zstd::Encoder::new(BufWriter::new(file), 3)?)
        } else {
            Self::Plain(BufWriter::with_capacity(1 << 18, Box::new(file)))
        })
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let out: &mut dyn Write = match self {
            Self::Plain(out) => out,
            Self::Zstd(out) => out,
        };
        out.write_all(line)?;
        out.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut out) => out.flush(),
            Self::Zstd(out) => out.finish()?.flush(),
        }
    }
}

#[cfg(test)]
mod tests;
