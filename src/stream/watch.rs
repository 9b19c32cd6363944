//! What a lane tells the outside: how long each step takes, how its partitions stand. It owns
//! the clock, so that the engine needs none.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::source::Source;
use crate::engine::batch::{Decided, Micros, Records};
use crate::engine::velocity::Tally;
use crate::engine::{Engine, Step};
use crate::health::Part;
use crate::metrics::{self, LaneGauges, PartitionGauge, PartitionState, StageTimes};

/// How often the state of partitions and histories is told.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// How often an outage that goes on is logged again.
const SAY_AGAIN: Duration = Duration::from_secs(15);

/// A lane's clock and voice.
pub struct Watch {
    lane: usize,
    part: Part,
    times: StageTimes,
    last: Instant,
    stated: Option<Instant>,
    tally: Tally,
    oldest_unstored: Option<Micros>,
    away: Option<Away>,
    /// Decisions that are stored and not published.
    backlog: u64,
    /// The output topic takes no decision.
    output: Option<Away>,
}

/// What is away, and when that was last said.
struct Away {
    problem: String,
    said: Instant,
}

impl Watch {
    /// A watch over lane `lane`, which shows as `part` on the health pages.
    pub fn new(lane: usize, part: Part) -> Self {
        Self {
            lane,
            part,
            times: StageTimes::default(),
            last: Instant::now(),
            stated: None,
            tally: Tally::default(),
            oldest_unstored: None,
            away: None,
            backlog: 0,
            output: None,
        }
    }

    /// A round begins.
    pub fn begin(&mut self) {
        self.part.tick();
        self.times = StageTimes::default();
        self.last = Instant::now();
    }

    /// The batch is collected. Its oldest record tells how far behind the lane is, until there
    /// is another batch or none.
    pub fn polled(&mut self, batch: &Records) {
        self.times.poll = self.lap();
        self.oldest_unstored = batch.heads().iter().map(|head| head.timestamp).min();
    }

    /// A step of the engine has ended.
    pub fn ended(&mut self, step: Step) {
        let lap = self.lap();
        match step {
            Step::Decode => self.times.decode = lap,
            Step::Features => self.times.features = lap,
            Step::Score => self.times.score = lap,
            Step::Decide => self.times.decide = lap,
        }
    }

    /// The batch is stored.
    pub fn committed(&mut self, decided: &Decided) {
        self.times.commit = self.lap();
        if let Some(problem) = &decided.score_error {
            tracing::error!(
                lane = self.lane,
                problem,
                "the model failed: the policy's fallback decided"
            );
        }
        metrics::batch(decided, &self.times, Timestamp::now().as_microsecond());
    }

    /// The database is away: said at once, then now and again.
    pub fn database_away(&mut self, problem: &str) {
        self.part.tick();
        let said = self.away.as_ref().map(|away| away.said);
        if said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            tracing::warn!(lane = self.lane, problem, "waiting for the database");
            self.away = Some(Away {
                problem: problem.to_owned(),
                said: Instant::now(),
            });
            self.part
                .problems(vec![format!("the database is away: {problem}")]);
        }
    }

    /// The database answers again.
    pub fn database_back(&mut self) {
        if let Some(away) = self.away.take() {
            tracing::info!(
                lane = self.lane,
                after = away.problem,
                "the database answers again"
            );
        }
    }

    /// Tells how partitions and histories stand, every second or so.
    pub fn state(&mut self, source: &Source, engine: &Engine, backlog: u64) {
        self.backlog = backlog;
        if self.stated.is_some_and(|at| at.elapsed() < STATE_EVERY) {
            return;
        }
        self.tally = engine.preparation.tally();
        self.tell(source, PartitionState::Running);
    }

    /// The output topic has taken no decision for this long: said at once, then now and again.
    pub fn output_waits(&mut self, topic: &str, silence: Duration, backlog: u64) {
        self.backlog = backlog;
        let problem = format!(
            "the topic {topic} (output.topic) has taken no decision for {} s: is it there, may we \
             write to it, are enough of its replicas in sync?",
            silence.as_secs()
        );
        let said = self.output.as_ref().map(|away| away.said);
        let due = said.filter(|said| said.elapsed() <= SAY_AGAIN);
        if due.is_none() {
            tracing::warn!(lane = self.lane, problem, "waiting for the output");
        }
        let said = due.unwrap_or_else(Instant::now);
        self.output = Some(Away { problem, said });
    }

    /// It takes them again.
    pub fn output_takes(&mut self) {
        if self.output.take().is_some() {
            tracing::info!(lane = self.lane, "decisions are published again");
        }
    }

    /// The same while a transaction or the output takes long: the partitions are paused meanwhile.
    pub fn slow(&mut self, source: &Source) {
        self.part.tick();
        self.tell(source, PartitionState::Paused);
    }

    fn tell(&mut self, source: &Source, reading: PartitionState) {
        self.stated = Some(Instant::now());
        metrics::lane(
            self.lane,
            LaneGauges {
                accounts: self.tally.accounts as u64,
                events: self.tally.events as u64,
                bytes: self.tally.bytes as u64,
                oldest_unstored: self.oldest_unstored,
                publish_backlog: self.backlog,
                partitions: partitions(source, reading),
            },
        );
        self.part.problems(self.problems(source));
    }

    fn problems(&self, source: &Source) -> Vec<String> {
        let ownership = &source.ownership;
        let mut problems: Vec<String> = ownership
            .held()
            .iter()
            .map(|(partition, why)| format!("partition {partition} is held: {why}"))
            .collect();
        let rebuilding = ownership.rebuilding();
        if !rebuilding.is_empty() {
            problems.push(format!("warming up the partitions {rebuilding:?}"));
        }
        let wanted = ownership.to_take();
        if !wanted.is_empty() {
            problems.push(format!("taking the partitions {wanted:?}"));
        }
        if source.consumer().is_away() {
            problems.push(match source.consumer().refusal() {
                Some(refusal) => format!("Kafka refuses us: {refusal}"),
                None => "Kafka is away: no broker is connected (kafka.brokers)".into(),
            });
        }
        if let Some(away) = &self.away {
            problems.push(format!("the database is away: {}", away.problem));
        }
        if let Some(away) = &self.output {
            problems.push(away.problem.clone());
        }
        problems
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.last, now)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        metrics::lane_ended(self.lane);
    }
}

fn partitions(source: &Source, reading: PartitionState) -> Vec<PartitionGauge> {
    let ownership = &source.ownership;
    let held = ownership.held();
    let mut gauges: Vec<PartitionGauge> = ownership
        .positions()
        .iter()
        .map(|position| PartitionGauge {
            partition: position.partition,
            lag: source
                .consumer()
                .end_of(position.partition)
                .map(|end| (end - position.next_offset).max(0)),
            state: match held
                .iter()
                .any(|(partition, _)| *partition == position.partition)
            {
                true => PartitionState::Held,
                false => reading,
            },
        })
        .collect();
    gauges.extend(
        ownership
            .rebuilding()
            .into_iter()
            .map(|partition| PartitionGauge {
                partition,
                lag: None,
                state: PartitionState::Warming,
            }),
    );
    gauges
}
