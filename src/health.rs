//! How the process is: alive while its loops turn, ready while no part has a problem.
//!
//! Shared by the lanes, the notifier and whoever else runs in `vigie run`; the HTTP pages
//! read it. A tick is one atomic store, so a lane may tick on every poll.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What every part of the process last said about itself.
pub struct Health {
    since: Instant,
    parts: Mutex<BTreeMap<String, State>>,
}

struct State {
    /// Milliseconds since `Health::since` of the last tick.
    ticked: Arc<AtomicU64>,
    patience: Duration,
    problems: Vec<String>,
}

/// One part of the process, for instance a lane. It must tick more often than its patience;
/// when it is dropped without [`Part::ended`] (its thread died), the process is not alive.
pub struct Part {
    health: Arc<Health>,
    name: String,
    ticked: Arc<AtomicU64>,
}

impl Health {
    /// A process without parts yet: alive, and not ready until one has joined.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            parts: Mutex::default(),
        })
    }

    /// Adds a part that is not ready yet, for instance `lane 0` and `warming up`.
    pub fn join(self: &Arc<Self>, name: &str, patience: Duration, problem: &str) -> Part {
        let ticked = Arc::new(AtomicU64::new(self.now()));
        let state = State {
            ticked: Arc::clone(&ticked),
            patience,
            problems: vec![problem.to_owned()],
        };
        self.with_parts(|parts| parts.insert(name.to_owned(), state));
        Part {
            health: Arc::clone(self),
            name: name.to_owned(),
            ticked,
        }
    }

    /// Parts that have not ticked within their patience, a sentence each.
    pub fn stuck(&self) -> Vec<String> {
        let now = self.now();
        self.with_parts(|parts| {
            let silent = |state: &State| {
                let silence = now.saturating_sub(state.ticked.load(Relaxed));
                Duration::from_millis(silence)
            };
            parts
                .iter()
                .filter(|(_, state)| silent(state) > state.patience)
                .map(|(name, state)| {
                    format!("{name}: no progress for {} s", silent(state).as_secs())
                })
                .collect()
        })
    }

    /// Why the process is not ready, a line each; empty when it is.
    pub fn problems(&self) -> Vec<String> {
        self.with_parts(|parts| {
            if parts.is_empty() {
                return vec!["starting".to_owned()];
            }
            let lines = |(name, state): (&String, &State)| {
                let line = |problem: &String| format!("{name}: {problem}");
                state.problems.iter().map(line).collect::<Vec<_>>()
            };
            parts.iter().flat_map(lines).collect()
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn with_parts<T>(&self, act: impl FnOnce(&mut BTreeMap<String, State>) -> T) -> T {
        // A panic elsewhere leaves a whole map behind: every change is one assignment.
        act(&mut self
            .parts
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Part {
    /// The loop has come round.
    pub fn tick(&self) {
        self.ticked.store(self.health.now(), Relaxed);
    }

    /// Nothing stands against this part.
    pub fn ready(&self) {
        self.problems(Vec::new());
    }

    /// What stands against this part, a sentence each, in place of what it said before. Never
    /// a secret: the page needs no credential.
    pub fn problems(&self, problems: Vec<String>) {
        self.health.with_parts(|parts| {
            if let Some(state) = parts.get_mut(&self.name) {
                state.problems = problems;
            }
        });
    }

    /// The part ends as it should.
    pub fn ended(self) {
        self.health.with_parts(|parts| parts.remove(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_part_is() {
        let health = Health::new();
        assert_eq!(health.problems(), ["starting"]);
        let lane = health.join("lane 0", Duration::from_secs(60), "warming up");
        let notifier = health.join("notifier", Duration::from_secs(60), "connecting");
        notifier.ready();
        assert_eq!(health.problems(), ["lane 0: warming up"]);
        lane.problems(vec!["partition 3 is held".into(), "database away".into()]);
        assert_eq!(
            health.problems(),
            ["lane 0: partition 3 is held", "lane 0: database away"]
        );
        lane.ready();
        assert!(health.problems().is_empty());
    }

    #[test]
    fn a_part_that_vanished_without_ending_is_stuck_and_one_that_ended_is_not() {
        let health = Health::new();
        let lane = health.join("lane 0", Duration::ZERO, "warming up");
        let other = health.join("lane 1", Duration::ZERO, "warming up");
        drop(lane);
        let deadline = Instant::now() + Duration::from_secs(5);
        while health.stuck().len() < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        other.ended();
        assert_eq!(health.stuck(), ["lane 0: no progress for 0 s"]);
    }
}
