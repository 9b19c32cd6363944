//! The outbox: whoever has something to say enqueues a notice here, once for all channels.

use std::time::Duration;

use tokio_postgres::{Client, Error, Row, Transaction};

use super::alert_mail::{self, Alert, Digest, Place};
use super::channels::{Channel, Fate};
use crate::config::Config;
use crate::database::Moment;
use crate::desk::text::Money;
use crate::metrics::{self, MessageResult};

pub use super::channels::Channels;

/// Alerts in one message at most; what is beyond waits for the next.
const GATHER: i64 = 100_000;
/// Alerts that a message names.
const RISKIEST: i64 = 5;
/// Currencies that a message sums.
const CURRENCIES: i64 = 5;
/// How long a refused message holds back the next one.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);

/// What a notice is about; it decides who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Payments that look like fraud.
    Incident,
    /// The system's own trouble.
    System,
    /// The morning report.
    Report,
    /// A canary that came through.
    Canary,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Incident, Self::System, Self::Report, Self::Canary];

    /// As the database and the webhook have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::System => "system",
            Self::Report => "report",
            Self::Canary => "canary",
        }
    }

    /// The kind of that name; messages older than notices are about incidents.
    pub(super) fn named(name: Option<&str>) -> Self {
        let known = Self::ALL
            .into_iter()
            .find(|kind| Some(kind.as_str()) == name);
        known.unwrap_or(Self::Incident)
    }
}

/// Something to be told.
#[derive(Debug, Clone)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// One line.
    pub subject: String,
    /// For plain readers; without the subject.
    pub text: String,
    /// For mail readers that show more.
    pub html: String,
    /// For programs.
    pub payload: serde_json::Value,
    /// What goes with a mail.
    pub attachments: Vec<Attachment>,
}

/// A file that goes with a mail.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its file name.
    pub name: String,
    /// For instance `text/csv; charset=utf-8`.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Writes the notice and one message for each channel that is open for its kind; with none open,
/// one message that is suppressed. Returns the notice's number.
///
/// # Errors
/// When the database fails.
pub async fn enqueue(
    transaction: &Transaction<'_>,
    notice: &Notice,
    channels: &Channels,
) -> Result<i64, Error> {
    let insert = "INSERT INTO notices (kind) VALUES ($1) RETURNING id";
    let row = transaction
        .query_one(insert, &[&notice.kind.as_str()])
        .await?;
    let id: i64 = row.try_get(0)?;
    for (channel, fate) in channels.of_kind(notice.kind) {
        insert_message(transaction, id, notice, channel, fate, channels).await?;
    }
    for (number, attachment) in (0i16..).zip(&notice.attachments) {
        transaction
            .execute(
                "INSERT INTO attachments (notice_id, number, name, content_type, content)
                 VALUES ($1, $2, $3, $4, $5)",
                &[
                    &id,
                    &number,
                    &attachment.name,
                    &attachment.content_type,
                    &attachment.bytes,
                ],
            )
            .await?;
    }
    Ok(id)
}

/// One channel's message; it carries what that channel can show.
async fn insert_message(
    transaction: &Transaction<'_>,
    id: i64,
    notice: &Notice,
    channel: Channel,
    fate: Fate,
    channels: &Channels,
) -> Result<(), Error> {
    let mail = matches!(channel, Channel::Mail | Channel::Canary);
    let html = if mail { notice.html.as_str() } else { "" };
    let payload = (channel == Channel::Webhook).then(|| notice.payload.to_string());
    transaction
        .execute(
            "INSERT INTO outbox (notice_id, channel, message_id, subject, body_text, body_html, payload,
                                 sent_at, suppressed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7::text::json, CASE WHEN $8 THEN now() END, CASE WHEN $9 THEN now() END)",
            &[
                &id,
                &channel.as_str(),
                &channels.message_id(id, channel),
                &one_line(&notice.subject),
                &notice.text,
                &html,
                &payload,
                &(fate == Fate::Ends),
                &(fate == Fate::Suppressed),
            ],
        )
        .await?;
    match fate {
        Fate::Waits => {}
        Fate::Ends => metrics::message(channel, MessageResult::Sent),
        Fate::Suppressed => metrics::message(channel, MessageResult::Suppressed),
    }
    Ok(())
}

/// A subject becomes a header: nothing in it may begin another.
fn one_line(subject: &str) -> String {
    subject.replace(|c: char| c.is_control(), " ")
}

