//! What hands stored decisions to the output topic: the client, what of each partition is on its
//! way, and how far each is.
//!
//! It never gives a decision up. A client that cannot go on is replaced by another, and whatever
//! was not acknowledged is read back from its row.

mod message;
mod progress;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::store::{Published, Span, StoredDecision, Versions};
use super::{Setup, Stop};
use crate::bundle::Schema;
use crate::config::{Config, KafkaConfig};
use crate::engine::batch::{Decided, Origin};
use crate::kafka::KafkaError;
use crate::kafka::producer::{Acknowledged, Handed, Producer};
use crate::metrics;

use message::{Message, Source};
use progress::Progress;

pub use progress::{Gap, Ticket};

/// Decisions on their way at most; then the lane waits. Some 20 MB in the client's hands.
const BACKLOG: usize = 20_000;

/// A lane that waits goes on when no more than this are on their way.
const ROOM: usize = BACKLOG / 2;

/// How often a lane that waits looks whether there is room.
const LOOK: Duration = Duration::from_millis(10);

/// Brokers that acknowledge nothing for this long are waited for aloud.
const SILENCE: Duration = Duration::from_secs(5);

/// Pause before another client is made: long enough for the lane to pause its partitions.
const NEW_CLIENT_PAUSE: Duration = Duration::from_secs(3);

/// One lane's way out.
pub struct Publisher {
    kafka: KafkaConfig,
    output: String,
    /// The topic that is read, which positions are of.
    source: String,
    id: usize,
    amount_scale: i16,
    versions: Versions,
    /// `None` after a refusal, until another is made.
    client: Option<Producer<Ticket>>,
    client_from: Instant,
    /// Decisions in the client's hands.
    on_the_way: usize,
    /// When something was last acknowledged, or put on a way that was empty.
    heard: Instant,
    progress: Progress,
    acknowledged: Vec<Acknowledged<Ticket>>,
    key: String,
    payload: Vec<u8>,
}

impl Publisher {
    /// The lane's publisher, when there is an output topic.
    pub fn new(setup: &Setup, versions: &Versions) -> Option<Self> {
        let config: &Config = &setup.config;
        if config.output.topic.is_empty() {
            return None;
        }
        let schema: &Schema = &setup.bundle.schema;
        Some(Self {
            kafka: config.kafka.clone(),
            output: config.output.topic.clone(),
            source: config.stream.topic.clone(),
            id: schema.roles.id,
            amount_scale: schema.amount_scale() as i16,
            versions: versions.clone(),
            client: None,
            client_from: Instant::now(),
            on_the_way: 0,
            heard: Instant::now(),
            progress: Progress::default(),
            acknowledged: Vec::new(),
            key: String::new(),
            payload: Vec::new(),
        })
    }

    /// How far each partition is.
    pub fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// Goes on with a partition from what the database holds.
    pub fn begin(&mut self, partition: i32, next_offset: i64, published: Option<Published>) {
        let at_the_end = Published {
            to: next_offset,
            first_day: None,
        };
        let published = published.unwrap_or(at_the_end);
        self.progress.begin(partition, next_offset, published);
    }

    /// Decisions that are stored and not acknowledged; of those to be read back, their offsets.
    pub fn backlog(&self) -> u64 {
        self.on_the_way as u64 + self.progress.behind()
    }

    /// The output topic.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// Writes into the spans of a decided batch how far their partitions are.
    pub fn stamp(&mut self, spans: &mut [Span], decided: &Decided) {
        let mut first_days: BTreeMap<i32, i32> = BTreeMap::new();
        for row in (0..decided.events.len()).filter(|row| is_published(decided, *row)) {
            let day = decided.events.day[row];
            let first = first_days.entry(decided.head(row).partition);
            first
                .and_modify(|first| *first = day.min(*first))
                .or_insert(day);
        }
        self.progress
            .stamp(spans, |partition| first_days.get(&partition).copied());
    }

    /// Takes what the brokers acknowledged. After a refusal there is no client, and everything
    /// that was not acknowledged is a [`Gap`].
    pub fn listen(&mut self) {
        let Some(client) = &self.client else {
            return;
        };
        client.poll(Duration::ZERO);
        let refused = client.acknowledged(&mut self.acknowledged);
        metrics::published(self.acknowledged.len() as u64);
        self.on_the_way = self.on_the_way.saturating_sub(self.acknowledged.len());
        if !self.acknowledged.is_empty() {
            self.heard = Instant::now();
        }
        for acknowledged in self.acknowledged.drain(..) {
            self.progress.acknowledged(*acknowledged.carried);
        }
        if let Err(problem) = refused {
            self.refused(&problem);
        }
    }

