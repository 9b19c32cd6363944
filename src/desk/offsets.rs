//! `vigie offsets`: how far each partition is, and letting a held one go on.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::audit::{person, why};
use super::table::{self, Table};
use crate::apart::apart;
use crate::config::Config;
use crate::database::{self, Login, Moment};
use crate::kafka::admin::{self, OffsetRange};
use crate::kafka::peek;

/// How long the brokers are waited for when the lag is asked for.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at offsets, and lets held partitions go on.
#[derive(Debug, Subcommand)]
pub enum Offsets {
    /// Shows every partition: next offset, lag, counters, and why it is held if it is.
    #[command(after_help = "Example: vigie offsets show --json")]
    Show(Show),
    /// Lets a held partition go on from where it is; `vigie run` notices within seconds.
    #[command(
        after_help = "Example: vigie offsets release --partition 3 --why \"producer 2.1 is mended\""
    )]
    Release(Release),
}

/// How to show the partitions.
#[derive(Debug, Args)]
pub struct Show {
    /// As a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// Which partition may go on, and why.
#[derive(Debug, Args)]
pub struct Release {
    /// The held partition.
    #[arg(long)]
    pub partition: i32,
    /// Why, for the audit log; card numbers in it are masked.
    #[arg(long, value_parser = why)]
    pub why: String,
}

#[derive(Serialize)]
struct Partition {
    partition: i32,
    first_offset: i64,
    next_offset: i64,
    lag: Option<i64>,
    scored: i64,
    dead: i64,
    duplicates: i64,
    skipped: i64,
    epoch: i64,
    watermark: Option<Timestamp>,
    moved_at: Timestamp,
    held: Option<String>,
    held_at: Option<Timestamp>,
}

/// Runs the verb; what it prints, without the last line's end.
///
/// # Errors
/// When the database fails, or when the partition to release is not held.
pub async fn run(config: &Config, verb: &Offsets) -> anyhow::Result<String> {
    let mut client = database::connect(config, Login::Desk, "vigie offsets").await?;
    match verb {
        Offsets::Show(show) => self::show(&client, config, show).await,
        Offsets::Release(release) => self::release(&mut client, config.stream.id, release).await,
    }
}

async fn show(client: &Client, config: &Config, wanted: &Show) -> anyhow::Result<String> {
    let rows = client
        .query(
            "SELECT partition, first_offset, next_offset, scored, dead, duplicates, skipped, epoch, watermark,
                    moved_at, held, held_at
             FROM stream_offsets WHERE stream = $1 ORDER BY partition",
            &[&config.stream.id],
        )
        .await?;
    let mut partitions = rows.iter().map(partition).collect::<Result<Vec<_>, _>>()?;
    let kafka = if partitions.is_empty() {
        Ok(())
    } else {
        add_lag(config, &mut partitions).await
    };
    if wanted.json {
        return Ok(serde_json::to_string_pretty(&partitions)?);
    }
    if partitions.is_empty() {
        return Ok(format!(
            "stream {} has not read anything yet",
            config.stream.id
        ));
    }
    let mut page = render(&partitions);
    if let Err(problem) = kafka {
        page.push_str(&format!("\nlag unknown: {problem}"));
    }
    Ok(page)
}

fn render(partitions: &[Partition]) -> String {
    let mut table = Table::new([
        "partition",
        "next offset",
        "lag",
        "scored",
        "dead",
        "duplicates",
        "skipped",
        "moved at",
        "held",
    ]);
    for partition in partitions {
        table.row([
            partition.partition.to_string(),
            partition.next_offset.to_string(),
            partition
                .lag
                .map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
            partition.scored.to_string(),
            partition.dead.to_string(),
            partition.duplicates.to_string(),
            partition.skipped.to_string(),
            partition
                .moved_at
                .strftime("%Y-%m-%d %H:%M:%SZ")
                .to_string(),
            table::one_line(partition.held.as_deref().unwrap_or("-"), 120),
        ]);
    }
    let sum = |of: fn(&Partition) -> i64| partitions.iter().map(of).sum::<i64>();
    table.row([
        "all".to_owned(),
        String::new(),
        partitions
            .iter()
            .map(|p| p.lag)
            .sum::<Option<i64>>()
            .map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
        sum(|p| p.scored).to_string(),
        sum(|p| p.dead).to_string(),
        sum(|p| p.duplicates).to_string(),
        sum(|p| p.skipped).to_string(),
        String::new(),
        String::new(),
    ]);
    table.render().trim_end().to_owned()
}

/// What there is to read of every partition, as the brokers say now.
///
/// # Errors
/// When the brokers do not answer in time, or there is no such topic.
pub(super) async fn ranges(config: &Config) -> anyhow::Result<Vec<OffsetRange>> {
    let (kafka, topic) = (config.kafka.clone(), config.stream.topic.clone());
    let ranges = apart("offsets", move || {
        let facts = admin::facts(&kafka, &topic, KAFKA_TIMEOUT)?;
        admin::offsets(&kafka, &topic, facts.partitions, KAFKA_TIMEOUT)
    });
    Ok(ranges.await??)
}

/// Of these partitions with offsets, those that hold a record there or behind.
///
/// # Errors
/// When the brokers do not answer in time.
pub(super) async fn with_records(
    config: &Config,
    positions: Vec<(i32, i64)>,
) -> anyhow::Result<Vec<i32>> {
    let (kafka, stream) = (config.kafka.clone(), config.stream.clone());
    let found = apart("offsets", move || {
        let of = (stream.topic.as_str(), stream.group.as_str());
        peek::with_records(&kafka, of, &positions, KAFKA_TIMEOUT)
    });
    Ok(found.await??)
}

/// Asks the brokers how much there is to read; the partitions stay without a lag when they
/// do not answer.
async fn add_lag(config: &Config, partitions: &mut [Partition]) -> anyhow::Result<()> {
    let ranges = ranges(config).await?;
    for partition in partitions {
        let range = usize::try_from(partition.partition)
            .ok()
            .and_then(|index| ranges.get(index));
        partition.lag = range.map(|range| (range.latest - partition.next_offset).max(0));
    }
    Ok(())
}

/// Clears what holds the partition and the outcomes that led to it, with who and why, in one
/// transaction. The lane that holds it asks for `held` every few seconds.
async fn release(client: &mut Client, stream: i16, wanted: &Release) -> anyhow::Result<String> {
    let partition = wanted.partition;
    let transaction = client.transaction().await?;
    let row = transaction
        .query_opt(
            "SELECT held, next_offset FROM stream_offsets WHERE stream = $1 AND partition = $2 FOR UPDATE",
            &[&stream, &partition],
        )
        .await?;
    let Some(row) = row else {
        anyhow::bail!("stream {stream} has no partition {partition}: see `vigie offsets show`");
    };
    let (held, next_offset): (Option<String>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let Some(held) = held else {
        anyhow::bail!("partition {partition} is not held: see `vigie offsets show`");
    };
    transaction
        .execute(
            "UPDATE stream_offsets SET held = NULL, held_at = NULL, recent_dead = ''
             WHERE stream = $1 AND partition = $2",
            &[&stream, &partition],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO audit_log (actor, action, subject, why)
             VALUES (session_user || $1, 'offsets release',
                     json_build_object('stream', $2::smallint, 'partition', $3::integer, 'next_offset', $4::bigint,
                                       'held', $5::text),
                     $6)",
            &[&person(), &stream, &partition, &next_offset, &held, &wanted.why],
        )
        .await?;
    transaction.commit().await?;
    Ok(format!(
        "partition {partition} goes on at offset {next_offset}; it was held: {held}"
    ))
}

fn partition(row: &Row) -> anyhow::Result<Partition> {
    let moment = |column| -> anyhow::Result<Option<Timestamp>> {
        let moment: Option<Moment> = row.try_get(column)?;
        Ok(moment
            .map(|moment| Timestamp::from_microsecond(moment.0))
            .transpose()?)
    };
    Ok(Partition {
        partition: row.try_get("partition")?,
        first_offset: row.try_get("first_offset")?,
        next_offset: row.try_get("next_offset")?,
        lag: None,
        scored: row.try_get("scored")?,
        dead: row.try_get("dead")?,
        duplicates: row.try_get("duplicates")?,
        skipped: row.try_get("skipped")?,
        epoch: row.try_get("epoch")?,
        watermark: moment("watermark")?,
        moved_at: moment("moved_at")?.unwrap_or_default(),
        held: row.try_get("held")?,
        held_at: moment("held_at")?,
    })
}
