-- The figures that people look at: counted beside the stream, an hour and a day at a time, and the views on them.
-- Locks: fraud_alerts against writers while its index is made (it has a row for every alert there ever was); otherwise
-- nothing that exists; only new tables.

-- What counts. The canary (origin 2) is in no figure. Backfilled payments (origin 1) are payments: they are counted with
-- their amounts, decisions and labels. But nobody was alerted of them, and nothing was done: they are no alerts, they are
-- not in the list of flagged payments, expose no customer, and say nothing about latency.
-- An empty text in a key is "not known", since a key holds no null; views show null.

-- How far the figures are: everything before next_offset is in them. A round goes on until to_offset.
CREATE TABLE figures_positions (
    stream        smallint    NOT NULL,
    partition     integer     NOT NULL,
    next_offset   bigint      NOT NULL,
    scored        bigint      NOT NULL DEFAULT 0,
    dead          bigint      NOT NULL DEFAULT 0,
    duplicates    bigint      NOT NULL DEFAULT 0,
    skipped       bigint      NOT NULL DEFAULT 0,
    watermark     timestamptz,
    to_offset     bigint      NOT NULL,
    to_scored     bigint      NOT NULL,
    to_dead       bigint      NOT NULL,
    to_duplicates bigint      NOT NULL,
    to_skipped    bigint      NOT NULL,
    to_watermark  timestamptz,
    to_moved_at   timestamptz NOT NULL,
    PRIMARY KEY (stream, partition)
);

-- The round under way, slice by slice from the newest payment backwards, and the last that was finished.
CREATE TABLE figures_rounds (
    stream      smallint    PRIMARY KEY,
    day         date,
    below       timestamptz,
    since       timestamptz,
    wanted      bigint      NOT NULL DEFAULT 0,
    counted     bigint      NOT NULL DEFAULT 0,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    complete_at timestamptz,
    missing     bigint      NOT NULL DEFAULT 0
);

COMMENT ON COLUMN figures_rounds.day IS 'the day that is being counted; null: no round is under way';
COMMENT ON COLUMN figures_rounds.below IS 'payments of the day from here on are counted';
COMMENT ON COLUMN figures_rounds.since IS 'lowest watermark of the round before: what is older came late';
COMMENT ON COLUMN figures_rounds.wanted IS 'payments between the positions, by the counters of stream_offsets';
COMMENT ON COLUMN figures_rounds.complete_at IS 'everything committed before is in the figures';
COMMENT ON COLUMN figures_rounds.missing IS 'payments that were removed before they were counted';

-- Half-empty pages: the newest hours are counted up over and over.
CREATE TABLE figures_hourly (
    hour      timestamptz NOT NULL,
    event_day date        NOT NULL,
    stream    smallint    NOT NULL,
    origin    smallint    NOT NULL,
    decision  smallint    NOT NULL,
    score_bin smallint    NOT NULL,
    label     smallint    NOT NULL,
    currency  text        NOT NULL,
    payments  bigint      NOT NULL,
    amount    numeric     NOT NULL,
    PRIMARY KEY (hour, event_day, stream, origin, decision, score_bin, label, currency)
) WITH (fillfactor = 60);

COMMENT ON COLUMN figures_hourly.score_bin IS '0 to 19: scores from bin / 20 on; -1 not assessed';
COMMENT ON COLUMN figures_hourly.label IS '1 fraud, 0 genuine, -1 not known';
COMMENT ON COLUMN figures_hourly.amount IS 'minor units';

CREATE INDEX figures_hourly_day ON figures_hourly (event_day);

-- By merchant, category and country.
CREATE TABLE figures_daily (
    event_day      date     NOT NULL,
    stream         smallint NOT NULL,
    dimension      text     NOT NULL CHECK (dimension IN ('merchant', 'category', 'country')),
    value          text     NOT NULL,
    currency       text     NOT NULL,
    payments       bigint   NOT NULL,
    amount         numeric  NOT NULL,
    flagged        bigint   NOT NULL,
    flagged_amount numeric  NOT NULL,
    blocked        bigint   NOT NULL,
    blocked_amount numeric  NOT NULL,
    labelled       bigint   NOT NULL,
    fraud          bigint   NOT NULL,
    fraud_amount   numeric  NOT NULL,
    flagged_fraud  bigint   NOT NULL,
    PRIMARY KEY (event_day, dimension, stream, value, currency)
) WITH (fillfactor = 60);

