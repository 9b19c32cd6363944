//! What `vigie check` asks the database.

use tokio_postgres::{Client, Error};

use super::Report;
use super::kafka::Bound;
use crate::config::Config;
use crate::database::{self, ConnectError, Login, sentence};
use crate::migrate::{self, MigrateError};

/// Looks at the database; what the stream is bound to, where it has been read before.
pub(super) async fn look(report: &mut Report, config: &Config) -> Option<Bound> {
    let client = match database::connect(config, Login::Writer, "vigie check").await {
        Ok(client) => client,
        Err(problem @ ConnectError::Away { .. }) => {
            report.fail(
                "database",
                problem.to_string(),
                "start it, or correct the address",
            );
            return None;
        }
        Err(problem @ ConnectError::Refused(_)) => {
            report.wrong("database", problem.to_string(), "change that setting");
            return None;
        }
    };
    let database = &config.database;
    let place = format!(
        "{} at {}:{} as {}",
        database.name, database.host, database.port, database.user
    );
    report.ok("database", place);
    match migrate::check_current(&client).await {
        Ok(()) => report.ok(
            "schema",
            format!("{} is at version {}", database.schema, migrate::newest()),
        ),
        Err(MigrateError::Connect(problem)) => {
            report.fail("schema", problem.to_string(), "try again");
            return None;
        }
        Err(problem) => {
            report.wrong("schema", problem.to_string(), "run `vigie migrate`");
            return None;
        }
    }
    match ask(report, config, &client).await {
        Ok(bound) => bound,
        Err(problem) => {
            report.fail(
                "database",
                sentence(&problem),
                "look into the database's log",
            );
            None
        }
    }
}

async fn ask(
    report: &mut Report,
    config: &Config,
    client: &Client,
) -> Result<Option<Bound>, Error> {
    durability(report, client).await?;
    connections(report, config, client).await?;
    locks(report, config, client).await?;
    let row = client
        .query_opt(
            "SELECT topic, topic_id, cluster_id, partitions, consumer_group FROM streams WHERE stream = $1",
            &[&config.stream.id],
        )
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let group: String = row.try_get("consumer_group")?;
    if group != config.stream.group {
        let detail = format!(
            "stream {} belongs to the group {group}, not {}",
            config.stream.id, config.stream.group
        );
        report.wrong(
            "group",
            detail,
            "correct stream.group, or give the new group a stream.id of its own",
        );
    }
    Ok(Some(Bound {
        topic: row.try_get("topic")?,
        topic_id: row.try_get("topic_id")?,
        cluster_id: row.try_get("cluster_id")?,
        partitions: row.try_get("partitions")?,
    }))
}

/// A commit that is not on the disk is no promise.
async fn durability(report: &mut Report, client: &Client) -> Result<(), Error> {
    let mut off = Vec::new();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let row = client
            .query_one("SELECT current_setting($1)", &[&setting])
            .await?;
        if row.try_get::<_, &str>(0)? == "off" {
            off.push(setting);
        }
    }
    if off.is_empty() {
        report.ok(
            "durability",
            "fsync, full_page_writes and synchronous_commit are on",
        );
    } else {
        let detail = format!(
            "{} off: a crash loses payments that were committed",
            off.join(", ")
        );
        report.wrong("durability", detail, "turn on in postgresql.conf");
    }
    Ok(())
}

async fn connections(report: &mut Report, config: &Config, client: &Client) -> Result<(), Error> {
    let row = client
        .query_one(
            "SELECT current_setting('max_connections')::bigint
                    - current_setting('superuser_reserved_connections')::bigint - count(*)
             FROM pg_stat_activity WHERE backend_type = 'client backend'",
            &[],
        )
        .await?;
    let free: i64 = row.try_get(0)?;
    // A session per lane, one for the notifier, one for the figures, two more while a report is
    // made (its reconciliation, and one that helps to count), one that ends a dead owner's.
    let needed = i64::try_from(config.stream.lanes)
        .unwrap_or(i64::MAX)
        .saturating_add(5);
    let detail = format!("{free} connections free, {needed} needed by one process");
    if free >= needed {
        report.ok("connections", detail);
    } else {
        report.fail(
            "connections",
            detail,
            "raise max_connections or lower stream.lanes",
        );
    }
    Ok(())
}

/// A query without its day locks every day's table and all its indexes at once.
async fn locks(report: &mut Report, config: &Config, client: &Client) -> Result<(), Error> {
    let row = client
        .query_one(
            "SELECT current_setting('max_locks_per_transaction')::bigint
                    * (current_setting('max_connections')::bigint
                       + current_setting('max_prepared_transactions')::bigint),
                    (SELECT 1 + count(*) FROM pg_index WHERE indrelid = 'payments_scored'::regclass)",
            &[],
        )
        .await?;
    let (slots, per_day): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let needed = per_day.saturating_mul(i64::from(config.storage.retention_days));
    let detail = format!(
        "{slots} locks in all, {needed} taken by one query over {} days",
        config.storage.retention_days
    );
    let action = "raise max_locks_per_transaction (1024 is plenty) and restart PostgreSQL";
    match (needed.saturating_mul(4) <= slots, needed <= slots) {
        (true, _) => report.ok("lock table", detail),
        (false, true) => report.warn("lock table", detail, action),
        (false, false) => report.wrong("lock table", detail, action),
    }
    Ok(())
}
