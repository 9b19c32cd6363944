//! What the figures counted when it was stored, and is not there any more. Offsets do not tell: one
//! that has no row may as well have been a repeat.

use tokio_postgres::{Client, Error};

use crate::database::Day;

/// Both in one statement, which is one snapshot. Nothing where the whole day was removed, which is
/// no loss: its figures are kept longer.
const PAYMENTS: &str = "\
    SELECT CASE WHEN to_regclass('payments_scored_' || to_char($1::date, 'YYYYMMDD')) IS NULL THEN 0 \
           ELSE (SELECT coalesce(sum(payments), 0)::bigint FROM figures_hourly \
                 WHERE event_day = $1 AND stream = $2) \
              - (SELECT count(*) FROM payments_scored \
                 WHERE event_day = $1 AND stream = $2 AND origin <> 2) END";

/// By the day on which they were stored, which is how they are counted.
const LETTERS: &str = "\
    SELECT (SELECT coalesce(sum(letters), 0)::bigint FROM figures_dead_letters \
            WHERE day = $1 AND stream = $2) \
         - (SELECT count(*) FROM dead_letters AS d JOIN streams AS s USING (stream) \
            WHERE d.stream = $2 AND d.at >= $1::date::timestamp AT TIME ZONE s.business_zone \
              AND d.at < ($1::date + 1)::timestamp AT TIME ZONE s.business_zone)";

/// Payments and dead letters of the day that were counted and are gone. Figures may lag behind the
/// rows, so that more rows than they count say nothing.
pub(super) async fn of_day(client: &Client, stream: i16, day: Day) -> Result<(i64, i64), Error> {
    let payments: i64 = client
        .query_one(PAYMENTS, &[&day, &stream])
        .await?
        .try_get(0)?;
    let letters: i64 = client
        .query_one(LETTERS, &[&day, &stream])
        .await?
        .try_get(0)?;
    Ok((payments.max(0), letters.max(0)))
}
