//! How far the sending is: a bar on a terminal, otherwise a line every few seconds.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const EVERY: Duration = Duration::from_secs(5);

/// Shows on standard error how many payments Kafka has acknowledged.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    start: Instant,
    said: Instant,
}

impl Progress {
    /// Of `total` payments, where that is known.
    pub fn new(total: Option<u64>, start: Instant) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template(match total {
            Some(_) => "{wide_bar} {human_pos}/{human_len} payments  {per_sec}  eta {eta}  {msg}",
            None => "{spinner} {human_pos} payments  {per_sec}  {msg}",
        })?;
        let bar = stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            bar.with_style(style)
        });
        Ok(Self {
            bar,
            total,
            start,
            said: start,
        })
    }

    /// Shows the count; `trouble` is what keeps it from growing.
    pub fn show(&mut self, acknowledged: u64, trouble: Option<&str>, now: Instant) {
        let trouble = trouble.map_or(String::new(), |why| format!("waiting for Kafka: {why}"));
        if let Some(bar) = &self.bar {
            bar.set_position(acknowledged);
            bar.set_message(trouble);
        } else if now.duration_since(self.said) >= EVERY {
            self.said = now;
            eprintln!("{}", self.line(acknowledged, now, &trouble));
        }
    }

    /// Clears the bar, so that what follows stands alone.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, acknowledged: u64, now: Instant, trouble: &str) -> String {
        let rate = rate(acknowledged, now.duration_since(self.start));
        let line = match self.total {
            None => format!("{acknowledged} payments, {rate:.0}/s"),
            Some(total) if rate > 0.0 => {
                let left = total.saturating_sub(acknowledged) as f64 / rate;
                format!("{acknowledged} of {total} payments, {rate:.0}/s, {left:.0} s left")
            }
            Some(total) => {
                format!("{acknowledged} of {total} payments, {rate:.0}/s, time left unknown")
            }
        };
        if trouble.is_empty() {
            line
        } else {
            format!("{line}; {trouble}")
        }
    }
}

/// Payments a second.
pub fn rate(payments: u64, span: Duration) -> f64 {
    payments as f64 / span.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        let start = Instant::now();
        let mut progress = Progress {
            bar: None,
            total: Some(1000),
            start,
            said: start,
        };
        let now = start + Duration::from_secs(5);
        assert_eq!(
            progress.line(500, now, ""),
            "500 of 1000 payments, 100/s, 5 s left"
        );
        let waiting = progress.line(0, now, "waiting for Kafka: refused");
        assert!(waiting.ends_with("time left unknown; waiting for Kafka: refused"));
        progress.total = None;
        assert_eq!(progress.line(500, now, ""), "500 payments, 100/s");
    }
}
