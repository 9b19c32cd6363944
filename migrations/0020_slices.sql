-- Several sessions count at once, so that a report on a day that was just loaded does not wait for one processor: a
-- round is cut into slices, each counted by whoever takes it. And how payments find their labels is no longer left to
-- the planner, which could take minutes for an hour that it did not know yet. What is counted stays the same.
-- Locks: waits for a step of counting to end; a table is made and functions are replaced.

-- Slices of the rounds under way that are not counted yet: payments of a day from `lower` to before `upper`.
CREATE TABLE figures_slices (
    stream smallint    NOT NULL,
    day    date        NOT NULL,
    lower  timestamptz NOT NULL,
    upper  timestamptz NOT NULL,
    PRIMARY KEY (stream, day, lower)
);

COMMENT ON COLUMN figures_rounds.day IS 'the day that is cut into slices next; null: there is none';
COMMENT ON COLUMN figures_rounds.below IS 'payments of the day from here on are cut; null: no round is under way';

-- The key of the lock that whoever counts shares, and whoever begins, cuts or ends a round has alone.
CREATE FUNCTION figures_round_lock() RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$ SELECT hashtextextended('vigie figures in ' || current_schema, 0) $$;

-- The key of the lock of whoever's turn it is to add what was counted.
CREATE FUNCTION figures_turn_lock() RETURNS bigint
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$ SELECT hashtextextended('vigie figures in ' || current_schema, 1) $$;

-- A step that is under way, by the function that is replaced, is waited for.
SELECT pg_advisory_xact_lock(figures_round_lock());

-- Counts the payments of one day from `lower` to `upper` that lie between the positions; how many there are.
-- The day and the bounds are written into the statement: planned with them, it looks at no other day. Groups are
-- hashed: the planner, which cannot guess what the positions leave, would sort. Compiling takes longer than it saves.
-- Whoever counts at the same time adds to the same rows: they take turns, or would lock each other out.
-- Labels are looked up one by one where few payments are wanted or may be anywhere in the day, or else read beside the
-- payments of the same hour. Left to itself the planner would do worse than either: of hours that came after the last
-- ANALYZE it expects no row, and would compare all payments of the slice with all its labels (ten minutes an hour's
-- slice, seen with 200,000).
CREATE OR REPLACE FUNCTION figures_count(of_stream smallint, of_day date, lower timestamptz, upper timestamptz)
RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT SET jit = off SET enable_sort = off SET enable_nestloop = off
    SET work_mem = '64MB'
AS $$
DECLARE
    span         record;
    offsets      record;
    are_few      boolean;
    labels_are   text;
    looked_up    text;
    side_by_side text;
    found        bigint;