/// Turns the alerts of no message into one, in one transaction; `None` when there are none or
/// it is too early.
///
/// # Errors
/// When the database fails; nothing is gathered then.
pub async fn gather(
    client: &mut Client,
    config: &Config,
    channels: &Channels,
) -> Result<Option<Digest>, Error> {
    if !is_due(client, config.incidents.gather).await? {
        return Ok(None);
    }
    let transaction = client.transaction().await?;
    let notice = Notice {
        kind: NoticeKind::Incident,
        subject: String::new(),
        text: String::new(),
        html: String::new(),
        payload: serde_json::Value::Null,
        attachments: Vec::new(),
    };
    let id = enqueue(&transaction, &notice, channels).await?;
    let message: i64 = transaction
        .query_one("SELECT min(id) FROM outbox WHERE notice_id = $1", &[&id])
        .await?
        .try_get(0)?;
    let stamped = transaction
        .execute(
            "UPDATE fraud_alerts SET outbox_id = $1
             WHERE id IN (SELECT id FROM fraud_alerts WHERE outbox_id IS NULL AND origin = 0 ORDER BY id LIMIT $2)",
            &[&message, &GATHER],
        )
        .await?;
    if stamped == 0 {
        transaction.rollback().await?;
        return Ok(None);
    }
    let digest = digest(&transaction, message).await?;
    let database = &config.database;
    let place = Place {
        host: &database.host,
        port: database.port,
        database: &database.name,
        schema: &database.schema,
    };
    let letter = alert_mail::render(&digest, &place);
    transaction
        .execute(
            "UPDATE outbox SET subject = $2, body_text = $3,
                               body_html = CASE WHEN channel = 'mail' THEN $4 ELSE '' END
             WHERE notice_id = $1",
            &[&id, &one_line(&letter.subject), &letter.text, &letter.html],
        )
        .await?;
    transaction.commit().await?;
    Ok(Some(digest))
}

/// Whether there are alerts and the next message may be made: long enough after the last, and
/// none before it still waits for its server (a refused one holds it back for a moment only).
async fn is_due(client: &Client, every: Duration) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM fraud_alerts WHERE outbox_id IS NULL AND origin = 0)
                AND coalesce((SELECT created_at FROM outbox WHERE channel = 'mail' ORDER BY id DESC LIMIT 1)
                    <= now() - make_interval(secs => $1), true)
                AND NOT EXISTS (
                    SELECT FROM outbox
                    WHERE sent_at IS NULL AND suppressed_at IS NULL AND channel = 'mail'
                      AND (refused_at IS NULL OR refused_at > now() - make_interval(secs => $2)))
                AND coalesce((SELECT max(sent_at) FROM outbox WHERE sent_at IS NOT NULL AND channel = 'mail')
                    <= now() - make_interval(secs => $1), true)",
            &[&every.as_secs_f64(), &AFTER_REFUSAL.as_secs_f64()],
        )
        .await?;
    row.try_get(0)
}

/// What the message says, summed where the alerts are: there may be many.
async fn digest(transaction: &Transaction<'_>, message: i64) -> Result<Digest, Error> {
    let counts = transaction
        .query_one(
            "SELECT count(*) FILTER (WHERE decision = 1), count(*) FILTER (WHERE decision = 2)
             FROM fraud_alerts WHERE outbox_id = $1",
            &[&message],
        )
        .await?;
    let totals = transaction
        .query(
            "SELECT sum(a.amount)::bigint AS amount, coalesce(s.amount_scale, 0) AS scale, a.currency
             FROM fraud_alerts AS a LEFT JOIN streams AS s USING (stream)
             WHERE a.outbox_id = $1
             GROUP BY coalesce(s.amount_scale, 0), a.currency
             ORDER BY count(*) DESC, a.currency LIMIT $2",
            &[&message, &CURRENCIES],
        )
        .await?;
    let riskiest = transaction
        .query(
            "SELECT a.amount, coalesce(s.amount_scale, 0) AS scale, a.currency, a.merchant, a.trans_num,
                    left(encode(a.account, 'hex'), 8) AS account, a.score, a.decision, a.event_time
             FROM fraud_alerts AS a LEFT JOIN streams AS s USING (stream)
             WHERE a.outbox_id = $1
             ORDER BY a.amount / power(10::numeric, coalesce(s.amount_scale, 0)) DESC, a.score DESC NULLS LAST, a.id
             LIMIT $2",
            &[&message, &RISKIEST],
        )
        .await?;
    let count =
        |column| Ok::<_, Error>(u64::try_from(counts.try_get::<_, i64>(column)?).unwrap_or(0));
    Ok(Digest {
        message,
        review: count(0)?,
        block: count(1)?,
        totals: totals.iter().map(money).collect::<Result<_, _>>()?,
        riskiest: riskiest.iter().map(alert).collect::<Result<_, _>>()?,
    })
}

fn money(row: &Row) -> Result<Money, Error> {
    Ok(Money {
        minor: row.try_get("amount")?,
        scale: u32::try_from(row.try_get::<_, i32>("scale")?).unwrap_or(0),
        currency: row.try_get("currency")?,
    })
}

fn alert(row: &Row) -> Result<Alert, Error> {
    Ok(Alert {
        amount: money(row)?,
        account: row.try_get("account")?,
        merchant: row.try_get("merchant")?,
        payment: row.try_get("trans_num")?,
        score: row.try_get("score")?,
        blocked: row.try_get::<_, i16>("decision")? == 2,
        time: row.try_get::<_, Moment>("event_time")?.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name_and_a_message_without_one_is_about_an_incident() {
        for kind in NoticeKind::ALL {
            assert_eq!(NoticeKind::named(Some(kind.as_str())), kind);
        }
        assert_eq!(NoticeKind::named(None), NoticeKind::Incident);
    }

    #[test]
    fn a_subject_begins_no_other_header() {
        assert_eq!(one_line("a\r\nBcc: b\tc"), "a  Bcc: b c");
    }
}
