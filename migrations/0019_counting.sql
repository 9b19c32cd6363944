-- Counting a slice of payments takes a fifth less: one pass groups it every way at once, where the payments were laid
-- down first and read four times; flagged ones are found by their own index. What is counted stays the same.
-- Locks: nothing; a function is replaced.

-- Counts the payments of one day from `lower` to `upper` that lie between the positions; how many there are.
-- The day and the bounds are written into the statement: planned with them, it looks at no other day. Groups are
-- hashed: the planner, which cannot guess what the positions leave, would sort. Compiling takes longer than it saves.
CREATE OR REPLACE FUNCTION figures_count(of_stream smallint, of_day date, lower timestamptz, upper timestamptz)
RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT SET jit = off SET enable_sort = off SET work_mem = '64MB'
AS $$
DECLARE
    span    record;
    offsets record;
    found   bigint;
BEGIN
    SELECT max(p.partition) AS last, min(p.next_offset) AS lowest, max(p.to_offset) AS highest
    INTO span
    FROM figures_positions AS p WHERE p.stream = of_stream AND p.to_scored > p.scored;
    -- By the partition's number, null where nothing is to be counted: a table of them would mislead the planner.
    SELECT array_agg(p.next_offset ORDER BY n) AS first, array_agg(p.to_offset ORDER BY n) AS beyond
    INTO offsets
    FROM generate_series(0, span.last) AS n
    LEFT JOIN figures_positions AS p ON p.stream = of_stream AND p.partition = n AND p.to_scored > p.scored;
    EXECUTE format($count$
        WITH sums AS MATERIALIZED (
            SELECT hour, origin, canary, decision, score_bin, label, currency, merchant, category, country, latency_bin,
                   grouping(score_bin) = 0 AS is_hourly, grouping(latency_bin) = 0 AS is_latency,
                   CASE WHEN grouping(merchant) = 0 THEN 'merchant'
                        WHEN grouping(category) = 0 THEN 'category'
                        WHEN grouping(country) = 0 THEN 'country' END AS dimension,
                   count(*) AS payments, sum(amount) AS amount,
                   count(*) FILTER (WHERE decision > 0) AS flagged,
                   coalesce(sum(amount) FILTER (WHERE decision > 0), 0) AS flagged_amount,
                   count(*) FILTER (WHERE decision = 2) AS blocked,
                   coalesce(sum(amount) FILTER (WHERE decision = 2), 0) AS blocked_amount,
                   count(*) FILTER (WHERE label >= 0) AS labelled,
                   count(*) FILTER (WHERE label = 1) AS fraud,
                   coalesce(sum(amount) FILTER (WHERE label = 1), 0) AS fraud_amount,
                   count(*) FILTER (WHERE label = 1 AND decision > 0) AS flagged_fraud
            FROM (
                SELECT date_trunc('hour', p.event_time, 'UTC') AS hour, coalesce(p.currency, '') AS currency,
                       (CASE WHEN p.score IS NULL THEN -1 ELSE least(floor(p.score * 20), 19) END)::smallint
                           AS score_bin,
                       (CASE WHEN l.label IS NULL THEN -1 WHEN l.label THEN 1 ELSE 0 END)::smallint AS label,
                       p.origin, p.origin = 2 AS canary, p.amount, coalesce(p.merchant, '') AS merchant,
                       coalesce(p.category, '') AS category, coalesce(p.country, '') AS country, p.decision,
                       ceil(20 * log(least(greatest(date_part('epoch', p.scored_at - p.event_time) * 1000, 1),
                                           1e15)))::smallint AS latency_bin
                FROM payments_scored AS p
                LEFT JOIN labels AS l
                  ON l.event_day = DATE %1$L AND l.event_time >= %2$L AND l.event_time < %3$L AND l.source = 'payload'
                 AND l.event_time = p.event_time AND l.trans_num = p.trans_num AND l.account = p.account
                 AND l.stream = p.stream
                WHERE p.event_day = DATE %1$L AND p.event_time >= %2$L AND p.event_time < %3$L AND p.stream = %4$s
                  AND p.source_partition <= %5$s AND p.source_offset >= %6$s AND p.source_offset < %7$s
                  AND p.source_offset >= (%8$L::bigint[])[p.source_partition + 1]
                  AND p.source_offset < (%9$L::bigint[])[p.source_partition + 1]
            ) AS fresh
            GROUP BY GROUPING SETS (
                (hour, origin, decision, score_bin, label, currency), (hour, origin, latency_bin),
                (canary, merchant, currency), (canary, category, currency), (canary, country, currency))
        ), hourly AS (
            INSERT INTO figures_hourly AS h
                (hour, event_day, stream, origin, decision, score_bin, label, currency, payments, amount)
            SELECT hour, DATE %1$L, %4$s, origin, decision, score_bin, label, currency, payments, amount
            FROM sums WHERE is_hourly AND origin <> 2
            ON CONFLICT (hour, event_day, stream, origin, decision, score_bin, label, currency) DO UPDATE
            SET payments = h.payments + excluded.payments, amount = h.amount + excluded.amount
        ), daily AS (
            INSERT INTO figures_daily AS d
                (event_day, stream, dimension, value, currency, payments, amount, flagged, flagged_amount, blocked,
                 blocked_amount, labelled, fraud, fraud_amount, flagged_fraud)
            SELECT DATE %1$L, %4$s, dimension, coalesce(merchant, category, country), currency, payments, amount,
                   flagged, flagged_amount, blocked, blocked_amount, labelled, fraud, fraud_amount, flagged_fraud
            FROM sums WHERE dimension IS NOT NULL AND NOT canary
            ON CONFLICT (event_day, dimension, stream, value, currency) DO UPDATE
            SET payments = d.payments + excluded.payments, amount = d.amount + excluded.amount,
                flagged = d.flagged + excluded.flagged, flagged_amount = d.flagged_amount + excluded.flagged_amount,
                blocked = d.blocked + excluded.blocked, blocked_amount = d.blocked_amount + excluded.blocked_amount,
                labelled = d.labelled + excluded.labelled, fraud = d.fraud + excluded.fraud,
                fraud_amount = d.fraud_amount + excluded.fraud_amount,
                flagged_fraud = d.flagged_fraud + excluded.flagged_fraud
        ), customers AS (
            INSERT INTO figures_customers AS c
                (event_day, stream, account, currency, flagged, flagged_amount, blocked, blocked_amount, fraud,
                 highest_score)
            SELECT DATE %1$L, %4$s, p.account, coalesce(p.currency, ''), count(*), sum(p.amount),
                   count(*) FILTER (WHERE p.decision = 2), coalesce(sum(p.amount) FILTER (WHERE p.decision = 2), 0),
                   count(*) FILTER (WHERE l.label), max(p.score)
            FROM payments_scored AS p
            LEFT JOIN labels AS l
              ON l.event_day = DATE %1$L AND l.event_time >= %2$L AND l.event_time < %3$L AND l.source = 'payload'
             AND l.event_time = p.event_time AND l.trans_num = p.trans_num AND l.account = p.account
             AND l.stream = p.stream
            WHERE p.event_day = DATE %1$L AND p.event_time >= %2$L AND p.event_time < %3$L AND p.stream = %4$s
              AND p.source_partition <= %5$s AND p.source_offset >= %6$s AND p.source_offset < %7$s
              AND p.source_offset >= (%8$L::bigint[])[p.source_partition + 1]
              AND p.source_offset < (%9$L::bigint[])[p.source_partition + 1]
              AND p.decision > 0 AND p.origin = 0
            GROUP BY 3, 4
            ON CONFLICT (event_day, stream, account, currency) DO UPDATE
            SET flagged = c.flagged + excluded.flagged, flagged_amount = c.flagged_amount + excluded.flagged_amount,
                blocked = c.blocked + excluded.blocked, blocked_amount = c.blocked_amount + excluded.blocked_amount,
                fraud = c.fraud + excluded.fraud, highest_score = greatest(c.highest_score, excluded.highest_score)
        ), latency AS (
            INSERT INTO figures_latency AS t (hour, event_day, stream, bin, payments)
            SELECT hour, DATE %1$L, %4$s, latency_bin, payments FROM sums WHERE is_latency AND origin = 0
            ON CONFLICT (hour, event_day, stream, bin) DO UPDATE SET payments = t.payments + excluded.payments
        )
        SELECT coalesce(sum(payments), 0) FROM sums WHERE is_hourly
    $count$, of_day, lower, upper, of_stream, span.last, span.lowest, span.highest, offsets.first, offsets.beyond)
    INTO found;
    RETURN found;
END
$$;