BEGIN
    SELECT max(p.partition) AS last, min(p.next_offset) AS lowest, max(p.to_offset) AS highest
    INTO span
    FROM figures_positions AS p WHERE p.stream = of_stream AND p.to_scored > p.scored;
    -- By the partition's number, null where nothing is to be counted: a table of them would mislead the planner.
    SELECT array_agg(p.next_offset ORDER BY n) AS first, array_agg(p.to_offset ORDER BY n) AS beyond
    INTO offsets
    FROM generate_series(0, span.last) AS n
    LEFT JOIN figures_positions AS p ON p.stream = of_stream AND p.partition = n AND p.to_scored > p.scored;
    SELECT r.wanted - r.counted < 50000 OR lower = '-infinity' INTO are_few
    FROM figures_rounds AS r WHERE r.stream = of_stream;
    labels_are := format($labels$
                l.event_day = DATE %1$L AND l.event_time >= %2$L AND l.event_time < %3$L AND l.source = 'payload'
                AND l.event_time = p.event_time AND l.trans_num = p.trans_num AND l.account = p.account
                AND l.stream = p.stream
    $labels$, of_day, lower, upper);
    looked_up := format('SELECT p.*, (SELECT l.label FROM labels AS l WHERE %s) AS label FROM fresh AS p', labels_are);
    side_by_side := format('SELECT p.*, l.label FROM fresh AS p LEFT JOIN labels AS l ON %s', labels_are);
    EXECUTE format($count$
        WITH fresh AS NOT MATERIALIZED (
            SELECT * FROM payments_scored AS p
            WHERE p.event_day = DATE %1$L AND p.event_time >= %2$L AND p.event_time < %3$L AND p.stream = %4$s
              AND p.source_partition <= %5$s AND p.source_offset >= %6$s AND p.source_offset < %7$s
              AND p.source_offset >= (%8$L::bigint[])[p.source_partition + 1]
              AND p.source_offset < (%9$L::bigint[])[p.source_partition + 1]
        ), sums AS MATERIALIZED (
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
                SELECT date_bin('1 hour', p.event_time, TIMESTAMPTZ '0001-01-01 00:00+00') AS hour,
                       coalesce(p.currency, '') AS currency,
                       (CASE WHEN p.score IS NULL THEN -1 ELSE least(floor(p.score * 20), 19) END)::smallint
                           AS score_bin,
                       coalesce(p.label::int, -1)::smallint AS label,
                       p.origin, p.origin = 2 AS canary, p.amount, coalesce(p.merchant, '') AS merchant,
                       coalesce(p.category, '') AS category, coalesce(p.country, '') AS country, p.decision,
                       ceil(20 * log(least(greatest(date_part('epoch', p.scored_at - p.event_time) * 1000, 1),
                                           1e15)))::smallint AS latency_bin
                FROM (%10$s) AS p
            ) AS payments
            GROUP BY GROUPING SETS (
                (hour, origin, decision, score_bin, label, currency), (hour, origin, latency_bin),
                (canary, merchant, currency), (canary, category, currency), (canary, country, currency))
        ), turn AS MATERIALIZED (
            SELECT pg_advisory_xact_lock(figures_turn_lock()) IS NOT NULL AS is_ours
            FROM (SELECT count(*) AS groups FROM sums) AS counted WHERE groups >= 0
        ), hourly AS (
            INSERT INTO figures_hourly AS h
                (hour, event_day, stream, origin, decision, score_bin, label, currency, payments, amount)
            SELECT hour, DATE %1$L, %4$s, origin, decision, score_bin, label, currency, payments, amount
            FROM sums WHERE is_hourly AND origin <> 2 AND (SELECT is_ours FROM turn)
            ON CONFLICT (hour, event_day, stream, origin, decision, score_bin, label, currency) DO UPDATE
            SET payments = h.payments + excluded.payments, amount = h.amount + excluded.amount
        ), daily AS (
            INSERT INTO figures_daily AS d
                (event_day, stream, dimension, value, currency, payments, amount, flagged, flagged_amount, blocked,
                 blocked_amount, labelled, fraud, fraud_amount, flagged_fraud)
            SELECT DATE %1$L, %4$s, dimension, coalesce(merchant, category, country), currency, payments, amount,
                   flagged, flagged_amount, blocked, blocked_amount, labelled, fraud, fraud_amount, flagged_fraud
            FROM sums WHERE dimension IS NOT NULL AND NOT canary AND (SELECT is_ours FROM turn)
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
                   count(*) FILTER (WHERE p.label), max(p.score)
            FROM (%11$s) AS p WHERE p.decision > 0 AND p.origin = 0 AND (SELECT is_ours FROM turn)
            GROUP BY 3, 4
            ON CONFLICT (event_day, stream, account, currency) DO UPDATE
            SET flagged = c.flagged + excluded.flagged, flagged_amount = c.flagged_amount + excluded.flagged_amount,
                blocked = c.blocked + excluded.blocked, blocked_amount = c.blocked_amount + excluded.blocked_amount,
                fraud = c.fraud + excluded.fraud, highest_score = greatest(c.highest_score, excluded.highest_score)
        ), latency AS (
            INSERT INTO figures_latency AS t (hour, event_day, stream, bin, payments)
            SELECT hour, DATE %1$L, %4$s, latency_bin, payments
            FROM sums WHERE is_latency AND origin = 0 AND (SELECT is_ours FROM turn)
            ON CONFLICT (hour, event_day, stream, bin) DO UPDATE SET payments = t.payments + excluded.payments
        )
        SELECT coalesce(sum(payments), 0) FROM sums WHERE is_hourly
    $count$, of_day, lower, upper, of_stream, span.last, span.lowest, span.highest, offsets.first, offsets.beyond,
        CASE WHEN are_few THEN looked_up ELSE side_by_side END, looked_up)
    INTO found;
    RETURN found;
END
$$;

