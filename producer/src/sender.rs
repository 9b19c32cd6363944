//! Sends payments to Kafka when they are due, and keeps account of what became of them.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, bail};
use vigie::engine::batch::Micros;
use vigie::input::Place;
use vigie::kafka::producer::{Acknowledged, Handed, Producer};

use crate::ledger::{Entry, Ledger};
use crate::pace::{Pace, Rate};
use crate::progress::{Progress, rate};
use crate::signals::Signals;
use crate::target::Target;

/// Payments handed over between two looks at the acknowledgements.
const LOOK_EVERY: u64 = 500;
/// Between two updates of the progress and of the ledger's file.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// A payment to be sent.
pub struct Outgoing<'a> {
    /// The account.
    pub key: &'a [u8],
    /// The event.
    pub payload: &'a [u8],
    /// Its event time, where the pace goes by it.
    pub time: Micros,
    /// Whether it only fills the history.
    pub backfill: bool,
    /// The file and the place it was read from.
    pub from: Option<(&'a Path, Place)>,
    /// What the ledger will say of it.
    pub entry: Option<Entry>,
}

/// Sends payments and keeps account of what became of them.
pub struct Sender {
    /// What sends, for messages.
    what: &'static str,
    producer: Producer<Option<Entry>>,
    signals: Signals,
    ledger: Option<Ledger>,
    pace: Pace,
    progress: Progress,
    start: Instant,
    shown: Instant,
    /// Payments since the pace began.
    paced: u64,
    sent: u64,
    acknowledged: u64,
    fresh: Vec<Acknowledged<Option<Entry>>>,
    topic: String,
    patience: Duration,
}

impl Sender {
    /// Starts a client. From here on a signal ends the sending in order; before, the process.
    /// `total` is how many payments there will be, where that is known.
    pub fn new(
        what: &'static str,
        target: &Target,
        rate: Rate,
        total: Option<u64>,
        ledger: Option<Ledger>,
    ) -> anyhow::Result<Self> {
        let producer = Producer::new(
            &target.kafka,
            &target.topic,
            target.compression,
            target.patience,
        )?;
        let start = Instant::now();
        Ok(Self {
            what,
            producer,
            signals: Signals::listen()?,
            ledger,
            pace: Pace::new(rate, start),
            progress: Progress::new(total, start)?,
            start,
            shown: start,
            paced: 0,
            sent: 0,
            acknowledged: 0,
            fresh: Vec::new(),
            topic: target.topic.clone(),
            patience: target.patience,
        })
    }

    /// Whether somebody asked for the end.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// From here on payments are due as they happen, one of the time `first` at `start`.
    pub fn go_by_event_time(&mut self, start: Instant, first: Micros) {
        if !self.pace.follows_event_time() {
            self.pace = Pace::of_life(start, first);
        }
    }

    /// Whether the pace goes by event time.
    pub fn follows_event_time(&self) -> bool {
        self.pace.follows_event_time()
    }

    /// Sends a payment once it is due; false when no more is to be sent.
    pub fn send(&mut self, payment: Outgoing<'_>) -> anyhow::Result<bool> {
        let due = self.pace.due(self.paced, payment.time);
        if !self.wait_until(due)? {
            return Ok(false);
        }
        let mut entry = Box::new(payment.entry);
        loop {
            let (key, payload) = (payment.key, payment.payload);
            let handed = if payment.backfill {
                self.producer.hand_over_backfill(key, payload, entry)
            } else {
                self.producer.hand_over(key, payload, entry)
            };
            // Refused at once, for instance because it is too large: it is this one's fault.
            let handed = handed.map_err(|error| match payment.from {
                Some((file, place)) => {
                    Error::new(error).context(format!("{}, {place}", file.display()))
                }
                None => Error::new(error),
            });
            match handed? {
                Handed::Queued => break,
                Handed::Full(back) => entry = back,
            }
            self.serve(Duration::from_millis(20))?;
            if self.signals.stop() {
                return Ok(false);
            }
        }
        self.paced += 1;
        self.sent += 1;
        if self.sent.is_multiple_of(LOOK_EVERY) {
            self.serve(Duration::ZERO)?;
        }
        Ok(true)
    }

