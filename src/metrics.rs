//! Every metric: its name, its help text, its buckets, and the one place that records it.
//!
//! A lane calls [`batch`] once per committed batch and [`lane`] every second or so; the
//! notifier, the HTTP pages and the policy call the others. Labels have few values by
//! construction: outcomes, reasons, decisions and stages are enums, partitions are those
//! that this process owns, routes are those of [`crate::http`]. Without [`install`] all of
//! it costs next to nothing.

mod age;
mod lanes;
mod record_histogram;

use std::sync::Mutex;
use std::time::Duration;

use metrics::{Label, histogram};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::desk::notifier::channels::Channel;
use crate::engine::batch::{Decided, Decision, Micros, Origin, Reason};
use age::Age;
use record_histogram::RecordHistogram;

pub use lanes::{LaneGauges, PartitionGauge, PartitionState};

/// Seconds; stages of one batch, from decoding a few rows to a slow commit.
const STAGE_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];
/// Records in one batch.
const ROWS_BUCKETS: [f64; 12] = [
    1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 20_000.0,
];
/// Seconds; answers of the HTTP pages.
const HTTP_BUCKETS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// From the record's timestamp to its committed row, in seconds.
static END_TO_END: RecordHistogram<17> = RecordHistogram::new(
    "vigie_end_to_end_seconds",
    "From the record's timestamp to its committed row.",
    [
        0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
        600.0, 3_600.0,
    ],
);

/// Scores; finest where the thresholds are.
static SCORES: RecordHistogram<15> = RecordHistogram::new(
    "vigie_score",
    "Risk scores, 0 to 1.",
    [
        0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0,
    ],
);

/// How old the figures of reports and dashboards are.
static FIGURES: Age = Age::new(
    "vigie_figures_age_seconds",
    "Time since which payments are not in the figures of reports and dashboards yet.",
);

/// How old the newest canary is that came through.
static CANARY: Age = Age::new(
    "vigie_canary_age_seconds",
    "Time since the newest canary was sent that made the whole round trip.",
);

/// What serves now: re-stated at every rendering, and nothing else beside it.
static SERVING: Mutex<Serving> = Mutex::new(Serving {
    model: None,
    policy: None,
});

struct Serving {
    model: Option<(String, String)>,
    policy: Option<String>,
}

/// How long each step of one batch took.
#[derive(Debug, Clone, Copy, Default)]
pub struct StageTimes {
    /// Waiting for records and taking them.
    pub poll: Duration,
    /// Bytes to events.
    pub decode: Duration,
    /// Events to features.
    pub features: Duration,
    /// Features to scores.
    pub score: Duration,
    /// Scores to decisions.
    pub decide: Duration,
    /// The transaction.
    pub commit: Duration,
}

/// Why a batch was not stored at the first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    /// The database is away, or its answer was lost: the same rows are sent again.
    Unavailable,
    /// Another lane owns some of the partitions by now.
    Fenced,
    /// The database refuses: the process ends.
    Refused,
}

impl CommitError {
    const ALL: [Self; 3] = [Self::Unavailable, Self::Fenced, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Fenced => "fenced",
            Self::Refused => "refused",
        }
    }
}

/// What became of a message to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageResult {
    /// The server took it.
    Sent,
    /// One attempt failed; another follows.
    Failed,
    /// It is never sent: the channel is turned off, or the message stale.
    Suppressed,
}

impl MessageResult {
    const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Suppressed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
        }
    }
}

/// What an incident is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentKind {
    /// Payments that look like fraud.
    Fraud,
    /// The system's own trouble.
    System,
}

impl IncidentKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fraud => "fraud",
            Self::System => "system",
        }
    }
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// As labels and the database have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The process's metrics as a page.
#[derive(Clone)]
pub struct Exposition {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
    topic: String,
}

