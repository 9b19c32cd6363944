//! One incident with its payments.

use clap::Args;
use serde_json::Value;
use tokio_postgres::Client;

use crate::desk::table::{self, Table};

/// Which incident, and how many of its payments.
#[derive(Debug, Args)]
pub struct Show {
    /// Its number.
    pub incident: i64,
    /// At most this many payments.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub limit: i64,
    /// As a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The incident's payments; an account is shown whole, so that it can be silenced.
const PAYMENTS: &str = "\
    SELECT a.event_time, a.trans_num, encode(a.account, 'hex') AS account, a.merchant, a.category, a.country, \
           round(a.amount / power(10::numeric, coalesce(s.amount_scale, 0)), coalesce(s.amount_scale, 0)) AS amount, \
           a.currency, a.score, CASE a.decision WHEN 1 THEN 'review' ELSE 'block' END AS decision, a.reasons, \
           o.created_at AS told_at \
    FROM fraud_alerts AS a LEFT JOIN streams AS s USING (stream) LEFT JOIN outbox AS o ON o.id = a.outbox_id \
    WHERE a.incident_id = $1 ORDER BY a.amount DESC, a.id LIMIT $2";

pub(super) async fn show(client: &Client, wanted: &Show) -> anyhow::Result<String> {
    let row = client
        .query_opt(
            "SELECT to_jsonb(v)::text FROM v_incidents AS v WHERE id = $1",
            &[&wanted.incident],
        )
        .await?;
    let Some(row) = row else {
        anyhow::bail!(
            "no incident {}: see `vigie alerts list --all`",
            wanted.incident
        );
    };
    let mut incident: Value = serde_json::from_str(row.try_get(0)?)?;
    if wanted.json {
        let payments = format!("SELECT coalesce(json_agg(p), '[]')::text FROM ({PAYMENTS}) AS p");
        let row = client
            .query_one(&payments, &[&wanted.incident, &wanted.limit])
            .await?;
        incident["payments"] = serde_json::from_str(row.try_get(0)?)?;
        return Ok(serde_json::to_string_pretty(&incident)?);
    }
    let mut page = String::new();
    if let Some(fields) = incident.as_object() {
        let says_something = |value: &Value| !value.is_null() && value != "";
        for (name, value) in fields.iter().filter(|(_, value)| says_something(value)) {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            page.push_str(&format!("{name:<16} {}\n", table::one_line(&value, 400)));
        }
    }
    page.push_str(&payments(client, wanted).await?);
    Ok(page.trim_end().to_owned())
}

async fn payments(client: &Client, wanted: &Show) -> anyhow::Result<String> {
    let in_words = format!(
        "SELECT to_char(event_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'),
                trim(coalesce(currency, '') || ' ' || amount), decision, coalesce(round(score::numeric, 3)::text, '-'),
                coalesce(array_to_string(reasons, ', '), ''), account, coalesce(merchant, ''), trans_num,
                CASE WHEN told_at IS NULL THEN 'no' ELSE 'yes' END
         FROM ({PAYMENTS}) AS p"
    );
    let rows = client
        .query(&in_words, &[&wanted.incident, &wanted.limit])
        .await?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut table = Table::new([
        "time", "amount", "decision", "score", "reasons", "account", "merchant", "payment", "told",
    ]);
    for row in &rows {
        let mut cells: [String; 9] = Default::default();
        for (column, cell) in cells.iter_mut().enumerate() {
            *cell = table::one_line(row.try_get(column)?, 60);
        }
        table.row(cells);
    }
    Ok(format!("\n{}", table.render()))
}
