-- Records that could not be scored, with what a person needs to mend them.
-- Locks: nothing that exists; only a new table.

CREATE TABLE dead_letters (
    stream           smallint    NOT NULL,
    source_partition integer     NOT NULL,
    source_offset    bigint      NOT NULL,
    topic            text        NOT NULL,
    record_time      timestamptz NOT NULL,
    key              text,
    reason           text        NOT NULL,
    field            text,
    message          text        NOT NULL,
    payload          text        NOT NULL,
    payload_bytes    bigint      NOT NULL,
    payload_hash     bytea       NOT NULL,
    attempt          smallint    NOT NULL DEFAULT 1,
    at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, source_partition, source_offset)
);

COMMENT ON COLUMN dead_letters.payload IS 'at most 64 KiB, card numbers masked';
COMMENT ON COLUMN dead_letters.payload_hash IS 'keyed, of the whole payload';

CREATE INDEX dead_letters_at ON dead_letters USING brin (at);

GRANT SELECT, INSERT ON dead_letters TO vigie_writer;
GRANT SELECT ON dead_letters TO vigie_desk;
