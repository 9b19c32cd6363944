-- Scored payments, a partition per business day, and labels, one per month.
-- Locks: nothing that exists; only new tables. What makes a day locks no reader and no writer (see ensure_days).

-- The key is led by time so that inserts are not scattered over the index.
CREATE TABLE payments_scored (
    event_time       timestamptz NOT NULL,
    scored_at        timestamptz NOT NULL DEFAULT now(),
    amount           bigint      NOT NULL,
    body_hash        bigint      NOT NULL,
    source_offset    bigint      NOT NULL,
    source_partition integer     NOT NULL,
    event_day        date        NOT NULL,
    score            real,
    base_score       real,
    stream           smallint    NOT NULL,
    decision         smallint    NOT NULL,
    account          bytea       NOT NULL,
    trans_num        text        COLLATE "C" NOT NULL,
    currency         text,
    merchant         text,
    category         text,
    country          text,
    reasons          text[],
    features         bytea       NOT NULL,
    event            json        NOT NULL,
    model_version    text        NOT NULL,
    policy_version   text        NOT NULL,
    PRIMARY KEY (event_time, trans_num, account, event_day, stream)
) PARTITION BY RANGE (event_day);

COMMENT ON COLUMN payments_scored.amount IS 'minor units; streams.amount_scale has the decimals';
COMMENT ON COLUMN payments_scored.score IS '0 to 1; null is not assessed';
COMMENT ON COLUMN payments_scored.decision IS '0 allow, 1 review, 2 block';
COMMENT ON COLUMN payments_scored.reasons IS 'null when nothing spoke against it';
COMMENT ON COLUMN payments_scored.account IS 'the keyed token, 16 bytes';
COMMENT ON COLUMN payments_scored.features IS 'f32, little-endian, in the bundle''s order; a text feature holds NaN here and its text in its own column or in event';
COMMENT ON COLUMN payments_scored.event IS 'the other declared fields that are not sensitive';
COMMENT ON COLUMN payments_scored.body_hash IS 'of all decoded fields but the label: tells a repeat from a conflict';

CREATE INDEX payments_scored_account ON payments_scored (account, event_time);
CREATE INDEX payments_scored_trans_num ON payments_scored (trans_num);
CREATE INDEX payments_scored_not_allowed ON payments_scored (event_time) WHERE decision > 0;
CREATE INDEX payments_scored_position ON payments_scored USING brin (source_partition, source_offset) WITH (pages_per_range = 32);

-- The late truth. Payments carry it at most once in their payload; other sources come later.
CREATE TABLE labels (
    event_time timestamptz NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    event_day  date        NOT NULL,
    stream     smallint    NOT NULL,
    label      boolean     NOT NULL,
    account    bytea       NOT NULL,
    trans_num  text        COLLATE "C" NOT NULL,
    source     text        NOT NULL,
    PRIMARY KEY (event_time, trans_num, account, event_day, stream, source)
) PARTITION BY RANGE (event_day);

-- Makes the partitions that these days lie in: a day of payments, a month of labels, which are small and would cost
-- more in tables than in rows. Several lanes may call it at once: who comes second waits and finds them made.
-- LIKE and ATTACH, because CREATE ... PARTITION OF locks the parent against readers and writers, and two lanes in
-- mid-batch would deadlock. Its owner is the migrator: the writer can make partitions and nothing else.
CREATE FUNCTION ensure_days(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    wanted record;
    made   integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('vigie days in ' || current_schema, 0));
    FOR wanted IN
        SELECT DISTINCT parent, parent || suffix AS child, first, last
        FROM unnest(days) AS day,
             LATERAL date_trunc('month', day::timestamp) AS month,
             LATERAL (VALUES
                 ('payments_scored', to_char(day, '_YYYYMMDD'), day, day + 1),
                 ('labels', to_char(day, '_YYYYMM'), month::date, (month + INTERVAL '1 month')::date)
             ) AS p (parent, suffix, first, last)
        ORDER BY child
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class
            WHERE relname = wanted.child
              AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema)
        );
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING STORAGE)',
                       wanted.child, wanted.parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       wanted.parent, wanted.child, wanted.first, wanted.last);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

REVOKE EXECUTE ON FUNCTION ensure_days FROM PUBLIC;

-- The stored features as numbers, for people.
CREATE FUNCTION feature_values(features bytea) RETURNS real[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT array_agg(
        (CASE
            WHEN exponent = 255 AND mantissa > 0 THEN 'NaN'::float8
            WHEN exponent = 255 THEN sign * 'Infinity'::float8
            WHEN exponent = 0 THEN sign * mantissa * power(2::float8, -149)
            ELSE sign * (mantissa + 8388608) * power(2::float8, exponent - 150)
        END)::real ORDER BY number)
    FROM (
        SELECT number,
               CASE WHEN get_byte(features, 4 * number + 3) < 128 THEN 1 ELSE -1 END AS sign,
               get_byte(features, 4 * number + 3) % 128 * 2 + get_byte(features, 4 * number + 2) / 128 AS exponent,
               get_byte(features, 4 * number + 2) % 128 * 65536 + get_byte(features, 4 * number + 1) * 256
                   + get_byte(features, 4 * number) AS mantissa
        FROM generate_series(0, length(features) / 4 - 1) AS number
    ) AS bits
$$;

-- For people: give it the day, or it looks into every one.
CREATE VIEW payments AS
SELECT p.event_day, p.event_time, p.stream, p.trans_num, encode(p.account, 'hex') AS account,
       p.amount / power(10::numeric, s.amount_scale) AS amount, p.currency, p.merchant, p.category, p.country,
       p.score, p.base_score, (ARRAY['allow', 'review', 'block'])[p.decision + 1] AS decision, p.reasons, p.event,
       feature_values(p.features) AS features, p.model_version, p.policy_version, p.source_partition, p.source_offset,
       p.scored_at
FROM payments_scored AS p
JOIN streams AS s USING (stream);

GRANT SELECT, INSERT ON payments_scored, labels TO vigie_writer;
GRANT EXECUTE ON FUNCTION ensure_days TO vigie_writer;
GRANT SELECT ON payments_scored, labels TO vigie_desk;
GRANT SELECT ON payments TO vigie_writer, vigie_desk, vigie_reader;
