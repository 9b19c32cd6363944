-- Alerts that were snoozed until their incident was closed are done with: they are not looked at twice a second for ever.
-- Locks: fraud_alerts against writers while such alerts are marked and an index is made: seconds per million alerts.

ALTER TABLE fraud_alerts ADD COLUMN silenced_at timestamptz;

COMMENT ON COLUMN fraud_alerts.silenced_at IS 'when its incident became quiet while it was snoozed: nobody is told of it any more';

UPDATE fraud_alerts AS a SET silenced_at = i.closed_at
FROM incidents AS i
WHERE i.id = a.incident_id AND a.outbox_id IS NULL AND i.closed_at IS NOT NULL;

DROP INDEX fraud_alerts_untold;
CREATE INDEX fraud_alerts_untold ON fraud_alerts (incident_id)
WHERE incident_id IS NOT NULL AND outbox_id IS NULL AND silenced_at IS NULL;

-- Troubles of the system are looked for every ten seconds, among many incidents of fraud.
CREATE INDEX incidents_of_system ON incidents (group_key, stream) WHERE group_by = 'system';

-- As much of a merchant's name as an incident's key has.
UPDATE snoozes SET key = left(key, 256) WHERE what = 'merchant' AND length(key) > 256;

-- Nothing calls it any more but the version before, which is right about unknown merchants and long names from now on.
CREATE OR REPLACE FUNCTION is_snoozed(account bytea, merchant text, reasons text[]) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM snoozes AS s
        WHERE s.ended_at IS NULL AND s.until > now()
          AND CASE s.what
                  WHEN 'account' THEN starts_with(encode(is_snoozed.account, 'hex'), s.key)
                  WHEN 'merchant' THEN s.key = left(coalesce(is_snoozed.merchant, ''), 256)
                  WHEN 'rule' THEN s.key = ANY (is_snoozed.reasons)
                  ELSE false
              END)
$$;

GRANT UPDATE (silenced_at) ON fraud_alerts TO vigie_writer;
