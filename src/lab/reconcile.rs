//! Accounting: whether every record ended in exactly one place.
//!
//! The database is compared with itself (counters, rows, dead letters, alerts), with what a
//! producer was told had been written, and with a second pass over the same topic.

mod against;
mod books;
pub mod day;
mod ledger;

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;
use jiff::civil::Date;
use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::config::Config;
use crate::database::{self, Login};
use crate::migrate;

/// How many differences are shown of each kind.
const EXAMPLES: i64 = 5;

/// What to compare.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(
    after_help = "Examples: vigie reconcile --ledger sent.tsv --against second_pass
          vigie reconcile --day 2026-11-20 --sample 1000"
)]
pub struct Reconcile {
    /// A producer's ledger, plain or .zst; may be given several times. Together they must name
    /// everything that was sent to the topic.
    #[arg(long, value_name = "FILE")]
    pub ledger: Vec<PathBuf>,
    /// Another schema, with a second pass over the same topic: every row must be the same.
    #[arg(long, value_name = "SCHEMA")]
    pub against: Option<String>,
    /// Alerts that no incident has taken yet are a difference too.
    #[arg(long)]
    pub settled: bool,
    /// Only this business day: what was consumed has become something, and a sample of its
    /// decisions comes out the same when it is recomputed from what is stored.
    #[arg(long, conflicts_with_all = ["ledger", "against", "settled"])]
    pub day: Option<Date>,
    /// How many of the day's decisions are recomputed.
    #[arg(long, default_value_t = 1_000, requires = "day", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub sample: u32,
    /// Chooses the same payments again.
    #[arg(long, requires = "day")]
    pub seed: Option<i64>,
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What was compared and what came out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every check holds.
    pub holds: bool,
    /// In the order they were made.
    pub checks: Vec<Check>,
}

/// One comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was compared.
    pub name: &'static str,
    /// What should be, with figures.
    pub summary: String,
    /// How often it is not so.
    pub differences: i64,
    /// The first few of them.
    pub examples: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = if check.differences == 0 {
                "ok     "
            } else {
                "DIFFERS"
            };
            writeln!(f, "{mark} {:<14} {}", check.name, check.summary)?;
            if check.differences > 0 {
                writeln!(
                    f,
                    "        {} differences, for instance:",
                    check.differences
                )?;
            }
            for example in &check.examples {
                writeln!(f, "          {example}")?;
            }
        }
        f.write_str(match self.holds {
            true => "every record is in exactly one place",
            false => "the accounts do not balance",
        })
    }
}

/// `vigie reconcile`: what it prints, and the exit code: 1 when anything differs.
///
/// # Errors
/// See [`reconcile`].
pub async fn command(config: &Config, request: &Reconcile) -> anyhow::Result<(String, u8)> {
    if let Some(day) = request.day {
        return command_of_day(config, request, day).await;
    }
    let report = reconcile(config, request).await?;
    let text = if request.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_string()
    };
    Ok((text + "\n", u8::from(!report.holds)))
}

async fn command_of_day(
    config: &Config,
    request: &Reconcile,
    day: Date,
) -> anyhow::Result<(String, u8)> {
    let asked = day::Asked {
        day,
        sample: request.sample,
        seed: request.seed,
    };
    let mut client = database::connect(config, Login::Desk, "vigie reconcile").await?;
    let mut account = day::account(&mut client, config, asked).await?;
    account
        .set_beside_figures(&client, config.stream.id)
        .await?;
    let mut text = match request.json {
        true => serde_json::to_string_pretty(&account)? + "\n",
        false => format!("{account}\n"),
    };
    if !request.json && !account.differences.is_empty() {
        for difference in &account.differences {
            text += &format!("DIFFERS {difference}\n");
        }
        text += &format!("the same sample again: --seed {}\n", account.seed);
    }
    Ok((text, u8::from(!account.holds)))
}

/// Compares, without changing anything.
///
/// # Errors
/// When the database or a ledger cannot be read. A difference is no error: see [`Report::holds`].
pub async fn reconcile(config: &Config, request: &Reconcile) -> anyhow::Result<Report> {
    let mut client = database::connect(config, Login::Writer, "vigie reconcile").await?;
    migrate::check_current(&client).await?;
    // One snapshot for all checks: a running lane changes nothing under our eyes. It may write
    // temporary tables, so it is not read-only.
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    snapshot
        .batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'")
        .await?;
    let stream = config.stream.id;
    let mut checks = books::checks(&snapshot, stream, request.settled).await?;
    if !request.ledger.is_empty() {
        checks.extend(ledger::checks(&snapshot, stream, &request.ledger).await?);
    }
    if let Some(schema) = &request.against {
        let mut other = config.clone();
        other.database.schema.clone_from(schema);
        let compared = against::checks(&snapshot, &other, stream).await;
        checks.extend(compared.with_context(|| format!("--against {schema}"))?);
    }
    snapshot.rollback().await?;
    Ok(Report {
        holds: checks.iter().all(|check| check.differences == 0),
        checks,
    })
}

impl Check {
    /// Compares by a query about one stream; each row it gives is a difference.
    async fn of_stream(
        snapshot: &Transaction<'_>,
        stream: i16,
        name: &'static str,
        query: &str,
        summary: String,
    ) -> Result<Self, tokio_postgres::Error> {
        let (differences, examples) = differences(snapshot, query, &[&stream]).await?;
        Ok(Self {
            name,
            summary,
            differences,
            examples,
        })
    }
}

/// How many rows `query` gives, each a text, and the first few of them.
async fn differences(
    snapshot: &Transaction<'_>,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<(i64, Vec<String>), tokio_postgres::Error> {
    let query = format!(
        "SELECT difference, count(*) OVER () FROM ({query}) AS d (difference) \
         ORDER BY difference LIMIT {EXAMPLES}"
    );
    let rows = snapshot.query(&query, parameters).await?;
    let number = rows.first().map_or(Ok(0), |row| row.try_get(1))?;
    let examples = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    Ok((number, examples))
}
