//! The numbers of a report, read from the figures in one snapshot.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::Transaction;

use super::calendar::{Calendar, after, sql_day};
use super::counts::{Compared, ComparedAmount, Counts, FraudValue, Hour, Quality, Sums, Totals};
use super::details::{
    CATEGORIES, COUNTRIES, CUSTOMERS, MERCHANTS, dead_letters, latency, lines, missing,
};
use crate::database::Day;

/// How many days before a day its mean is taken over.
const MEAN_DAYS: i32 = 28;

/// Which day of which stream, and how old labels must be.
pub struct Wanted<'a> {
    /// The stream.
    pub stream: i16,
    /// A day that is over.
    pub day: Date,
    /// Where days begin.
    pub calendar: &'a Calendar,
    /// Labels of payments until then count.
    pub ripe_until: Timestamp,
}

/// Reads it all from the figures.
///
/// # Errors
/// When the database fails.
pub async fn read(snapshot: &Transaction<'_>, wanted: &Wanted<'_>) -> anyhow::Result<Counts> {
    let (stream, day) = (wanted.stream, sql_day(wanted.day));
    let day_before = after(wanted.day, -1)?;
    let month = (after(wanted.day, -MEAN_DAYS)?, day_before);
    let compared = Compared {
        day: sums(snapshot, stream, (wanted.day, wanted.day)).await?,
        before: sums(snapshot, stream, (day_before, day_before)).await?,
        earlier: sums(snapshot, stream, month).await?,
        days: days_with_payments(snapshot, stream, month).await?,
    };
    Ok(Counts {
        totals: totals(snapshot, stream, day).await?,
        compared,
        amounts: amounts(snapshot, stream, day, month).await?,
        hours: hours(snapshot, wanted).await?,
        quality: quality(snapshot, wanted).await?,
        merchants: lines(snapshot, MERCHANTS, stream, day).await?,
        categories: lines(snapshot, CATEGORIES, stream, day).await?,
        countries: lines(snapshot, COUNTRIES, stream, day).await?,
        customers: lines(snapshot, CUSTOMERS, stream, day).await?,
        dead_letters: dead_letters(snapshot, stream, day).await?,
        latency: latency(snapshot, stream, day).await?,
        missing: missing(snapshot, stream, day).await?,
    })
}

async fn totals(snapshot: &Transaction<'_>, stream: i16, day: Day) -> anyhow::Result<Vec<Totals>> {
    let rows = snapshot
        .query(
            "SELECT d.currency, d.payments, round(d.amount, s.amount_scale)::text AS amount, d.allowed, d.reviewed,
                    d.blocked, round(d.allowed_amount, s.amount_scale)::text AS allowed_amount,
                    round(d.reviewed_amount, s.amount_scale)::text AS reviewed_amount,
                    round(d.blocked_amount, s.amount_scale)::text AS blocked_amount, d.not_assessed, d.alerts,
                    d.labelled, d.fraud, round(d.fraud_amount, s.amount_scale)::text AS fraud_amount,
                    d.fraud_value_bp, d.true_positives, d.false_positives
             FROM v_daily_fraud_report AS d JOIN streams AS s USING (stream)
             WHERE d.stream = $1 AND d.event_day = $2 ORDER BY d.payments DESC, d.currency",
            &[&stream, &day],
        )
        .await?;
    let totals = rows.iter().map(|row| {
        Ok(Totals {
            currency: row.try_get("currency")?,
            payments: row.try_get("payments")?,
            amount: row.try_get("amount")?,
            decisions: [
                row.try_get("allowed")?,
                row.try_get("reviewed")?,
                row.try_get("blocked")?,
            ],
            decision_amounts: [
                row.try_get("allowed_amount")?,
                row.try_get("reviewed_amount")?,
                row.try_get("blocked_amount")?,
            ],
            not_assessed: row.try_get("not_assessed")?,
            alerts: row.try_get("alerts")?,
            labelled: row.try_get("labelled")?,
            fraud: row.try_get("fraud")?,
            fraud_amount: row.try_get("fraud_amount")?,
            fraud_value_bp: row.try_get("fraud_value_bp")?,
            caught: row.try_get("true_positives")?,
            false_alarms: row.try_get("false_positives")?,
        })
    });
    totals.collect()
}

