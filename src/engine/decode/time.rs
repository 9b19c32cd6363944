//! Moments as they are written, and the business day that they fall on.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::number;
use crate::bundle::TimeFormat;
use crate::engine::batch::{Micros, Reason};

const SECOND: Micros = 1_000_000;
const DAY: Micros = 86_400 * SECOND;

/// Moments from 0001-01-01 on, up to and without 9999-01-01, can be stored and computed with.
const FIRST: Micros = days_of(1, 1, 1) * DAY;
const END: Micros = days_of(9999, 1, 1) * DAY;

/// Reads the moments of one field.
#[derive(Debug)]
pub enum TimeReader {
    /// By a pattern, in a zone.
    Pattern(Vec<Part>, TimeZone),
    /// With an offset.
    Rfc3339,
    /// Whole units since 1970, of so many microseconds.
    Unix(Micros),
}

/// A piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Four digits.
    Year,
    /// Two digits.
    Month,
    /// Two digits.
    Day,
    /// Two digits.
    Hour,
    /// Two digits.
    Minute,
    /// Two digits.
    Second,
    /// Up to nine digits, none when the fraction is left out.
    Fraction,
    /// The same behind a point, which is left out with it.
    PointFraction,
    /// This very byte.
    Byte(u8),
}

/// A stretch of time in which a zone's offset does not change: remembers the last one used.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    from: Micros,
    until: Micros,
    offset: Micros,
}

impl Default for Stretch {
    fn default() -> Self {
        Self {
            from: Micros::MAX,
            until: Micros::MIN,
            offset: 0,
        }
    }
}

impl TimeReader {
    /// Compiles a field's format.
    pub fn new(format: &TimeFormat, zone: &TimeZone) -> Self {
        match format {
            TimeFormat::Pattern(pattern) => Self::Pattern(compiled(pattern), zone.clone()),
            TimeFormat::Rfc3339 => Self::Rfc3339,
            TimeFormat::UnixSeconds => Self::Unix(SECOND),
            TimeFormat::UnixMilliseconds => Self::Unix(1_000),
        }
    }

    /// How such a moment is written, for messages.
    pub fn expected(&self) -> &'static str {
        match self {
            Self::Pattern(..) => "a moment in the declared pattern",
            Self::Rfc3339 => "a moment as in RFC 3339",
            Self::Unix(SECOND) => "whole seconds since 1970",
            Self::Unix(_) => "whole milliseconds since 1970",
        }
    }

    /// The moment in `text`; `stretch` belongs to this field.
    ///
    /// # Errors
    /// `bad_time` when it is none, `time_out_of_range` outside the years 1 to 9998.
    pub fn read(&self, text: &str, stretch: &mut Stretch) -> Result<Micros, Reason> {
        let moment = match self {
            Self::Pattern(parts, zone) => {
                let (civil, rest) = by_parts(parts, text.as_bytes()).ok_or(Reason::BadTime)?;
                if !rest.is_empty() {
                    return Err(Reason::BadTime);
                }
                stretch.utc(&civil.checked()?, zone)?
            }
            Self::Rfc3339 => rfc3339(text.as_bytes())?,
            Self::Unix(unit) => unix(text, *unit)?,
        };
        if (FIRST..END).contains(&moment) {
            Ok(moment)
        } else {
            Err(Reason::TimeOutOfRange)
        }
    }
}

/// A date and a time of day, in some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

