//! Business days: where they begin and end, and which of them a report is due for.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio_postgres::Client;

use crate::config::{Config, ConfigError};
use crate::database::{Day, Moment};

/// How far back a report is made up for after an outage.
const DAYS_BACK: i32 = 7;

/// Why there is no report on a day.
#[derive(Debug, thiserror::Error)]
pub enum RefusedDay {
    /// It goes on.
    #[error(
        "{0} is not over yet in {1} (events.business_zone): the report on it can be made tomorrow"
    )]
    Today(Date, String),
    /// It has not begun.
    #[error("{0} is in the future: a report is on a day that is over")]
    Future(Date),
    /// No calendar that we know has it.
    #[error("{0} is too far away")]
    TooFar(Date),
}

/// The business zone and the hour of the report.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    name: String,
}

impl Calendar {
    /// The calendar of `events.business_zone`.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let name = config.events.business_zone.clone();
        let zone = TimeZone::get(&name).map_err(|error| ConfigError::Wrong {
            setting: "events.business_zone",
            problem: error.to_string(),
        })?;
        Ok(Self { zone, name })
    }

    /// The zone's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day that `now` lies in.
    pub fn day_of(&self, now: Timestamp) -> Date {
        now.to_zoned(self.zone.clone()).date()
    }

    /// A moment in the zone's clock: `14:00`.
    pub fn clock(&self, moment: Timestamp) -> String {
        let local = moment.to_zoned(self.zone.clone());
        local.strftime("%H:%M").to_string()
    }

    /// A moment with day and zone: `2026-11-21 07:00 CET`.
    pub fn written(&self, moment: Timestamp) -> String {
        let local = moment.to_zoned(self.zone.clone());
        local.strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// The day, or the day before `now` when none is asked for; it must be over.
    ///
    /// # Errors
    /// When it is not.
    pub fn past_day(&self, asked: Option<Date>, now: Timestamp) -> Result<Date, RefusedDay> {
        let today = self.day_of(now);
        let day = match asked {
            Some(day) => day,
            None => after(today, -1)?,
        };
        if day == today {
            return Err(RefusedDay::Today(day, self.name.clone()));
        }
        if day > today {
            return Err(RefusedDay::Future(day));
        }
        // A day that has no neighbours could not be compared with any.
        after(day, -40)?;
        Ok(day)
    }

    /// Refuses a stream whose days begin elsewhere: what is stored keeps its days.
    ///
    /// # Errors
    /// When they do, or the database fails.
    pub async fn is_of(&self, client: &Client, stream: i16) -> anyhow::Result<()> {
        let query = "SELECT business_zone FROM streams WHERE stream = $1";
        let Some(row) = client.query_opt(query, &[&stream]).await? else {
            return Ok(());
        };
        let known: String = row.try_get(0)?;
        if known == self.name {
            return Ok(());
        }
        Err(ConfigError::Wrong {
            setting: "events.business_zone",
            problem: format!(
                "stream {stream} was bound to the business zone \"{known}\", found \"{}\": days are fixed at the \
                 first start: set events.business_zone back",
                self.name
            ),
        }
        .into())
    }

    /// From the day's first moment to the next day's.
    ///
    /// # Errors
    /// At the ends of time.
    pub fn bounds(&self, day: Date) -> Result<(Timestamp, Timestamp), RefusedDay> {
        let begin = |day: Date| {
            let midnight = day.to_zoned(self.zone.clone());
            midnight
                .map(|zoned| zoned.timestamp())
                .map_err(|_| RefusedDay::TooFar(day))
        };
        Ok((begin(day)?, begin(after(day, 1)?)?))
    }

    /// The newest day, `day` or before it, that was over `delay` before `now`.
    ///
    /// # Errors
    /// At the ends of time.
    pub fn ripe_day(&self, day: Date, ripe_until: Timestamp) -> Result<Date, RefusedDay> {
        Ok(day.min(after(self.day_of(ripe_until), -1)?))
    }

    /// When the report on the day is due: at this hour of the next.
    ///
    /// # Errors
    /// At the ends of time.
    pub fn due_at(&self, day: Date, at: Time) -> Result<Timestamp, RefusedDay> {
        // Where clocks skip the hour, the moment after; where they repeat it, the first one.
        let due = after(day, 1)?.to_datetime(at).to_zoned(self.zone.clone());
        due.map(|zoned| zoned.timestamp())
            .map_err(|_| RefusedDay::TooFar(day))
    }

    /// The oldest day whose report is due at `now` and was not sent: `last` is the newest that
    /// was. Reports are for days since `since`, and after an outage the last seven days are made
    /// up for.
    pub fn due(
        &self,
        at: Time,
        now: Timestamp,
        since: Timestamp,
        last: Option<Date>,
    ) -> Option<Date> {
        let today = self.day_of(now);
        let yesterday = after(today, -1).ok()?;
        let newest = match now >= self.due_at(yesterday, at).ok()? {
            true => yesterday,
            false => after(today, -2).ok()?,
        };
        let oldest = after(today, -DAYS_BACK).ok()?.max(self.day_of(since));
        let oldest = match last {
            Some(last) => after(last, 1).ok()?.max(oldest),
            None => oldest,
        };
        (oldest <= newest).then_some(oldest)
    }
}

