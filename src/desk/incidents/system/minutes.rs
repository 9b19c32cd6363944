//! What each stream does in a minute, kept for a week: what is usual is learned from it, and a
//! restart of the process that notifies forgets nothing.

use tokio_postgres::{Client, Error};

/// Adds what the streams' counters have grown by to this minute's rows. Our own canaries are no
/// payments: those since a minute before the last look are counted, less those counted then, so
/// that none is missed whose transaction was under way at the last look.
const NOTE: &str = "\
    INSERT INTO stream_minutes AS m (stream, slot, minute, looked_at, scored_total, records_total, dead_total, \
                                     canaries, payments, records, dead, quiet_until, paid_at) \
    SELECT stream, extract(epoch FROM date_trunc('minute', now()))::bigint / 60 % 10080, \
           date_trunc('minute', now()), now(), scored_total, records_total, dead_total, canaries, payments, \
           records, dead, CASE WHEN payments > 0 THEN before END, CASE WHEN payments > 0 THEN now() END \
    FROM ( \
        SELECT o.stream, o.scored_total, o.records_total, o.dead_total, before.looked_at AS before, \
               (SELECT count(*) FROM fraud_alerts AS a \
                WHERE a.stream = o.stream AND a.origin = 2 AND a.created_at > now() - interval '1 min') AS canaries, \
               coalesce(greatest(0, o.scored_total - before.scored_total - ( \
                   SELECT count(*) - before.canaries FROM fraud_alerts AS a \
                   WHERE a.stream = o.stream AND a.origin = 2 \
                     AND a.created_at > before.looked_at - interval '1 min')), 0) AS payments, \
               coalesce(greatest(0, o.records_total - before.records_total), 0) AS records, \
               coalesce(greatest(0, o.dead_total - before.dead_total), 0) AS dead \
        FROM (SELECT stream, sum(scored)::bigint AS scored_total, sum(scored + dead + duplicates)::bigint AS records_total, \
                     sum(dead)::bigint AS dead_total \
              FROM stream_offsets GROUP BY stream) AS o \
        LEFT JOIN LATERAL (SELECT * FROM stream_minutes AS s WHERE s.stream = o.stream \
                           ORDER BY s.minute DESC LIMIT 1) AS before ON true \
    ) AS grown \
    ON CONFLICT (stream, slot) DO UPDATE \
    SET minute = excluded.minute, looked_at = excluded.looked_at, scored_total = excluded.scored_total, \
        records_total = excluded.records_total, dead_total = excluded.dead_total, canaries = excluded.canaries, \
        payments = excluded.payments + CASE WHEN m.minute = excluded.minute THEN m.payments ELSE 0 END, \
        records = excluded.records + CASE WHEN m.minute = excluded.minute THEN m.records ELSE 0 END, \
        dead = excluded.dead + CASE WHEN m.minute = excluded.minute THEN m.dead ELSE 0 END, \
        quiet_until = CASE WHEN m.minute = excluded.minute THEN coalesce(m.quiet_until, excluded.quiet_until) \
                           ELSE excluded.quiet_until END, \
        paid_at = coalesce(excluded.paid_at, CASE WHEN m.minute = excluded.minute THEN m.paid_at END)";

/// Notes what every stream has done since the last look.
///
/// # Errors
/// When the database fails.
pub(super) async fn note(client: &Client) -> Result<(), Error> {
    client.execute(NOTE, &[]).await?;
    Ok(())
}
