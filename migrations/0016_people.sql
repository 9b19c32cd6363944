-- What people may change by hand, who reads what, and the mark of a database that is only a demo.
-- Locks: nothing for longer than the moment of the change; grants and one new table.

-- The desk reads every table, and writes what a person decides: that a held partition goes on, and who said so.
DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO vigie_desk', current_schema);
END
$$;
GRANT UPDATE (held, held_at, recent_dead) ON stream_offsets TO vigie_desk;
GRANT INSERT (actor, action, subject, why) ON audit_log TO vigie_desk;

-- The reader sees views, and no table at all.
REVOKE SELECT ON schema_migrations FROM vigie_reader;

-- At most one row. With it, `vigie reset` may empty the tables; only the schema's owner can write it.
CREATE TABLE demo_mark (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    marked_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE demo_mark IS 'a row means: what is stored here may be removed by `vigie reset`';

GRANT SELECT ON demo_mark TO vigie_writer, vigie_desk;
