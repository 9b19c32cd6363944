//! Moving a time by whole days within its own text, so that nothing else of it changes.

use std::borrow::Cow;
use std::ops::Range;

use jiff::ToSpan;
use jiff::civil::Date;

use crate::bundle::{Kind, TimeFormat};

/// How the time column's texts are moved.
pub(super) enum DayShift {
    /// The date's digits stand where the pattern's parts lead to.
    Digits(Vec<Part>),
    /// The text counts this many units a day.
    Count(i64),
}

/// One step through a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    Month,
    Day,
    /// Two digits that stay.
    Two,
    /// A fraction's digits, as many as there are.
    Fraction,
    Literal(u8),
}

impl DayShift {
    /// Prepares for the time's declared format.
    pub(super) fn new(kind: &Kind) -> Result<Self, String> {
        const SECONDS: i64 = 86_400;
        let Kind::Time { format, .. } = kind else {
            return Err("expected a time".into());
        };
        Ok(match format {
            TimeFormat::UnixSeconds => Self::Count(SECONDS),
            TimeFormat::UnixMilliseconds => Self::Count(SECONDS * 1000),
            TimeFormat::Rfc3339 => Self::Digits(parts("%Y-%m-%d")?),
            TimeFormat::Pattern(pattern) => Self::Digits(parts(pattern)?),
        })
    }

    /// The text, `days` later; the text itself for none.
    pub(super) fn moved<'a>(&self, text: &'a str, days: i64) -> Result<Cow<'a, str>, String> {
        if days == 0 {
            return Ok(Cow::Borrowed(text));
        }
        let beyond = || format!("moved by {days} days it leaves the calendar");
        match self {
            Self::Count(a_day) => {
                let count: i64 = text.parse().map_err(|_| "expected a whole number")?;
                let moved = a_day
                    .checked_mul(days)
                    .and_then(|shift| count.checked_add(shift))
                    .ok_or_else(beyond)?;
                Ok(Cow::Owned(moved.to_string()))
            }
            Self::Digits(parts) => {
                let places =
                    Places::find(parts, text).ok_or("does not match the declared format")?;
                let date = places.date(text).ok_or("has no such date")?;
                let moved = date.checked_add(days.days()).map_err(|_| beyond())?;
                let mut text = text.to_owned();
                text.replace_range(places.year, &format!("{:04}", moved.year()));
                text.replace_range(places.month, &format!("{:02}", moved.month()));
                text.replace_range(places.day, &format!("{:02}", moved.day()));
                Ok(Cow::Owned(text))
            }
        }
    }
}

/// Takes a pattern apart; it must hold a whole date.
fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        parts.push(match byte {
            b'%' => match bytes.next() {
                Some(b'Y') => Part::Year,
                Some(b'm') => Part::Month,
                Some(b'd') => Part::Day,
                Some(b'H' | b'M' | b'S') => Part::Two,
                Some(b'f') => Part::Fraction,
                Some(b'%') => Part::Literal(b'%'),
                _ => return Err(format!("cannot move {pattern:?} by days")),
            },
            literal => Part::Literal(literal),
        });
    }
    for wanted in [Part::Year, Part::Month, Part::Day] {
        if !parts.contains(&wanted) {
            return Err(format!(
                "cannot move {pattern:?} by days: it has no whole date"
            ));
        }
    }
    // What follows the date stays whatever it is, a fraction that is left out included.
    let is_date = |part: &Part| matches!(part, Part::Year | Part::Month | Part::Day);
    let date_ends = parts.iter().rposition(is_date).map_or(0, |last| last + 1);
    parts.truncate(date_ends);
    Ok(parts)
}

/// Where a text holds its date.
#[derive(Default)]
struct Places {
    year: Range<usize>,
    month: Range<usize>,
    day: Range<usize>,
}

impl Places {
    fn find(parts: &[Part], text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut places = Self::default();
        let mut at = 0;
        let digits = |from: usize, count: usize| {
            let part = bytes.get(from..from + count)?;
            part.iter()
                .all(u8::is_ascii_digit)
                .then_some(from..from + count)
        };
        for part in parts {
            at = match part {
                Part::Literal(byte) if bytes.get(at) == Some(byte) => at + 1,
                Part::Literal(_) => return None,
                Part::Fraction => {
                    at + bytes[at..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count()
                }
                Part::Two => digits(at, 2)?.end,
                Part::Year => {
                    places.year = digits(at, 4)?;
                    places.year.end
                }
                Part::Month => {
                    places.month = digits(at, 2)?;
                    places.month.end
                }
                Part::Day => {
                    places.day = digits(at, 2)?;
                    places.day.end
                }
            };
        }
        Some(places)
    }

    fn date(&self, text: &str) -> Option<Date> {
        Date::new(
            text[self.year.clone()].parse().ok()?,
            text[self.month.clone()].parse().ok()?,
            text[self.day.clone()].parse().ok()?,
        )
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn moved(format: TimeFormat, text: &str, days: i64) -> Result<String, String> {
        let kind = Kind::Time {
            format,
            zone: TimeZone::UTC,
        };
        DayShift::new(&kind)?.moved(text, days).map(Cow::into_owned)
    }

    fn pattern(text: &str) -> TimeFormat {
        TimeFormat::Pattern(text.into())
    }

    #[test]
    fn only_the_date_changes_in_every_format() {
        let sql = || pattern("%Y-%m-%d %H:%M:%S");
        let by_one = moved(sql(), "2020-02-28 23:59:59", 1);
        assert_eq!(by_one.unwrap(), "2020-02-29 23:59:59");
        let back = moved(sql(), "2020-03-01 00:00:00", -1);
        assert_eq!(back.unwrap(), "2020-02-29 00:00:00");
        let european = moved(
            pattern("%d/%m/%Y %H:%M:%S.%f"),
            "31/12/2019 12:00:00.123456",
            1,
        );
        assert_eq!(european.unwrap(), "01/01/2020 12:00:00.123456");
        let optional = moved(pattern("%Y-%m-%d %H:%M:%S.%f"), "2019-12-31 12:00:00", 1);
        assert_eq!(optional.unwrap(), "2020-01-01 12:00:00");
        let offset = moved(TimeFormat::Rfc3339, "2019-12-31T23:30:00.5-05:00", 366);
        assert_eq!(offset.unwrap(), "2020-12-31T23:30:00.5-05:00");
        let seconds = moved(TimeFormat::UnixSeconds, "1325941484", 2);
        assert_eq!(seconds.unwrap(), "1326114284");
        let milliseconds = moved(TimeFormat::UnixMilliseconds, "1325941484007", 1);
        assert_eq!(milliseconds.unwrap(), "1326027884007");
    }

    #[test]
    fn a_text_of_another_form_is_refused_not_mangled() {
        for text in [
            "2020-02-30 00:00:00",
            "2020/02/28 00:00:00",
            "20-02-28",
            "é",
        ] {
            assert!(
                moved(pattern("%Y-%m-%d %H:%M:%S"), text, 1).is_err(),
                "{text}"
            );
        }
        assert!(moved(pattern("%H:%M"), "10:00", 1).is_err());
        assert!(moved(pattern("%Y-%m-%d"), "9999-12-31", 1).is_err());
        assert!(moved(TimeFormat::UnixSeconds, "soon", 1).is_err());
        assert!(moved(TimeFormat::UnixSeconds, &i64::MAX.to_string(), 1).is_err());
    }
}
