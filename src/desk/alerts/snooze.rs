//! What nobody wants to hear of for a while.

use std::convert::Infallible;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use tokio_postgres::{Client, Transaction};

use crate::database::Moment;
use crate::desk::audit::{person, why};
use crate::desk::incidents::{MERCHANT_CHARS, Trouble};
use crate::desk::table::{self, Table};
use crate::engine::batch::ReasonCode;
use crate::engine::mask;

/// Longer silences are forgotten.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Characters of a token that tell one account from another.
const TOKEN: std::ops::RangeInclusive<usize> = 8..=32;
/// What may stand in `--rule`.
const RULES: [ReasonCode; 3] = [
    ReasonCode::ScoreReview,
    ReasonCode::ScoreBlock,
    ReasonCode::NotAssessed,
];

/// What is silenced, until when, and why.
#[derive(Debug, Args)]
pub struct Snooze {
    #[command(flatten)]
    what: What,
    /// The end: a moment (2026-11-21T18:00:00Z).
    #[arg(long, required_unless_present = "for", conflicts_with = "for")]
    until: Option<Timestamp>,
    /// For how long: 30min, 2h, 3days.
    #[arg(long = "for", id = "for", value_parser = humantime::parse_duration)]
    span: Option<Duration>,
    /// Why, for the audit log; card numbers in it are masked.
    #[arg(long, value_parser = why)]
    why: String,
}

/// What is no longer silenced, and why.
#[derive(Debug, Args)]
pub struct Unsnooze {
    #[command(flatten)]
    what: What,
    /// Why, for the audit log; card numbers in it are masked.
    #[arg(long, value_parser = why)]
    why: String,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// An account: its token, or the beginning of it as a message shows it.
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    account: Option<String>,
    /// A merchant, by its name; card numbers in it are masked, as they are stored.
    #[arg(long, value_name = "NAME", value_parser = merchant)]
    merchant: Option<String>,
    /// A rule, by its code.
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(RULES.map(ReasonCode::as_str)))]
    rule: Option<String>,
    /// A trouble of the system, by its kind.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Trouble::ALL.map(Trouble::as_str)))]
    system: Option<String>,
    /// Whatever this incident is about.
    #[arg(long, value_name = "N")]
    incident: Option<i64>,
}

