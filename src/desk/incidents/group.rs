//! Which incident an alert belongs to, in SQL: there may be thousands at once.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

use super::snoozed::snoozed;
use super::{MERCHANT_CHARS, seconds};
use crate::config::{GroupBy, IncidentsConfig};
use crate::engine::batch::Decision;
use crate::metrics::{self, IncidentKind, Severity};

/// What became of new alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Grouped {
    review: i64,
    block: i64,
    /// Incidents opened as warnings.
    warnings: u64,
    /// Incidents opened as critical, or risen to it.
    critical: u64,
}

impl Grouped {
    /// Says it to the metrics.
    pub(super) fn record(self) {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        metrics::alerts(Decision::Review, count(self.review));
        metrics::alerts(Decision::Block, count(self.block));
        let fraud = IncidentKind::Fraud;
        metrics::incidents(fraud, Severity::Warning, self.warnings);
        metrics::incidents(fraud, Severity::Critical, self.critical);
    }
}

/// What alerts of one incident share, as an expression over `fraud_alerts AS a`.
fn key(group_by: GroupBy) -> String {
    match group_by {
        GroupBy::Account => "encode(a.account, 'hex')".to_owned(),
        GroupBy::Merchant => format!("left(coalesce(a.merchant, ''), {MERCHANT_CHARS})"),
        GroupBy::Rule => {
            "coalesce(a.reasons[1], CASE a.decision WHEN 1 THEN 'review' ELSE 'block' END)"
                .to_owned()
        }
    }
}

/// The name of a way of grouping, as the database has it.
pub(super) fn name(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::Account => "account",
        GroupBy::Merchant => "merchant",
        GroupBy::Rule => "rule",
    }
}

/// The first `at_once` new alerts get their incidents, which count them, in one transaction.
///
/// # Errors
/// When the database fails; then no alert has got one.
pub(super) async fn assign(
    client: &mut Client,
    settings: &IncidentsConfig,
    at_once: i64,
) -> Result<Grouped, Error> {
    // Lanes go on storing alerts: every statement sees the same ones.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await?;
    let new = format!(
        "SELECT a.id, a.stream, {} AS key, a.created_at, a.decision, a.score, a.amount, a.currency
         FROM fraud_alerts AS a
         WHERE a.outbox_id IS NULL AND a.incident_id IS NULL AND a.origin = 0 ORDER BY a.id LIMIT {at_once}",
        key(settings.group_by)
    );
    let keys = format!("SELECT id, stream, key FROM ({new}) AS new");
    let alerts = transaction.query(&keys, &[]).await?;
    if alerts.is_empty() {
        return Ok(Grouped::default());
    }
    let (incidents, grouped) = count(&transaction, &new, settings).await?;
    stamp(&transaction, &alerts, &incidents).await?;
    transaction.commit().await?;
    Ok(grouped)
}

/// The group's key and stream, and its open incident.
type Incidents = HashMap<(String, i16), i64>;

/// Counts the new alerts in the incidents that are open, and opens the others.
async fn count(
    transaction: &Transaction<'_>,
    new: &str,
    settings: &IncidentsConfig,
) -> Result<(Incidents, Grouped), Error> {
    // Thousands of new incidents of which the planner knows nothing yet would be searched from end
    // to end for every alert.
    transaction
        .batch_execute("SET LOCAL enable_nestloop = off")
        .await?;
    let sums = format!(
        "SELECT key, stream, min(created_at) AS first, max(created_at) AS last, count(*) AS alerts,
                count(*) FILTER (WHERE decision = 1) AS review, count(*) FILTER (WHERE decision = 2) AS block,
                count(*) FILTER (WHERE score IS NULL) AS not_assessed, max(score) AS max_score,
                CASE WHEN bool_or(score >= $2::float8::real
                                  AND amount >= $3::bigint * power(10::numeric, coalesce(s.amount_scale, 0)))
                     THEN 'critical' ELSE 'warning' END AS severity
         FROM ({new}) AS new LEFT JOIN streams AS s USING (stream) GROUP BY key, stream"
    );
    let renew = format!(
        "UPDATE incidents AS i
         SET alerts = i.alerts + s.alerts, untold = i.untold + s.alerts, review = i.review + s.review,
             block = i.block + s.block, not_assessed = i.not_assessed + s.not_assessed,
             max_score = greatest(i.max_score, s.max_score), last_alert_at = greatest(i.last_alert_at, s.last),
             severity = CASE WHEN s.severity = 'critical' THEN 'critical' ELSE i.severity END
         FROM ({sums}) AS s
         WHERE i.group_key = s.key AND i.group_by = $1 AND i.stream = s.stream AND i.closed_at IS NULL
         RETURNING i.id, i.group_key, i.stream, i.severity = 'critical' AS is_critical,
                   (SELECT before.severity = 'critical' FROM incidents AS before WHERE before.id = i.id) AS was_critical"
    );
    let open = format!(
        "INSERT INTO incidents (kind, group_by, group_key, stream, severity, opened_at, last_alert_at, alerts, untold,
                                review, block, not_assessed, max_score)
         SELECT 'fraud', $1, key, stream, severity, first, last, alerts, alerts, review, block, not_assessed, max_score
         FROM ({sums}) AS s
         WHERE NOT EXISTS (SELECT FROM incidents AS i
                           WHERE i.group_key = s.key AND i.group_by = $1 AND i.stream = s.stream
                             AND i.closed_at IS NULL)
         RETURNING id, group_key, stream, severity = 'critical' AS is_critical, NULL::boolean AS was_critical"
    );
    let critical_amount = i64::try_from(settings.critical_amount).unwrap_or(i64::MAX);
    let group_by = name(settings.group_by);
    let mut incidents = Incidents::new();
    let mut grouped = Grouped::default();
    for statement in [renew, open] {
        let rows = transaction
            .query(
                &statement,
                &[&group_by, &settings.critical_score, &critical_amount],
            )
            .await?;
        for row in rows {
            let key = (row.try_get("group_key")?, row.try_get("stream")?);
            incidents.insert(key, row.try_get("id")?);
            match (row.try_get("was_critical")?, row.try_get("is_critical")?) {
                (None | Some(false), true) => grouped.critical += 1,
                (None, false) => grouped.warnings += 1,
                (Some(_), _) => {}
            }
        }
    }
    transaction
        .batch_execute("SET LOCAL enable_nestloop = on")
        .await?;
    let decisions = format!(
        "SELECT count(*) FILTER (WHERE decision = 1), count(*) FILTER (WHERE decision = 2) FROM ({new}) AS new"
    );
    let row = transaction.query_one(&decisions, &[]).await?;
    grouped.review = row.try_get(0)?;
    grouped.block = row.try_get(1)?;
    Ok((incidents, grouped))
}