/// Starts recording, of a process that reads `topic`. Whoever calls it must call
/// [`Exposition::upkeep`] every few seconds.
///
/// # Errors
/// When this process records already.
pub fn install(topic: &str) -> Result<Exposition, BuildError> {
    let exact = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(exact("vigie_stage_seconds"), &STAGE_BUCKETS)?
        .set_buckets_for_metric(exact("vigie_batch_rows"), &ROWS_BUCKETS)?
        .set_buckets_for_metric(exact("vigie_http_request_seconds"), &HTTP_BUCKETS)?
        .install_recorder()?;
    let process = metrics_process::Collector::default();
    process.describe();
    describe();
    start_at_zero();
    Ok(Exposition {
        handle,
        process,
        topic: topic.to_owned(),
    })
}

impl Exposition {
    /// The page, in Prometheus's text format.
    pub fn render(&self) -> String {
        self.process.collect();
        state_what_serves();
        let mut page = self.handle.render();
        END_TO_END.render(&mut page);
        SCORES.render(&mut page);
        FIGURES.render(&mut page, &self.topic);
        CANARY.render(&mut page, &self.topic);
        lanes::render(&mut page, jiff::Timestamp::now().as_microsecond());
        page
    }

    /// Folds recorded values into their buckets, so that memory stays bounded between pages.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Records one committed batch. `committed_at` is when its transaction was known to be stored.
pub fn batch(decided: &Decided, times: &StageTimes, committed_at: Micros) {
    for (stage, time) in [
        ("poll", times.poll),
        ("decode", times.decode),
        ("features", times.features),
        ("score", times.score),
        ("decide", times.decide),
        ("commit", times.commit),
    ] {
        histogram!("vigie_stage_seconds", "stage" => stage).record(time);
    }
    histogram!("vigie_batch_rows").record(decided.heads.len() as f64);
    // The canary is no payment of anybody: it would blur how many there are, how soon they are
    // stored, and how often what is decided.
    let canary = |row: usize| decided.origins[row] == Origin::Canary;
    let canaries = (0..decided.origins.len())
        .filter(|row| canary(*row))
        .count();
    events("scored", decided.events.len() - canaries);
    self::canaries(canaries);
    events("dead", decided.dead_letters.len());
    events("duplicate", decided.duplicates.len());
    for reason in Reason::ALL {
        let rows = decided.dead_letters.iter();
        let count = rows.filter(|letter| letter.reason == reason).count();
        dead_letters(reason, count);
    }
    for decision in Decision::ALL {
        let rows = decided.decisions.iter().enumerate();
        let of_customers = rows.filter(|(row, found)| **found == decision && !canary(*row));
        decisions(decision, of_customers.count());
    }
    let past = decided.origins.iter().filter(|o| **o == Origin::Backfill);
    counter!("vigie_backfill_total").increment(past.count() as u64);
    let unscored = decided.scores.iter().filter(|score| score.is_nan()).count();
    counter!("vigie_scorer_fallback_total").increment(unscored as u64);
    let seconds = |row: &u32| {
        let sent_at = decided.heads[*row as usize].timestamp;
        (committed_at - sent_at).max(0) as f64 / 1e6
    };
    let records = decided.events.record.iter().enumerate();
    let of_customers = records.filter(|(row, _)| !canary(*row));
    END_TO_END.record(of_customers.map(|(_, record)| seconds(record)));
    let scores = decided.scores.iter().enumerate();
    let of_customers = scores.filter(|(row, score)| !score.is_nan() && !canary(*row));
    SCORES.record(of_customers.map(|(_, score)| f64::from(*score)));
}

/// Counts a batch that was not stored at once.
pub fn commit_error(kind: CommitError) {
    commit_errors(kind, 1);
}

/// Counts decisions that the output topic acknowledged.
pub fn published(decisions: u64) {
    counter!("vigie_published_total").increment(decisions);
}

/// Counts a refusal of the output topic, after which decisions are read back and sent again.
pub fn publish_error() {
    counter!("vigie_publish_errors_total").increment(1);
}

/// A database session as long as it is held.
#[derive(Debug)]
pub struct HeldSession(());

/// Counts a database session of a lane until what it returns is dropped.
pub fn session_held() -> HeldSession {
    gauge!("vigie_db_sessions").increment(1.0);
    HeldSession(())
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        gauge!("vigie_db_sessions").decrement(1.0);
    }
}