impl Civil {
    /// Whether there is such a date and time.
    fn checked(self) -> Result<Self, Reason> {
        let exists = (1..=12).contains(&self.month)
            && (1..=days_in(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        match (exists, self.year) {
            (false, _) => Err(Reason::BadTime),
            (true, 0 | 9999) => Err(Reason::TimeOutOfRange),
            _ => Ok(self),
        }
    }

    /// Microseconds since 1970 if the zone were UTC.
    fn micros(&self) -> Micros {
        let seconds = self.hour * 3_600 + self.minute * 60 + self.second;
        days_of(self.year, self.month, self.day) * DAY + seconds * SECOND + self.micros
    }
}

impl Stretch {
    /// Resolves gaps and folds of daylight saving the compatible way (RFC 5545).
    fn utc(&mut self, civil: &Civil, zone: &TimeZone) -> Result<Micros, Reason> {
        let local = civil.micros();
        let moment = local - self.offset;
        // No zone jumps by as much as a day and a half around a change.
        let inside = self.from.saturating_add(2 * DAY) <= moment
            && moment < self.until.saturating_sub(2 * DAY);
        if inside {
            return Ok(moment);
        }
        let [month, day, hour, minute, second] = [
            civil.month,
            civil.day,
            civil.hour,
            civil.minute,
            civil.second,
        ]
        .map(|part| part as i8);
        let nanos = (civil.micros * 1_000) as i32;
        let moment =
            jiff::civil::DateTime::new(civil.year as i16, month, day, hour, minute, second, nanos)
                .and_then(|civil| zone.to_timestamp(civil))
                .map_err(|_| Reason::TimeOutOfRange)?
                .as_microsecond();
        self.find(moment, zone);
        Ok(moment)
    }

    /// The day on which a moment falls in `zone`, in days since 1970-01-01.
    pub fn day(&mut self, moment: Micros, zone: &TimeZone) -> i32 {
        if !(self.from..self.until).contains(&moment) {
            self.find(moment, zone);
        }
        ((moment + self.offset).div_euclid(DAY)) as i32
    }

    fn find(&mut self, moment: Micros, zone: &TimeZone) {
        let (Ok(at), Ok(after)) = (
            Timestamp::from_microsecond(moment),
            Timestamp::from_microsecond(moment + 1),
        ) else {
            return;
        };
        let change = |found: Option<jiff::tz::TimeZoneTransition<'_>>, none| {
            found.map_or(none, |change| change.timestamp().as_microsecond())
        };
        *self = Self {
            from: change(zone.preceding(after).next(), Micros::MIN),
            until: change(zone.following(at).next(), Micros::MAX),
            offset: Micros::from(zone.to_offset(at).seconds()) * SECOND,
        };
    }
}

fn compiled(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        let part = match byte {
            b'%' => match bytes.next() {
                Some(b'Y') => Part::Year,
                Some(b'm') => Part::Month,
                Some(b'd') => Part::Day,
                Some(b'H') => Part::Hour,
                Some(b'M') => Part::Minute,
                Some(b'S') => Part::Second,
                Some(b'f') if parts.pop_if(|last| *last == Part::Byte(b'.')).is_some() => {
                    Part::PointFraction
                }
                Some(b'f') => Part::Fraction,
                other => unreachable!("%{other:?} in a pattern: refused when the bundle was read"),
            },
            _ => Part::Byte(byte),
        };
        parts.push(part);
    }
    parts
}

const DATE: [Part; 5] = [
    Part::Year,
    Part::Byte(b'-'),
    Part::Month,
    Part::Byte(b'-'),
    Part::Day,
];
const TIME: [Part; 6] = [
    Part::Hour,
    Part::Byte(b':'),
    Part::Minute,
    Part::Byte(b':'),
    Part::Second,
    Part::PointFraction,
];

