//! Whether payments have stayed away for longer than usual.

use std::time::Duration;

use tokio_postgres::{Client, Error};

use super::{Finding, Trouble};

/// A gap may be so much longer than the usual one: nights are not equally long.
const LEEWAY: f64 = 1.5;
/// From one look to the next; after longer, nobody has looked meanwhile. The same ones also
/// store payments: what nobody looked at is neither silence nor a pause.
const UNSEEN: &str = "interval '30 s'";

/// How long there has been no payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    /// Since the last one.
    whole: Duration,
    /// The end of it, in which somebody has looked all the time.
    watched: Duration,
}

/// Looks at every stream that has had payments in the last seven days. What is usual is the second
/// longest gap of that time: a nightly one is known after two nights, and a single outage does not
/// make the next one usual.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(client: &Client, least: Duration) -> Result<Vec<Finding>, Error> {
    let silences = format!(
        "SELECT o.stream, extract(epoch FROM now() - last.paid_at)::float8,
                extract(epoch FROM now() - greatest(last.paid_at, (
                    SELECT max(minute) + interval '1 min'
                    FROM (SELECT minute, minute - lag(looked_at) OVER (ORDER BY minute) AS unseen
                          FROM stream_minutes AS m WHERE m.stream = o.stream AND m.minute >= last.minute) AS looks
                    WHERE unseen > {UNSEEN})))::float8
         FROM (SELECT DISTINCT stream FROM stream_offsets) AS o
         CROSS JOIN LATERAL (SELECT minute, paid_at FROM stream_minutes AS m
                             WHERE m.stream = o.stream AND m.payments > 0 AND m.minute > now() - interval '7 days'
                             ORDER BY m.minute DESC LIMIT 1) AS last
         ORDER BY o.stream"
    );
    let rows = client.query(&silences, &[]).await?;
    let mut findings = Vec::with_capacity(rows.len());
    for row in rows {
        let span = |column| {
            let seconds = row.try_get::<_, f64>(column)?;
            Ok::<_, Error>(Duration::from_secs_f64(seconds.max(0.0)))
        };
        let stream: i16 = row.try_get(0)?;
        let silence = Silence {
            whole: span(1)?,
            watched: span(2)?,
        };
        // What is usual need not be known before there is something unusual.
        if silence.whole < least {
            findings.push(Finding::fine(Trouble::NoPayments, stream));
        } else {
            findings.extend(judge(stream, silence, least, &gaps(client, stream).await?));
        }
    }
    Ok(findings)
}

/// Times between minutes with payments in which somebody looked, the longest first; seconds.
async fn gaps(client: &Client, stream: i16) -> Result<Vec<f64>, Error> {
    let gaps = format!(
        "WITH looks AS (
             SELECT minute, payments, quiet_until, paid_at, minute - lag(looked_at) OVER (ORDER BY minute) AS unseen
             FROM stream_minutes WHERE stream = $1 AND minute > now() - interval '7 days'
         ), summed AS (
             SELECT *, coalesce(sum(unseen) FILTER (WHERE unseen > {UNSEEN}) OVER (ORDER BY minute), interval '0')
                       AS unseen_before
             FROM looks
         )
         SELECT extract(epoch FROM quiet_until - lag(paid_at) OVER paid
                                   - (unseen_before - lag(unseen_before) OVER paid))::float8 AS gap
         FROM summed WHERE payments > 0 WINDOW paid AS (ORDER BY minute)
         ORDER BY gap DESC NULLS LAST LIMIT 2"
    );
    let rows = client.query(&gaps, &[&stream]).await?;
    let gaps = rows.iter().map(|row| row.try_get::<_, Option<f64>>(0));
    Ok(gaps
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Nothing is found of a silence that would be too long, and of which too little was seen: after
/// a time in which nobody ran, payments are on their way.
fn judge(stream: i16, silence: Silence, least: Duration, gaps: &[f64]) -> Option<Finding> {
    let usual = Duration::from_secs_f64(gaps.get(1).copied().unwrap_or(0.0).max(0.0));
    let allowed = least.max(usual.mul_f64(LEEWAY));
    if silence.whole < allowed {
        return Some(Finding::fine(Trouble::NoPayments, stream));
    }
    if silence.watched < allowed {
        return None;
    }
    let minutes = |span: Duration| span.as_secs() / 60;
    let detail = format!(
        "no payment has arrived for {} minutes; in the last 7 days the pauses were {} minutes at most, but for \
         one. Is anybody sending? vigie offsets show tells the lag",
        minutes(silence.watched),
        minutes(usual)
    );
    Some(Finding::wrong(Trouble::NoPayments, stream, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn judged(whole: u32, watched: u32, gaps: &[f64]) -> Option<bool> {
        let silence = Silence {
            whole: whole * MINUTE,
            watched: watched * MINUTE,
        };
        judge(1, silence, 10 * MINUTE, gaps).map(|finding| finding.wrong.is_some())
    }

    fn is_wrong(silent: u32, gaps: &[f64]) -> bool {
        judged(silent, silent, gaps).unwrap()
    }

    #[test]
    fn a_silence_that_nobody_has_watched_is_neither_wrong_nor_over() {
        assert_eq!(judged(600, 9, &[]), None);
        assert_eq!(judged(600, 10, &[]), Some(true));
        assert_eq!(judged(9, 0, &[]), Some(false));
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
