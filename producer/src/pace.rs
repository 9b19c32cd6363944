//! When the next payment is due.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// How fast payments are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As fast as Kafka takes them.
    Max,
    /// This many a second.
    PerSecond(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Self::PerSecond(rate)),
            _ => Err("expected payments per second, or max".into()),
        }
    }
}

/// Spreads payments evenly: the nth is due n intervals after the start, so that the average is
/// exact however long a single one was held up.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    start: Instant,
}

impl Pace {
    /// Starts now.
    pub fn new(rate: Rate, start: Instant) -> Self {
        Self { rate, start }
    }

    /// How long from `now` until the payment after the first `sent` is due.
    pub fn wait(&self, sent: u64, now: Instant) -> Duration {
        match self.rate {
            Rate::Max => Duration::ZERO,
            Rate::PerSecond(rate) => Duration::try_from_secs_f64(sent as f64 / rate)
                .unwrap_or(Duration::MAX)
                .saturating_sub(now.duration_since(self.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_positive_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("0.5".parse(), Ok(Rate::PerSecond(0.5)));
        for wrong in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn payments_are_spread_evenly_and_a_delay_is_caught_up() {
        let start = Instant::now();
        let pace = Pace::new(Rate::PerSecond(100.0), start);
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.wait(0, start), Duration::ZERO);
        assert_eq!(pace.wait(1, start), Duration::from_millis(10));
        assert_eq!(pace.wait(1, after(4)), Duration::from_millis(6));
        assert_eq!(pace.wait(100, after(1000)), Duration::ZERO);
        assert_eq!(pace.wait(100, after(2500)), Duration::ZERO);
        assert_eq!(pace.wait(300, after(2500)), Duration::from_millis(500));
        assert_eq!(Pace::new(Rate::Max, start).wait(9, start), Duration::ZERO);
    }
}
