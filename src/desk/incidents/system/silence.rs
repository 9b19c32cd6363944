//! Whether payments have stayed away for longer than usual.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use super::{Finding, Trouble};

/// A gap may be so much longer than the usual one: nights are not equally long.
const LEEWAY: f64 = 1.5;

/// Looks at every stream that has had payments in the last seven days. What is usual is the second
/// longest gap of that time: a nightly one is known after two nights, and a single outage does not
/// make the next one usual.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(client: &Client, least: Duration) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT o.stream, extract(epoch FROM now() - last.paid_at)::float8
             FROM (SELECT DISTINCT stream FROM stream_offsets) AS o
             CROSS JOIN LATERAL (SELECT paid_at FROM stream_minutes AS m
                                 WHERE m.stream = o.stream AND m.payments > 0 AND m.minute > now() - interval '7 days'
                                 ORDER BY m.minute DESC LIMIT 1) AS last
             ORDER BY o.stream",
            &[],
        )
        .await?;
    let mut findings = Vec::with_capacity(rows.len());
    for row in rows {
        let (stream, silent): (i16, f64) = (row.try_get(0)?, row.try_get(1)?);
        let silent = Duration::from_secs_f64(silent.max(0.0));
        // What is usual need not be known before there is something unusual.
        let finding = if silent < least {
            Finding::fine(Trouble::NoPayments, stream)
        } else {
            judge(stream, silent, least, &gaps(client, stream).await?)
        };
        findings.push(finding);
    }
    Ok(findings)
}

/// Times between minutes with payments, the longest first; seconds.
async fn gaps(client: &Client, stream: i16) -> Result<Vec<f64>, Error> {
    let rows = client
        .query(
            "SELECT extract(epoch FROM quiet_until - lag(paid_at) OVER (ORDER BY minute))::float8 AS gap
             FROM stream_minutes
             WHERE stream = $1 AND payments > 0 AND minute > now() - interval '7 days'
             ORDER BY gap DESC NULLS LAST LIMIT 2",
            &[&stream],
        )
        .await?;
    let gaps = rows.iter().map(|row| row.try_get::<_, Option<f64>>(0));
    Ok(gaps
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn judge(stream: i16, silent: Duration, least: Duration, gaps: &[f64]) -> Finding {
    let usual = Duration::from_secs_f64(gaps.get(1).copied().unwrap_or(0.0).max(0.0));
    if silent < least.max(usual.mul_f64(LEEWAY)) {
        return Finding::fine(Trouble::NoPayments, stream);
    }
    let minutes = |span: Duration| span.as_secs() / 60;
    let detail = format!(
        "no payment has arrived for {} minutes; in the last 7 days the pauses were {} minutes at most, but for \
         one. Is anybody sending? vigie offsets show tells the lag",
        minutes(silent),
        minutes(usual)
    );
    Finding::wrong(Trouble::NoPayments, stream, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn is_wrong(silent: u32, gaps: &[f64]) -> bool {
        judge(1, silent * MINUTE, 10 * MINUTE, gaps).wrong.is_some()
    }

    #[test]
    fn longer_than_the_second_longest_gap_and_half_of_it_is_unusual() {
        let nights = [6.0 * 3_600.0, 5.0 * 3_600.0];
        assert!(!is_wrong(7 * 60, &nights));
        assert!(is_wrong(8 * 60, &nights));
        let one_outage = [6.0 * 3_600.0, 120.0];
        assert!(is_wrong(11, &one_outage));
    }

    #[test]
    fn a_short_gap_is_never_unusual() {
        assert!(!is_wrong(9, &[]));
        assert!(is_wrong(10, &[]));
    }
}
