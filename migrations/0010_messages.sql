-- What became of a message that was not sent, and who did what by hand.
-- Locks: outbox for the moment of the change; one process at a time writes to it.

-- A message is waiting until it is sent or suppressed. A refused one waits too, with long pauses, and no longer holds
-- back the messages after it.
ALTER TABLE outbox ADD COLUMN refused_at timestamptz, ADD COLUMN suppressed_at timestamptz;

COMMENT ON COLUMN outbox.next_attempt_at IS 'set before an attempt to when another may follow, so that a crash in mid-attempt is only a pause';
COMMENT ON COLUMN outbox.refused_at IS 'when the server first refused this very message for good';
COMMENT ON COLUMN outbox.suppressed_at IS 'gathered while mail was off: never sent';

DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (next_attempt_at) WHERE sent_at IS NULL AND suppressed_at IS NULL;
CREATE INDEX outbox_sent ON outbox (sent_at) WHERE sent_at IS NOT NULL;

-- Decisions that people took by hand, and why. Never updated, never deleted by the processor.
CREATE TABLE audit_log (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    action  text        NOT NULL,
    subject json        NOT NULL,
    why     text        NOT NULL
);

COMMENT ON COLUMN audit_log.actor IS 'database user and, where known, the person''s login';
COMMENT ON COLUMN audit_log.subject IS 'what it was done to, and what stood there before';

GRANT SELECT, INSERT ON audit_log TO vigie_writer;
GRANT SELECT ON audit_log TO vigie_desk;