/// What the parts say, and the text behind them.
fn by_parts<'a>(parts: &[Part], mut rest: &'a [u8]) -> Option<(Civil, &'a [u8])> {
    let mut civil = Civil {
        year: 0,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        micros: 0,
    };
    for part in parts {
        match part {
            Part::Year => civil.year = digits(&mut rest, 4)?,
            Part::Month => civil.month = digits(&mut rest, 2)?,
            Part::Day => civil.day = digits(&mut rest, 2)?,
            Part::Hour => civil.hour = digits(&mut rest, 2)?,
            Part::Minute => civil.minute = digits(&mut rest, 2)?,
            Part::Second => civil.second = digits(&mut rest, 2)?,
            Part::Byte(byte) => rest = rest.strip_prefix(&[*byte])?,
            Part::Fraction => civil.micros = fraction(&mut rest)?,
            Part::PointFraction => {
                if let Some(behind) = rest.strip_prefix(b".") {
                    rest = behind;
                    rest.first().filter(|byte| byte.is_ascii_digit())?;
                    civil.micros = fraction(&mut rest)?;
                }
            }
        }
    }
    Some((civil, rest))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (digits, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit()
            .then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// Microseconds; digits behind the sixth are dropped, more than nine are no moment.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kept = count.min(6);
    let value = digits(rest, kept)? * 10i64.pow((6 - kept) as u32);
    digits(rest, count - kept)?;
    (count <= 9).then_some(value)
}

fn rfc3339(text: &[u8]) -> Result<Micros, Reason> {
    let read = || {
        let (date, rest) = by_parts(&DATE, text)?;
        let [b'T' | b't' | b' ', rest @ ..] = rest else {
            return None;
        };
        let (time, rest) = by_parts(&TIME, rest)?;
        let civil = Civil {
            year: date.year,
            month: date.month,
            day: date.day,
            ..time
        };
        Some((civil, offset(rest)?))
    };
    let (civil, offset) = read().ok_or(Reason::BadTime)?;
    Ok(civil.checked()?.micros() - offset)
}

fn offset(text: &[u8]) -> Option<Micros> {
    let (sign, mut rest) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (SECOND, rest),
        [b'-', rest @ ..] => (-SECOND, rest),
        _ => return None,
    };
    let hours = digits(&mut rest, 2)?;
    rest = rest.strip_prefix(b":")?;
    let minutes = digits(&mut rest, 2)?;
    let exists = rest.is_empty() && hours < 24 && minutes < 60;
    exists.then_some(sign * (hours * 3_600 + minutes * 60))
}