COMMENT ON COLUMN figures_daily.flagged IS 'not allowed: for review or blocked';
COMMENT ON COLUMN figures_daily.flagged_fraud IS 'flagged, and labelled as fraud';

-- Accounts with an alert; the others are not worth a row.
CREATE TABLE figures_customers (
    event_day      date     NOT NULL,
    stream         smallint NOT NULL,
    account        bytea    NOT NULL,
    currency       text     NOT NULL,
    flagged        bigint   NOT NULL,
    flagged_amount numeric  NOT NULL,
    blocked        bigint   NOT NULL,
    blocked_amount numeric  NOT NULL,
    fraud          bigint   NOT NULL,
    highest_score  real,
    PRIMARY KEY (event_day, stream, account, currency)
) WITH (fillfactor = 60);

-- From the payment's event time to the beginning of the transaction that stored it, in steps of a twentieth of a decade.
CREATE TABLE figures_latency (
    hour      timestamptz NOT NULL,
    event_day date        NOT NULL,
    stream    smallint    NOT NULL,
    bin       smallint    NOT NULL,
    payments  bigint      NOT NULL,
    PRIMARY KEY (hour, event_day, stream, bin)
) WITH (fillfactor = 60);

COMMENT ON COLUMN figures_latency.bin IS 'at most 10 ^ (bin / 20) milliseconds, and more than the bin before';

CREATE INDEX figures_latency_day ON figures_latency (event_day);

-- What was consumed, by the day on which it was: partitions have counters, not days, so that what was read around
-- midnight belongs to the day on which its round ended.
CREATE TABLE figures_consumed (
    day        date     NOT NULL,
    stream     smallint NOT NULL,
    consumed   bigint   NOT NULL,
    scored     bigint   NOT NULL,
    dead       bigint   NOT NULL,
    duplicates bigint   NOT NULL,
    skipped    bigint   NOT NULL,
    PRIMARY KEY (day, stream)
);

-- Dead letters by the day on which they were stored.
CREATE TABLE figures_dead_letters (
    day     date     NOT NULL,
    stream  smallint NOT NULL,
    reason  text     NOT NULL,
    letters bigint   NOT NULL,
    PRIMARY KEY (day, stream, reason)
);

-- Days whose report was sent without being asked for; the key is what makes it one for each.
CREATE TABLE reports (
    day       date        NOT NULL,
    stream    smallint    NOT NULL,
    notice_id bigint      NOT NULL REFERENCES notices,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, stream)
);

-- A flagged payment is looked for by its time.
CREATE INDEX fraud_alerts_time ON fraud_alerts (event_time);

-- The newest day before this one that has a partition.
CREATE FUNCTION figures_day_before(day date) RETURNS date
LANGUAGE sql STABLE SET search_path FROM CURRENT
AS $$
    SELECT max(to_date(right(c.relname, 8), 'YYYYMMDD'))
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'payments_scored'::regclass AND right(c.relname, 8) < to_char(day, 'YYYYMMDD')
$$;

-- Fixes how far a round goes: to what is committed now. False: there is nothing to count.
CREATE FUNCTION figures_begin(of_stream smallint) RETURNS boolean
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
DECLARE
    zone  text;
    fresh record;