-- Cuts a round's next slices. Payments are looked for from the newest backwards, so that late ones cost a search and
-- the others none. What is newer than the round before saw has payments to count for certain and is cut at once, as far
-- as many are wanted; of what is older, one slice: perhaps everything is found before the next.
CREATE FUNCTION figures_cut(of_stream smallint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
DECLARE
    round  figures_rounds;
    part   regclass;
    newest timestamptz;
    lower  timestamptz;
BEGIN
    SELECT * INTO round FROM figures_rounds AS r WHERE r.stream = of_stream;
    FOR n IN 1..least(48, 1 + (round.wanted - round.counted) / 50000) LOOP
        EXECUTE format('SELECT max(event_time) FROM payments_scored WHERE event_day = %L AND event_time < %L',
                       round.day, round.below) INTO newest;
        -- An hour at a time; what is new apart from what came late within the hour; a day at once where there is little
        -- of it, or when it is long past: few payments are expected there, and the index on positions finds them.
        part := to_regclass('payments_scored_' || to_char(round.day, 'YYYYMMDD'));
        lower := CASE
            WHEN newest IS NULL OR newest < round.since - INTERVAL '1 day' THEN '-infinity'
            WHEN newest >= round.since - INTERVAL '1 minute'
                THEN greatest(date_trunc('hour', newest, 'UTC'), round.since - INTERVAL '1 minute')
            WHEN pg_table_size(part) < 268435456 THEN '-infinity'
            ELSE date_trunc('hour', newest, 'UTC')
        END;
        IF newest IS NOT NULL THEN
            INSERT INTO figures_slices (stream, day, lower, upper) VALUES (of_stream, round.day, lower, round.below);
        END IF;
        IF lower = '-infinity' THEN
            round.day := figures_day_before(round.day);
            round.below := 'infinity';
        ELSE
            round.below := lower;
        END IF;
        EXIT WHEN round.day IS NULL OR lower <= round.since;
    END LOOP;
    UPDATE figures_rounds AS r SET day = round.day, below = round.below WHERE r.stream = of_stream;
END
$$;

-- Counts a slice that nobody else counts; false: there is none.
CREATE FUNCTION figures_take(of_stream smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    ours     figures_slices;
    payments bigint;
BEGIN
    SELECT * INTO ours FROM figures_slices AS s WHERE s.stream = of_stream
    ORDER BY s.day DESC, s.lower DESC LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(figures_round_lock());
    payments := figures_count(of_stream, ours.day, ours.lower, ours.upper);
    DELETE FROM figures_slices AS s WHERE s.stream = of_stream AND s.day = ours.day AND s.lower = ours.lower;
    UPDATE figures_rounds AS r SET counted = r.counted + payments WHERE r.stream = of_stream;
    RETURN true;
END
$$;

-- A step of the function that is replaced, begun before and delayed until after, must not end a round whose slices are
-- not counted: it finds these by their old names no more, and fails.
ALTER FUNCTION figures_begin RENAME TO figures_begin_round;
ALTER FUNCTION figures_end RENAME TO figures_end_round;

-- One step towards figures that hold everything that is committed: false while there is more to do. Exact, whoever
-- calls it, however many do, and wherever one is killed: a step is a transaction that counts a slice and notes that it
-- has, and a round ends when as many payments are counted as the offsets say were scored.
CREATE OR REPLACE FUNCTION figures_step(of_stream smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    round figures_rounds;
BEGIN
    IF figures_take(of_stream) THEN
        RETURN false;
    END IF;
    -- While anybody counts, no round is begun, cut or ended.
    PERFORM pg_advisory_xact_lock(figures_round_lock());
    IF EXISTS (SELECT FROM figures_slices AS s WHERE s.stream = of_stream) THEN
        RETURN false;
    END IF;
    SELECT * INTO round FROM figures_rounds AS r WHERE r.stream = of_stream AND r.below IS NOT NULL;
    IF NOT FOUND THEN
        IF NOT figures_begin_round(of_stream) THEN
            RETURN true;
        END IF;
        SELECT * INTO round FROM figures_rounds AS r WHERE r.stream = of_stream;
    END IF;
    IF round.counted < round.wanted AND round.day IS NOT NULL THEN
        PERFORM figures_cut(of_stream);
        RETURN false;
    END IF;
    PERFORM figures_end_round(of_stream);
    RETURN true;
END
$$;

REVOKE EXECUTE ON FUNCTION figures_round_lock, figures_turn_lock, figures_cut, figures_take FROM PUBLIC;
GRANT EXECUTE ON FUNCTION figures_take TO vigie_writer, vigie_desk;
GRANT SELECT ON figures_slices TO vigie_writer, vigie_desk;
