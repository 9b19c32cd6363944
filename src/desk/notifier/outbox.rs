//! The outbox in SQL: alerts become messages, messages are claimed, sent, or wait.
//!
//! All times are the database's, so that processes on several machines agree.

use std::time::Duration;

use tokio_postgres::{Client, Error, Row, Transaction};

use super::alert_mail::{self, Alert, Digest, Money, Place};
use super::mail::{Mailer, Message};
use crate::config::Config;
use crate::database::Moment;

/// Alerts in one message at most; what is beyond waits for the next.
const GATHER: i64 = 100_000;
/// Alerts that a message names.
const RISKIEST: i64 = 5;
/// Currencies that a message sums.
const CURRENCIES: i64 = 5;
/// How long a refused message holds back the next one.
const AFTER_REFUSAL: Duration = Duration::from_secs(30);
/// Longest pause while the server is away: recovery is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause of a message that the server refuses.
const LONGEST_PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(3_600);

/// Whether this session is the one that notifies; it stays so as long as it lives.
///
/// # Errors
/// When the database fails.
pub async fn lease(client: &Client) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT pg_try_advisory_lock(hashtextextended('vigie notifier in ' || current_schema, 0))",
            &[],
        )
        .await?;
    row.try_get(0)
}

/// How many messages wait to be sent.
///
/// # Errors
/// When the database fails.
pub async fn depth(client: &Client) -> Result<u64, Error> {
    let row = client
        .query_one(
            "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND suppressed_at IS NULL",
            &[],
        )
        .await?;
    Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
}

/// Turns the alerts of no message into one, in one transaction; `None` when there are none or
/// it is too early. Without a mailer the message is suppressed from the start.
///
/// # Errors
/// When the database fails; nothing is gathered then.
pub async fn gather(
    client: &mut Client,
    config: &Config,
    mailer: Option<&Mailer>,
) -> Result<Option<Digest>, Error> {
    if !is_due(client, config.incidents.gather, mailer.is_some()).await? {
        return Ok(None);
    }
    let transaction = client.transaction().await?;
    let row = transaction
        .query_one(
            "INSERT INTO outbox (channel, message_id, subject, body_text, body_html, suppressed_at)
             VALUES ('mail', 'gathering ' || gen_random_uuid(), '', '', '', CASE WHEN $1 THEN NULL ELSE now() END)
             RETURNING id",
            &[&mailer.is_some()],
        )
        .await?;
    let message: i64 = row.try_get(0)?;
    let stamped = transaction
        .execute(
            "UPDATE fraud_alerts SET outbox_id = $1
             WHERE id IN (SELECT id FROM fraud_alerts WHERE outbox_id IS NULL ORDER BY id LIMIT $2)",
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
    let message_id = match mailer {
        Some(mailer) => mailer.message_id(message, &database.schema),
        None => format!("suppressed {message}"),
    };
    transaction
        .execute(
            "UPDATE outbox SET message_id = $2, subject = $3, body_text = $4, body_html = $5 WHERE id = $1",
            &[&message, &message_id, &letter.subject, &letter.text, &letter.html],
        )
        .await?;
    transaction.commit().await?;
    Ok(Some(digest))
}

/// Whether there are alerts and the next message may be made: long enough after the last, and
/// none before it still waits for its server (a refused one holds it back for a moment only).
async fn is_due(client: &Client, every: Duration, mail_is_on: bool) -> Result<bool, Error> {
    let row = client
        .query_one(
            "SELECT EXISTS (SELECT FROM fraud_alerts WHERE outbox_id IS NULL)
                AND coalesce((SELECT created_at FROM outbox ORDER BY id DESC LIMIT 1)
                    <= now() - make_interval(secs => $1), true)
                AND (NOT $2 OR NOT EXISTS (
                    SELECT FROM outbox
                    WHERE sent_at IS NULL AND suppressed_at IS NULL
                      AND (refused_at IS NULL OR refused_at > now() - make_interval(secs => $3))))
                AND coalesce((SELECT max(sent_at) FROM outbox WHERE sent_at IS NOT NULL)
                    <= now() - make_interval(secs => $1), true)",
            &[
                &every.as_secs_f64(),
                &mail_is_on,
                &AFTER_REFUSAL.as_secs_f64(),
            ],
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

/// Takes the message that is due, at most one `every` so long. What is written before the
/// attempt makes a crash in the middle of it a pause of `hold`.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    client: &Client,
    every: Duration,
    hold: Duration,
) -> Result<Option<Message>, Error> {
    let row = client
        .query_opt(
            "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
             WHERE id = (
                 SELECT id FROM outbox
                 WHERE sent_at IS NULL AND suppressed_at IS NULL AND next_attempt_at <= now()
                 ORDER BY next_attempt_at, id LIMIT 1)
               AND coalesce((SELECT max(sent_at) FROM outbox WHERE sent_at IS NOT NULL)
                   <= now() - make_interval(secs => $1), true)
             RETURNING id, attempts, message_id, subject, body_text, body_html, created_at",
            &[&every.as_secs_f64(), &hold.as_secs_f64()],
        )
        .await?;
    row.map(|row| {
        Ok(Message {
            id: row.try_get("id")?,
            attempts: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or(1),
            message_id: row.try_get("message_id")?,
            subject: row.try_get("subject")?,
            text: row.try_get("body_text")?,
            html: row.try_get("body_html")?,
            created_at: row.try_get("created_at")?,
        })
    })
    .transpose()
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

/// The server is away: the message waits for `pause`, jittered.
///
/// # Errors
/// When the database fails.
pub async fn failed(client: &Client, id: i64, pause: Duration, problem: &str) -> Result<(), Error> {
    client
        .execute(
            "UPDATE outbox SET next_attempt_at = now() + make_interval(secs => $2 * (0.5 + random() / 2)),
                               last_error = $3
             WHERE id = $1",
            &[&id, &pause.as_secs_f64(), &problem],
        )
        .await?;
    Ok(())
}

/// The server refuses this very message: it waits for `pause`, jittered, and lets others pass.
///
/// # Errors
/// When the database fails.
pub async fn refused(
    client: &Client,
    id: i64,
    pause: Duration,
    problem: &str,
) -> Result<(), Error> {
    failed(client, id, pause, problem).await?;
    client
        .execute(
            "UPDATE outbox SET refused_at = coalesce(refused_at, now()) WHERE id = $1",
            &[&id],
        )
        .await?;
    Ok(())
}

/// The pause after so many failed attempts: 1, 2, 4 … 60 s, before jitter.
pub fn pause(attempts: u32) -> Duration {
    doubled(Duration::from_secs(1), attempts).min(LONGEST_PAUSE)
}

/// The pause after so many refusals: 5, 10, 20 … 60 minutes, before jitter.
pub fn pause_after_refusal(attempts: u32) -> Duration {
    doubled(Duration::from_secs(300), attempts).min(LONGEST_PAUSE_AFTER_REFUSAL)
}

fn doubled(first: Duration, attempts: u32) -> Duration {
    first * (1 << attempts.saturating_sub(1).min(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let seconds: Vec<u64> = (1..=8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
        let minutes: Vec<u64> = (1..=6)
            .map(|n| pause_after_refusal(n).as_secs() / 60)
            .collect();
        assert_eq!(minutes, [5, 10, 20, 40, 60, 60]);
    }
}
