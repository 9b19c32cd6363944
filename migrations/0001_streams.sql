-- What is read, and how far: the truth about offsets.
-- Locks: nothing that exists; only new tables.

-- A number stands for one topic read by one consumer group: a second group would fence the first for ever, another
-- topic or token key would mix histories.
CREATE TABLE streams (
    stream            smallint    PRIMARY KEY,
    topic             text        NOT NULL,
    topic_id          text        NOT NULL,
    cluster_id        text        NOT NULL,
    partitions        integer     NOT NULL,
    consumer_group    text        NOT NULL,
    token_fingerprint text        NOT NULL,
    business_zone     text        NOT NULL,
    amount_scale      smallint    NOT NULL,
    bound_at          timestamptz NOT NULL DEFAULT now()
);

-- One row per partition, moved by every batch; half of each page is left free so that an update stays on its page.
-- scored + dead + duplicates + skipped = next_offset - first_offset, always.
CREATE TABLE stream_offsets (
    stream              smallint    NOT NULL REFERENCES streams,
    partition           integer     NOT NULL,
    first_offset        bigint      NOT NULL,
    next_offset         bigint      NOT NULL,
    epoch               bigint      NOT NULL DEFAULT 0,
    owner_pid           integer,
    owner_backend_start timestamptz,
    watermark           timestamptz,
    scored              bigint      NOT NULL DEFAULT 0,
    dead                bigint      NOT NULL DEFAULT 0,
    duplicates          bigint      NOT NULL DEFAULT 0,
    skipped             bigint      NOT NULL DEFAULT 0,
    recent_dead         bytea       NOT NULL DEFAULT '',
    held                text,
    held_at             timestamptz,
    moved_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, partition)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON COLUMN stream_offsets.first_offset IS 'where reading began: the earliest offset when the partition was first taken';
COMMENT ON COLUMN stream_offsets.epoch IS 'one more with every take; a commit under another epoch is fenced';
COMMENT ON COLUMN stream_offsets.owner_pid IS 'database session of the owner, which the next owner ends if it holds the row';
COMMENT ON COLUMN stream_offsets.watermark IS 'largest event time accepted at lower offsets';
COMMENT ON COLUMN stream_offsets.skipped IS 'offsets without a record: transaction markers, compaction';
COMMENT ON COLUMN stream_offsets.recent_dead IS 'outcomes of the last 1,000 records';
COMMENT ON COLUMN stream_offsets.held IS 'why nothing is read until `vigie offsets release`';

GRANT SELECT, INSERT ON streams TO vigie_writer;
GRANT SELECT, INSERT, UPDATE ON stream_offsets TO vigie_writer;
GRANT SELECT ON streams, stream_offsets TO vigie_desk;