    /// Whether there is a client, or one could be made.
    pub fn is_ready(&mut self) -> bool {
        if self.client.is_none() && self.client_from <= Instant::now() {
            match Producer::endless(&self.kafka, &self.output) {
                Ok(client) => self.client = Some(client),
                Err(problem) => self.refused(&problem),
            }
        }
        self.client.is_some()
    }

    /// How long until another client may be made.
    fn pause(&self) -> Duration {
        self.client_from.saturating_duration_since(Instant::now())
    }

    /// Whether another decision may be handed over.
    pub fn has_room(&self) -> bool {
        self.client.is_some() && self.on_the_way < BACKLOG
    }

    /// Waits until there is room, or no client, or for a while; not beyond a stop.
    pub async fn room(&mut self, stop: &Stop) {
        let until = Instant::now() + SILENCE.max(self.pause());
        let full = |publisher: &Self| match publisher.client {
            Some(_) => publisher.on_the_way > ROOM,
            None => !publisher.pause().is_zero(),
        };
        self.listen();
        while full(self) && Instant::now() < until && !stop.is_requested() {
            tokio::time::sleep(LOOK).await;
            self.listen();
        }
    }

    /// For how long nothing was acknowledged, when that is worth saying.
    pub fn silence(&self) -> Option<Duration> {
        Some(self.heard.elapsed()).filter(|silence| *silence >= SILENCE)
    }

    /// Waits until everything handed over was acknowledged, or there is no client.
    pub async fn flush(&mut self) {
        self.listen();
        while self.client.is_some() && self.on_the_way > 0 {
            tokio::time::sleep(LOOK).await;
            self.listen();
        }
    }

    /// Hands over the decision in `row`; only what is live is published.
    pub fn hand_over(&mut self, ticket: Ticket, decided: &Decided, row: usize) {
        let (events, head) = (&decided.events, decided.head(row));
        let reason = decided.reasons[row].as_str();
        let message = Message {
            id: events.texts(self.id).get(row).unwrap_or_default(),
            account: events.account[row],
            decision: decided.decisions[row].as_str(),
            score: Some(decided.scores[row]).filter(|score| !score.is_nan()),
            reasons: if reason.is_empty() { &[] } else { &[reason] },
            event_time: events.time[row],
            amount: events.amount[row],
            amount_scale: self.amount_scale,
            model_version: &self.versions.model,
            policy_version: &self.versions.policy,
            source: Source {
                topic: &self.source,
                partition: head.partition,
                offset: head.offset,
            },
        };
        write(&message, &mut self.key, &mut self.payload);
        self.send(ticket);
    }

    /// Hands over a decision that was read back.
    pub fn hand_over_stored(&mut self, ticket: Ticket, partition: i32, stored: &StoredDecision) {
        let reasons: Vec<&str> = stored.reasons.iter().map(String::as_str).collect();
        let message = Message {
            id: &stored.trans_num,
            account: stored.account,
            decision: stored.decision,
            score: stored.score,
            reasons: &reasons,
            event_time: stored.time,
            amount: stored.amount,
            amount_scale: self.amount_scale,
            model_version: &stored.model,
            policy_version: &stored.policy,
            source: Source {
                topic: &self.source,
                partition,
                offset: stored.offset,
            },
        };
        write(&message, &mut self.key, &mut self.payload);
        self.send(ticket);
    }

    fn send(&mut self, ticket: Ticket) {
        let Some(client) = &self.client else {
            return;
        };
        match client.hand_over(self.key.as_bytes(), &self.payload, Box::new(ticket)) {
            Ok(Handed::Queued) => {
                if self.on_the_way == 0 {
                    self.heard = Instant::now();
                }
                self.on_the_way += 1;
                self.progress.handed(ticket);
            }
            // Its queue holds more than we put there.
            Ok(Handed::Full(_)) => self.start_over(),
            Err(problem) => self.refused(&problem),
        }
    }

    fn refused(&mut self, problem: &KafkaError) {
        metrics::publish_error();
        tracing::warn!(%problem, "decisions were not published (output.topic); they are read back and sent again");
        self.start_over();
    }

    /// Gives the client up with all that is on its way.
    fn start_over(&mut self) {
        self.client = None;
        self.client_from = Instant::now() + NEW_CLIENT_PAUSE;
        self.on_the_way = 0;
        self.progress.start_over();
    }
}

/// Whether the decision in `row` is for others to act on.
pub fn is_published(decided: &Decided, row: usize) -> bool {
    decided.origins[row] == Origin::Live
}

fn write(message: &Message<'_>, key: &mut String, payload: &mut Vec<u8>) {
    key.clear();
    payload.clear();
    // Texts and numbers always have a JSON form, and memory refuses nothing.
    let keyed = write!(key, "{}", message.account);
    let written = serde_json::to_writer(payload, message);
    debug_assert!(keyed.is_ok() && written.is_ok());
}