/// States how a lane stands, in place of what it said before.
pub fn lane(lane: usize, gauges: LaneGauges) {
    lanes::state(lane, gauges);
}

/// Forgets a lane that has ended.
pub fn lane_ended(lane: usize) {
    lanes::forget(lane);
}

/// States which model serves.
pub fn model(name: &str, version: &str) {
    serving(|serving| serving.model = Some((name.to_owned(), version.to_owned())));
}

/// States which policy decides.
pub fn policy(version: &str) {
    serving(|serving| serving.policy = Some(version.to_owned()));
}

/// Counts alerts that were given their incident.
pub fn alerts(severity: Decision, count: u64) {
    counter!("vigie_alerts_total", "severity" => severity.as_str()).increment(count);
}

/// Counts what became of one message, or of one attempt to send it.
pub fn message(channel: Channel, result: MessageResult) {
    messages(channel, result, 1);
}

/// Counts what became of several messages.
pub fn messages(channel: Channel, result: MessageResult, count: u64) {
    let labels = [
        Label::from_static_parts("channel", channel.as_str()),
        Label::from_static_parts("result", result.as_str()),
    ];
    counter!("vigie_messages_total", labels.iter()).increment(count);
}

/// States how many messages wait to be sent, and for how long the oldest has.
pub fn outbox(messages: u64, oldest: Duration) {
    gauge!("vigie_outbox_depth").set(messages as f64);
    gauge!("vigie_outbox_oldest_seconds").set(oldest.as_secs_f64());
}

/// Counts incidents that were opened, or that rose, with this severity.
pub fn incidents(kind: IncidentKind, severity: Severity, count: u64) {
    counter!("vigie_incidents_total", "kind" => kind.as_str(), "severity" => severity.as_str())
        .increment(count);
}

/// States how many incidents of this severity are open.
pub fn incidents_open(severity: Severity, incidents: i64) {
    gauge!("vigie_incidents_open", "severity" => severity.as_str()).set(incidents as f64);
}

/// States how old the figures are, or that another process keeps them.
pub fn figures_age(age: Option<Duration>) {
    FIGURES.state(age);
}

/// States how old the newest canary is that came through, or that another process says so.
pub fn canary_age(age: Option<Duration>) {
    CANARY.state(age);
}

/// Records one answer of the HTTP pages; `route` is one of their fixed paths.
pub fn http_request(route: &'static str, status: u16, time: Duration) {
    let labels = [
        Label::from_static_parts("route", route),
        Label::new("status", status.to_string()),
    ];
    histogram!("vigie_http_request_seconds", labels.iter()).record(time);
}

fn events(outcome: &'static str, count: usize) {
    counter!("vigie_events_total", "outcome" => outcome).increment(count as u64);
}

fn canaries(count: usize) {
    counter!("vigie_canaries_total").increment(count as u64);
}

fn dead_letters(reason: Reason, count: usize) {
    counter!("vigie_dead_letters_total", "reason" => reason.as_str()).increment(count as u64);
}

fn decisions(decision: Decision, count: usize) {
    counter!("vigie_decisions_total", "decision" => decision.as_str()).increment(count as u64);
}

fn commit_errors(kind: CommitError, count: u64) {
    counter!("vigie_commit_errors_total", "kind" => kind.as_str()).increment(count);
}

fn serving(change: impl FnOnce(&mut Serving)) {
    // A panic elsewhere leaves a whole value behind: the change is one assignment.
    change(
        &mut SERVING
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    );
}

