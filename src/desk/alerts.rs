//! `vigie alerts`: incidents, their payments, and what nobody wants to hear of for a while.

mod show;
mod snooze;

use clap::{Args, Subcommand};
use tokio_postgres::Client;

use super::table::{self, Table};
use crate::config::Config;
use crate::database::{self, Login};

pub use show::Show;
pub use snooze::{Snooze, Unsnooze};

/// Looks at incidents, and silences them.
#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// Lists incidents, the open ones first, and what is snoozed.
    #[command(after_help = "Example: vigie alerts list --all --limit 20")]
    List(List),
    /// Shows one with its payments, the largest first.
    #[command(after_help = "Example: vigie alerts show 81")]
    Show(Show),
    /// Silences an account, a merchant, a rule, a kind of trouble or an incident; it goes on being
    /// counted, and what came meanwhile is told at the end if it still goes on.
    #[command(
        after_help = "Example: vigie alerts snooze --incident 81 --for 2h --why \"the customer is travelling\""
    )]
    Snooze(Snooze),
    /// Ends a snooze before its time.
    #[command(
        after_help = "Example: vigie alerts unsnooze --incident 81 --why \"the card was stolen after all\""
    )]
    Unsnooze(Unsnooze),
}

/// Which incidents, and how many.
#[derive(Debug, Args)]
pub struct List {
    /// Those that are closed, too.
    #[arg(long)]
    pub all: bool,
    /// At most this many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
    /// As a JSON object: incidents and snoozes.
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb; what it prints, without the last line's end.
///
/// # Errors
/// When the database fails, or when there is no such incident or snooze.
pub async fn run(config: &Config, verb: &Alerts) -> anyhow::Result<String> {
    let mut client = database::connect(config, Login::Desk, "vigie alerts").await?;
    match verb {
        Alerts::List(list) => self::list(&client, list).await,
        Alerts::Show(show) => show::show(&client, show).await,
        Alerts::Snooze(snooze) => snooze::snooze(&mut client, snooze).await,
        Alerts::Unsnooze(unsnooze) => snooze::unsnooze(&mut client, unsnooze).await,
    }
}

/// Incidents as [`List`] wants them; `$1` is whether the closed ones, too, `$2` how many.
const LISTED: &str = "SELECT * FROM v_incidents WHERE $1 OR is_open ORDER BY is_open DESC, opened_at DESC, id DESC LIMIT $2";

async fn list(client: &Client, wanted: &List) -> anyhow::Result<String> {
    if wanted.json {
        let json = format!(
            "SELECT jsonb_pretty(jsonb_build_object(
                 'incidents', (SELECT coalesce(jsonb_agg(to_jsonb(v)), '[]') FROM ({LISTED}) AS v),
                 'snoozes', (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM ({}) AS s)))",
            snooze::RUNNING
        );
        let row = client
            .query_one(&json, &[&wanted.all, &wanted.limit])
            .await?;
        return Ok(row.try_get(0)?);
    }
    let mut page = incidents(client, wanted).await?;
    page.push_str(&snooze::running(client).await?);
    Ok(page.trim_end().to_owned())
}

async fn incidents(client: &Client, wanted: &List) -> anyhow::Result<String> {
    let in_words = format!(
        "SELECT id::text,
                CASE WHEN NOT is_open THEN 'closed' WHEN snoozed_until IS NOT NULL THEN 'snoozed' ELSE 'open' END,
                severity, group_by, about, alerts::text,
                coalesce((SELECT string_agg(trim(key || ' ' || value), ' + ') FROM json_each_text(amounts)), ''),
                to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'),
                to_char(last_alert_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'),
                coalesce(to_char(last_noticed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), '-'),
                count(*) OVER () AS shown
         FROM ({LISTED}) AS v"
    );
    let rows = client
        .query(&in_words, &[&wanted.all, &wanted.limit])
        .await?;
    if rows.is_empty() {
        return Ok(match wanted.all {
            true => "no incidents\n".to_owned(),
            false => "no open incidents\n".to_owned(),
        });
    }
    let mut table = Table::new([
        "incident",
        "state",
        "severity",
        "by",
        "about",
        "alerts",
        "at risk",
        "opened",
        "last alert",
        "told",
    ]);
    for row in &rows {
        let mut cells: [String; 10] = Default::default();
        for (column, cell) in cells.iter_mut().enumerate() {
            *cell = table::one_line(row.try_get(column)?, 60);
        }
        table.row(cells);
    }
    Ok(table.render())
}
