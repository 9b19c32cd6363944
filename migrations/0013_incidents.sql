-- Alerts that belong together, what on-call was told of them, and what people have silenced.
-- Locks: fraud_alerts against writers while indexes over it are made: a second per million alerts.

-- From here on every live alert belongs to exactly one incident. Troubles of the system itself are incidents too.
CREATE TABLE incidents (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text        NOT NULL CHECK (kind IN ('fraud', 'system')),
    group_by         text        NOT NULL CHECK (group_by IN ('account', 'merchant', 'rule', 'system')),
    group_key        text        NOT NULL,
    stream           smallint    NOT NULL,
    severity         text        NOT NULL CHECK (severity IN ('warning', 'critical')),
    opened_at        timestamptz NOT NULL,
    last_alert_at    timestamptz NOT NULL,
    closed_at        timestamptz,
    alerts           bigint      NOT NULL DEFAULT 0,
    review           bigint      NOT NULL DEFAULT 0,
    block            bigint      NOT NULL DEFAULT 0,
    not_assessed     bigint      NOT NULL DEFAULT 0,
    max_score        real,
    untold           bigint      NOT NULL DEFAULT 0,
    last_noticed_at  timestamptz,
    noticed_severity text,
    subject          text        NOT NULL DEFAULT '',
    noticed_subject  text,
    detail           text        NOT NULL DEFAULT ''
);

COMMENT ON COLUMN incidents.group_key IS 'what its alerts share: the account''s token, the merchant, the rule; or the kind of trouble';
COMMENT ON COLUMN incidents.closed_at IS 'after a quiet time, or when the system''s trouble was over; a later alert opens another incident';
COMMENT ON COLUMN incidents.untold IS 'alerts that no message has told of yet';
COMMENT ON COLUMN incidents.last_noticed_at IS 'when the last message that tells of it was written';
COMMENT ON COLUMN incidents.subject IS 'of a trouble of the system: what it is about, so that another partition is told as news';
COMMENT ON COLUMN incidents.detail IS 'of a trouble of the system: the newest figures, in a sentence';

-- A group has one open incident, whoever opens it.
CREATE UNIQUE INDEX incidents_open ON incidents (group_key, group_by, stream) WHERE closed_at IS NULL;
CREATE INDEX incidents_quiet ON incidents (last_alert_at) WHERE closed_at IS NULL;
CREATE INDEX incidents_untold ON incidents (id) WHERE closed_at IS NULL AND untold > 0;
CREATE INDEX incidents_opened ON incidents (opened_at);

-- Sums in minor units; streams.amount_scale has the decimals.
CREATE TABLE incident_amounts (
    incident_id bigint  NOT NULL REFERENCES incidents,
    currency    text    NOT NULL,
    alerts      bigint  NOT NULL,
    amount      numeric NOT NULL,
    PRIMARY KEY (incident_id, currency)
);

COMMENT ON COLUMN incident_amounts.currency IS 'empty where the payments have none';

-- An alert is untold until outbox_id names the first message of the notice that told of it.
ALTER TABLE fraud_alerts ADD COLUMN incident_id bigint REFERENCES incidents;
DROP INDEX fraud_alerts_new;
CREATE INDEX fraud_alerts_new ON fraud_alerts (id) WHERE outbox_id IS NULL AND incident_id IS NULL AND origin = 0;
CREATE INDEX fraud_alerts_incident ON fraud_alerts (incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX fraud_alerts_untold ON fraud_alerts (incident_id) WHERE incident_id IS NOT NULL AND outbox_id IS NULL;
CREATE INDEX fraud_alerts_created ON fraud_alerts USING brin (created_at);

COMMENT ON COLUMN fraud_alerts.outbox_id IS 'the first message of the notice that told of it; null: untold';
COMMENT ON COLUMN fraud_alerts.incident_id IS 'null: not seen by the notifier yet, told before there were incidents, or our own canary';

-- Which notice told of which incident, and of how many of its alerts.
CREATE TABLE notice_incidents (
    notice_id   bigint NOT NULL REFERENCES notices,
    incident_id bigint NOT NULL REFERENCES incidents,
    alerts      bigint NOT NULL,
    PRIMARY KEY (notice_id, incident_id)
);

CREATE INDEX notice_incidents_incident ON notice_incidents (incident_id);
-- Those of the last hour are counted twice a second, among many canaries.
CREATE INDEX notices_of_incidents ON notices (created_at) WHERE kind = 'incident';

-- What people do not want to hear of for a while. It goes on being counted.
CREATE TABLE snoozes (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what     text        NOT NULL CHECK (what IN ('account', 'merchant', 'rule', 'system')),
    key      text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    until    timestamptz NOT NULL,
    why      text        NOT NULL,
    by       text        NOT NULL,
    ended_at timestamptz
);

COMMENT ON COLUMN snoozes.key IS 'the beginning of the account''s token, the merchant, the rule, the kind of trouble';
COMMENT ON COLUMN snoozes.ended_at IS 'when a person ended it before its time';

CREATE INDEX snoozes_running ON snoozes (what, key) WHERE ended_at IS NULL;

-- Whether somebody does not want to hear of this payment just now.
CREATE FUNCTION is_snoozed(account bytea, merchant text, reasons text[]) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM snoozes AS s
        WHERE s.ended_at IS NULL AND s.until > now()
          AND CASE s.what
                  WHEN 'account' THEN starts_with(encode(is_snoozed.account, 'hex'), s.key)
                  WHEN 'merchant' THEN s.key = is_snoozed.merchant
                  WHEN 'rule' THEN s.key = ANY (is_snoozed.reasons)
                  ELSE false
              END)
