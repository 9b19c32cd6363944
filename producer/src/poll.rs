//! `vigie-producer poll`: an HTTP API is asked again and again, and what is new is sent.

mod answer;
mod fetch;
mod payment;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
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
use payment::{Payment, Seen, Translator};

/// What `--help` ends with.
pub const EXAMPLE: &str = "Example:
  vigie-producer poll --url https://host/current-transactions --every 15s --topic payments

What the API must answer: docs/demo-api.md. A failure is said in a sentence, and the next call waits
longer each time, up to five minutes.";

/// Longest pause after failures, unless --every is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Refused rows of an answer that are told one by one.
const TOLD: usize = 3;
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
    /// Calls without an answer that is of use since the last one.
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
                    let (payments, refused) = self.payments(answer)?;
                    if payments.is_empty() && refused > 0 {
                        self.complain(&anyhow!("no row of the answer could be used"));
                    } else {
                        self.note_answer();
                    }
                    if !self.send(payments, sender)? {
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

    /// The rows that are payments, and how many are not, which is told.
    fn payments(&mut self, answer: answer::Answer) -> anyhow::Result<(Vec<Payment>, usize)> {
        let (mut payments, mut refused) = (Vec::new(), answer.refused);
        for cells in answer.rows {
            match self.translator.payment(&cells, now()?) {
                Ok(payment) => payments.push(payment),
                Err(problem) => refused.push(problem.to_string()),
            }
        }
        for line in refusals(&refused) {
            eprintln!("{}: {line}", self.api.host());
        }
        self.counts.refused += refused.len() as u64;
        Ok((payments, refused.len()))
    }

    /// Sends those that are new; false when no more is to be sent.
    fn send(&mut self, payments: Vec<Payment>, sender: &mut Sender) -> anyhow::Result<bool> {
        for payment in payments {
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
                from: None,
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

    fn note_answer(&mut self) {
        if self.counts.in_a_row > 0 {
            eprintln!("{} answers again", self.api.host());
        }
        self.counts.answers += 1;
        self.counts.in_a_row = 0;
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

/// What is said of an answer's refused rows.
fn refusals(problems: &[String]) -> Vec<String> {
    let told = problems.iter().take(TOLD);
    let mut lines: Vec<String> = told
        .map(|problem| format!("a row was refused: {problem}"))
        .collect();
    if problems.len() > TOLD {
        lines.push(format!("and {} more rows of it", problems.len() - TOLD));
    }
    lines
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
    fn of_many_refused_rows_few_are_told() {
        let problems = |count: usize| vec!["no".to_owned(); count];
        let refused = "a row was refused: no";
        assert!(refusals(&problems(0)).is_empty());
        assert_eq!(refusals(&problems(3)), [refused; 3]);
        let lines = refusals(&problems(1_000));
        assert_eq!(lines[2..], [refused, "and 997 more rows of it"]);
    }

    #[test]
    fn the_pause_doubles_with_each_failure_up_to_five_minutes() {
        let after = |failures| backed_off(Duration::from_secs(15), failures).as_secs();
        assert_eq!([0, 1, 2, 4, 5, 99].map(after), [15, 30, 60, 240, 300, 300]);
        let hour = Duration::from_secs(3_600);
        assert_eq!(backed_off(hour, 3), hour);
    }
}
