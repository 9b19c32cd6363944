//! The database against itself.

use tokio_postgres::{Error, Transaction};

use super::Check;

/// Every offset that was passed is counted in exactly one way.
const OFFSETS: &str = "\
    SELECT format('partition %s: %s scored + %s dead + %s duplicates + %s skipped is not %s - %s', \
                  partition, scored, dead, duplicates, skipped, next_offset, first_offset) \
    FROM stream_offsets \
    WHERE stream = $1 AND scored + dead + duplicates + skipped <> next_offset - first_offset";

/// As many rows as the counters say, at as many positions, all of them passed.
const PAYMENTS: &str = "\
    SELECT format('partition %s: %s scored, %s payments at %s positions from %s to %s, passed %s to %s', \
                  partition, o.scored, p.rows, p.positions, p.lowest, p.highest, \
                  o.first_offset, o.next_offset - 1) \
    FROM (SELECT * FROM stream_offsets WHERE stream = $1) AS o \
    FULL JOIN (SELECT source_partition AS partition, count(*) AS rows, \
                      count(DISTINCT source_offset) AS positions, \
                      min(source_offset) AS lowest, max(source_offset) AS highest \
               FROM payments_scored WHERE stream = $1 GROUP BY source_partition) AS p \
    USING (partition) \
    WHERE o.scored IS DISTINCT FROM coalesce(p.rows, 0) OR p.rows <> p.positions \
       OR p.lowest < o.first_offset OR p.highest >= o.next_offset";

const DEAD_LETTERS: &str = "\
    SELECT format('partition %s: %s dead, %s dead letters from %s to %s, passed %s to %s', \
                  partition, o.dead, d.rows, d.lowest, d.highest, \
                  o.first_offset, o.next_offset - 1) \
    FROM (SELECT * FROM stream_offsets WHERE stream = $1) AS o \
    FULL JOIN (SELECT source_partition AS partition, count(*) AS rows, \
                      min(source_offset) AS lowest, max(source_offset) AS highest \
               FROM dead_letters WHERE stream = $1 GROUP BY source_partition) AS d \
    USING (partition) \
    WHERE o.dead IS DISTINCT FROM coalesce(d.rows, 0) \
       OR d.lowest < o.first_offset OR d.highest >= o.next_offset";

const BOTH: &str = "\
    SELECT format('partition %s offset %s is a payment and a dead letter', \
                  source_partition, source_offset) \
    FROM payments_scored AS p JOIN dead_letters AS d USING (stream, source_partition, source_offset) \
    WHERE stream = $1";

/// One alert per payment that is not allowed, unless it was loaded from the past; and one per
/// canary, whatever was decided.
const ALERTS: &str = "\
    SELECT format('partition %s offset %s: %s', source_partition, source_offset, \
                  CASE WHEN a.id IS NULL THEN 'it raises an alert, but there is none' \
                       WHEN p.decision IS NULL THEN 'an alert, but no payment that raises one' \
                       ELSE 'the alert tells another payment' END) \
    FROM (SELECT * FROM payments_scored \
          WHERE stream = $1 AND (decision > 0 AND origin = 0 OR origin = 2)) AS p \
    FULL JOIN (SELECT * FROM fraud_alerts WHERE stream = $1) AS a \
    USING (source_partition, source_offset) \
    WHERE (p.trans_num, p.account, p.event_time, p.amount, p.score, p.decision, p.origin) \
          IS DISTINCT FROM \
          (a.trans_num, a.account, a.event_time, a.amount, a.score, a.decision, a.origin)";

