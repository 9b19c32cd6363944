-- The canary is told apart in what was consumed, and the reader sees in which zone a stream's days lie.
-- Locks: figures_consumed for the moment in which it gains a column; otherwise a function and views.

ALTER TABLE figures_consumed ADD COLUMN canaries bigint NOT NULL DEFAULT 0;

COMMENT ON COLUMN figures_consumed.scored IS 'with the canaries: it is the partitions'' counter';
COMMENT ON COLUMN figures_consumed.canaries IS 'of those that are scored; none in rounds before there was this column';

-- Ends a round: its positions are those of the figures from here on. Dead letters and canaries are counted here, by
-- their key: each canary has an alert.
CREATE OR REPLACE FUNCTION figures_end(of_stream smallint) RETURNS void
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
    INSERT INTO figures_consumed AS f (day, stream, consumed, scored, dead, duplicates, skipped, canaries)
    SELECT (p.to_moved_at AT TIME ZONE zone)::date AS on_day, of_stream, sum(p.to_offset - p.next_offset),
           sum(p.to_scored - p.scored), sum(p.to_dead - p.dead), sum(p.to_duplicates - p.duplicates),
           sum(p.to_skipped - p.skipped), sum(own.canaries)
    FROM figures_positions AS p,
         LATERAL (SELECT count(*) AS canaries FROM fraud_alerts AS a
                  WHERE a.stream = p.stream AND a.source_partition = p.partition
                    AND a.source_offset >= p.next_offset AND a.source_offset < p.to_offset AND a.origin = 2) AS own
    WHERE p.stream = of_stream AND p.to_offset > p.next_offset
    GROUP BY on_day
    ON CONFLICT (day, stream) DO UPDATE
    SET consumed = f.consumed + excluded.consumed, scored = f.scored + excluded.scored, dead = f.dead + excluded.dead,
        duplicates = f.duplicates + excluded.duplicates, skipped = f.skipped + excluded.skipped,
        canaries = f.canaries + excluded.canaries;
    UPDATE figures_positions AS p
    SET next_offset = p.to_offset, scored = p.to_scored, dead = p.to_dead, duplicates = p.to_duplicates,
        skipped = p.to_skipped, watermark = p.to_watermark
    WHERE p.stream = of_stream AND p.next_offset < p.to_offset;
    UPDATE figures_rounds AS r
    SET day = NULL, below = NULL, complete_at = r.begun_at, missing = r.missing + greatest(r.wanted - r.counted, 0)
    WHERE r.stream = of_stream;
END
$$;

-- Of customers, as in every other view: the canary is neither consumed nor scored here.
CREATE OR REPLACE VIEW v_daily_consumed AS
SELECT f.day, f.stream, f.consumed - f.canaries AS consumed, f.scored - f.canaries AS scored, f.dead, f.duplicates,
       f.skipped, f.canaries
FROM figures_consumed AS f;

-- Which day it is for a stream.
CREATE VIEW v_streams AS
SELECT s.stream, s.business_zone FROM streams AS s;

GRANT SELECT ON v_streams TO vigie_writer, vigie_desk, vigie_reader;