/// An info metric of a version that no longer serves falls to 0.
fn state_what_serves() {
    static STATED: Mutex<Vec<metrics::Gauge>> = Mutex::new(Vec::new());
    let mut stated = STATED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    stated.drain(..).for_each(|gauge| gauge.set(0.0));
    serving(|serving| {
        if let Some((name, version)) = serving.model.clone() {
            stated.push(gauge!("vigie_model_info", "name" => name, "version" => version));
        }
        if let Some(version) = serving.policy.clone() {
            stated.push(gauge!("vigie_policy_info", "version" => version));
        }
    });
    stated.iter().for_each(|gauge| gauge.set(1.0));
}

fn describe() {
    describe_counter!(
        "vigie_events_total",
        "Records by what became of them: scored, dead or duplicate."
    );
    describe_counter!(
        "vigie_canaries_total",
        "Our own payments that were scored; the events leave them out."
    );
    describe_counter!(
        "vigie_dead_letters_total",
        "Records that could not be scored, by reason."
    );
    describe_counter!("vigie_decisions_total", "Scored payments by decision.");
    describe_counter!(
        "vigie_backfill_total",
        "Scored payments that were loaded from the past: nobody is told of them."
    );
    describe_counter!(
        "vigie_scorer_fallback_total",
        "Payments decided by the policy's fallback because there was no score."
    );
    describe_counter!(
        "vigie_alerts_total",
        "Alerts given their incident, by the decision that raised them."
    );
    describe_counter!(
        "vigie_incidents_total",
        "Incidents opened, or risen to critical, by kind and severity."
    );
    describe_gauge!(
        "vigie_incidents_open",
        "Incidents that are open, as the process that notifies sees them."
    );
    describe_counter!(
        "vigie_messages_total",
        "Messages sent or suppressed, and attempts that failed."
    );
    describe_gauge!("vigie_outbox_depth", "Messages that wait to be sent.");
    describe_gauge!(
        "vigie_outbox_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest message that waits to be sent."
    );
    describe_counter!(
        "vigie_commit_errors_total",
        "Batches that were not stored at once: the database was away (unavailable), another lane \
         owned a partition (fenced), or the database refused."
    );
    describe_gauge!(
        "vigie_db_sessions",
        "Database sessions that lanes hold, those that rebuild histories included."
    );
    describe_counter!(
        "vigie_published_total",
        "Decisions that output.topic acknowledged, repeats included."
    );
    describe_counter!(
        "vigie_publish_errors_total",
        "Refusals of output.topic, after which decisions are read back and sent again."
    );
    describe_gauge!("vigie_model_info", "1 for the model that serves.");
    describe_gauge!("vigie_policy_info", "1 for the policy that decides.");
    describe_histogram!(
        "vigie_stage_seconds",
        Unit::Seconds,
        "Time of one batch in each stage."
    );
    describe_histogram!("vigie_batch_rows", "Records in one batch.");
    describe_histogram!(
        "vigie_http_request_seconds",
        Unit::Seconds,
        "Answers of the HTTP pages."
    );
}