/// An alert names one incident and one message at most, so what is left to see is that the other
/// side agrees: each incident counts its alerts, and each notice those that it told of.
const INCIDENTS: &str = "\
    SELECT format('incident %s counts %s alerts, %s of them untold, and told of %s; it has %s, %s untold', \
                  i.id, i.alerts, i.untold, n.alerts, a.alerts, a.untold) \
    FROM (SELECT * FROM incidents WHERE stream = $1 AND kind = 'fraud') AS i \
    FULL JOIN (SELECT incident_id AS id, count(*) AS alerts, count(*) FILTER (WHERE outbox_id IS NULL) AS untold \
               FROM fraud_alerts WHERE stream = $1 AND incident_id IS NOT NULL GROUP BY incident_id) AS a USING (id) \
    LEFT JOIN (SELECT incident_id AS id, sum(alerts) AS alerts \
               FROM notice_incidents GROUP BY incident_id) AS n USING (id) \
    WHERE (i.alerts, i.untold, i.alerts - i.untold) \
          IS DISTINCT FROM (coalesce(a.alerts, 0), coalesce(a.untold, 0), coalesce(n.alerts, 0)) \
    UNION ALL \
    SELECT format('alert %s is said to be told by the message %s, which does not tell of its incident', \
                  a.id, a.outbox_id) \
    FROM fraud_alerts AS a JOIN outbox AS o ON o.id = a.outbox_id \
    LEFT JOIN notice_incidents AS n ON n.notice_id = o.notice_id AND n.incident_id = a.incident_id \
    WHERE a.stream = $1 AND a.incident_id IS NOT NULL AND n.notice_id IS NULL";

/// Messages from before there were incidents name their alerts themselves.
const PENDING: &str = "\
    SELECT format('alert %s (partition %s offset %s) is in no incident yet', \
                  id, source_partition, source_offset) \
    FROM fraud_alerts WHERE stream = $1 AND origin = 0 AND outbox_id IS NULL AND incident_id IS NULL";

/// The figures that the checks tell.
const FIGURES: &str = "\
    SELECT count(*), coalesce(sum(next_offset - first_offset), 0)::bigint, \
           coalesce(sum(scored), 0)::bigint, coalesce(sum(dead), 0)::bigint, \
           coalesce(sum(duplicates), 0)::bigint, coalesce(sum(skipped), 0)::bigint, \
           (SELECT count(*) FROM fraud_alerts WHERE stream = $1), \
           (SELECT count(*) FROM fraud_alerts \
            WHERE stream = $1 AND origin = 0 AND outbox_id IS NULL AND incident_id IS NULL), \
           (SELECT count(*) FROM incidents WHERE stream = $1 AND kind = 'fraud'), \
           (SELECT coalesce(sum(untold), 0)::bigint FROM incidents WHERE stream = $1) \
    FROM stream_offsets WHERE stream = $1";

/// Compares counters, rows, dead letters, alerts, incidents and notices.
pub(super) async fn checks(
    snapshot: &Transaction<'_>,
    stream: i16,
    settled: bool,
) -> Result<Vec<Check>, Error> {
    let figures = snapshot.query_one(FIGURES, &[&stream]).await?;
    let figure = |column: usize| figures.try_get::<_, i64>(column);
    let (partitions, consumed) = (figure(0)?, figure(1)?);
    let (scored, dead, duplicates, skipped) = (figure(2)?, figure(3)?, figure(4)?, figure(5)?);
    let (alerts, pending, incidents, untold) = (figure(6)?, figure(7)?, figure(8)?, figure(9)?);
    let mut checks = Vec::new();
    let mut check = async |name, query: &str, summary: String| -> Result<(), Error> {
        checks.push(Check::of_stream(snapshot, stream, name, query, summary).await?);
        Ok(())
    };
    let sum = format!(
        "{partitions} partitions: {scored} scored + {dead} dead + {duplicates} duplicates + \
         {skipped} skipped = {consumed} offsets consumed"
    );
    check("offsets", OFFSETS, sum).await?;
    let rows = format!("{scored} payments stored, one per position");
    check("payments", PAYMENTS, rows).await?;
    let letters = format!("{dead} dead letters stored");
    check("dead letters", DEAD_LETTERS, letters).await?;
    let one = "no position is both a payment and a dead letter";
    check("one place", BOTH, one.into()).await?;
    let told = format!("{alerts} alerts, one per payment that raises one");
    check("alerts", ALERTS, told).await?;
    let taken = format!(
        "{incidents} incidents, {pending} alerts wait for theirs; {untold} alerts of incidents are untold"
    );
    check("incidents", INCIDENTS, taken).await?;
    if settled {
        check("settled", PENDING, "no alert waits for its incident".into()).await?;
    }
    Ok(checks)
}
