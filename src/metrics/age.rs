//! A gauge of seconds since something: it ages between two statements, so that a loop that has
//! stopped is seen to have.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Seconds since a moment; absent while there is none.
pub(super) struct Age {
    name: &'static str,
    help: &'static str,
    /// The age, and when it was that: it may reach back further than this machine runs.
    stated: Mutex<Option<(Instant, Duration)>>,
}

impl Age {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            stated: Mutex::new(None),
        }
    }

    /// It is so old now, or not known.
    pub(super) fn state(&self, age: Option<Duration>) {
        // A panic elsewhere leaves a whole value behind: the change is one assignment.
        *self
            .stated
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) =
            age.map(|age| (Instant::now(), age));
    }

    /// Each topic's is a series of its own: where several streams share a Prometheus, a young one
    /// hides no old one.
    pub(super) fn render(&self, page: &mut String, topic: &str) {
        let (name, help) = (self.name, self.help);
        let stated = *self
            .stated
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
        if let Some((when, age)) = stated {
            let seconds = (age + when.elapsed()).as_secs_f64();
            // Kafka allows no character in a topic's name that would have to be escaped.
            let _ = writeln!(page, "{name}{{topic=\"{topic}\"}} {seconds}");
        }
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_grows_by_itself_and_is_absent_while_it_is_not_known() {
        let age = Age::new("vigie_some_age_seconds", "Some age.");
        let value = || {
            let mut page = String::new();
            age.render(&mut page, "payments");
            let line = page.lines().find(|line| !line.starts_with('#'))?.to_owned();
            let seconds = line.strip_prefix(r#"vigie_some_age_seconds{topic="payments"} "#)?;
            seconds.parse::<f64>().ok()
        };
        assert_eq!(value(), None);
        let longer_than_any_machine_runs = Duration::from_secs(3_000_000_000);
        for old in [Duration::from_secs(5), longer_than_any_machine_runs] {
            age.state(Some(old));
            let (first, deadline) = (value().unwrap(), Instant::now() + Duration::from_secs(10));
            assert!(first >= old.as_secs_f64(), "{first}");
            while value().unwrap() <= first {
                assert!(Instant::now() < deadline, "it does not grow");
            }
        }
        age.state(None);
        assert_eq!(value(), None);
    }
}
