-- How far decisions are published, and alerts of the canary.
-- Locks: stream_offsets and fraud_alerts for the moment of the change; fraud_alerts is read once to see that it holds.

ALTER TABLE stream_offsets ADD COLUMN published_to bigint, ADD COLUMN unpublished_day date;

COMMENT ON COLUMN stream_offsets.published_to IS 'decisions at lower offsets are acknowledged by output.topic; null is not published';
COMMENT ON COLUMN stream_offsets.unpublished_day IS 'earliest business day among the decisions from there to next_offset, if any';

-- The canary has its alert whatever was decided, so that its round trip does not depend on the model.
ALTER TABLE fraud_alerts
    DROP CONSTRAINT fraud_alerts_decision_check,
    ADD CONSTRAINT fraud_alerts_raised CHECK (decision > 0 AND origin = 0 OR origin = 2);