/// Of all days from the first to the second, both included.
async fn sums(
    snapshot: &Transaction<'_>,
    stream: i16,
    (first, last): (Date, Date),
) -> anyhow::Result<Sums> {
    let row = snapshot
        .query_one(
            "SELECT coalesce(sum(payments), 0)::bigint AS payments, coalesce(sum(allowed), 0)::bigint AS allowed,
                    coalesce(sum(reviewed), 0)::bigint AS reviewed, coalesce(sum(blocked), 0)::bigint AS blocked,
                    coalesce(sum(not_assessed), 0)::bigint AS not_assessed, coalesce(sum(alerts), 0)::bigint AS alerts,
                    coalesce(sum(labelled), 0)::bigint AS labelled, coalesce(sum(fraud), 0)::bigint AS fraud,
                    coalesce(sum(true_positives), 0)::bigint AS caught,
                    coalesce(sum(false_positives), 0)::bigint AS false_alarms,
                    (SELECT coalesce(sum(letters), 0)::bigint FROM v_daily_dead_letters
                     WHERE stream = $1 AND day BETWEEN $2 AND $3) AS dead_letters
             FROM v_daily_fraud_report WHERE stream = $1 AND event_day BETWEEN $2 AND $3",
            &[&stream, &sql_day(first), &sql_day(last)],
        )
        .await?;
    Ok(Sums {
        payments: row.try_get("payments")?,
        decisions: [
            row.try_get("allowed")?,
            row.try_get("reviewed")?,
            row.try_get("blocked")?,
        ],
        not_assessed: row.try_get("not_assessed")?,
        alerts: row.try_get("alerts")?,
        labelled: row.try_get("labelled")?,
        fraud: row.try_get("fraud")?,
        caught: row.try_get("caught")?,
        false_alarms: row.try_get("false_alarms")?,
        dead_letters: row.try_get("dead_letters")?,
    })
}

async fn amounts(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
    (first, last): (Date, Date),
) -> anyhow::Result<Vec<ComparedAmount>> {
    let rows = snapshot
        .query(
            "SELECT d.currency,
                    round(coalesce(sum(d.amount) FILTER (WHERE d.event_day = $2), 0), s.amount_scale)::text AS day,
                    coalesce(sum(d.amount) FILTER (WHERE d.event_day = $2), 0)::float8 AS value,
                    coalesce(sum(d.amount) FILTER (WHERE d.event_day = $4), 0)::float8 AS before,
                    coalesce(sum(d.amount) FILTER (WHERE d.event_day <= $4), 0)::float8 AS earlier
             FROM v_daily_fraud_report AS d JOIN streams AS s USING (stream)
             WHERE d.stream = $1 AND d.event_day BETWEEN $3 AND $2
             GROUP BY d.currency, s.amount_scale
             ORDER BY coalesce(sum(d.payments) FILTER (WHERE d.event_day = $2), 0) DESC, d.currency",
            &[&stream, &day, &sql_day(first), &sql_day(last)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ComparedAmount {
                currency: row.try_get("currency")?,
                day: row.try_get("day")?,
                value: row.try_get("value")?,
                before: row.try_get("before")?,
                earlier: row.try_get("earlier")?,
            })
        })
        .collect()
}

