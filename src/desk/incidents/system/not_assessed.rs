//! Whether payments were decided without a score.

use tokio_postgres::{Client, Error};

use super::{Finding, Trouble};
use crate::desk::text::counted;

/// Payments without a score that a look at the scores has found, where the policy lets such
/// payments pass and no alert tells of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unscored {
    /// In this stream.
    pub(super) stream: i16,
    /// Of the last ten minutes, by when they were scored: event time stands still without payments.
    pub(super) payments: i64,
}

/// Looks at the alerts of the last ten minutes.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(client: &Client, seen: Unscored) -> Result<Vec<Finding>, Error> {
    let rows = client
        .query(
            "SELECT s.stream, (SELECT count(*) FROM fraud_alerts AS a
                               WHERE a.created_at > now() - interval '10 min' AND a.stream = s.stream
                                 AND a.score IS NULL AND a.origin = 0)
             FROM streams AS s ORDER BY s.stream",
            &[],
        )
        .await?;
    let mut findings = Vec::with_capacity(rows.len());
    for row in rows {
        let (stream, alerts): (i16, i64) = (row.try_get(0)?, row.try_get(1)?);
        let passed = if stream == seen.stream {
            seen.payments
        } else {
            0
        };
        let payments = alerts.max(passed);
        let finding = if payments == 0 {
            Finding::fine(Trouble::NotAssessed, stream)
        } else {
            let detail = format!(
                "{} of the last ten minutes had no score and were decided by the policy's fallback: the model's \
                 graph fails on them. The processor's log says why; vigie check tries the model",
                counted(payments.unsigned_abs(), "payment")
            );
            Finding::wrong(Trouble::NotAssessed, stream, detail)
        };
        findings.push(finding);
    }
    Ok(findings)
}
