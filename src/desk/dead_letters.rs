//! `vigie dead-letters`: what could not be scored, and why.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use jiff::{Span, Timestamp, Zoned};
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::table::{self, Table};
use crate::config::Config;
use crate::database::{self, Login, Moment};
use crate::engine::batch::Reason;

/// Looks at records that could not be scored.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Lists them, the newest first.
    #[command(
        after_help = "Example: vigie dead-letters list --reason not_json --since 2h --limit 20"
    )]
    List(List),
    /// Shows one, with its payload (card numbers masked).
    #[command(after_help = "Example: vigie dead-letters show 3 81422")]
    Show(Show),
}

/// Which dead letters, and how many.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::as_str)))]
    pub reason: Option<String>,
    /// Only those of this partition.
    #[arg(long)]
    pub partition: Option<i32>,
    /// Only those stored since then: `2h`, `3days`, `2026-11-21` or `2026-11-21T08:00:00Z`.
    #[arg(long, value_parser = since)]
    pub since: Option<Timestamp>,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
    /// As a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// One dead letter, by the position of its record.
#[derive(Debug, Args)]
pub struct Show {
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: i64,
    /// As a JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Letter {
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
    field: Option<String>,
    message: String,
    key: Option<String>,
    payload_bytes: i64,
    attempt: i16,
    record_time: Timestamp,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hash: Option<String>,
}

/// Runs the verb; what it prints, without the last line's end.
///
/// # Errors
/// When the database fails, or when there is no such dead letter.
pub async fn run(config: &Config, verb: &DeadLetters) -> anyhow::Result<String> {
    let client = database::connect(config, Login::Desk, "vigie dead-letters").await?;
    match verb {
        DeadLetters::List(list) => self::list(&client, config.stream.id, list).await,
        DeadLetters::Show(show) => self::show(&client, config.stream.id, show).await,
    }
}

