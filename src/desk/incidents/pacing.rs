//! When on-call may hear of fraud again.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use crate::config::IncidentsConfig;
use crate::desk::notifier::outbox::Channels;

/// So many messages of the last hour make the pause as long as the cooldown.
const STEPS: u32 = 10;
/// How long a message that every server refuses holds back the next one.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// What on-call has heard of fraud lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Messages of the last hour.
    pub messages: u32,
    /// Since the last of them.
    pub since: Option<Duration>,
    /// The last one has not got out on any channel yet.
    pub stuck: bool,
}

impl Heard {
    /// Asks the outbox. Messages that nobody got count only while there is still nobody to get
    /// them: turning mail on is no reason to be silent.
    pub async fn of(client: &Client, channels: &Channels) -> Result<Self, Error> {
        let row = client
            .query_one(
                "SELECT count(*), extract(epoch FROM now() - max(heard.created_at))::float8,
                        coalesce((
                            SELECT NOT EXISTS (
                                SELECT FROM outbox AS o
                                WHERE o.notice_id = last.id
                                  AND (o.sent_at IS NOT NULL OR o.suppressed_at IS NOT NULL
                                       OR o.refused_at <= now() - make_interval(secs => $2)))
                            FROM (SELECT id FROM notices WHERE kind = 'incident' ORDER BY created_at DESC LIMIT 1) AS last
                        ), false)
                 FROM notices AS heard
                 WHERE heard.kind = 'incident' AND heard.created_at > now() - interval '1 h'
                   AND (NOT $1 OR EXISTS (SELECT FROM outbox AS o
                                          WHERE o.notice_id = heard.id AND o.suppressed_at IS NULL))",
                &[&channels.reach_anybody(), &AFTER_REFUSAL.as_secs_f64()],
            )
            .await?;
        let since: Option<f64> = row.try_get(1)?;
        Ok(Self {
            messages: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX),
            since: since.map(|since| Duration::from_secs_f64(since.max(0.0))),
            stuck: row.try_get(2)?,
        })
    }

    /// Whether a message may be written now, if there is something to tell.
    pub fn may_hear(&self, settings: &IncidentsConfig) -> bool {
        let paused = self.since.is_none_or(|since| since >= self.pause(settings));
        paused && self.may_be_interrupted(settings)
    }

    /// Whether a message may be written in spite of the pause.
    pub fn may_be_interrupted(&self, settings: &IncidentsConfig) -> bool {
        !self.stuck && self.messages < settings.hourly_cap
    }

    /// From the last message to the next.
    fn pause(&self, settings: &IncidentsConfig) -> Duration {
        settings.cooldown * self.messages.min(STEPS) / STEPS
    }
}

/// Whether something is newly critical, and on-call has heard of nothing critical within the
/// cooldown: a flood of it is one interruption.
pub async fn is_critical(client: &Client, settings: &IncidentsConfig) -> Result<bool, Error> {
    let is_critical = "
        SELECT EXISTS (
                   SELECT FROM incidents
                   WHERE kind = 'fraud' AND closed_at IS NULL AND untold > 0 AND severity = 'critical'
                     AND noticed_severity IS DISTINCT FROM 'critical')
           AND NOT EXISTS (
                   SELECT FROM notices AS n
                   JOIN notice_incidents AS told ON told.notice_id = n.id
                   JOIN incidents AS i ON i.id = told.incident_id
                   WHERE n.kind = 'incident' AND n.created_at > now() - make_interval(secs => $1)
                     AND i.noticed_severity = 'critical')";
    let cooldown = settings.cooldown.as_secs_f64();
    let row = client.query_one(is_critical, &[&cooldown]).await?;
    row.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GroupBy;

    const SECOND: Duration = Duration::from_secs(1);

    /// Offsets of the messages in a time in which there is always something new to tell.
    fn messages_in(whole: Duration, settings: &IncidentsConfig) -> Vec<u64> {
        let mut written: Vec<Duration> = Vec::new();
        let mut now = Duration::ZERO;
        while now < whole {
            let hour = written
                .iter()
                .filter(|at| now - **at < 3_600 * SECOND)
                .count();
            let heard = Heard {
                messages: hour as u32,
                since: written.last().map(|last| now - *last),
                stuck: false,
            };
            if heard.may_hear(settings) {
                written.push(now);
            }
            now += SECOND;
        }
        written.iter().map(Duration::as_secs).collect()
    }

    fn settings() -> IncidentsConfig {
        IncidentsConfig {
            group_by: GroupBy::Account,
            gather: 2 * SECOND,
            cooldown: 600 * SECOND,
            quiet: 3_600 * SECOND,
            hourly_cap: 12,
            critical_score: 0.95,
            critical_amount: 1_000,
            dead_letter_share: 0.05,
            silence: 600 * SECOND,
            score_psi: 0.25,
        }
    }

    #[test]
    fn a_flood_of_a_minute_is_one_message_and_one_after_it() {
        assert_eq!(messages_in(60 * SECOND, &settings()), [0]);
        assert_eq!(messages_in(61 * SECOND, &settings()), [0, 60]);
    }

    #[test]
    fn the_pause_grows_and_an_endless_stream_is_told_every_seven_or_eight_minutes() {
        let settings = settings();
        let hour = messages_in(3_600 * SECOND, &settings);
        let minutes: Vec<u64> = hour.iter().map(|at| at / 60).collect();
        assert_eq!(minutes, [0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 55]);
        let day = messages_in(24 * 3_600 * SECOND, &settings);
        let settled = day.iter().skip(11).zip(day.iter().skip(12));
        for (at, next) in settled {
            assert!((420..=480).contains(&(next - at)), "from {at} to {next}");
        }
    }

    #[test]
    fn no_hour_has_more_messages_than_the_cap() {
        let mut settings = settings();
        settings.cooldown = SECOND;
        settings.hourly_cap = 5;
        let day = messages_in(6 * 3_600 * SECOND, &settings);
        assert_eq!(day.len(), 30);
        for five in day.windows(6) {
            assert!(five[5] - five[0] >= 3_600, "{five:?}");
        }
    }

    #[test]
    fn nothing_follows_a_message_that_has_not_got_out() {
        let heard = Heard {
            messages: 1,
            since: Some(1_000 * SECOND),
            stuck: true,
        };
        assert!(!heard.may_hear(&settings()));
        assert!(
            Heard {
                stuck: false,
                ..heard
            }
            .may_hear(&settings())
        );
    }
}
