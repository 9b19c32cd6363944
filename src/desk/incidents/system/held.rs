//! Which partitions are held.

use tokio_postgres::{Client, Error};

use super::{Finding, Trouble, Wrong};

/// Partitions that are named; the others are counted.
const NAMED: i64 = 5;

/// Looks at every stream.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(client: &Client) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT stream, count(held), string_agg(partition::text, ', ' ORDER BY partition) FILTER (WHERE held IS NOT NULL),
                    (SELECT string_agg(format('%s (%s)', partition, held), '; ' ORDER BY partition)
                     FROM (SELECT partition, held FROM stream_offsets AS h
                           WHERE h.stream = o.stream AND held IS NOT NULL ORDER BY partition LIMIT $1) AS named)
             FROM stream_offsets AS o GROUP BY stream ORDER BY stream",
            &[&NAMED],
        )
        .await?;
    let mut findings = Vec::with_capacity(rows.len());
    for row in rows {
        let stream: i16 = row.try_get(0)?;
        let held: i64 = row.try_get(1)?;
        let (subject, named): (Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
        let wrong = subject.zip(named).map(|(subject, named)| {
            let more = match held - NAMED {
                more if more > 0 => format!("; and {more} more"),
                _ => String::new(),
            };
            Wrong {
                subject,
                detail: format!(
                    "nothing is read from partition {named}{more} until a person lets it go on: \
                     vigie offsets show, vigie offsets release --partition N --why \"…\""
                ),
            }
        });
        findings.push(Finding {
            trouble: Trouble::Held,
            stream,
            wrong,
        });
    }
    Ok(findings)
}