/// How many of these days have payments: a mean over days without any would be thinned by one late
/// payment, and is not what a day looks like.
async fn days_with_payments(
    snapshot: &Transaction<'_>,
    stream: i16,
    (first, last): (Date, Date),
) -> anyhow::Result<i32> {
    let row = snapshot
        .query_one(
            "SELECT count(DISTINCT event_day)::integer FROM v_daily_fraud_report
             WHERE stream = $1 AND event_day BETWEEN $2 AND $3",
            &[&stream, &sql_day(first), &sql_day(last)],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Every hour of the day, those without a payment too.
async fn hours(snapshot: &Transaction<'_>, wanted: &Wanted<'_>) -> anyhow::Result<Vec<Hour>> {
    let (begin, end) = wanted.calendar.bounds(wanted.day)?;
    let rows = snapshot
        .query(
            "SELECT extract(epoch FROM hour)::bigint / 3600, sum(payments)::bigint,
                    coalesce(sum(payments) FILTER (WHERE decision <> 'allow'), 0)::bigint
             FROM v_hourly WHERE stream = $1 AND event_day = $2 GROUP BY hour",
            &[&wanted.stream, &sql_day(wanted.day)],
        )
        .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        found.insert(
            row.try_get::<_, i64>(0)?,
            (row.try_get(1)?, row.try_get(2)?),
        );
    }
    // Figures are by the hour of UTC: where the zone is half an hour off, so are these.
    let mut hour = begin.as_second().div_euclid(3600);
    let mut hours = Vec::new();
    while hour * 3600 < end.as_second() {
        let (payments, flagged) = found.get(&hour).copied().unwrap_or((0, 0));
        let from = Timestamp::from_second(hour * 3600)?.max(begin);
        hours.push(Hour {
            clock: wanted.calendar.clock(from),
            payments,
            flagged,
        });
        hour += 1;
    }
    Ok(hours)
}

async fn quality(snapshot: &Transaction<'_>, wanted: &Wanted<'_>) -> anyhow::Result<Quality> {
    let day = wanted.calendar.ripe_day(wanted.day, wanted.ripe_until)?;
    let month = (after(day, -MEAN_DAYS)?, after(day, -1)?);
    Ok(Quality {
        day,
        ripe_until: wanted.ripe_until,
        totals: totals(snapshot, wanted.stream, sql_day(day)).await?,
        values: fraud_values(snapshot, wanted.stream, sql_day(day), month).await?,
        sums: sums(snapshot, wanted.stream, (day, day)).await?,
        before: sums(snapshot, wanted.stream, (month.1, month.1)).await?,
        earlier: sums(snapshot, wanted.stream, month).await?,
        days: days_with_payments(snapshot, wanted.stream, month).await?,
    })
}

/// Of the currencies that have labels on the day.
async fn fraud_values(
    snapshot: &Transaction<'_>,
    stream: i16,
    day: Day,
    (first, last): (Date, Date),
) -> anyhow::Result<Vec<FraudValue>> {
    let rows = snapshot
        .query(
            "SELECT currency, fraud_amount, value[1] AS day, value[2] AS before, value[3] AS earlier
             FROM (
                SELECT q.currency, sum(q.labelled) FILTER (WHERE q.event_day = $2) AS labelled,
                       round(sum(q.fraud_amount) FILTER (WHERE q.event_day = $2), s.amount_scale)::text AS fraud_amount,
                       ARRAY[
                           10000 * sum(q.fraud_amount) FILTER (WHERE q.event_day = $2)
                               / nullif(sum(q.amount) FILTER (WHERE q.event_day = $2), 0),
                           10000 * sum(q.fraud_amount) FILTER (WHERE q.event_day = $4)
                               / nullif(sum(q.amount) FILTER (WHERE q.event_day = $4), 0),
                           10000 * sum(q.fraud_amount) FILTER (WHERE q.event_day <= $4)
                               / nullif(sum(q.amount) FILTER (WHERE q.event_day <= $4), 0)
                       ]::float8[] AS value
                FROM v_quality_hourly AS q JOIN streams AS s USING (stream)
                WHERE q.stream = $1 AND q.event_day BETWEEN $3 AND $2
                GROUP BY q.currency, s.amount_scale
             ) AS f
             WHERE labelled > 0 ORDER BY labelled DESC, currency",
            &[&stream, &day, &sql_day(first), &sql_day(last)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(FraudValue {
                currency: row.try_get("currency")?,
                amount: row.try_get("fraud_amount")?,
                day: row.try_get("day")?,
                before: row.try_get("before")?,
                earlier: row.try_get("earlier")?,
            })
        })
        .collect()
}

/// Payments of the day, as far as they are counted.
///
/// # Errors
/// When the database fails.
pub async fn payments(snapshot: &Transaction<'_>, stream: i16, day: Date) -> anyhow::Result<u64> {
    let counted = sums(snapshot, stream, (day, day)).await?.payments;
    Ok(u64::try_from(counted)?)
}
