//! Payments of a day as CSV, written by the server: as many as there are, in little memory.
//!
//! What came with a payment is only text in a spreadsheet too: what would begin a formula gets an
//! apostrophe before it, and control characters become spaces, so that a line is a row. A formula
//! begins with its cell, and a cell behind whatever the spreadsheet takes for a separator: in
//! many countries that is not the comma.

use std::io::Write;
use std::pin::pin;

use futures_util::TryStreamExt;
use indicatif::ProgressBar;
use jiff::civil::Date;
use tokio_postgres::Transaction;

use super::calendar::Calendar;

/// Flagged payments in a list that goes with a mail.
pub const FLAGGED_ROWS: i64 = 10_000;

/// What a spreadsheet takes for the beginning of a formula, the wide forms too; as a set of a
/// regular expression, where the hyphen comes last.
const FORMULAS: &str = "=+@＝＋－＠-";

/// The riskiest payments of the day that were not allowed, at most [`FLAGGED_ROWS`]; accounts are
/// shown by the beginning of their token.
///
/// # Errors
/// When the database fails.
pub async fn flagged(
    snapshot: &Transaction<'_>,
    stream: i16,
    calendar: &Calendar,
    day: Date,
) -> anyhow::Result<Vec<u8>> {
    let (begin, end) = calendar.bounds(day)?;
    let query = format!(
        "SELECT {time} AS event_time, {payment} AS payment, left(f.account, 8) AS account,
                round(f.amount, s.amount_scale) AS amount, {currency} AS currency, {merchant} AS merchant,
                {category} AS category, {country} AS country, f.score, f.decision,
                array_to_string(f.reasons, ' ') AS reasons
         FROM v_flagged AS f JOIN streams AS s USING (stream)
         WHERE f.stream = {stream} AND f.event_day = DATE '{day}'
           AND f.event_time >= TIMESTAMPTZ '{begin}' AND f.event_time < TIMESTAMPTZ '{end}'
         ORDER BY f.decision = 'block' DESC, f.score DESC NULLS FIRST, f.amount DESC LIMIT {FLAGGED_ROWS}",
        time = moment("f.event_time"),
        payment = cell("f.trans_num"),
        currency = cell("f.currency"),
        merchant = cell("f.merchant"),
        category = cell("f.category"),
        country = cell("f.country"),
    );
    let mut list = Vec::new();
    copy(snapshot, &query, &ProgressBar::hidden(), &mut list).await?;
    Ok(list)
}

/// Every payment of the day but the canary, in no order.
///
/// # Errors
/// When the database or `into` fails.
pub async fn all(
    snapshot: &Transaction<'_>,
    stream: i16,
    (calendar, day): (&Calendar, Date),
    bar: &ProgressBar,
    into: &mut impl Write,
) -> anyhow::Result<()> {
    let (begin, end) = calendar.bounds(day)?;
    // Looked up one by one: of a day that came after the last ANALYZE the planner expects no label,
    // and would compare all of its payments with all of them.
    let query = format!(
        "SELECT {time} AS event_time, {payment} AS payment, encode(p.account, 'hex') AS account,
                round(p.amount / power(10::numeric, s.amount_scale), s.amount_scale) AS amount,
                {currency} AS currency, {merchant} AS merchant, {category} AS category, {country} AS country,
                p.score, (ARRAY['allow', 'review', 'block'])[p.decision + 1] AS decision,
                array_to_string(p.reasons, ' ') AS reasons,
                CASE l.label WHEN true THEN 'fraud' WHEN false THEN 'genuine' END AS label,
                (ARRAY['live', 'backfill'])[p.origin + 1] AS origin, {model} AS model_version,
                {policy} AS policy_version, p.source_partition, p.source_offset, {stored} AS stored_at
         FROM payments_scored AS p
         JOIN streams AS s ON s.stream = p.stream
         LEFT JOIN LATERAL (
            SELECT label FROM labels
            WHERE event_day = DATE '{day}' AND event_time >= TIMESTAMPTZ '{begin}' AND event_time < TIMESTAMPTZ '{end}'
              AND event_time = p.event_time AND trans_num = p.trans_num AND account = p.account
              AND stream = p.stream AND source = 'payload'
            OFFSET 0
         ) AS l ON true
         WHERE p.event_day = DATE '{day}' AND p.stream = {stream} AND p.origin <> 2",
        time = moment("p.event_time"),
        payment = cell("p.trans_num"),
        currency = cell("p.currency"),
        merchant = cell("p.merchant"),
        category = cell("p.category"),
        country = cell("p.country"),
        model = cell("p.model_version"),
        policy = cell("p.policy_version"),
        stored = moment("p.scored_at"),
    );
    copy(snapshot, &query, bar, into).await
}

async fn copy(
    snapshot: &Transaction<'_>,
    query: &str,
    bar: &ProgressBar,
    into: &mut impl Write,
) -> anyhow::Result<()> {
    // A day takes as long as it takes; whoever reads it may stop at any time.
    snapshot
        .batch_execute("SET LOCAL statement_timeout = 0")
        .await?;
    let copy = format!("COPY ({query}) TO STDOUT WITH (FORMAT csv, HEADER)");
    let mut rows = pin!(snapshot.copy_out(&copy).await?);
    // The server sends a row at a time.
    while let Some(row) = rows.try_next().await? {
        into.write_all(&row)?;
        bar.inc(1);
    }
    Ok(())
}

/// A text column as a harmless cell. Hardly any needs more than one look.
fn cell(column: &str) -> String {
    let (controls, number) = controls();
    // Quotes may stand around a cell.
    let formula = format!("(^|[;,|])([ \"]*)([{FORMULAS}])");
    format!(
        r"CASE WHEN {column} !~ E'{formula}|[{controls}]' THEN {column}
               ELSE regexp_replace(translate({column}, E'{controls}', repeat(' ', {number})), '{formula}',
                                   '\1''\2\3', 'g') END"
    )
}

/// Control characters but NUL, which no text of the database holds, and the separators of lines
/// and paragraphs; how many they are.
fn controls() -> (String, usize) {
    let controls = (0x01..=0x1f).chain(0x7f..=0x9f).chain([0x2028, 0x2029]);
    let written = controls.map(|control: u32| format!(r"\u{control:04x}"));
    let written: Vec<String> = written.collect();
    (written.concat(), written.len())
}

/// A moment as every program reads it.
fn moment(column: &str) -> String {
    format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
}
