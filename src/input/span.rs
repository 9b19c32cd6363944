//! The time that a file covers, and how replays of it are laid out over days.

use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{DAY, Input, InputError, Pass, Role};
use crate::bundle::{Kind, Schema};
use crate::engine::batch::Micros;

/// Event times that are wanted: from the first on, up to and without the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first that is wanted.
    pub from: Micros,
    /// The first that is not wanted any more.
    pub to: Micros,
}

impl Window {
    /// Every event time.
    pub const ALL: Self = Self {
        from: Micros::MIN,
        to: Micros::MAX,
    };

    /// Whether an event of that time is wanted.
    pub fn holds(&self, time: Micros) -> bool {
        (self.from..self.to).contains(&time)
    }
}

/// What a look at a whole file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// How many rows.
    pub rows: u64,
    /// The earliest event time.
    pub first: Micros,
    /// The latest event time.
    pub last: Micros,
    /// Days from the earliest event's to the latest one's, both counted, in the field's zone.
    pub days: i64,
}

impl Span {
    /// Looks at the first `limit` rows of a file within a window; none when there is no row.
    ///
    /// # Errors
    /// When the file cannot be read or a time is not in its format.
    pub fn of(
        path: &Path,
        schema: &Schema,
        window: &Window,
        limit: u64,
    ) -> Result<Option<Self>, InputError> {
        let mut input = Input::open(path, schema)?;
        let Kind::Time { zone, .. } = &schema.field(schema.roles.time).kind else {
            unreachable!("the time's role is held by a time: checked when the bundle was read");
        };
        let (mut rows, mut first, mut last) = (0, Micros::MAX, Micros::MIN);
        while rows < limit && input.advance()? {
            input.filled(Role::Time)?;
            let time = input.event_time()?;
            if window.holds(time) {
                rows += 1;
                first = first.min(time);
                last = last.max(time);
            }
        }
        Ok((rows > 0).then(|| Self {
            rows,
            first,
            last,
            days: days_between(first, last, zone),
        }))
    }
}

/// Lays out `repeat` passes, each on the days after the one before and with ids of its own; with
/// `end`, moved so that the last event of the last pass is the latest not after it.
pub fn passes(span: &Span, repeat: u32, end: Option<Micros>) -> Vec<Pass> {
    let repeat = i64::from(repeat);
    let shift = end.map_or(0, |end| {
        (end - span.last).div_euclid(DAY) - (repeat - 1) * span.days
    });
    (0..repeat)
        .map(|pass| Pass {
            days: shift + pass * span.days,
            suffix: match pass {
                0 => String::new(),
                later => format!("-{}", later + 1),
            },
        })
        .collect()
}

fn days_between(first: Micros, last: Micros, zone: &TimeZone) -> i64 {
    let date = |time| {
        Timestamp::from_microsecond(time)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(zone.clone())
            .date()
    };
    let (first, last): (Date, Date) = (date(first), date(last));
    last.duration_since(first).as_secs() / SignedDuration::from_hours(24).as_secs() + 1
}
