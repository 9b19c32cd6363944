//! When the next payment is due.

use std::str::FromStr;
use std::time::{Duration, Instant};

use vigie::engine::batch::Micros;

/// How fast payments are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As fast as Kafka takes them.
    Max,
    /// This many a second.
    PerSecond(f64),
    /// By their event times, this many times as fast as they happened.
    Speed(Speed),
}

/// How many times faster than life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(f64);

impl Speed {
    /// As it happens.
    pub const OF_LIFE: Self = Self(1.0);
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match positive(text) {
            Some(rate) => Ok(Self::PerSecond(rate)),
            None => Err("expected payments per second, or max".into()),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        positive(text.strip_suffix('x').unwrap_or(text))
            .map(Self)
            .ok_or_else(|| "expected how many times faster than life, such as 100x".into())
    }
}

fn positive(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(number)
}

/// Tells when payments are due, so that the average is exact however long a single one was held up.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    start: Instant,
    /// The first event time and the latest so far.
    times: Option<(Micros, Micros)>,
}

impl Pace {
    /// Starts now.
    pub fn new(rate: Rate, start: Instant) -> Self {
        Self {
            rate,
            start,
            times: None,
        }
    }

    /// As it happens: a payment of the time `first` is due at `start`.
    pub fn of_life(start: Instant, first: Micros) -> Self {
        Self {
            rate: Rate::Speed(Speed::OF_LIFE),
            start,
            times: Some((first, first)),
        }
    }

    /// How fast.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether event times matter.
    pub fn follows_event_time(&self) -> bool {
        matches!(self.rate, Rate::Speed(_))
    }

    /// When the payment after the first `sent` is due; `time` is its event time. One that is
    /// earlier than those before it is due at once.
    pub fn due(&mut self, sent: u64, time: Micros) -> Instant {
        let after = match self.rate {
            Rate::Max => Duration::ZERO,
            Rate::PerSecond(rate) => seconds(sent as f64 / rate),
            Rate::Speed(Speed(factor)) => {
                let (first, latest) = self.times.get_or_insert((time, time));
                *latest = time.max(*latest);
                seconds(latest.saturating_sub(*first) as f64 / 1e6 / factor)
            }
        };
        // A century and a half later nobody waits any more.
        self.start + after.min(Duration::from_secs(1 << 32))
    }
}

fn seconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count).unwrap_or(Duration::MAX)
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
    fn a_speed_is_how_many_times_faster() {
        assert_eq!("100x".parse(), Ok(Speed(100.0)));
        assert_eq!("0.5".parse(), Ok(Speed(0.5)));
        for wrong in ["0x", "-1x", "x", "max", "1xx", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn payments_are_spread_evenly_from_the_start() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::PerSecond(100.0), start);
        for (sent, milliseconds) in [(0, 0), (1, 10), (100, 1_000), (300, 3_000)] {
            let due = pace.due(sent, 0) - start;
            assert_eq!(due, Duration::from_millis(milliseconds));
        }
        assert_eq!(Pace::new(Rate::Max, start).due(9, 0), start);
    }

    #[test]
    fn gaps_between_event_times_are_divided_by_the_speed() {
        let start = Instant::now();
        let mut pace = Pace::new(Rate::Speed(Speed(100.0)), start);
        const SECOND: Micros = 1_000_000;
        let mut after = |time| (pace.due(0, time) - start).as_millis();
        assert_eq!(after(50 * SECOND), 0);
        assert_eq!(after(60 * SECOND), 100);
        assert_eq!(after(20 * SECOND), 100);
        assert_eq!(after(61 * SECOND), 110);
        assert!(after(Micros::MAX) > 1_000_000_000_000);
    }
}
