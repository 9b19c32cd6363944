-- What people are told, once per way of telling them.
-- Locks: outbox and fraud_alerts for the moment of the change; lanes wait while the alerts are read for the indexes.

-- Something to be told: an incident, the system's own trouble, a report, a canary that came through.
CREATE TABLE notices (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('incident', 'system', 'report', 'canary')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What goes with a notice where the channel can carry it.
CREATE TABLE attachments (
    notice_id    bigint   NOT NULL REFERENCES notices,
    number       smallint NOT NULL,
    name         text     NOT NULL,
    content_type text     NOT NULL,
    content      bytea    NOT NULL,
    PRIMARY KEY (notice_id, number)
);

-- One message per notice and channel: each has its own attempts and pauses, so that a channel that is away holds back
-- no other. Messages from before have no notice.
ALTER TABLE outbox ADD COLUMN notice_id bigint REFERENCES notices, ADD COLUMN payload json;
CREATE UNIQUE INDEX outbox_notice ON outbox (notice_id, channel);

COMMENT ON COLUMN outbox.channel IS 'mail, slack, webhook or canary';
COMMENT ON COLUMN outbox.payload IS 'what a program reads; only where the channel sends it';
COMMENT ON COLUMN outbox.suppressed_at IS 'nobody was to be told: the channel was off, or has been turned off since';

-- Canaries are looked for twice a second: those that have just come, and the newest that came through.
CREATE INDEX fraud_alerts_canary ON fraud_alerts (id) WHERE origin = 2;
CREATE INDEX fraud_alerts_canary_new ON fraud_alerts (id) WHERE origin = 2 AND outbox_id IS NULL;

GRANT SELECT, INSERT ON notices, attachments TO vigie_writer;
GRANT SELECT ON notices, attachments TO vigie_desk;