BEGIN
    SELECT s.business_zone INTO zone FROM streams AS s WHERE s.stream = of_stream;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO figures_positions AS p
        (stream, partition, next_offset, to_offset, to_scored, to_dead, to_duplicates, to_skipped, to_watermark,
         to_moved_at)
    SELECT o.stream, o.partition, o.first_offset, o.next_offset, o.scored, o.dead, o.duplicates, o.skipped,
           o.watermark, o.moved_at
    FROM stream_offsets AS o WHERE o.stream = of_stream
    ON CONFLICT (stream, partition) DO UPDATE
    SET to_offset = excluded.to_offset, to_scored = excluded.to_scored, to_dead = excluded.to_dead,
        to_duplicates = excluded.to_duplicates, to_skipped = excluded.to_skipped,
        to_watermark = excluded.to_watermark, to_moved_at = excluded.to_moved_at
    WHERE p.to_offset < excluded.to_offset;
    SELECT coalesce(sum(p.to_scored - p.scored), 0) AS wanted, max(p.to_watermark) AS newest,
           CASE WHEN bool_and(p.watermark IS NOT NULL) THEN min(p.watermark) END AS since
    INTO fresh
    FROM figures_positions AS p WHERE p.stream = of_stream AND p.to_scored > p.scored;
    INSERT INTO figures_rounds AS r (stream, day, below, since, wanted)
    VALUES (of_stream, figures_day_before((fresh.newest AT TIME ZONE zone)::date + 1), 'infinity', fresh.since,
            fresh.wanted)
    ON CONFLICT (stream) DO UPDATE
    SET day = excluded.day, below = excluded.below, since = excluded.since, wanted = excluded.wanted, counted = 0,
        begun_at = now();
    RETURN true;
END
$$;