impl What {
    /// Kind and key, as the database has them.
    async fn resolve(&self, transaction: &Transaction<'_>) -> anyhow::Result<(String, String)> {
        let named = [
            ("account", &self.account),
            ("merchant", &self.merchant),
            ("rule", &self.rule),
            ("system", &self.system),
        ];
        for (what, key) in named {
            if let Some(key) = key {
                return Ok((what.to_owned(), key.clone()));
            }
        }
        let query = "SELECT group_by, group_key FROM incidents WHERE id = $1";
        let Some(row) = transaction.query_opt(query, &[&self.incident]).await? else {
            let number = self.incident.unwrap_or_default();
            anyhow::bail!("no incident {number}: see `vigie alerts list --all`");
        };
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

/// What is silenced now; of an account, the beginning of its token.
pub(super) const RUNNING: &str = "\
    SELECT what, CASE what WHEN 'account' THEN left(key, 8) || '…' WHEN 'merchant' THEN coalesce(nullif(key, ''), 'unknown') \
                 ELSE key END AS about, \
           at, until, why, by \
    FROM snoozes WHERE ended_at IS NULL AND until > now() ORDER BY until, id";

/// A table of it below that of the incidents; empty when nothing is.
pub(super) async fn running(client: &Client) -> anyhow::Result<String> {
    let in_words = format!(
        "SELECT what, about, to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), by, why FROM ({RUNNING}) AS s"
    );
    let rows = client.query(&in_words, &[]).await?;
    if rows.is_empty() {
        return Ok(String::new());
    }
    let mut table = Table::new(["snoozed", "about", "until", "by", "why"]);
    for row in &rows {
        let mut cells: [String; 5] = Default::default();
        for (column, cell) in cells.iter_mut().enumerate() {
            *cell = table::one_line(row.try_get(column)?, 60);
        }
        table.row(cells);
    }
    Ok(format!("\n{}", table.render()))
}

/// Silences, and says so in the audit log, in one transaction.
pub(super) async fn snooze(client: &mut Client, wanted: &Snooze) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let until = match (wanted.until, wanted.span) {
        (Some(until), _) => until,
        (None, span) => now.checked_add(span.unwrap_or_default())?,
    };
    anyhow::ensure!(until > now, "the end is in the past: {until}");
    anyhow::ensure!(
        until.duration_since(now).unsigned_abs() <= LONGEST,
        "at most 30 days: what is silent for longer is forgotten"
    );
    let transaction = client.transaction().await?;
    let (what, key) = wanted.what.resolve(&transaction).await?;
    transaction
        .execute(
            "INSERT INTO snoozes (what, key, until, why, by) VALUES ($1, $2, $3, $4, session_user || $5)",
            &[&what, &key, &Moment(until.as_microsecond()), &wanted.why, &person()],
        )
        .await?;
    audit(
        &transaction,
        "alerts snooze",
        (&what, &key),
        Some(until),
        &wanted.why,
    )
    .await?;
    transaction.commit().await?;
    Ok(format!(
        "{what} {} is silent until {}; it goes on being counted",
        shown(&key),
        until.strftime("%Y-%m-%d %H:%M:%SZ")
    ))
}

/// Ends every running snooze of it, with who and why, in one transaction.
pub(super) async fn unsnooze(client: &mut Client, wanted: &Unsnooze) -> anyhow::Result<String> {
    let transaction = client.transaction().await?;
    let (what, key) = wanted.what.resolve(&transaction).await?;
    let ended = transaction
        .execute(
            "UPDATE snoozes SET ended_at = now()
             WHERE what = $1 AND ended_at IS NULL AND until > now()
               AND CASE WHEN what = 'account' THEN starts_with($2, key) OR starts_with(key, $2) ELSE key = $2 END",
            &[&what, &key],
        )
        .await?;
    let shown = shown(&key);
    anyhow::ensure!(ended > 0, "{what} {shown} is not snoozed");
    audit(
        &transaction,
        "alerts unsnooze",
        (&what, &key),
        None,
        &wanted.why,
    )
    .await?;
    transaction.commit().await?;
    Ok(format!("{what} {shown} is told again"))
}

/// The key on the terminal; that of payments without a merchant is empty.
fn shown(key: &str) -> String {
    match key {
        "" => "unknown".to_owned(),
        key => table::one_line(key, 60),
    }
}

async fn audit(
    transaction: &Transaction<'_>,
    action: &str,
    (what, key): (&str, &str),
    until: Option<Timestamp>,
    why: &str,
) -> anyhow::Result<()> {
    transaction
        .execute(
            "INSERT INTO audit_log (actor, action, subject, why)
             VALUES (session_user || $1, $2,
                     json_build_object('what', $3::text, 'key', $4::text, 'until', $5::timestamptz), $6)",
            &[
                &person(),
                &action,
                &what,
                &key,
                &until.map(|until| Moment(until.as_microsecond())),
                &why,
            ],
        )
        .await?;
    Ok(())
}

/// The token of an account or its beginning, and never a card number.
fn token(text: &str) -> Result<String, String> {
    let token = text.trim().trim_end_matches('…').to_lowercase();
    if mask::masked(&token) != token {
        return Err(
            "this is a card number: give the account's token, as messages show it".to_owned(),
        );
    }
    let is_token =
        TOKEN.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_token
        .then_some(token)
        .ok_or_else(|| "expected 8 to 32 hexadecimal digits of the account's token".to_owned())
}

/// The name as it is stored and alerts are grouped by it.
fn merchant(name: &str) -> Result<String, Infallible> {
    Ok(mask::masked(name).chars().take(MERCHANT_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_whole_or_by_its_beginning_and_a_card_number_is_not() {
        assert_eq!(token("1A2B3C4D…").unwrap(), "1a2b3c4d");
        assert_eq!(token(&"0f".repeat(16)).unwrap().len(), 32);
        assert!(token("1a2b").unwrap_err().contains("8 to 32"));
        assert!(token("not a token").unwrap_err().contains("hexadecimal"));
        let card = token("4242424242424242").unwrap_err();
        assert!(
            card.contains("card number") && !card.contains("4242"),
            "{card}"
        );
    }
}