$$;

-- What each stream did in each minute of the last seven days: a row per minute of the week, written over a week later.
-- Payments are those of customers; the totals are the stream's counters when the row was last written.
CREATE TABLE stream_minutes (
    stream        smallint    NOT NULL,
    slot          smallint    NOT NULL,
    minute        timestamptz NOT NULL,
    looked_at     timestamptz NOT NULL,
    scored_total  bigint      NOT NULL,
    records_total bigint      NOT NULL,
    dead_total    bigint      NOT NULL,
    canaries      bigint      NOT NULL,
    payments      bigint      NOT NULL,
    records       bigint      NOT NULL,
    dead          bigint      NOT NULL,
    quiet_until   timestamptz,
    paid_at       timestamptz,
    PRIMARY KEY (stream, slot)
);

COMMENT ON COLUMN stream_minutes.slot IS 'minute of the week';
COMMENT ON COLUMN stream_minutes.canaries IS 'our own payments of the minute before looked_at, which the next look counts from';
COMMENT ON COLUMN stream_minutes.quiet_until IS 'the last look before the first payment of this minute';
COMMENT ON COLUMN stream_minutes.paid_at IS 'the last look that found payments in this minute';

CREATE INDEX stream_minutes_minute ON stream_minutes (stream, minute);

-- For people and dashboards: an account is shown by the beginning of its token.
CREATE VIEW v_incidents AS
SELECT i.id, i.kind, i.severity, i.group_by,
       CASE i.group_by
           WHEN 'account' THEN left(i.group_key, 8) || '…'
           WHEN 'merchant' THEN coalesce(nullif(i.group_key, ''), 'unknown')
           ELSE i.group_key
       END AS about,
       i.stream, i.opened_at, i.last_alert_at, i.closed_at, i.closed_at IS NULL AS is_open,
       i.alerts, i.review, i.block, i.not_assessed, i.max_score, a.amount, a.currency, a.amounts,
       i.untold, i.last_noticed_at, n.notices, i.detail,
       (SELECT max(s.until) FROM snoozes AS s
        WHERE s.ended_at IS NULL AND s.until > now() AND s.what = i.group_by
          AND CASE WHEN s.what = 'account' THEN starts_with(i.group_key, s.key) ELSE s.key = i.group_key END
       ) AS snoozed_until
FROM incidents AS i
LEFT JOIN streams AS st USING (stream)
LEFT JOIN LATERAL (
    SELECT CASE WHEN count(*) = 1 THEN min(m.amount) END AS amount,
           CASE WHEN count(*) = 1 THEN min(m.currency) END AS currency,
           json_object_agg(m.currency, m.amount) AS amounts
    FROM (
        SELECT p.currency,
               round(p.amount / power(10::numeric, coalesce(st.amount_scale, 0)), coalesce(st.amount_scale, 0)) AS amount
        FROM incident_amounts AS p WHERE p.incident_id = i.id
    ) AS m
) AS a ON true
LEFT JOIN LATERAL (SELECT count(*) AS notices FROM notice_incidents AS x WHERE x.incident_id = i.id) AS n ON true;

COMMENT ON COLUMN v_incidents.amount IS 'at risk, in major units; null where its payments have several currencies: see amounts';

GRANT SELECT, INSERT, UPDATE ON incidents, incident_amounts, stream_minutes TO vigie_writer;
GRANT SELECT, INSERT ON notice_incidents TO vigie_writer;
GRANT UPDATE (incident_id) ON fraud_alerts TO vigie_writer;
GRANT SELECT ON snoozes TO vigie_writer;
GRANT SELECT ON incidents, incident_amounts, notice_incidents, snoozes, stream_minutes TO vigie_desk;
GRANT INSERT (what, key, until, why, by), UPDATE (ended_at) ON snoozes TO vigie_desk;
GRANT SELECT ON v_incidents TO vigie_writer, vigie_desk, vigie_reader;
