//! Sending from the outbox: a message is claimed, sent, or waits.
//!
//! All times are the database's, so that processes on several machines agree.

use std::time::{Duration, SystemTime};

use tokio_postgres::{Client, Error, GenericClient};

use super::channels::Channel;
use super::outbox::{Attachment, NoticeKind};

/// Longest pause while the server is away: recovery is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause of a message that the server refuses.
const LONGEST_PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(3_600);
/// Pauses of a message that the server may have: repeating it costs people something.
const PAUSES_WHEN_UNSURE: [Duration; 4] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(60),
];

/// A message as the outbox holds it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its number in the outbox.
    pub id: i64,
    /// What it is about.
    pub kind: NoticeKind,
    /// This attempt's number, from 1.
    pub attempts: u32,
    /// The same for every attempt, with its angle brackets.
    pub message_id: String,
    /// Subject.
    pub subject: String,
    /// Body for plain readers.
    pub text: String,
    /// Body for those that show more; empty where the channel cannot.
    pub html: String,
    /// JSON for programs, where the channel sends it.
    pub payload: Option<String>,
    /// What goes with a mail.
    pub attachments: Vec<Attachment>,
    /// When it was written: the date of a mail.
    pub created_at: SystemTime,
}

/// What waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    /// How many messages.
    pub messages: u64,
    /// Age of the oldest; zero when there is none.
    pub oldest: Duration,
}

/// Says, as long as the session lasts, that a `vigie run` is there, whether it notifies or stands by.
///
/// # Errors
/// When the database fails.
pub async fn be_there(client: &Client) -> Result<(), Error> {
    let say =
        "SELECT pg_advisory_lock_shared(hashtextextended('vigie run in ' || current_schema, 0))";
    client.batch_execute(say).await
}

/// Whether no `vigie run` is there; in a transaction, none comes before it ends.
///
/// # Errors
/// When the database fails.
pub async fn nobody_is_there(client: &impl GenericClient) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('vigie run in ' || current_schema, 0))",
            &[],
        )
        .await?;
    row.try_get(0)
}

/// What waits to be sent, over all channels.
///
/// # Errors
/// When the database fails.
pub async fn waiting(client: &Client) -> Result<Waiting, Error> {
    let row = client
        .query_one(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
             FROM outbox WHERE sent_at IS NULL AND suppressed_at IS NULL",
            &[],
        )
        .await?;
    let oldest: f64 = row.try_get(1)?;
    Ok(Waiting {
        messages: u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0),
        oldest: Duration::try_from_secs_f64(oldest).unwrap_or_default(),
    })
}

/// Takes the channel's message that is due. What is written before the attempt makes a crash in
/// the middle of it a pause of `hold`.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    client: &Client,
    channel: Channel,
    hold: Duration,
) -> Result<Option<Message>, Error> {
    let row = client
        .query_opt(
            "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
             WHERE id = (
                 SELECT id FROM outbox
                 WHERE channel = $1 AND sent_at IS NULL AND suppressed_at IS NULL AND next_attempt_at <= now()
                 ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id, notice_id, (SELECT kind FROM notices WHERE notices.id = notice_id) AS kind, attempts,
                       message_id, subject, body_text, body_html, payload::text AS payload, created_at",
            &[&channel.as_str(), &hold.as_secs_f64()],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(Message {
        id: row.try_get("id")?,
        kind: NoticeKind::named(row.try_get("kind")?),
        attempts: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or(1),
        message_id: row.try_get("message_id")?,
        subject: row.try_get("subject")?,
        text: row.try_get("body_text")?,
        html: row.try_get("body_html")?,
        payload: row.try_get("payload")?,
        attachments: match row.try_get("notice_id")? {
            Some(notice) if channel == Channel::Mail => attachments(client, notice).await?,
            _ => Vec::new(),
        },
        created_at: row.try_get("created_at")?,
    }))
}

async fn attachments(client: &Client, notice: i64) -> Result<Vec<Attachment>, Error> {
    let rows = client
        .query(
            "SELECT name, content_type, content FROM attachments WHERE notice_id = $1 ORDER BY number",
            &[&notice],
        )
        .await?;
    let attachment = |row: &tokio_postgres::Row| {
        Ok(Attachment {
            name: row.try_get("name")?,
            content_type: row.try_get("content_type")?,
            bytes: row.try_get("content")?,
        })
    };
    rows.iter().map(attachment).collect()
}

/// The server took the message.
///
/// # Errors
/// When the database fails.
pub async fn sent(client: &Client, id: i64) -> Result<(), Error> {
    client
        .execute(
            "UPDATE outbox SET sent_at = now(), last_error = NULL WHERE id = $1 AND sent_at IS NULL",
            &[&id],
        )
        .await?;
    Ok(())
}

/// This attempt failed: the message waits for `pause`, unless another process has it in hand by now.
///
/// # Errors
/// When the database fails.
pub async fn failed(
    client: &Client,
    message: &Message,
    pause: Pause,
    problem: &str,
) -> Result<(), Error> {
    wait(client, message, pause, problem, false).await
}

/// The server refuses this very message, or may have it: it waits for `pause`, and neither other
/// messages nor what on-call is yet to be told wait for it.
///
/// # Errors
/// When the database fails.
pub async fn set_aside(
    client: &Client,
    message: &Message,
    pause: Pause,
    problem: &str,
) -> Result<(), Error> {
    wait(client, message, pause, problem, true).await
}

async fn wait(
    client: &Client,
    message: &Message,
    pause: Pause,
    problem: &str,
    aside: bool,
) -> Result<(), Error> {
    let attempts = i32::try_from(message.attempts).unwrap_or(i32::MAX);
    client
        .execute(
            "UPDATE outbox SET next_attempt_at = now() + make_interval(secs => $3 + random() * $4), last_error = $5,
                               refused_at = CASE WHEN $6 THEN coalesce(refused_at, now()) ELSE refused_at END
             WHERE id = $1 AND attempts = $2 AND sent_at IS NULL",
            &[
                &message.id,
                &attempts,
                &pause.at_least().as_secs_f64(),
                &(pause.most - pause.at_least()).as_secs_f64(),
                &problem,
                &aside,
            ],
        )
        .await?;
    Ok(())
}

/// How long a message waits: somewhere between the two, so that many do not come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    asked: Duration,
    most: Duration,
}

