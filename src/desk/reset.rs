//! `vigie reset`: empties a demo's tables, and no other's.

use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::audit::person;
use super::notifier::queue;
use super::table::Table;
use crate::config::Config;
use crate::database::{self, ConnectError, Login, Moment, sentence};
use crate::migrate::{self, MigrateError};

/// What stays: the schema's versions, and that it is a demo's.
const KEPT: [&str; 2] = ["schema_migrations", "demo_mark"];

/// How to reset.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example: vigie reset --yes")]
pub struct Reset {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// No session as the schema's owner.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is another program's version.
    #[error(transparent)]
    Version(#[from] MigrateError),
    /// What is stored may be somebody's.
    #[error(
        "the schema \"{0}\" (database.schema) is not marked as a demo, so nothing of it is removed; `vigie migrate --demo` marks one that holds nothing yet"
    )]
    NoDemo(String),
    /// A process would go on writing.
    #[error("partitions are held by {0}: stop `vigie run` first; nothing was removed")]
    InUse(String),
    /// The same, of one that holds no partition or whose lanes are between two sessions.
    #[error(
        "a `vigie run` is connected to the schema: stop `vigie run` first; nothing was removed"
    )]
    Connected,
    /// Nobody could be asked.
    #[error("nobody can be asked here: say --yes to remove all this")]
    NotAsked,
    /// A statement failed.
    #[error("the database failed, nothing was removed: {}", sentence(.0))]
    Database(#[from] tokio_postgres::Error),
}

/// A table with what would be removed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    table: String,
    rows: i64,
}

/// `vigie reset`: what it prints, and the exit code.
///
/// # Errors
/// See [`ResetError`].
pub async fn command(config: &Config, args: &Reset) -> anyhow::Result<(String, u8)> {
    let mut client = database::connect(config, Login::Migrator, "vigie reset").await?;
    migrate::check_current(&client).await?;
    let since = refuse_what_is_no_demo(&client, config).await?;
    refuse_while_in_use(&client).await?;
    let holdings = holdings(&client).await?;
    if holdings.is_empty() {
        return Ok((format!("{} holds nothing\n", config.database.schema), 0));
    }
    let page = page(config, since, &holdings);
    if !args.yes && !agreed(&page)? {
        return Ok(("nothing was removed\n".to_owned(), 1));
    }
    let removed = empty(&mut client, config).await?;
    let rows: i64 = removed.iter().map(|holding| holding.rows).sum();
    let shown = if args.yes { page } else { String::new() };
    Ok((
        format!(
            "{shown}removed {rows} rows\n\
             Kafka's topic {} keeps its records: the next `vigie run` reads it from the earliest \
             offset on. To begin with none, delete the topic and make it anew.\n",
            config.stream.topic
        ),
        0,
    ))
}

/// Since when it has been a demo.
async fn refuse_what_is_no_demo(
    client: &impl GenericClient,
    config: &Config,
) -> Result<Timestamp, ResetError> {
    let marked = client
        .query_opt("SELECT marked_at FROM demo_mark", &[])
        .await?;
    match marked {
        Some(row) => {
            let at: Moment = row.try_get(0)?;
            Ok(Timestamp::from_microsecond(at.0).unwrap_or_default())
        }
        None => Err(ResetError::NoDemo(config.database.schema.clone())),
    }
}

/// Sessions of lanes that own a partition, and then any other sign of a `vigie run`. A session of
/// that number and name may by now be another schema's: better to refuse once too often.
async fn refuse_while_in_use(client: &impl GenericClient) -> Result<(), ResetError> {
    let rows = client
        .query(
            "SELECT DISTINCT a.application_name || ' (process ' || a.pid || ')'
             FROM stream_offsets AS o JOIN pg_stat_activity AS a ON a.pid = o.owner_pid
             WHERE a.datname = current_database() AND a.application_name LIKE 'vigie lane%'
             ORDER BY 1",
            &[],
        )
        .await?;
    if rows.is_empty() {
        // Lanes without work do not notice that their session was cut; the notifier always does.
        return match queue::nobody_is_there(client).await? {
            true => Ok(()),
            false => Err(ResetError::Connected),
        };
    }
    let names: Vec<String> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    Err(ResetError::InUse(names.join(", ")))
}

/// Every table that is emptied, by the catalogue: a new one is emptied as well.
async fn tables(client: &impl GenericClient) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT quote_ident(relname) FROM pg_class
             WHERE relnamespace = current_schema::regnamespace AND relkind IN ('r', 'p')
               AND NOT relispartition AND relname <> ALL ($1)
             ORDER BY relname",
            &[&KEPT.as_slice()],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The tables that hold anything.
async fn holdings(client: &impl GenericClient) -> Result<Vec<Holding>, tokio_postgres::Error> {
    let mut holdings = Vec::new();
    for table in tables(client).await? {
        let count = format!("SELECT count(*) FROM {table}");
        let rows: i64 = client.query_one(&count, &[]).await?.try_get(0)?;
        if rows > 0 {
            holdings.push(Holding { table, rows });
        }
    }
    Ok(holdings)
}

fn page(config: &Config, since: Timestamp, holdings: &[Holding]) -> String {
    let mut table = Table::new(["table", "rows"]);
    for holding in holdings {
        table.row([holding.table.clone(), holding.rows.to_string()]);
    }
    format!(
        "{} at {}:{}, schema {}, a demo since {}: everything in it is removed\n{}\n\
         with it the histories of all accounts, which are made of payments_scored, and how far \
         each partition is\n",
        config.database.name,
        config.database.host,
        config.database.port,
        config.database.schema,
        since.strftime("%Y-%m-%d %H:%M:%SZ"),
        table.render().trim_end()
    )
}

/// Shows the page and asks, on a terminal.
fn agreed(page: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        // What would be removed is shown all the same.
        write!(std::io::stderr().lock(), "{page}")?;
        return Err(ResetError::NotAsked.into());
    }
    let mut terminal = std::io::stderr().lock();
    write!(terminal, "{page}Remove all this? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Removes everything but what is kept, and notes who did; all of it or nothing.
async fn empty(client: &mut Client, config: &Config) -> Result<Vec<Holding>, ResetError> {
    let transaction = client.transaction().await?;
    // From here on nobody takes a partition; who is in the middle of something is not waited for.
    transaction
        .batch_execute("SET LOCAL lock_timeout = '5s'; LOCK TABLE stream_offsets, streams")
        .await?;
    refuse_what_is_no_demo(&transaction, config).await?;
    refuse_while_in_use(&transaction).await?;
    let removed = holdings(&transaction).await?;
    let tables = tables(&transaction).await?;
    let truncate = format!("TRUNCATE {}", tables.join(", "));
    transaction.batch_execute(&truncate).await?;
    note(&transaction, &removed).await?;
    transaction.commit().await?;
    Ok(removed)
}

async fn note(
    transaction: &Transaction<'_>,
    removed: &[Holding],
) -> Result<(), tokio_postgres::Error> {
    let tables: Vec<&str> = removed.iter().map(|h| h.table.as_str()).collect();
    let rows: Vec<i64> = removed.iter().map(|h| h.rows).collect();
    transaction
        .execute(
            "INSERT INTO audit_log (actor, action, subject, why)
             SELECT session_user || $1, 'reset', json_object_agg(t.name, t.rows), 'a demo begins anew'
             FROM unnest($2::text[], $3::bigint[]) AS t (name, rows)",
            &[&person(), &tables, &rows],
        )
        .await?;
    Ok(())
}
