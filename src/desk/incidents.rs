//! Incidents: alerts that belong together, and when on-call hears of them.
//!
//! ```text
//! fraud_alerts -> group -> incidents -> pace -> tell -> outbox
//! ```
//! **Grouping.** Every live alert belongs to exactly one incident: that of its account, merchant
//! or rule (`incidents.group_by`) which is open, or a new one. An incident without an alert for
//! `quiet` is closed once everything of it is told. All of it is in the database, and each step
//! is one transaction: a restart loses and doubles nothing.
//!
//! **Pacing.** After a quiet time the first alert waits `gather` for others, then all of them are
//! one message. Another message may follow after a pause that grows with what on-call has heard:
//! a tenth of `cooldown` for each message of the last hour, at most `cooldown`, and never more
//! than `hourly_cap` messages in an hour; nor does one follow while the last has not got out on
//! any channel. A message tells of all that is due: incidents not told of yet, those that have
//! become critical, and those that go on and were last told of at least `cooldown` ago. What is
//! newly critical does not wait for the pause, unless on-call has heard of something critical
//! within the `cooldown`. So a
//! flood that lasts a minute is one mail within seconds and one digest after it; single frauds a
//! few minutes apart are each told within seconds; and an endless stream of unrelated frauds
//! settles at a message every seven or eight minutes.
//!
//! **Severity.** Critical as soon as one alert has at least `critical_score` and at least
//! `critical_amount`, else a warning. **Snoozed** alerts are counted and wait untold; when the
//! snooze ends, what came meanwhile is told if the incident is still open. With an incident that
//! became quiet in a snooze, its snoozed alerts are done with.
//!
//! Troubles of the [`system`] are incidents as well: told when they begin and when they are over.

mod group;
mod message;
mod pacing;
mod shared;
mod snoozed;
mod system;
mod tell;

use std::time::Duration;

use tokio_postgres::{Client, Error};

use crate::config::Config;
use crate::desk::notifier::outbox::Channels;
use crate::metrics::{self, Severity};
use tell::Occasion;

pub use system::{Trouble, Watch};

/// What one look at the alerts came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The notice.
    pub notice: i64,
    /// Alerts that it tells of.
    pub alerts: u64,
    /// Incidents that they belong to.
    pub incidents: u64,
}

/// Characters of a merchant's name that tell it from others: an index entry has a bound.
pub const MERCHANT_CHARS: usize = 256;

/// Alerts in one transaction at most; what is beyond waits for the next.
const AT_ONCE: i64 = 100_000;
/// Any database has time for so many.
const AT_ONCE_AT_LEAST: i64 = 1_000;

/// Turns alerts into incidents and incidents into messages; the process that notifies has one.
#[derive(Debug)]
pub struct Gathering {
    at_once: i64,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { at_once: AT_ONCE }
    }
}

impl Gathering {
    /// Gives new alerts their incidents, closes incidents that have become quiet, and writes a
    /// message if one is due: its number and figures then.
    ///
    /// Where a database is too slow for so many alerts, fewer are tried the next time: the same
    /// flood must not be too much for it for ever.
    ///
    /// # Errors
    /// When the database fails; each of the steps has happened whole or not at all.
    pub async fn gather(
        &mut self,
        client: &mut Client,
        config: &Config,
        channels: &Channels,
    ) -> Result<Option<Told>, Error> {
        let (settings, at_once) = (&config.incidents, self.at_once);
        // Given back only at the end: who gives up waiting for us leaves it so.
        self.at_once = (at_once / 4).max(AT_ONCE_AT_LEAST);
        group::close_quiet(client, settings.quiet, at_once).await?;
        group::assign(client, settings, at_once).await?.record();
        let heard = pacing::Heard::of(client, channels).await?;
        let occasion = match heard.may_hear(settings) {
            true => Some(Occasion::AnyNews),
            false
                if heard.may_be_interrupted(settings)
                    && pacing::is_critical(client, settings).await? =>
            {
                Some(Occasion::CriticalNews)
            }
            false => None,
        };
        let told = match occasion {
            Some(occasion) => tell::tell(client, config, channels, occasion, at_once).await?,
            None => None,
        };
        self.at_once = (at_once * 2).min(AT_ONCE);
        Ok(told)
    }
}

/// States how many incidents are open.
async fn state_open(client: &Client) -> Result<(), Error> {
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE severity = 'warning'), count(*) FILTER (WHERE severity = 'critical')
             FROM incidents WHERE closed_at IS NULL",
            &[],
        )
        .await?;
    metrics::incidents_open(Severity::Warning, row.try_get(0)?);
    metrics::incidents_open(Severity::Critical, row.try_get(1)?);
    Ok(())
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}