/// So many days after `day`, or before it.
///
/// # Errors
/// At the ends of time.
pub fn after(day: Date, days: i32) -> Result<Date, RefusedDay> {
    day.checked_add(Span::new().days(days))
        .map_err(|_| RefusedDay::TooFar(day))
}

/// The day as the database has it.
pub fn sql_day(day: Date) -> Day {
    let epoch = Date::constant(1970, 1, 1);
    // Between two days of this calendar there are at most 7.3 million days.
    Day(epoch.until(day).map_or(0, |span| span.get_days()))
}

/// The day of the database.
///
/// # Errors
/// When this calendar does not have it.
pub fn civil_day(day: Day) -> Result<Date, jiff::Error> {
    Date::constant(1970, 1, 1).checked_add(Span::new().try_days(day.0)?)
}

/// The moment as the database has it.
pub fn sql_moment(moment: Timestamp) -> Moment {
    Moment(moment.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str) -> Calendar {
        Calendar {
            zone: TimeZone::get(zone).unwrap(),
            name: zone.into(),
        }
    }

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    const SEVEN: Time = Time::constant(7, 0, 0, 0);

    #[test]
    fn a_report_is_on_a_day_that_is_over_where_the_business_is() {
        let auckland = calendar("Pacific/Auckland");
        // In Auckland it is already the 22nd.
        let now = moment("2026-11-21T12:00:00Z");
        assert_eq!(auckland.past_day(None, now).unwrap(), day("2026-11-21"));
        let today = auckland
            .past_day(Some(day("2026-11-22")), now)
            .unwrap_err()
            .to_string();
        assert!(today.contains("is not over yet in Pacific/Auckland"));
        let future = auckland
            .past_day(Some(day("2026-12-24")), now)
            .unwrap_err()
            .to_string();
        assert!(future.contains("2026-12-24 is in the future"), "{future}");
        assert!(auckland.past_day(Some(Date::MIN), now).is_err());
        assert!(auckland.past_day(Some(Date::MAX), now).is_err());
    }

    #[test]
    fn a_day_has_23_24_or_25_hours() {
        let paris = calendar("Europe/Paris");
        let hours = |text| {
            let (begin, end) = paris.bounds(day(text)).unwrap();
            end.duration_since(begin).as_hours()
        };
        assert_eq!(hours("2026-03-29"), 23);
        assert_eq!(hours("2026-11-20"), 24);
        assert_eq!(hours("2026-10-25"), 25);
    }

    #[test]
    fn the_report_is_due_at_the_same_hour_of_the_clock_in_summer_and_in_winter() {
        let paris = calendar("Europe/Paris");
        let since = moment("2026-01-01T00:00:00Z");
        let due = |now: &str, last: &str| paris.due(SEVEN, moment(now), since, Some(day(last)));
        assert_eq!(due("2026-07-02T04:59:59Z", "2026-06-30"), None);
        assert_eq!(
            due("2026-07-02T05:00:00Z", "2026-06-30"),
            Some(day("2026-07-01"))
        );
        assert_eq!(due("2026-12-02T05:59:59Z", "2026-11-30"), None);
        assert_eq!(
            due("2026-12-02T06:00:00Z", "2026-11-30"),
            Some(day("2026-12-01"))
        );
        assert_eq!(due("2026-12-02T09:00:00Z", "2026-12-01"), None);
    }

    #[test]
    fn an_hour_that_the_clocks_skip_or_repeat_still_has_one_report() {
        let paris = calendar("Europe/Paris");
        let since = moment("2026-01-01T00:00:00Z");
        let at = Time::constant(2, 30, 0, 0);
        let due = |now: &str, last: &str| paris.due(at, moment(now), since, Some(day(last)));
        // 02:30 does not exist on the 29th of March: 03:30 in summer's time stands for it.
        assert_eq!(due("2026-03-29T01:29:59Z", "2026-03-27"), None);
        assert_eq!(
            due("2026-03-29T01:30:00Z", "2026-03-27"),
            Some(day("2026-03-28"))
        );
        // 02:30 comes twice on the 25th of October: the first time counts.
        assert_eq!(
            due("2026-10-25T00:30:00Z", "2026-10-23"),
            Some(day("2026-10-24"))
        );
        assert_eq!(due("2026-10-25T01:30:00Z", "2026-10-24"), None);
    }

    #[test]
    fn after_an_outage_the_last_seven_days_are_made_up_for_the_oldest_first() {
        let utc = calendar("UTC");
        let since = moment("2026-01-01T00:00:00Z");
        let now = moment("2026-11-21T08:00:00Z");
        let mut last = day("2026-10-01");
        let mut sent = Vec::new();
        while let Some(day) = utc.due(SEVEN, now, since, Some(last)) {
            sent.push(day.to_string());
            last = day;
        }
        assert_eq!(sent.len(), 7);
        assert_eq!(sent[0], "2026-11-14");
        assert_eq!(sent[6], "2026-11-20");
    }

    #[test]
    fn the_first_report_is_on_the_first_day_that_there_was_a_stream_and_on_none_before() {
        let utc = calendar("UTC");
        let now = moment("2026-11-21T08:00:00Z");
        let of = |since: &str| utc.due(SEVEN, now, moment(since), None);
        assert_eq!(of("2026-03-01T00:00:00Z"), Some(day("2026-11-14")));
        assert_eq!(of("2026-11-18T13:00:00Z"), Some(day("2026-11-18")));
        assert_eq!(of("2026-11-20T23:00:00Z"), Some(day("2026-11-20")));
        assert_eq!(of("2026-11-21T06:00:00Z"), None);
    }

    #[test]
    fn labels_are_ripe_only_when_the_whole_day_is() {
        let utc = calendar("UTC");
        let ripe = |until: &str| {
            let ripe = utc.ripe_day(day("2026-11-20"), moment(until));
            ripe.unwrap().to_string()
        };
        assert_eq!(ripe("2026-11-21T08:00:00Z"), "2026-11-20");
        assert_eq!(ripe("2026-11-20T23:59:59Z"), "2026-11-19");
        assert_eq!(ripe("2026-10-07T08:00:00Z"), "2026-10-06");
    }

    #[test]
    fn days_and_moments_are_those_of_the_database() {
        assert_eq!(sql_day(day("1970-01-01")), Day(0));
        assert_eq!(sql_day(day("2026-03-01")), Day(20_513));
        assert_eq!(sql_day(day("1969-12-31")), Day(-1));
        assert_eq!(civil_day(Day(20_513)).unwrap(), day("2026-03-01"));
        assert!(civil_day(Day(i32::MAX)).is_err());
        assert_eq!(
            sql_moment(moment("1970-01-01T00:00:01Z")),
            Moment(1_000_000)
        );
    }
}
