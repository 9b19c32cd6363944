//! `vigie-producer replay`: a file becomes a topic.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use vigie::bundle::Schema;
use vigie::config::KafkaConfig;
use vigie::engine::decode::{Decoder, Rules};
use vigie::engine::token::TokenKey;
use vigie::input::{Span, passes};
use vigie::kafka::KafkaError;
use vigie::kafka::admin::{Ensured, ensure_topic};
use vigie::kafka::producer::{Acknowledged, Compression, Handed, Producer};

use crate::ledger::{Entry, Ledger};
use crate::pace::{Pace, Rate};
use crate::progress::{Progress, rate};
use crate::reader::{Block, Blocks, Reader, now};
use crate::signals::Signals;

/// How long Kafka may take to answer at the start.
const START: Duration = Duration::from_secs(10);
/// Payments handed over between two looks at the acknowledgements.
const LOOK_EVERY: u64 = 500;
/// Between two updates of the progress and of the ledger's file.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What is to be replayed, and how.
pub struct Plan {
    /// The payments.
    pub file: PathBuf,
    /// What the payments hold.
    pub schema: Schema,
    /// Which event times are accepted, and what the keys must be.
    pub rules: Rules,
    /// Where they go.
    pub topic: String,
    /// Where Kafka is, and how to log in.
    pub kafka: KafkaConfig,
    /// Partitions of a topic that is made.
    pub partitions: i32,
    /// How fast.
    pub rate: Rate,
    /// Whether the last payment is moved to now, by whole days.
    pub shift_to_now: bool,
    /// How many passes.
    pub repeat: u32,
    /// Rows of a pass.
    pub limit: u64,
    /// The ledger's file and the key of its tokens.
    pub ledger: Option<(PathBuf, TokenKey)>,
    /// How records are packed.
    pub compression: Compression,
    /// How long a payment may wait for its acknowledgement.
    pub patience: Duration,
}

/// Why a replay ended badly.
pub enum Trouble {
    /// Something to be set right before it can begin.
    Configuration(anyhow::Error),
    /// Something that happened on the way.
    Failure(anyhow::Error),
}

/// Sends the file and waits until all of it is acknowledged, or as much as was sent before a signal.
pub fn run(plan: Plan) -> Result<(), Trouble> {
    let (sender, blocks) = prepare(plan).map_err(Trouble::Configuration)?;
    sender.run(blocks).map_err(Trouble::Failure)
}

/// Everything that can be wrong before the first payment is sent.
fn prepare(plan: Plan) -> anyhow::Result<(Sender, Blocks)> {
    let span = Span::of(&plan.file, &plan.schema, plan.limit)?
        .with_context(|| format!("{} holds no payment", plan.file.display()))?;
    let passes = passes(&span, plan.repeat, plan.shift_to_now.then(now).transpose()?);
    make_topic(&plan)?;
    let (ledger, decoder) = match plan.ledger {
        None => (None, None),
        Some((path, key)) => {
            let ledger = Ledger::create(&path)
                .with_context(|| format!("--ledger: cannot write {}", path.display()))?;
            let decoder = Decoder::new(plan.schema.clone(), key, plan.rules);
            (Some(ledger), Some(decoder))
        }
    };
    let producer = Producer::new(&plan.kafka, &plan.topic, plan.compression, plan.patience)?;
    let total = span.rows.saturating_mul(u64::from(plan.repeat));
    let start = Instant::now();
    let sender = Sender {
        producer,
        // From here on a signal ends the replay in order; before, it just ends the process.
        signals: Signals::listen()?,
        ledger,
        pace: Pace::new(plan.rate, start),
        progress: Progress::new(total, start)?,
        start,
        shown: start,
        sent: 0,
        acknowledged: 0,
        fresh: Vec::new(),
        topic: plan.topic,
        patience: plan.patience,
    };
    let reader = Reader {
        file: plan.file,
        schema: plan.schema,
        passes,
        limit: plan.limit,
        decoder,
    };
    Ok((sender, reader.start()?))
}

/// Makes the topic, or says that it is there with other partitions than asked for.
fn make_topic(plan: &Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let ensured = runtime
        .block_on(ensure_topic(
            &plan.kafka,
            &plan.topic,
            plan.partitions,
            START,
        ))
        .map_err(|error| match error {
            away @ KafkaError::Away { .. } => {
                anyhow!(away).context("check --brokers or kafka.brokers (VIGIE_KAFKA__BROKERS)")
            }
            other => anyhow!(other),
        })?;
    if let Ensured::Found { partitions } = ensured
        && partitions != plan.partitions
    {
        eprintln!(
            "topic {} is there with {partitions} partitions and keeps them (--partitions {} is \
             for a topic that is made)",
            plan.topic, plan.partitions
        );
    }
    Ok(())
}

/// Sends payments and keeps account of what became of them.
struct Sender {
    producer: Producer<Option<Entry>>,
    signals: Signals,
    ledger: Option<Ledger>,
    pace: Pace,
    progress: Progress,
    start: Instant,
    shown: Instant,
    sent: u64,
    acknowledged: u64,
    fresh: Vec<Acknowledged<Option<Entry>>>,
    topic: String,
    patience: Duration,
}

impl Sender {
    /// Sends all blocks, waits for the acknowledgements and ends the ledger, whatever happened.
    fn run(mut self, blocks: Blocks) -> anyhow::Result<()> {
        let sent = blocks.each(|block| self.send(block));
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
            "the replay ended early: {} payments are in {}, {open} more were sent without an answer",
            self.acknowledged, self.topic
        )
    }

    /// Sends a block; false when no more is to be sent.
    fn send(&mut self, mut block: Block) -> anyhow::Result<bool> {
        for row in 0..block.records.len() {
            if !self.await_turn()? {
                return Ok(false);
            }
            let mut entry = Box::new(block.entries.get_mut(row).and_then(Option::take));
            while let Handed::Full(back) = self.producer.hand_over(
                block.records.key(row).unwrap_or_default(),
                block.records.payload(row).unwrap_or_default(),
                entry,
            )? {
                entry = back;
                self.serve(Duration::from_millis(20))?;
                if self.signals.stop() {
                    return Ok(false);
                }
            }
            self.sent += 1;
            if self.sent.is_multiple_of(LOOK_EVERY) {
                self.serve(Duration::ZERO)?;
            }
        }
        Ok(true)
    }

    /// Waits until the next payment is due; false when it is to be sent no more.
    fn await_turn(&mut self) -> anyhow::Result<bool> {
        loop {
            if self.signals.stop() {
                return Ok(false);
            }
            let wait = self.pace.wait(self.sent, Instant::now());
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
