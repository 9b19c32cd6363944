//! Whether too large a share of the records is dead letters.

use tokio_postgres::{Client, Error};

use super::{Finding, Trouble};
use crate::desk::text::number;

/// So few say nothing about a share.
const FEWEST: i64 = 10;

/// Looks at the last ten minutes of every stream.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(
    client: &Client,
    limit: f64,
    is_open: impl Fn(Trouble, i16) -> bool,
) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT stream, sum(dead)::bigint, sum(records)::bigint FROM stream_minutes
             WHERE minute > now() - interval '10 min' GROUP BY stream ORDER BY stream",
            &[],
        )
        .await?;
    let mut findings = Vec::with_capacity(rows.len());
    for row in rows {
        let (stream, dead, records): (i16, i64, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let finding = if is_too_many(dead, records, limit, is_open(Trouble::DeadLetters, stream)) {
            Finding::wrong(Trouble::DeadLetters, stream, sentence(dead, records, limit))
        } else {
            Finding::fine(Trouble::DeadLetters, stream)
        };
        findings.push(finding);
    }
    Ok(findings)
}

/// What is open is over at half the limit, so that a share near the limit does not open and
/// close it again and again.
fn is_too_many(dead: i64, records: i64, limit: f64, is_open: bool) -> bool {
    let share = dead as f64 / records.max(1) as f64;
    match is_open {
        true => share > limit / 2.0,
        false => dead >= FEWEST && share > limit,
    }
}

fn sentence(dead: i64, records: i64, limit: f64) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let count = |rows: i64| number(rows.unsigned_abs());
    format!(
        "{} of the records of the last ten minutes are dead letters, {} of {}; more than {} are too many. \
         See: vigie dead-letters list --since 10min",
        percent(dead as f64 / records.max(1) as f64),
        count(dead),
        count(records),
        percent(limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_above_the_limit_is_too_many_and_over_at_half_of_it() {
        assert!(is_too_many(60, 1_000, 0.05, false));
        assert!(!is_too_many(50, 1_000, 0.05, false));
        assert!(!is_too_many(9, 9, 0.05, false), "so few say nothing");
        assert!(is_too_many(30, 1_000, 0.05, true));
        assert!(!is_too_many(25, 1_000, 0.05, true));
        assert!(!is_too_many(0, 0, 0.05, true), "nothing arrives any more");
    }

    #[test]
    fn it_says_how_many_of_how_many() {
        let said = sentence(123, 1_000, 0.05);
        assert!(said.contains("12.3 %") && said.contains("123 of 1,000") && said.contains("5.0 %"));
    }
}
