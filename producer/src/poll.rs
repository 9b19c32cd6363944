//! `vigie-producer poll`: an HTTP API is asked again and again, and what is new is sent.

mod answer;
mod fetch;
mod payment;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use tokio::runtime::Runtime;
use vigie::bundle::Bundle;

use crate::moment::Stretch;
use crate::pace::Rate;
use crate::reader::now;
use crate::sender::{Outgoing, Sender};
use crate::signals::Signals;
use crate::target::{TargetArgs, bundle_folder};
use crate::trouble::Trouble;
use fetch::Api;
use payment::{Seen, Translator};

/// What `--help` ends with.
pub const EXAMPLE: &str = "Example:
  vigie-producer poll --url https://host/current-transactions --every 15s --topic payments

What the API must answer: docs/demo-api.md. A failure is said in a sentence, and the next call waits
longer each time, up to five minutes.";

/// Longest pause after failures, unless --every is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often a call that is under way looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// What is to be asked for, and how.
#[derive(Args)]
pub struct PollArgs {
    /// Address of the API
    #[arg(long)]
    url: String,
    /// Between two calls
    #[arg(long, default_value = "15s")]
    every: Stretch,
    /// How long an answer may take; a host that sleeps needs 10 to 30 s to wake up
    #[arg(long, default_value = "20s")]
    timeout: Stretch,
    /// End after so many payments [default: go on until a signal]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The bundle that declares the payments: a folder, or a name under models/
    /// [default: stream.bundle of the configuration]
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Trust these certificate authorities (PEM) instead of the system's
    #[arg(long)]
    ca_file: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Polls, until the limit or a signal.
///
/// # Errors
/// When something is wrong before the first call, or Kafka takes no more.
pub fn run(arguments: PollArgs) -> Result<(), Trouble> {
    let (mut poll, mut sender) = prepare(arguments).map_err(Trouble::Configuration)?;
    let outcome = poll.run(&mut sender);
    let finished = sender.finish(outcome);
    let Counts {
        answers,
        failures,
        refused,
        repeats,
        ..
    } = poll.counts;
    eprintln!(
        "{answers} answers, {failures} calls without one; {repeats} rows came again and {refused} \
         were refused"
    );
    finished.map_err(Trouble::Failure)
}

fn prepare(arguments: PollArgs) -> anyhow::Result<(Poll, Sender)> {
    let span = |stretch: Stretch| Duration::from_micros(stretch.micros().unsigned_abs());
    let (every, patience) = (span(arguments.every), span(arguments.timeout));
    anyhow::ensure!(
        patience >= Duration::from_secs(1),
        "--timeout: expected at least 1s"
    );
    anyhow::ensure!(
        every >= Duration::from_millis(100),
        "--every: expected at least 100ms, to spare the API"
    );
    let config = arguments.target.config()?;
    let folder = arguments
        .bundle
        .unwrap_or_else(|| config.stream.bundle.clone());
    let schema = Bundle::read(&bundle_folder(folder))?.schema;
    let target = arguments.target.resolve(&config);
    let poll = Poll {
        api: Api::new(&arguments.url, arguments.ca_file.as_deref(), patience)?,
        translator: Translator::new(schema, &config)?,
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no HTTP client can be had")?,
        every,
        left: arguments.limit.unwrap_or(u64::MAX),
        seen: Seen::default(),
        counts: Counts::default(),
    };
    // It listens for signals: whoever sees the topic may ask for the end.
    let sender = Sender::new("the polling", &target, Rate::Max, None, None)?;
    target.make_topic()?;
    Ok((poll, sender))
}

/// Asks, and sends what is new.
struct Poll {
    api: Api,
    translator: Translator,
    runtime: Runtime,
    every: Duration,
    left: u64,
    seen: Seen,
    counts: Counts,
}

/// What came of the calls.
#[derive(Default)]
struct Counts {
    answers: u64,
    failures: u64,
    refused: u64,
    repeats: u64,
    /// Calls without an answer since the last one.
    in_a_row: u32,
}

impl Poll {
    fn run(&mut self, sender: &mut Sender) -> anyhow::Result<()> {
        loop {
            let began = Instant::now();
            let Some(body) = self.call(sender.signals()) else {
                return Ok(());
            };
            match body.and_then(|body| answer::read(&body).map_err(anyhow::Error::msg)) {
                Ok(answer) => {
                    if self.counts.in_a_row > 0 {
                        eprintln!("{} answers again", self.api.host());
                    }
                    self.counts.answers += 1;
                    self.counts.in_a_row = 0;
                    if !self.send(answer, sender)? {
                        return Ok(());
                    }
                }
                Err(problem) => self.complain(&problem),
            }
            if !sender.wait_until(began + self.pause())? {
                return Ok(());
            }
        }
    }

    /// One call; none when it is not wanted any more.
    fn call(&self, signals: &Signals) -> Option<anyhow::Result<Vec<u8>>> {
        self.runtime.block_on(async {
            let unwanted = async {
                while !signals.stop() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                answered = self.api.call() => Some(answered),
                () = unwanted => None,
            }
        })
    }

    /// Sends the rows that are new; false when no more is to be sent.
    fn send(&mut self, answer: answer::Answer, sender: &mut Sender) -> anyhow::Result<bool> {
        for problem in answer.refused {
            self.refuse(&problem);
        }
        for cells in answer.rows {
            let payment = match self.translator.payment(&cells, now()?) {
                Ok(payment) => payment,
                Err(problem) => {
                    self.refuse(&problem.to_string());
                    continue;
                }
            };
            if !self.seen.add(&payment.id) {
                if self.counts.repeats == 0 {
                    eprintln!(
                        "{} sent a row again, with the same trans_num and current_time: such rows \
                         are sent on once",
                        self.api.host()
                    );
                }
                self.counts.repeats += 1;
                continue;
            }
            let outgoing = Outgoing {
                key: payment.key.as_bytes(),
                payload: &payment.payload,
                time: 0,
                backfill: false,
                entry: None,
            };
            if !sender.send(outgoing)? {
                return Ok(false);
            }
            self.left -= 1;
            if self.left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn refuse(&mut self, problem: &str) {
        self.counts.refused += 1;
        eprintln!("{}: a row was refused: {problem}", self.api.host());
    }

    fn complain(&mut self, problem: &anyhow::Error) {
        self.counts.failures += 1;
        self.counts.in_a_row += 1;
        eprintln!(
            "{}: {problem:#}; asking again in {:.1} s",
            self.api.host(),
            self.pause().as_secs_f64()
        );
    }

    /// From one call to the next: longer after each failure.
    fn pause(&self) -> Duration {
        backed_off(self.every, self.counts.in_a_row)
    }
}

fn backed_off(every: Duration, failures: u32) -> Duration {
    let longest = LONGEST_PAUSE.max(every);
    every
        .saturating_mul(2u32.saturating_pow(failures.min(16)))
        .min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_failure_up_to_five_minutes() {
        let after = |failures| backed_off(Duration::from_secs(15), failures).as_secs();
        assert_eq!([0, 1, 2, 4, 5, 99].map(after), [15, 30, 60, 240, 300, 300]);
        let hour = Duration::from_secs(3_600);
        assert_eq!(backed_off(hour, 3), hour);
    }
}
