//! The task beside the notifier that keeps the figures and sends the report every morning.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::civil::{Date, Time};
use jiff::{Timestamp, ToSpan};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::config::Config;
use crate::database::{self, Login};
use crate::desk::figures::{self, Pace};
use crate::desk::notifier::outbox::Channels;
use crate::desk::notifier::session::{end_when_silent, lease};
use crate::desk::report::calendar::Calendar;
use crate::desk::report::sending;
use crate::desk::report::unread::{self, Unread};
use crate::metrics;

/// How long a standby waits before it asks again whether it is needed.
const STANDBY: Duration = Duration::from_secs(5);
/// How long the session that holds the lease may be silent: longer than a day takes to reconcile.
const LONGEST_SILENCE: Duration = Duration::from_mins(30);
/// Pause after a failure: the database that is away, most of the time.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Hours that a report waits for records to be read; then it is made of what there is, and says so.
const PATIENCE: i64 = 6;

/// Keeps the figures and sends the reports until `shutdown` says true; one process at a time
/// does for each stream, the others wait. A database that is away is waited for.
///
/// # Errors
/// Only at once, when the settings make no sense.
pub async fn keep(config: &Config, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let mut keeper = Keeper {
        config,
        calendar: Calendar::of(config)?,
        channels: Channels::of(config)?,
        since: None,
        waiting: Waiting::default(),
    };
    let mut said = String::new();
    loop {
        // Whatever is dropped in mid-transaction is done again by whoever comes next.
        let ended = tokio::select! {
            ended = keeper.session() => ended,
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
        };
        // The age of the figures goes on growing: nobody counts.
        let problem = match ended {
            Ok(never) => match never {},
            Err(problem) => format!("{problem:#}"),
        };
        if problem != said {
            tracing::warn!(problem, "figures and reports wait");
            said = problem;
        }
        let stop = shutdown.wait_for(|stop| *stop);
        if timeout(AFTER_FAILURE, stop).await.is_ok() {
            return Ok(());
        }
    }
}

struct Keeper<'a> {
    config: &'a Config,
    calendar: Calendar,
    channels: Channels,
    /// Since when this process keeps the figures; absent while another does.
    since: Option<Instant>,
    waiting: Waiting,
}

impl Keeper<'_> {
    /// One session with the database, as long as it lasts.
    async fn session(&mut self) -> Result<Infallible> {
        let stream = self.config.stream.id;
        let mut client = database::connect(self.config, Login::Writer, "vigie figures").await?;
        end_when_silent(&client, LONGEST_SILENCE).await?;
        let keeping = format!("vigie figures keeper of stream {stream}");
        while !lease(&client, &keeping).await? {
            self.since = None;
            metrics::figures_age(None);
            tokio::time::sleep(STANDBY).await;
        }
        if self.since.is_none() {
            tracing::info!("this process keeps the figures");
        }
        // The first count may take long, or fail for ever: the age is known before it.
        let since = *self.since.get_or_insert_with(Instant::now);
        let age = figures::state(&client, stream).await?;
        let age = age.and_then(|state| state.age);
        metrics::figures_age(Some(age.unwrap_or_else(|| since.elapsed())));
        loop {
            let rest = figures::bring_up_to_date(&client, stream, Pace::Gentle).await?;
            let state = figures::state(&client, stream).await?;
            // Where there is no stream yet, nothing is missing.
            let age = state.and_then(|state| state.age).unwrap_or_default();
            metrics::figures_age(Some(age));
            if let Some(at) = self.config.report.at
                && self.report(&mut client, at).await?
            {
                continue;
            }
            tokio::time::sleep(rest).await;
        }
    }

    /// Sends the report that is due, unless it has to wait; whether there may be another.
    async fn report(&mut self, client: &mut Client, at: Time) -> Result<bool> {
        let (config, calendar, now) = (self.config, &self.calendar, Timestamp::now());
        let stream = config.stream.id;
        let Some(day) = sending::due(client, stream, calendar, at, now).await? else {
            return Ok(false);
        };
        calendar.is_of(client, stream).await?;
        let end = calendar.bounds(day)?.1;
        let unread = unread::look(client, config, end).await?;
        if self
            .waiting
            .holds(day, &unread, (calendar.due_at(day, at)?, now))
        {
            return Ok(false);
        }
        let report = super::make(client, config, Login::Writer, (calendar, day), &unread).await?;
        let queued = sending::queue_once(client, stream, &report, &self.channels).await?;
        tracing::info!(%day, notice = queued, "the report is queued");
        Ok(true)
    }
}

/// A report that waits until everything was read that may belong to it.
#[derive(Debug, Default)]
struct Waiting {
    since: Option<Timestamp>,
}

impl Waiting {
    /// Whether the report on `day`, due at `due`, has to wait at `now`. Patience begins when it
    /// is due, or when reports began to wait if that was later: days that were missed are sent
    /// together once it has run out.
    fn holds(&mut self, day: Date, unread: &Unread, (due, now): (Timestamp, Timestamp)) -> bool {
        let Some(reason) = unread.waits_for() else {
            self.since = None;
            return false;
        };
        if self.since.is_none() {
            tracing::warn!(%day, reason, "the report waits, at most {PATIENCE} hours");
        }
        let since = *self.since.get_or_insert(now);
        if now < since.max(due) + PATIENCE.hours() {
            return true;
        }
        tracing::warn!(%day, reason, "the report waits no longer");
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Unread = Unread::Records { coming: 3, held: 0 };
    const NONE: Unread = Unread::Records { coming: 0, held: 5 };

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_report_waits_for_hours_but_not_for_ever() {
        let (day, due) = (Date::constant(2026, 11, 20), moment("2026-11-21T07:00:00Z"));
        let mut waiting = Waiting::default();
        let mut holds = |unread: &Unread, now: &str| waiting.holds(day, unread, (due, moment(now)));
        assert!(holds(&SOME, "2026-11-21T07:00:01Z"));
        assert!(holds(
            &Unread::Unknown("away".into()),
            "2026-11-21T12:00:00Z"
        ));
        assert!(!holds(&SOME, "2026-11-21T13:00:01Z"));
        // Once everything was read, patience is new.
        assert!(!holds(&NONE, "2026-11-21T13:00:02Z"));
        assert!(holds(&SOME, "2026-11-21T13:00:03Z"));
    }

    #[test]
    fn missed_days_wait_from_the_start_and_together_and_a_new_day_from_its_hour() {
        let mut waiting = Waiting::default();
        let mut holds = |day: i8, due: &str, now: &str| {
            let day = Date::constant(2026, 11, day);
            waiting.holds(day, &SOME, (moment(due), moment(now)))
        };
        let started = "2026-11-21T09:00:00Z";
        assert!(holds(18, "2026-11-19T07:00:00Z", started));
        assert!(holds(18, "2026-11-19T07:00:00Z", "2026-11-21T14:59:59Z"));
        let later = "2026-11-21T15:00:00Z";
        assert!(!holds(18, "2026-11-19T07:00:00Z", later));
        assert!(!holds(19, "2026-11-20T07:00:00Z", later));
        assert!(!holds(20, "2026-11-21T07:00:00Z", later));
        assert!(holds(21, "2026-11-22T07:00:00Z", "2026-11-22T07:00:00Z"));
    }
}