-- Counts the payments of one day from `lower` to `upper` that lie between the positions; how many there are.
-- The day and the bounds are written into the statement: planned with them, it looks at no other day.
CREATE FUNCTION figures_count(of_stream smallint, of_day date, lower timestamptz, upper timestamptz) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT
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
        WITH fresh AS MATERIALIZED (
            SELECT date_trunc('hour', p.event_time, 'UTC') AS hour, coalesce(p.currency, '') AS currency, p.decision,
                   (CASE WHEN p.score IS NULL THEN -1 ELSE least(floor(p.score * 20), 19) END)::smallint AS score_bin,
                   (CASE WHEN l.label IS NULL THEN -1 WHEN l.label THEN 1 ELSE 0 END)::smallint AS label,
                   p.origin, p.amount, coalesce(p.merchant, '') AS merchant, coalesce(p.category, '') AS category,
                   coalesce(p.country, '') AS country, p.account, p.score,
                   ceil(20 * log(least(greatest(extract(epoch FROM p.scored_at - p.event_time)::float8 * 1000, 1),
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
        ), payments AS (
            SELECT * FROM fresh WHERE origin <> 2
        ), hourly AS (
            INSERT INTO figures_hourly AS h
                (hour, event_day, stream, origin, decision, score_bin, label, currency, payments, amount)
            SELECT hour, DATE %1$L, %4$s, origin, decision, score_bin, label, currency, count(*), sum(amount)
            FROM payments GROUP BY hour, origin, decision, score_bin, label, currency
            ON CONFLICT (hour, event_day, stream, origin, decision, score_bin, label, currency) DO UPDATE
            SET payments = h.payments + excluded.payments, amount = h.amount + excluded.amount
        ), daily AS (
            INSERT INTO figures_daily AS d
                (event_day, stream, dimension, value, currency, payments, amount, flagged, flagged_amount, blocked,
                 blocked_amount, labelled, fraud, fraud_amount, flagged_fraud)
            SELECT DATE %1$L, %4$s, v.dimension, v.value, p.currency, count(*), sum(p.amount),
                   count(*) FILTER (WHERE p.decision > 0), coalesce(sum(p.amount) FILTER (WHERE p.decision > 0), 0),
                   count(*) FILTER (WHERE p.decision = 2), coalesce(sum(p.amount) FILTER (WHERE p.decision = 2), 0),
                   count(*) FILTER (WHERE p.label >= 0),
                   count(*) FILTER (WHERE p.label = 1), coalesce(sum(p.amount) FILTER (WHERE p.label = 1), 0),
                   count(*) FILTER (WHERE p.label = 1 AND p.decision > 0)
            FROM payments AS p,
                 LATERAL (VALUES ('merchant', p.merchant), ('category', p.category), ('country', p.country))
                     AS v (dimension, value)
            GROUP BY v.dimension, v.value, p.currency
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
            SELECT DATE %1$L, %4$s, account, currency, count(*), sum(amount), count(*) FILTER (WHERE decision = 2),
                   coalesce(sum(amount) FILTER (WHERE decision = 2), 0), count(*) FILTER (WHERE label = 1), max(score)
            FROM payments WHERE decision > 0 AND origin = 0 GROUP BY account, currency
            ON CONFLICT (event_day, stream, account, currency) DO UPDATE
            SET flagged = c.flagged + excluded.flagged, flagged_amount = c.flagged_amount + excluded.flagged_amount,
                blocked = c.blocked + excluded.blocked, blocked_amount = c.blocked_amount + excluded.blocked_amount,
                fraud = c.fraud + excluded.fraud, highest_score = greatest(c.highest_score, excluded.highest_score)
        ), latency AS (
            INSERT INTO figures_latency AS t (hour, event_day, stream, bin, payments)
            SELECT hour, DATE %1$L, %4$s, latency_bin, count(*) FROM payments WHERE origin = 0 GROUP BY hour, latency_bin
            ON CONFLICT (hour, event_day, stream, bin) DO UPDATE SET payments = t.payments + excluded.payments
        )
        SELECT count(*) FROM fresh
    $count$, of_day, lower, upper, of_stream, span.last, span.lowest, span.highest, offsets.first, offsets.beyond)
    INTO found;
    RETURN found;
END
$$;

-- Ends a round: its positions are those of the figures from here on. Dead letters are counted here, by their key.
CREATE FUNCTION figures_end(of_stream smallint) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT
AS $$
DECLARE
    zone text;
BEGIN
    SELECT s.business_zone INTO zone FROM streams AS s WHERE s.stream = of_stream;
    INSERT INTO figures_dead_letters AS f (day, stream, reason, letters)
    SELECT (d.at AT TIME ZONE zone)::date AS on_day, of_stream, d.reason, count(*)
    FROM figures_positions AS p
    JOIN dead_letters AS d
      ON d.stream = p.stream AND d.source_partition = p.partition
     AND d.source_offset >= p.next_offset AND d.source_offset < p.to_offset
    WHERE p.stream = of_stream AND p.to_dead > p.dead
    GROUP BY on_day, d.reason
    ON CONFLICT (day, stream, reason) DO UPDATE SET letters = f.letters + excluded.letters;
    INSERT INTO figures_consumed AS f (day, stream, consumed, scored, dead, duplicates, skipped)
    SELECT (p.to_moved_at AT TIME ZONE zone)::date AS on_day, of_stream, sum(p.to_offset - p.next_offset),
           sum(p.to_scored - p.scored), sum(p.to_dead - p.dead), sum(p.to_duplicates - p.duplicates), sum(p.to_skipped - p.skipped)
    FROM figures_positions AS p WHERE p.stream = of_stream AND p.to_offset > p.next_offset
    GROUP BY on_day
    ON CONFLICT (day, stream) DO UPDATE
    SET consumed = f.consumed + excluded.consumed, scored = f.scored + excluded.scored, dead = f.dead + excluded.dead,
        duplicates = f.duplicates + excluded.duplicates, skipped = f.skipped + excluded.skipped;
    UPDATE figures_positions AS p
    SET next_offset = p.to_offset, scored = p.to_scored, dead = p.to_dead, duplicates = p.to_duplicates,
        skipped = p.to_skipped, watermark = p.to_watermark
    WHERE p.stream = of_stream AND p.next_offset < p.to_offset;
    UPDATE figures_rounds AS r
    SET day = NULL, below = NULL, complete_at = r.begun_at, missing = r.missing + greatest(r.wanted - r.counted, 0)
    WHERE r.stream = of_stream;
END
$$;

-- One step towards figures that hold everything that is committed: false while there is more to do. Exact, whoever
-- calls it, however many do, and wherever one is killed: a step is a transaction that counts a slice and notes that it
-- has, and a round ends when as many payments are counted as the offsets say were scored. Payments are looked for from
-- the newest backwards, so that late ones cost a search and the others none.
CREATE FUNCTION figures_step(of_stream smallint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    round  figures_rounds;
    part   regclass;
    newest timestamptz;
    lower  timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('vigie figures in ' || current_schema, 0));
    SELECT * INTO round FROM figures_rounds AS r WHERE r.stream = of_stream AND r.day IS NOT NULL;
    IF NOT FOUND THEN
        IF NOT figures_begin(of_stream) THEN
            RETURN true;
        END IF;
        SELECT * INTO round FROM figures_rounds AS r WHERE r.stream = of_stream;
    END IF;
    IF round.counted >= round.wanted OR round.day IS NULL THEN
        PERFORM figures_end(of_stream);
        RETURN true;
    END IF;
    EXECUTE format('SELECT max(event_time) FROM payments_scored WHERE event_day = %L AND event_time < %L',
                   round.day, round.below) INTO newest;
    -- An hour at a time; what is new apart from what came late within the hour; a day at once where there is little of
    -- it, or when it is long past: few payments are expected there, and the index on positions finds them.
    part := to_regclass('payments_scored_' || to_char(round.day, 'YYYYMMDD'));
    lower := CASE
        WHEN newest IS NULL OR newest < round.since - INTERVAL '1 day' THEN '-infinity'
        WHEN newest >= round.since - INTERVAL '1 minute'
            THEN greatest(date_trunc('hour', newest, 'UTC'), round.since - INTERVAL '1 minute')
        WHEN pg_table_size(part) < 268435456 THEN '-infinity'
        ELSE date_trunc('hour', newest, 'UTC')
    END;
    IF newest IS NOT NULL THEN
        round.counted := round.counted + figures_count(of_stream, round.day, lower, round.below);
    END IF;
    UPDATE figures_rounds AS r
    SET counted = round.counted,
        day = CASE WHEN lower = '-infinity' THEN figures_day_before(round.day) ELSE round.day END,
        below = CASE WHEN lower = '-infinity' THEN 'infinity' ELSE lower END
    WHERE r.stream = of_stream
    RETURNING r.* INTO round;
    IF round.counted >= round.wanted OR round.day IS NULL THEN
        PERFORM figures_end(of_stream);
        RETURN true;
    END IF;
    RETURN false;
END
$$;

REVOKE EXECUTE ON FUNCTION figures_day_before, figures_begin, figures_count, figures_end, figures_step FROM PUBLIC;

-- Payments and amounts by hour. Amounts are in major units in every view.
CREATE VIEW v_hourly AS
SELECT h.hour, h.event_day, h.stream, nullif(h.currency, '') AS currency,
       (ARRAY['allow', 'review', 'block'])[h.decision + 1] AS decision,
       (ARRAY['live', 'backfill'])[h.origin + 1] AS origin, sum(h.payments)::bigint AS payments,
       sum(h.amount) / power(10::numeric, s.amount_scale) AS amount
FROM figures_hourly AS h JOIN streams AS s USING (stream)
GROUP BY h.hour, h.event_day, h.stream, h.currency, h.decision, h.origin, s.amount_scale;

-- How scores are spread, in twentieths; a payment that was not assessed has none.
CREATE VIEW v_score_hourly AS
SELECT h.hour, h.event_day, h.stream, h.score_bin, h.score_bin / 20::float8 AS score_from,
       (h.score_bin + 1) / 20::float8 AS score_to, sum(h.payments)::bigint AS payments
FROM figures_hourly AS h
WHERE h.score_bin >= 0
GROUP BY h.hour, h.event_day, h.stream, h.score_bin;

-- Decisions against labels, of payments that have one.
CREATE VIEW v_quality_hourly AS
SELECT h.hour, h.event_day, h.stream, nullif(h.currency, '') AS currency, sum(h.payments)::bigint AS labelled,
       coalesce(sum(h.payments) FILTER (WHERE h.label = 1), 0)::bigint AS fraud,
       coalesce(sum(h.payments) FILTER (WHERE h.label = 1 AND h.decision > 0), 0)::bigint AS true_positives,
       coalesce(sum(h.payments) FILTER (WHERE h.label = 0 AND h.decision > 0), 0)::bigint AS false_positives,
       coalesce(sum(h.payments) FILTER (WHERE h.label = 1 AND h.decision = 0), 0)::bigint AS false_negatives,
       coalesce(sum(h.payments) FILTER (WHERE h.label = 0 AND h.decision = 0), 0)::bigint AS true_negatives,
       sum(h.amount) / power(10::numeric, s.amount_scale) AS amount,
       coalesce(sum(h.amount) FILTER (WHERE h.label = 1), 0) / power(10::numeric, s.amount_scale) AS fraud_amount,
       coalesce(sum(h.amount) FILTER (WHERE h.label = 1 AND h.decision > 0), 0) / power(10::numeric, s.amount_scale)
           AS flagged_fraud_amount
FROM figures_hourly AS h JOIN streams AS s USING (stream)
WHERE h.label >= 0
GROUP BY h.hour, h.event_day, h.stream, h.currency, s.amount_scale;

-- From event time to stored, live payments only: for replays of the past it is their age.
CREATE VIEW v_latency_hourly AS
SELECT t.hour, t.event_day, t.stream, power(10::float8, t.bin / 20::float8) / 1000 AS at_most_seconds, t.payments
FROM figures_latency AS t;

-- A line per day, stream and currency. Rates are shares of 1; basis points are of labelled payments.
CREATE VIEW v_daily_fraud_report AS
SELECT d.event_day, d.stream, nullif(d.currency, '') AS currency, d.payments, d.amount / u.unit AS amount,
       d.allowed, d.allowed_amount / u.unit AS allowed_amount, d.reviewed, d.reviewed_amount / u.unit AS reviewed_amount,
       d.blocked, d.blocked_amount / u.unit AS blocked_amount, d.not_assessed, d.alerts,
       d.allowed::float8 / d.payments AS approval_rate, d.reviewed::float8 / d.payments AS review_rate,
       d.blocked::float8 / d.payments AS block_rate, d.labelled, d.fraud, d.fraud_amount / u.unit AS fraud_amount,
       10000 * d.fraud::float8 / nullif(d.labelled, 0) AS fraud_bp,
       (10000 * d.fraud_amount / nullif(d.labelled_amount, 0))::float8 AS fraud_value_bp,
       d.true_positives, d.false_positives, d.fraud - d.true_positives AS false_negatives,
       d.labelled - d.fraud - d.false_positives AS true_negatives,
       d.true_positives::float8 / nullif(d.true_positives + d.false_positives, 0) AS precision,
       d.true_positives::float8 / nullif(d.fraud, 0) AS recall,
       d.false_positives::float8 / nullif(d.labelled - d.fraud, 0) AS false_positive_rate
FROM (
    SELECT h.event_day, h.stream, h.currency, sum(h.payments)::bigint AS payments, sum(h.amount) AS amount,
           coalesce(sum(h.payments) FILTER (WHERE h.decision = 0), 0)::bigint AS allowed,
           coalesce(sum(h.amount) FILTER (WHERE h.decision = 0), 0) AS allowed_amount,
           coalesce(sum(h.payments) FILTER (WHERE h.decision = 1), 0)::bigint AS reviewed,
           coalesce(sum(h.amount) FILTER (WHERE h.decision = 1), 0) AS reviewed_amount,
           coalesce(sum(h.payments) FILTER (WHERE h.decision = 2), 0)::bigint AS blocked,
           coalesce(sum(h.amount) FILTER (WHERE h.decision = 2), 0) AS blocked_amount,
           coalesce(sum(h.payments) FILTER (WHERE h.score_bin < 0), 0)::bigint AS not_assessed,
           coalesce(sum(h.payments) FILTER (WHERE h.decision > 0 AND h.origin = 0), 0)::bigint AS alerts,
           coalesce(sum(h.payments) FILTER (WHERE h.label >= 0), 0)::bigint AS labelled,
           sum(h.amount) FILTER (WHERE h.label >= 0) AS labelled_amount,
           coalesce(sum(h.payments) FILTER (WHERE h.label = 1), 0)::bigint AS fraud,
           coalesce(sum(h.amount) FILTER (WHERE h.label = 1), 0) AS fraud_amount,
           coalesce(sum(h.payments) FILTER (WHERE h.label = 1 AND h.decision > 0), 0)::bigint AS true_positives,
           coalesce(sum(h.payments) FILTER (WHERE h.label = 0 AND h.decision > 0), 0)::bigint AS false_positives
    FROM figures_hourly AS h
    GROUP BY h.event_day, h.stream, h.currency
) AS d
JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u;

CREATE VIEW v_daily_by_merchant AS
SELECT d.event_day, d.stream, nullif(d.value, '') AS merchant, nullif(d.currency, '') AS currency, d.payments,
       d.amount / u.unit AS amount, d.flagged, d.flagged_amount / u.unit AS flagged_amount, d.blocked,
       d.blocked_amount / u.unit AS blocked_amount, d.labelled, d.fraud, d.fraud_amount / u.unit AS fraud_amount,
       d.flagged_fraud
FROM figures_daily AS d JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u
WHERE d.dimension = 'merchant';

CREATE VIEW v_daily_by_category AS
SELECT d.event_day, d.stream, nullif(d.value, '') AS category, nullif(d.currency, '') AS currency, d.payments,
       d.amount / u.unit AS amount, d.flagged, d.flagged_amount / u.unit AS flagged_amount, d.blocked,
       d.blocked_amount / u.unit AS blocked_amount, d.labelled, d.fraud, d.fraud_amount / u.unit AS fraud_amount,
       d.flagged_fraud
FROM figures_daily AS d JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u
WHERE d.dimension = 'category';

CREATE VIEW v_daily_by_country AS
SELECT d.event_day, d.stream, nullif(d.value, '') AS country, nullif(d.currency, '') AS currency, d.payments,
       d.amount / u.unit AS amount, d.flagged, d.flagged_amount / u.unit AS flagged_amount, d.blocked,
       d.blocked_amount / u.unit AS blocked_amount, d.labelled, d.fraud, d.fraud_amount / u.unit AS fraud_amount,
       d.flagged_fraud
FROM figures_daily AS d JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u
WHERE d.dimension = 'country';

-- Customers with an alert; the account is its token, as everywhere.
CREATE VIEW v_daily_by_customer AS
SELECT c.event_day, c.stream, encode(c.account, 'hex') AS account, nullif(c.currency, '') AS currency, c.flagged,
       c.flagged_amount / u.unit AS flagged_amount, c.blocked, c.blocked_amount / u.unit AS blocked_amount, c.fraud,
       c.highest_score
FROM figures_customers AS c JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u;

-- Payments that were not allowed, from their alerts: one small table with an index on time, where the payments
-- themselves would have to be looked for in every day.
CREATE VIEW v_flagged AS
SELECT a.event_day, a.event_time, a.stream, a.trans_num, encode(a.account, 'hex') AS account,
       a.amount / u.unit AS amount, a.currency, a.merchant, a.category, a.country, a.score,
       (ARRAY['allow', 'review', 'block'])[a.decision + 1] AS decision, a.reasons, a.created_at AS alerted_at
FROM fraud_alerts AS a JOIN streams AS s USING (stream)
CROSS JOIN LATERAL (SELECT power(10::numeric, s.amount_scale) AS unit) AS u
WHERE a.origin = 0;

-- What was consumed on a day of the clock (consumed counts offsets, the others what became of them); and dead letters
-- by the day on which they were stored.
CREATE VIEW v_daily_consumed AS
SELECT f.day, f.stream, f.consumed, f.scored, f.dead, f.duplicates, f.skipped
FROM figures_consumed AS f;

CREATE VIEW v_daily_dead_letters AS
SELECT f.day, f.stream, f.reason, f.letters FROM figures_dead_letters AS f;

GRANT EXECUTE ON FUNCTION figures_step TO vigie_writer, vigie_desk;
GRANT SELECT ON figures_positions, figures_rounds, figures_hourly, figures_daily, figures_customers, figures_latency,
    figures_consumed, figures_dead_letters, reports TO vigie_writer, vigie_desk;
GRANT INSERT ON reports TO vigie_writer;
-- A person may send a report again.
GRANT INSERT (kind) ON notices TO vigie_desk;
GRANT INSERT (notice_id, number, name, content_type, content) ON attachments TO vigie_desk;
GRANT INSERT (notice_id, channel, message_id, subject, body_text, body_html, payload, sent_at, suppressed_at)
    ON outbox TO vigie_desk;
GRANT SELECT ON v_hourly, v_score_hourly, v_quality_hourly, v_latency_hourly, v_daily_fraud_report,
    v_daily_by_merchant, v_daily_by_category, v_daily_by_country, v_daily_by_customer, v_flagged, v_daily_consumed,
    v_daily_dead_letters TO vigie_writer, vigie_desk, vigie_reader;