impl Pause {
    fn of(most: Duration) -> Self {
        let asked = Duration::ZERO;
        Self { asked, most }
    }

    /// The shortest that it may be.
    pub fn at_least(self) -> Duration {
        self.asked.max(self.most / 2)
    }

    /// The same, and never shorter than the server asked for.
    pub fn not_before(self, asked: Duration) -> Self {
        let most = self.most.max(asked + asked / 8);
        Self { asked, most }
    }
}

/// The pause after so many failed attempts: 1, 2, 4 … 60 s at most.
pub fn pause(attempts: u32) -> Pause {
    Pause::of(doubled(Duration::from_secs(1), attempts).min(LONGEST_PAUSE))
}

/// The pause after so many refusals: 5, 10, 20 … 60 minutes at most.
pub fn pause_after_refusal(attempts: u32) -> Pause {
    Pause::of(doubled(Duration::from_secs(300), attempts).min(LONGEST_PAUSE_AFTER_REFUSAL))
}

/// The pause after a message may have arrived so many times: 1, 5, 15, 60 minutes at most.
pub fn pause_when_unsure(times: u32) -> Pause {
    let [.., longest] = PAUSES_WHEN_UNSURE;
    let number = usize::try_from(times.saturating_sub(1)).unwrap_or(usize::MAX);
    Pause::of(PAUSES_WHEN_UNSURE.get(number).copied().unwrap_or(longest))
}

fn doubled(first: Duration, attempts: u32) -> Duration {
    first * (1 << attempts.saturating_sub(1).min(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let seconds: Vec<u64> = (1..=8).map(|n| pause(n).most.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX).most, LONGEST_PAUSE);
        assert_eq!(pause(1).at_least(), Duration::from_millis(500));
        let minutes: Vec<u64> = (1..=6)
            .map(|n| pause_after_refusal(n).most.as_secs() / 60)
            .collect();
        assert_eq!(minutes, [5, 10, 20, 40, 60, 60]);
        let minutes: Vec<u64> = (1..=5)
            .map(|n| pause_when_unsure(n).most.as_secs() / 60)
            .collect();
        assert_eq!(minutes, [1, 5, 15, 60, 60]);
    }

    #[test]
    fn a_pause_that_a_server_asked_for_is_kept_to() {
        let asked = Duration::from_secs(30);
        assert_eq!(pause(1).not_before(asked).at_least(), asked);
        assert!(pause(1).not_before(asked).most > asked);
        let longer = pause(10).not_before(asked);
        assert_eq!((longer.at_least(), longer.most), (asked, LONGEST_PAUSE));
    }
}
