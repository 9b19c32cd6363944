//! A gauge of seconds since something: it ages between two statements, so that a loop that has
//! stopped is seen to have.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Seconds since a moment; absent while there is none.
pub(super) struct Age {
    name: &'static str,
    help: &'static str,
    since: Mutex<Option<Instant>>,
}

impl Age {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            since: Mutex::new(None),
        }
    }

    /// It is so old now, or not known.
    pub(super) fn state(&self, age: Option<Duration>) {
        let since = age.and_then(|age| Instant::now().checked_sub(age));
        // A panic elsewhere leaves a whole value behind: the change is one assignment.
        *self
            .since
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = since;
    }

    pub(super) fn render(&self, page: &mut String) {
        let (name, help) = (self.name, self.help);
        let since = *self
            .since
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
        if let Some(since) = since {
            let _ = writeln!(page, "{name} {}", since.elapsed().as_secs_f64());
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
            age.render(&mut page);
            let line = page.lines().find(|line| !line.starts_with('#'))?.to_owned();
            line.split_once(' ')?.1.parse::<f64>().ok()
        };
        assert_eq!(value(), None);
        age.state(Some(Duration::from_secs(5)));
        let first = value().unwrap();
        let second = value().unwrap();
        assert!(first >= 5.0 && second > first, "{first} {second}");
        age.state(None);
        assert_eq!(value(), None);
    }
}
