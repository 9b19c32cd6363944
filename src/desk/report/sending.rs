//! Reports into the outbox: at a person's wish, or once for each day.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use tokio_postgres::{Client, Error};

use super::Report;
use super::calendar::{Calendar, civil_day, sql_day};
use crate::database::{Day, Moment};
use crate::desk::notifier::outbox::{self, Channels};

/// The oldest day whose report is due and was not sent; `None` while there is none, or no stream.
/// The first one is on the day on which the stream was bound, or on which the schema learned of
/// reports (its version 15) if that was later.
///
/// # Errors
/// When the database fails.
pub async fn due(
    client: &Client,
    stream: i16,
    calendar: &Calendar,
    at: Time,
    now: Timestamp,
) -> anyhow::Result<Option<Date>> {
    let row = client
        .query_opt(
            "SELECT CASE WHEN r.last IS NULL THEN greatest(s.bound_at, m.applied_at) ELSE s.bound_at END, r.last
             FROM streams AS s
             CROSS JOIN LATERAL (SELECT max(day) AS last FROM reports WHERE stream = s.stream) AS r
             LEFT JOIN schema_migrations AS m ON m.version = 15
             WHERE s.stream = $1",
            &[&stream],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let since = Timestamp::from_microsecond(row.try_get::<_, Moment>(0)?.0)?;
    let last: Option<Day> = row.try_get(1)?;
    let last = last.map(civil_day).transpose()?;
    Ok(calendar.due(at, now, since, last))
}

/// Queues the report on its day, in one transaction with the note that it is; `None` when it was
/// queued before.
///
/// # Errors
/// When the database fails; nothing is queued then.
pub async fn queue_once(
    client: &mut Client,
    stream: i16,
    report: &Report,
    channels: &Channels,
) -> Result<Option<i64>, Error> {
    let transaction = client.transaction().await?;
    let notice = outbox::enqueue(&transaction, &report.notice(), channels).await?;
    let first = transaction
        .execute(
            "INSERT INTO reports (day, stream, notice_id) VALUES ($1, $2, $3) ON CONFLICT (day, stream) DO NOTHING",
            &[&sql_day(report.day), &stream, &notice],
        )
        .await?;
    if first == 0 {
        transaction.rollback().await?;
        return Ok(None);
    }
    transaction.commit().await?;
    Ok(Some(notice))
}

/// Queues the report because somebody wants it sent, however often.
///
/// # Errors
/// When the database fails; nothing is queued then.
pub async fn queue(
    client: &mut Client,
    report: &Report,
    channels: &Channels,
) -> Result<i64, Error> {
    let transaction = client.transaction().await?;
    let notice = outbox::enqueue(&transaction, &report.notice(), channels).await?;
    transaction.commit().await?;
    Ok(notice)
}
