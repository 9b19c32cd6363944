//! Moments as somebody types them: a date, or a time with its offset.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use vigie::engine::batch::Micros;

/// A moment, or the beginning of a day in a zone that is known later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A date alone.
    Day(Date),
    /// A time with its offset.
    Exact(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The date's own parser would also take the date of a longer text.
        let is_date = text.len() == 10;
        match is_date {
            true => text.parse().map(Self::Day).ok(),
            false => text.parse().map(Self::Exact).ok(),
        }
        .ok_or_else(|| "expected a date (2026-01-31) or a moment (2026-01-31T12:00:00Z)".into())
    }
}

impl Moment {
    /// When it is; a day begins at its midnight in `zone`.
    pub fn at(self, zone: &TimeZone) -> anyhow::Result<Micros> {
        Ok(match self {
            Self::Day(day) => day.to_zoned(zone.clone())?.timestamp(),
            Self::Exact(moment) => moment,
        }
        .as_microsecond())
    }
}

/// A stretch of time as somebody types it: 15s, 12h, 30d. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch(Micros);

impl FromStr for Stretch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let span: Span = text.parse().ok()?;
            let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            let micros = Micros::try_from(length.as_micros()).ok()?;
            (micros >= 0).then_some(Self(micros))
        };
        read().ok_or_else(|| "expected a stretch of time, such as 15s, 12h or 30d".into())
    }
}

impl Stretch {
    /// Its length.
    pub fn micros(self) -> Micros {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_has_an_offset() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let at = |text: &str| text.parse::<Moment>().unwrap().at(&paris).unwrap();
        assert_eq!(at("2026-01-31"), at("2026-01-30T23:00:00Z"));
        assert_eq!(at("2026-01-31T12:00:00+01:00"), at("2026-01-31T11:00:00Z"));
        for wrong in [
            "",
            "now",
            "2026-02-30",
            "2026-01-31T12:00:00",
            "2026-01-31 ",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stretch_is_a_number_with_its_unit() {
        let length = |text: &str| text.parse::<Stretch>().map(Stretch::micros);
        assert_eq!(length("15s"), Ok(15_000_000));
        assert_eq!(length("30d"), Ok(30 * 86_400_000_000));
        assert_eq!(length("1h 30m"), Ok(5_400_000_000));
        for wrong in ["", "15", "-5s", "1 month", "soon"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