fn unix(text: &str, unit: Micros) -> Result<Micros, Reason> {
    match number::scaled(text, 0) {
        Ok(units) => units.checked_mul(unit).ok_or(Reason::TimeOutOfRange),
        Err(Reason::OutOfRange) if number::is_whole(text) => Err(Reason::TimeOutOfRange),
        Err(_) => Err(Reason::BadTime),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, from the year 0 on
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: &str, zone: &str, text: &str) -> Result<Micros, Reason> {
        let zone = TimeZone::get(zone).unwrap();
        let format = match format {
            "rfc3339" => TimeFormat::Rfc3339,
            "unix_seconds" => TimeFormat::UnixSeconds,
            "unix_milliseconds" => TimeFormat::UnixMilliseconds,
            pattern => TimeFormat::Pattern(pattern.into()),
        };
        TimeReader::new(&format, &zone).read(text, &mut Stretch::default())
    }

    fn moment(text: &str) -> Result<Micros, Reason> {
        Ok(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    const PATTERN: &str = "%Y-%m-%d %H:%M:%S.%f";

    #[test]
    fn a_pattern_reads_its_fixed_widths_and_an_optional_fraction() {
        let at = |text| read(PATTERN, "UTC", text);
        assert_eq!(at("2020-06-21 12:14:25"), moment("2020-06-21T12:14:25Z"));
        assert_eq!(
            at("2020-06-21 12:14:25.5"),
            moment("2020-06-21T12:14:25.5Z")
        );
        assert_eq!(
            at("2020-06-21 12:14:25.123456789"),
            moment("2020-06-21T12:14:25.123456Z")
        );
        assert_eq!(
            read("%d.%m.%Y", "UTC", "29.02.2020"),
            moment("2020-02-29T00:00:00Z")
        );
        for text in [
            "",
            "2020-06-21",
            "2020-06-21 12:14",
            "2020-06-21 12:14:25.",
            "2020-6-21 12:14:25",
            "2020-06-21T12:14:25",
            "2020-06-21 12:14:25 ",
            "2020-06-21 24:00:00",
            "2019-02-29 00:00:00",
            "2020-13-01 00:00:00",
            "2020-00-01 00:00:00",
            "2020-06-00 00:00:00",
            "2020-06-21 12:60:00",
            "2020-06-21 12:14:60",
            "2020-06-21 12:14:25.1234567890",
            "+020-06-21 12:14:25",
            "tomorrow",
        ] {
            assert_eq!(at(text), Err(Reason::BadTime), "{text}");
        }
    }

    #[test]
    fn years_0_and_9999_are_out_of_range() {
        for year in ["0000", "9999"] {
            let text = format!("{year}-01-01 00:00:00");
            assert_eq!(read(PATTERN, "UTC", &text), Err(Reason::TimeOutOfRange));
            let text = format!("{year}-01-01T00:00:00Z");
            assert_eq!(read("rfc3339", "UTC", &text), Err(Reason::TimeOutOfRange));
        }
        assert!(read("%Y-%m-%d", "UTC", "0001-01-01").is_ok());
        assert!(read("%Y-%m-%d", "UTC", "9998-12-31").is_ok());
        assert!(read("%Y-%m-%d", "Europe/Paris", "9998-12-31").is_ok());
    }

    #[test]
    fn rfc_3339_has_its_offset_and_unix_times_are_whole() {
        let at = |text| read("rfc3339", "UTC", text);
        assert_eq!(
            at("2020-06-21T12:14:25.25+02:30"),
            moment("2020-06-21T09:44:25.25Z")
        );
        assert_eq!(at("2020-06-21t12:14:25z"), moment("2020-06-21T12:14:25Z"));
        for text in [
            "2020-06-21T12:14:25",
            "2020-06-21T12:14:25+0230",
            "2020-06-21T12:14:25+24:00",
        ] {
            assert_eq!(at(text), Err(Reason::BadTime), "{text}");
        }
        assert_eq!(
            read("unix_seconds", "UTC", "1592741665"),
            moment("2020-06-21T12:14:25Z")
        );
        assert_eq!(read("unix_seconds", "UTC", "-1"), Ok(-SECOND));
        assert_eq!(
            read("unix_milliseconds", "UTC", "1592741665001"),
            moment("2020-06-21T12:14:25.001Z")
        );
        assert_eq!(
            read("unix_milliseconds", "UTC", "1.5"),
            Err(Reason::BadTime)
        );
        assert_eq!(
            read("unix_seconds", "UTC", "99999999999999999999"),
            Err(Reason::TimeOutOfRange)
        );
        assert_eq!(
            read("unix_seconds", "UTC", "999999999999"),
            Err(Reason::TimeOutOfRange)
        );
        assert_eq!(read("unix_seconds", "UTC", "now"), Err(Reason::BadTime));
    }

    #[test]
    fn a_gap_is_read_after_it_and_a_fold_as_its_first() {
        let at = |text| read("%Y-%m-%d %H:%M:%S", "Europe/Paris", text);
        assert_eq!(at("2020-03-29 02:30:00"), moment("2020-03-29T01:30:00Z"));
        assert_eq!(at("2020-10-25 02:30:00"), moment("2020-10-25T00:30:00Z"));
    }

    const ZONES: [&str; 5] = [
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "Asia/Kathmandu",
        "Pacific/Apia",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn moments_and_days_agree_with_jiff(
            zone in prop::sample::select(ZONES.as_slice()),
            start in -62_135_596_800i64 + 200_000..253_370_764_800 - 40_000_000,
            steps in prop::collection::vec(0i64..30_000_000, 1..8),
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let format = TimeFormat::Pattern("%Y-%m-%dT%H:%M:%S".into());
            let reader = TimeReader::new(&format, &zone);
            let (mut stretch, mut days) = (Stretch::default(), Stretch::default());
            for step in steps {
                let at = Timestamp::from_second(start + step).unwrap();
                let local = at.to_zoned(zone.clone()).datetime();
                let expected = zone.to_timestamp(local).unwrap().as_microsecond();
                let text = local.strftime("%Y-%m-%dT%H:%M:%S").to_string();
                prop_assert_eq!(reader.read(&text, &mut stretch), Ok(expected), "{}", text);
                let day = (local.date() - jiff::civil::date(1970, 1, 1)).get_days();
                prop_assert_eq!(days.day(at.as_microsecond(), &zone), day);
            }
        }
    }
}