/// A series that appears only with its first event has no rate for it.
fn start_at_zero() {
    for outcome in ["scored", "dead", "duplicate"] {
        events(outcome, 0);
    }
    canaries(0);
    for reason in Reason::ALL {
        dead_letters(reason, 0);
    }
    for decision in Decision::ALL {
        decisions(decision, 0);
    }
    for severity in [Decision::Review, Decision::Block] {
        alerts(severity, 0);
    }
    for severity in Severity::ALL {
        incidents(IncidentKind::Fraud, severity, 0);
        incidents(IncidentKind::System, severity, 0);
        incidents_open(severity, 0);
    }
    for channel in Channel::ALL {
        for result in MessageResult::ALL {
            messages(channel, result, 0);
        }
    }
    counter!("vigie_scorer_fallback_total").increment(0);
    counter!("vigie_backfill_total").increment(0);
    for kind in CommitError::ALL {
        commit_errors(kind, 0);
    }
    gauge!("vigie_db_sessions").increment(0.0);
    published(0);
    counter!("vigie_publish_errors_total").increment(0);
    outbox(0, Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::batch::{DeadLetter, Events, Origin, ReasonCode, Records};

    fn decided() -> Decided {
        let mut records = Records::default();
        for offset in 0..5 {
            records.push((0, offset), 1_000_000 * offset, None, None);
        }
        Decided {
            heads: records.heads().to_vec(),
            events: Events {
                record: vec![0, 2, 4],
                ..Events::default()
            },
            scores: vec![0.95, f32::NAN, 0.99],
            decisions: vec![Decision::Block, Decision::Review, Decision::Block],
            reasons: vec![
                ReasonCode::ScoreBlock,
                ReasonCode::NotAssessed,
                ReasonCode::ScoreBlock,
            ],
            origins: vec![Origin::Backfill, Origin::Live, Origin::Canary],
            dead_letters: vec![DeadLetter {
                partition: 0,
                offset: 1,
                timestamp: 0,
                key: None,
                reason: Reason::NotJson,
                field: None,
                message: String::new(),
                payload: String::new(),
                payload_bytes: 0,
                payload_hash: [0; 32],
            }],
            duplicates: vec![(0, 3)],
            ..Decided::default()
        }
    }

    #[test]
    fn one_batch_shows_on_the_page_under_the_names_that_were_promised() {
        let exposition = install("payments").unwrap();
        model("card", "1");
        exposition.render();
        model("card", "2");
        let times = StageTimes {
            score: Duration::from_millis(2),
            ..StageTimes::default()
        };
        batch(&decided(), &times, 2_030_000);
        http_request("/livez", 200, Duration::from_millis(1));
        let page = exposition.render();
        for line in [
            "# TYPE vigie_events_total counter",
            "vigie_events_total{outcome=\"scored\"} 2",
            "vigie_canaries_total 1",
            "vigie_events_total{outcome=\"dead\"} 1",
            "vigie_events_total{outcome=\"duplicate\"} 1",
            "vigie_dead_letters_total{reason=\"not_json\"} 1",
            "vigie_dead_letters_total{reason=\"tombstone\"} 0",
            "vigie_decisions_total{decision=\"block\"} 1",
            "vigie_backfill_total 1",
            "vigie_commit_errors_total{kind=\"fenced\"} 0",
            "vigie_db_sessions 0",
            "vigie_published_total 0",
            "vigie_publish_errors_total 0",
            "vigie_publish_backlog 0",
            "vigie_scorer_fallback_total 1",
            "vigie_stage_seconds_bucket{stage=\"score\",le=\"0.0025\"} 1",
            "vigie_stage_seconds_bucket{stage=\"score\",le=\"0.001\"} 0",
            "vigie_batch_rows_bucket{le=\"5\"} 1",
            "vigie_end_to_end_seconds_bucket{le=\"0.02\"} 0",
            "vigie_end_to_end_seconds_bucket{le=\"0.03\"} 1",
            "vigie_end_to_end_seconds_bucket{le=\"2.5\"} 2",
            "vigie_end_to_end_seconds_count 2",
            "vigie_score_bucket{le=\"0.9\"} 0",
            "vigie_score_bucket{le=\"0.95\"} 1",
            "vigie_score_count 1",
            "vigie_model_info{name=\"card\",version=\"1\"} 0",
            "vigie_model_info{name=\"card\",version=\"2\"} 1",
            "vigie_messages_total{channel=\"mail\",result=\"sent\"} 0",
            "vigie_messages_total{channel=\"slack\",result=\"failed\"} 0",
            "vigie_outbox_depth 0",
            "vigie_incidents_total{kind=\"fraud\",severity=\"critical\"} 0",
            "vigie_incidents_open{severity=\"warning\"} 0",
            "vigie_outbox_oldest_seconds 0",
            "vigie_http_request_seconds_count{route=\"/livez\",status=\"200\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("process_resident_memory_bytes "), "{page}");
    }
}
