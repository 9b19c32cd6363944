//! What a report lists beside its totals: merchants and the like, dead letters, latency, incidents.

use tokio_postgres::{Row, Transaction};

use super::calendar::sql_moment;
use super::counts::{Latency, Line};
use super::reading::Wanted;
use crate::database::Day;

/// How many lines a list of merchants, categories, countries or customers has.
const LINES: i64 = 5;

/// Of these, the lines with the most flagged payments come first.
pub(super) const MERCHANTS: &str = "\
    SELECT merchant AS name, currency, payments, amount, flagged, flagged_amount, blocked, fraud \
    FROM v_daily_by_merchant WHERE stream = $1 AND event_day = $2";
pub(super) const CATEGORIES: &str = "\
    SELECT category AS name, currency, payments, amount, flagged, flagged_amount, blocked, fraud \
    FROM v_daily_by_category WHERE stream = $1 AND event_day = $2";
pub(super) const COUNTRIES: &str = "\
    SELECT country AS name, currency, payments, amount, flagged, flagged_amount, blocked, fraud \
    FROM v_daily_by_country WHERE stream = $1 AND event_day = $2";
pub(super) const CUSTOMERS: &str = "\
    SELECT left(account, 8) || '…' AS name, currency, flagged AS payments, flagged_amount AS amount, flagged, \
           flagged_amount, blocked, fraud \
    FROM v_daily_by_customer WHERE stream = $1 AND event_day = $2";

pub(super) async fn lines(
    snapshot: &Transaction<'_>,
    of: &str,
    stream: i16,
    day: Day,
) -> anyhow::Result<Vec<Line>> {
    let query = format!(
        "SELECT l.name, l.currency, l.payments, round(l.amount, s.amount_scale)::text AS amount, l.flagged,
                round(l.flagged_amount, s.amount_scale)::text AS flagged_amount, l.fraud
         FROM ({of}) AS l JOIN streams AS s ON s.stream = $1
         ORDER BY l.flagged DESC, l.blocked DESC, l.flagged_amount DESC, l.payments DESC, l.name LIMIT $3"
    );
    let rows = snapshot.query(&query, &[&stream, &day, &LINES]).await?;
    rows.iter().map(|row| Ok(line(row)?)).collect()
}

fn line(row: &Row) -> Result<Line, tokio_postgres::Error> {
    Ok(Line {
        name: row.try_get("name")?,
        currency: row.try_get("currency")?,
        payments: row.try_get("payments")?,
        amount: row.try_get("amount")?,
        flagged: row.try_get("flagged")?,
        flagged_amount: row.try_get("flagged_amount")?,
        fraud: row.try_get("fraud")?,
    })
}

pub(super) async fn dead_letters(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
) -> anyhow::Result<Vec<(String, i64)>> {
    let rows = snapshot
        .query(
            "SELECT reason, letters FROM v_daily_dead_letters WHERE stream = $1 AND day = $2
             ORDER BY letters DESC, reason",
            &[&stream, &day],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

pub(super) async fn latency(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
) -> anyhow::Result<Option<Latency>> {
    let rows = snapshot
        .query(
            "SELECT at_most_seconds, sum(payments)::bigint FROM v_latency_hourly
             WHERE stream = $1 AND event_day = $2 GROUP BY at_most_seconds ORDER BY at_most_seconds",
            &[&stream, &day],
        )
        .await?;
    let mut steps = Vec::new();
    for row in &rows {
        steps.push((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(quantiles(&steps))
}

/// The steps below which at least half, 95 and 99 of 100 lie.
fn quantiles(steps: &[(f64, i64)]) -> Option<Latency> {
    let all: i64 = steps.iter().map(|(_, payments)| payments).sum();
    let at = |hundredths: i64| {
        let mut below = 0;
        let step = steps.iter().find(|(_, payments)| {
            below += payments;
            i128::from(below) * 100 >= i128::from(all) * i128::from(hundredths)
        });
        step.map(|(seconds, _)| *seconds)
    };
    Some(Latency {
        p50: at(50)?,
        p95: at(95)?,
        p99: at(99)?,
    })
}

/// Incidents that were opened on the day, as a sentence.
///
/// # Errors
/// When the database fails.
pub async fn incidents(snapshot: &Transaction<'_>, wanted: &Wanted<'_>) -> anyhow::Result<String> {
    let (begin, end) = wanted.calendar.bounds(wanted.day)?;
    let row = snapshot
        .query_one(
            "SELECT count(*) FILTER (WHERE kind = 'fraud'), count(*) FILTER (WHERE kind = 'system'),
                    count(*) FILTER (WHERE severity = 'critical')
             FROM incidents WHERE stream = $1 AND opened_at >= $2 AND opened_at < $3",
            &[&wanted.stream, &sql_moment(begin), &sql_moment(end)],
        )
        .await?;
    let (fraud, system): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let critical: i64 = row.try_get(2)?;
    Ok(format!(
        "Incidents opened on the day: {fraud} about fraud, {system} about the system; {critical} critical."
    ))
}

/// Payments are removed by the day: of one that is still there, none is missing.
pub(super) async fn missing(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
) -> anyhow::Result<i64> {
    let row = snapshot
        .query_opt(
            "SELECT missing FROM figures_rounds
             WHERE stream = $1 AND to_regclass('payments_scored_' || to_char($2::date, 'YYYYMMDD')) IS NULL",
            &[&stream, &day],
        )
        .await?;
    Ok(row.map_or(Ok(0), |row| row.try_get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_step_below_which_that_share_lies() {
        let latency = quantiles(&[(0.1, 50), (0.2, 45), (1.0, 4), (9.0, 1)]).unwrap();
        assert_eq!((latency.p50, latency.p95, latency.p99), (0.1, 0.2, 1.0));
        let one = quantiles(&[(0.3, 1)]).unwrap();
        assert_eq!((one.p50, one.p99), (0.3, 0.3));
        assert!(quantiles(&[]).is_none());
    }
}