/// Each alert names its incident, and the incidents' sums grow by it.
async fn stamp(
    transaction: &Transaction<'_>,
    alerts: &[Row],
    incidents: &Incidents,
) -> Result<(), Error> {
    let (mut ids, mut theirs) = (
        Vec::with_capacity(alerts.len()),
        Vec::with_capacity(alerts.len()),
    );
    for alert in alerts {
        let key: (String, i16) = (alert.try_get("key")?, alert.try_get("stream")?);
        if let Some(incident) = incidents.get(&key) {
            ids.push(alert.try_get::<_, i64>("id")?);
            theirs.push(*incident);
        }
    }
    transaction
        .execute(
            "WITH taken AS (
                 UPDATE fraud_alerts AS a SET incident_id = t.incident
                 FROM unnest($1::bigint[], $2::bigint[]) AS t (id, incident)
                 WHERE a.id = t.id
                 RETURNING a.incident_id, a.amount, a.currency
             )
             INSERT INTO incident_amounts AS m (incident_id, currency, alerts, amount)
             SELECT incident_id, coalesce(currency, ''), count(*), sum(amount) FROM taken GROUP BY 1, 2
             ON CONFLICT (incident_id, currency) DO UPDATE
             SET alerts = m.alerts + excluded.alerts, amount = m.amount + excluded.amount",
            &[&ids, &theirs],
        )
        .await?;
    Ok(())
}

/// Closes incidents of fraud that have had no alert for so long, once everything of them is told.
/// What is snoozed need not be: at most `at_once` alerts of such incidents are done with.
///
/// # Errors
/// When the database fails.
pub(super) async fn close_quiet(
    client: &Client,
    quiet: Duration,
    at_once: i64,
) -> Result<(), Error> {
    let quiet = seconds(quiet);
    let waiting = "SELECT EXISTS (
            SELECT FROM incidents
            WHERE kind = 'fraud' AND closed_at IS NULL AND untold > 0
              AND last_alert_at <= now() - make_interval(secs => $1))";
    if client.query_one(waiting, &[&quiet]).await?.try_get(0)? {
        silence(client, quiet, at_once).await?;
    }
    client
        .execute(
            "UPDATE incidents AS i SET closed_at = now()
             WHERE i.kind = 'fraud' AND i.closed_at IS NULL AND i.last_alert_at <= now() - make_interval(secs => $1)
               AND (i.untold = 0 OR NOT EXISTS (
                        SELECT FROM fraud_alerts AS a
                        WHERE a.incident_id = i.id AND a.outbox_id IS NULL AND a.silenced_at IS NULL))",
            &[&quiet],
        )
        .await?;
    Ok(())
}

/// Marks snoozed alerts of quiet incidents of which everything else is told.
async fn silence(client: &Client, quiet: f64, at_once: i64) -> Result<(), Error> {
    let snoozed = snoozed();
    let silence = format!(
        "UPDATE fraud_alerts SET silenced_at = now()
         WHERE id IN (
             SELECT u.id
             FROM incidents AS i
             JOIN fraud_alerts AS u ON u.incident_id = i.id AND u.outbox_id IS NULL AND u.silenced_at IS NULL
             WHERE i.kind = 'fraud' AND i.closed_at IS NULL AND i.untold > 0
               AND i.last_alert_at <= now() - make_interval(secs => $1)
               AND NOT EXISTS (SELECT FROM fraud_alerts AS a
                               WHERE a.incident_id = i.id AND a.outbox_id IS NULL AND a.silenced_at IS NULL
                                 AND NOT {snoozed})
             LIMIT $2)"
    );
    client.execute(&silence, &[&quiet, &at_once]).await?;
    Ok(())
}