async fn list(client: &Client, stream: i16, wanted: &List) -> anyhow::Result<String> {
    let since = wanted.since.map(|since| Moment(since.as_microsecond()));
    let rows = client
        .query(
            "SELECT topic, source_partition, source_offset, reason, field, message, key, payload_bytes, attempt,
                    record_time, at, NULL::text AS payload, NULL::text AS payload_hash
             FROM dead_letters
             WHERE stream = $1 AND ($2::text IS NULL OR reason = $2)
               AND ($3::integer IS NULL OR source_partition = $3) AND ($4::timestamptz IS NULL OR at >= $4)
             ORDER BY at DESC, source_partition, source_offset DESC LIMIT $5",
            &[&stream, &wanted.reason, &wanted.partition, &since, &wanted.limit],
        )
        .await?;
    let letters = rows.iter().map(letter).collect::<Result<Vec<_>, _>>()?;
    if wanted.json {
        return Ok(serde_json::to_string_pretty(&letters)?);
    }
    let counts = client
        .query(
            "SELECT reason, count(*) FROM dead_letters
             WHERE stream = $1 AND ($2::text IS NULL OR reason = $2)
               AND ($3::integer IS NULL OR source_partition = $3) AND ($4::timestamptz IS NULL OR at >= $4)
             GROUP BY reason ORDER BY count(*) DESC, reason",
            &[&stream, &wanted.reason, &wanted.partition, &since],
        )
        .await?;
    let mut summary = Vec::new();
    let mut all = 0_i64;
    for row in &counts {
        let (reason, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        summary.push(format!("{reason} {count}"));
        all += count;
    }
    if letters.is_empty() {
        return Ok("no dead letters".to_owned());
    }
    let mut table = Table::new([
        "partition",
        "offset",
        "stored at",
        "reason",
        "field",
        "bytes",
        "message",
    ]);
    for letter in &letters {
        table.row([
            letter.partition.to_string(),
            letter.offset.to_string(),
            seconds(letter.at),
            letter.reason.clone(),
            letter.field.clone().unwrap_or_default(),
            letter.payload_bytes.to_string(),
            table::one_line(&letter.message, 80),
        ]);
    }
    let shown = letters.len();
    Ok(format!(
        "{}\n{shown} of {all} dead letters: {}",
        table.render(),
        summary.join(", ")
    ))
}

async fn show(client: &Client, stream: i16, wanted: &Show) -> anyhow::Result<String> {
    let row = client
        .query_opt(
            "SELECT topic, source_partition, source_offset, reason, field, message, key, payload_bytes, attempt,
                    record_time, at, payload, encode(payload_hash, 'hex') AS payload_hash
             FROM dead_letters WHERE stream = $1 AND source_partition = $2 AND source_offset = $3",
            &[&stream, &wanted.partition, &wanted.offset],
        )
        .await?;
    let Some(row) = row else {
        anyhow::bail!(
            "no dead letter at partition {} offset {} of stream {stream}",
            wanted.partition,
            wanted.offset
        );
    };
    let letter = letter(&row)?;
    if wanted.json {
        return Ok(serde_json::to_string_pretty(&letter)?);
    }
    let payload = letter.payload.as_deref().unwrap_or_default();
    let kept = payload.len();
    let lines = [
        (
            "position",
            format!("{}/{}/{}", letter.topic, letter.partition, letter.offset),
        ),
        ("reason", letter.reason),
        ("field", letter.field.unwrap_or_else(|| "-".to_owned())),
        ("message", table::one_line(&letter.message, usize::MAX)),
        (
            "key",
            table::one_line(letter.key.as_deref().unwrap_or("-"), 256),
        ),
        ("record time", letter.record_time.to_string()),
        ("stored at", letter.at.to_string()),
        ("attempt", letter.attempt.to_string()),
        ("payload hash", letter.payload_hash.unwrap_or_default()),
        (
            "payload",
            format!("{} bytes, {kept} kept:", letter.payload_bytes),
        ),
    ];
    let mut page = String::new();
    for (name, value) in lines {
        page.push_str(&format!("{name:<13} {value}\n"));
    }
    page.push_str(&table::printable(payload));
    Ok(page)
}

fn letter(row: &Row) -> anyhow::Result<Letter> {
    Ok(Letter {
        topic: row.try_get("topic")?,
        partition: row.try_get("source_partition")?,
        offset: row.try_get("source_offset")?,
        reason: row.try_get("reason")?,
        field: row.try_get("field")?,
        message: row.try_get("message")?,
        key: row.try_get("key")?,
        payload_bytes: row.try_get("payload_bytes")?,
        attempt: row.try_get("attempt")?,
        record_time: Timestamp::from_microsecond(row.try_get::<_, Moment>("record_time")?.0)?,
        at: Timestamp::from_microsecond(row.try_get::<_, Moment>("at")?.0)?,
        payload: row.try_get("payload")?,
        payload_hash: row.try_get("payload_hash")?,
    })
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A moment, a day (its beginning in UTC), or how long ago.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        let midnight = day
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map(|zoned: Zoned| zoned.timestamp());
        return midnight.map_err(|error| error.to_string());
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "expected how long ago (2h, 3days), a day (2026-11-21) or a moment (2026-11-21T08:00:00Z)".to_owned()
    })?;
    let ago = Span::try_from(ago).map_err(|error| error.to_string())?;
    Timestamp::now()
        .checked_sub(ago)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_moment_a_day_or_how_long_ago() {
        assert_eq!(
            since("2026-11-21").unwrap().to_string(),
            "2026-11-21T00:00:00Z"
        );
        assert_eq!(
            since("2026-11-21T08:00:00Z").unwrap().to_string(),
            "2026-11-21T08:00:00Z"
        );
        let moment = since("2h").unwrap();
        let ago = Timestamp::now().duration_since(moment);
        assert!((7_200..7_260).contains(&ago.as_secs()), "{ago}");
        assert!(since("yesterday").unwrap_err().contains("3days"));
    }
}
