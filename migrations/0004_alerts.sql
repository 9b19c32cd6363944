-- What on-call must hear of, and the messages that tell them.
-- Locks: nothing that exists; only new tables.

-- A message on its way. The message id stays the same over all attempts, so that a repeat is recognisable.
CREATE TABLE outbox (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel         text        NOT NULL,
    message_id      text        NOT NULL UNIQUE,
    subject         text        NOT NULL,
    body_text       text        NOT NULL,
    body_html       text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    last_error      text
);

CREATE INDEX outbox_waiting ON outbox (next_attempt_at) WHERE sent_at IS NULL;

-- One per payment whose decision is not allow, written in the transaction that stores the payment. It belongs to no
-- message until the notifier takes it, and to one from then on.
CREATE TABLE fraud_alerts (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream           smallint    NOT NULL,
    source_partition integer     NOT NULL,
    source_offset    bigint      NOT NULL,
    event_day        date        NOT NULL,
    event_time       timestamptz NOT NULL,
    trans_num        text        COLLATE "C" NOT NULL,
    account          bytea       NOT NULL,
    amount           bigint      NOT NULL,
    currency         text,
    merchant         text,
    category         text,
    country          text,
    score            real,
    decision         smallint    NOT NULL CHECK (decision > 0),
    reasons          text[],
    created_at       timestamptz NOT NULL DEFAULT now(),
    outbox_id        bigint      REFERENCES outbox,
    UNIQUE (stream, source_partition, source_offset)
);

CREATE INDEX fraud_alerts_new ON fraud_alerts (id) WHERE outbox_id IS NULL;
CREATE INDEX fraud_alerts_outbox ON fraud_alerts (outbox_id) WHERE outbox_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON outbox TO vigie_writer;
GRANT SELECT, INSERT, UPDATE (outbox_id) ON fraud_alerts TO vigie_writer;
GRANT SELECT ON outbox, fraud_alerts TO vigie_desk;
