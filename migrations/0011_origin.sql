-- Where a payment comes from: of a customer, loaded from the past, or our own canary.
-- Locks: payments_scored, its days and fraud_alerts for the moment of the change; a constant default rewrites nothing.

ALTER TABLE payments_scored ADD COLUMN origin smallint NOT NULL DEFAULT 0;
ALTER TABLE fraud_alerts ADD COLUMN origin smallint NOT NULL DEFAULT 0;

COMMENT ON COLUMN payments_scored.origin IS '0 live; 1 backfill: fills histories, raises no alert; 2 canary: our own, left out of every figure';
COMMENT ON COLUMN fraud_alerts.origin IS 'as in payments_scored; never 1';
