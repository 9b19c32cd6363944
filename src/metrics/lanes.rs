//! How the lanes stand. Kept as one statement per lane, so that a partition which moved to
//! another process leaves no value behind, and sums over lanes are always whole.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Mutex;

use crate::engine::batch::Micros;

static LANES: Mutex<BTreeMap<usize, LaneGauges>> = Mutex::new(BTreeMap::new());

/// How one lane stands.
#[derive(Debug, Clone, Default)]
pub struct LaneGauges {
    /// Accounts in the velocity state.
    pub accounts: u64,
    /// Events in the velocity state.
    pub events: u64,
    /// Bytes of the velocity state.
    pub bytes: u64,
    /// Timestamp of the oldest record of the batch in hand.
    pub oldest_unstored: Option<Micros>,
    /// Decisions that are stored and not published.
    pub publish_backlog: u64,
    /// The partitions that the lane owns.
    pub partitions: Vec<PartitionGauge>,
}

/// How one partition stands.
#[derive(Debug, Clone, Copy)]
pub struct PartitionGauge {
    /// Its number.
    pub partition: i32,
    /// Records between the next offset and the partition's end, once known.
    pub lag: Option<i64>,
    /// What its lane does with it.
    pub state: PartitionState,
}

/// What a lane does with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionState {
    /// Taken; its state is being rebuilt.
    Warming,
    /// Read and scored.
    Running,
    /// Not read because the database is slow or away.
    Paused,
    /// Not read until a person resolves it.
    Held,
}

impl PartitionState {
    const ALL: [Self; 4] = [Self::Warming, Self::Running, Self::Paused, Self::Held];

    fn as_str(self) -> &'static str {
        match self {
            Self::Warming => "warming",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
        }
    }
}

pub(super) fn state(lane: usize, gauges: LaneGauges) {
    with_lanes(|lanes| lanes.insert(lane, gauges));
}

pub(super) fn forget(lane: usize) {
    with_lanes(|lanes| lanes.remove(&lane));
}

fn with_lanes<T>(act: impl FnOnce(&mut BTreeMap<usize, LaneGauges>) -> T) -> T {
    // A panic elsewhere leaves a whole map behind: every change is one insert or remove.
    act(&mut LANES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Appends the gauges of all lanes in Prometheus's text format.
pub(super) fn render(page: &mut String, now: Micros) {
    with_lanes(|lanes| render_lanes(lanes, page, now));
}

fn render_lanes(lanes: &BTreeMap<usize, LaneGauges>, page: &mut String, now: Micros) {
    let sum = |of: fn(&LaneGauges) -> u64| lanes.values().map(of).sum::<u64>();
    let partitions = || lanes.values().flat_map(|lane| &lane.partitions);

    let help = "Accounts in the velocity state.";
    gauge(page, "velocity_accounts", help, [("", sum(|l| l.accounts))]);
    let help = "Events in the velocity state.";
    gauge(page, "velocity_events", help, [("", sum(|l| l.events))]);
    let help = "Bytes of the velocity state.";
    gauge(page, "velocity_bytes", help, [("", sum(|l| l.bytes))]);

    let help = "Decisions that are stored and that output.topic has not acknowledged.";
    let backlog = sum(|l| l.publish_backlog);
    gauge(page, "publish_backlog", help, [("", backlog)]);

    let oldest = lanes.values().filter_map(|lane| lane.oldest_unstored).min();
    let age = oldest.map_or(0.0, |sent_at| (now - sent_at).max(0) as f64 / 1e6);
    let help = "Age of the oldest record of the batches in hand: how far behind the lanes are.";
    gauge(page, "oldest_message_age_seconds", help, [("", age)]);

    let help = "Records between the next offset and the partition's end.";
    let lag = |p: &PartitionGauge| Some((format!("{{partition=\"{}\"}}", p.partition), p.lag?));
    gauge(page, "consumer_lag", help, partitions().filter_map(lag));

    let help = "Partitions of this process by what is done with them.";
    let count = |state: PartitionState| {
        let partitions = partitions().filter(|p| p.state == state).count();
        (format!("{{state=\"{}\"}}", state.as_str()), partitions)
    };
    gauge(
        page,
        "partition_state",
        help,
        PartitionState::ALL.map(count),
    );
}

fn gauge<L: Display, V: Display>(
    page: &mut String,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "# HELP vigie_{name} {help}\n# TYPE vigie_{name} gauge"
    );
    for (labels, value) in values {
        let _ = writeln!(page, "vigie_{name}{labels} {value}");
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_summed_and_the_oldest_record_of_all_is_the_one_that_ages() {
        let partition = |partition, lag, state| PartitionGauge {
            partition,
            lag,
            state,
        };
        let lanes = BTreeMap::from([
            (
                0,
                LaneGauges {
                    accounts: 2,
                    events: 10,
                    bytes: 100,
                    publish_backlog: 6,
                    oldest_unstored: Some(8_000_000),
                    partitions: vec![partition(0, Some(7), PartitionState::Running)],
                },
            ),
            (
                1,
                LaneGauges {
                    accounts: 3,
                    oldest_unstored: Some(6_500_000),
                    partitions: vec![
                        partition(1, None, PartitionState::Warming),
                        partition(2, Some(0), PartitionState::Held),
                    ],
                    ..LaneGauges::default()
                },
            ),
        ]);
        let mut page = String::new();
        render_lanes(&lanes, &mut page, 9_000_000);
        for line in [
            "vigie_velocity_accounts 5",
            "vigie_velocity_events 10",
            "vigie_velocity_bytes 100",
            "vigie_publish_backlog 6",
            "vigie_oldest_message_age_seconds 2.5",
            "vigie_consumer_lag{partition=\"0\"} 7",
            "vigie_consumer_lag{partition=\"2\"} 0",
            "vigie_partition_state{state=\"running\"} 1",
            "vigie_partition_state{state=\"warming\"} 1",
            "vigie_partition_state{state=\"paused\"} 0",
            "vigie_partition_state{state=\"held\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("partition=\"1\""), "{page}");
    }
}