    /// Looks after what was sent while there is nothing to send; false when nothing more is to be.
    /// Payments after it are spread from here on: there was nothing to catch up with.
    pub fn rest(&mut self) -> anyhow::Result<bool> {
        self.serve(Duration::ZERO)?;
        if !self.pace.follows_event_time() {
            self.pace = Pace::new(self.pace.rate(), Instant::now());
            self.paced = 0;
        }
        Ok(!self.signals.stop())
    }

    /// Waits until then; false when nothing more is to be sent.
    pub fn wait_until(&mut self, due: Instant) -> anyhow::Result<bool> {
        loop {
            if self.signals.stop() {
                return Ok(false);
            }
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(true);
            }
            // The client waits in whole milliseconds; what is left of one is slept.
            if wait < Duration::from_millis(1) {
                std::thread::sleep(wait);
            } else {
                self.serve(wait.min(Duration::from_millis(100)))?;
            }
        }
    }

    /// Waits for the acknowledgements and ends the ledger, whatever happened; says what became of
    /// the payments. `sent` is how the sending ended.
    pub fn finish(mut self, sent: anyhow::Result<()>) -> anyhow::Result<()> {
        if self.signals.stop() && self.producer.in_flight() > 0 {
            eprintln!(
                "stopping: waiting for the acknowledgement of {} payments; once more to give them up",
                self.producer.in_flight()
            );
        }
        let settled = self.settle();
        self.progress.end();
        let written = match self.ledger.take() {
            Some(ledger) => ledger.finish().context("cannot write the ledger"),
            None => Ok(()),
        };
        let open = self.sent - self.acknowledged;
        sent.and(settled)
            .and(written)
            .with_context(|| self.account(open))?;
        if open > 0 {
            bail!("{}", self.account(open));
        }
        let span = self.start.elapsed();
        writeln!(
            std::io::stdout().lock(),
            "{}{} payments sent to {} and acknowledged in {:.1} s ({:.0}/s)",
            if self.signals.stop() { "stopped: " } else { "" },
            self.acknowledged,
            self.topic,
            span.as_secs_f64(),
            rate(self.acknowledged, span),
        )?;
        Ok(())
    }

    fn account(&self, open: u64) -> String {
        format!(
            "{} ended early: {} payments are in {}, {open} more were sent without an answer",
            self.what, self.acknowledged, self.topic
        )
    }

    /// Waits for what is still open, after the last payment or a failure.
    fn settle(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.patience + Duration::from_secs(5);
        let mut outcome = Ok(());
        while self.producer.in_flight() > 0 && !self.signals.at_once() && Instant::now() < deadline
        {
            outcome = outcome.and(self.serve(Duration::from_millis(20)));
        }
        outcome.and(self.serve(Duration::ZERO))
    }

    /// Polls for `span`, writes what was acknowledged to the ledger, shows how far it is.
    fn serve(&mut self, span: Duration) -> anyhow::Result<()> {
        self.producer.poll(span);
        let failed = self.producer.acknowledged(&mut self.fresh);
        self.acknowledged += self.fresh.len() as u64;
        let moved = !self.fresh.is_empty();
        if let Some(ledger) = &mut self.ledger {
            for payment in &self.fresh {
                ledger.add(payment).context("cannot write the ledger")?;
            }
        }
        self.fresh.clear();
        let now = Instant::now();
        if now.duration_since(self.shown) >= SHOW_EVERY {
            self.shown = now;
            let trouble = self.producer.trouble().filter(|_| !moved);
            self.progress
                .show(self.acknowledged, trouble.as_deref(), now);
            if let Some(ledger) = &mut self.ledger {
                ledger.flush().context("cannot write the ledger")?;
            }
        }
        Ok(failed?)
    }
}
