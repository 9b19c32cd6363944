//! A moment as a text of the declared format: the other way round from the decoder's reader.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::bundle::{Kind, TimeFormat};
use crate::engine::batch::Micros;

/// Writes the moments of one field.
#[derive(Debug, Clone)]
pub struct TimeWriter {
    format: TimeFormat,
    zone: TimeZone,
}

impl TimeWriter {
    /// For a field of this kind; none when it holds no time.
    pub fn new(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Time { format, zone } => Some(Self {
                format: format.clone(),
                zone: zone.clone(),
            }),
            _ => None,
        }
    }

    /// For a column that no field declares.
    pub(super) fn rfc3339() -> Self {
        Self {
            format: TimeFormat::Rfc3339,
            zone: TimeZone::UTC,
        }
    }

    /// The zone in which its hours are counted.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The moment's text; none outside the calendar.
    pub fn text(&self, moment: Micros) -> Option<String> {
        let timestamp = Timestamp::from_microsecond(moment).ok()?;
        Some(match &self.format {
            TimeFormat::UnixSeconds => timestamp.as_second().to_string(),
            TimeFormat::UnixMilliseconds => timestamp.as_millisecond().to_string(),
            TimeFormat::Rfc3339 => timestamp.to_string(),
            TimeFormat::Pattern(pattern) => {
                let local = timestamp.to_zoned(self.zone.clone());
                if local.year() < 0 {
                    return None;
                }
                by_pattern(pattern, &local)
            }
        })
    }
}

fn by_pattern(pattern: &str, local: &jiff::Zoned) -> String {
    let mut text = String::with_capacity(pattern.len() + 8);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text += &match letters.next() {
            Some('Y') => format!("{:04}", local.year()),
            Some('m') => format!("{:02}", local.month()),
            Some('d') => format!("{:02}", local.day()),
            Some('H') => format!("{:02}", local.hour()),
            Some('M') => format!("{:02}", local.minute()),
            Some('S') => format!("{:02}", local.second()),
            Some('f') => format!("{:06}", local.subsec_nanosecond() / 1_000),
            other => unreachable!("%{other:?} in a pattern: refused when the bundle was read"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::decode::time::{Stretch, TimeReader};

    const FORMATS: [&str; 4] = [
        "%Y-%m-%d %H:%M:%S.%f",
        "%d/%m/%Y %f %S:%M:%H",
        "rfc3339",
        "unix_milliseconds",
    ];

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_moment(
            format in prop::sample::select(FORMATS.as_slice()),
            zone in prop::sample::select(["UTC", "Asia/Kathmandu", "America/Phoenix"].as_slice()),
            milliseconds in -62_000_000_000_000i64..253_000_000_000_000,
        ) {
            let zone = TimeZone::get(zone).unwrap();
            let format = match format {
                "rfc3339" => TimeFormat::Rfc3339,
                "unix_milliseconds" => TimeFormat::UnixMilliseconds,
                pattern => TimeFormat::Pattern(pattern.into()),
            };
            let reader = TimeReader::new(&format, &zone);
            let text = TimeWriter { format, zone }.text(milliseconds * 1_000).unwrap();
            let read = reader.read(&text, &mut Stretch::default());
            prop_assert_eq!(read, Ok(milliseconds * 1_000), "{}", text);
        }
    }
}
