-- Who the exporter of PostgreSQL's own figures logs in as: sees statistics, reads no table.
SET log_min_error_statement = 'panic';
SET log_statement = 'none';
SET log_min_duration_statement = -1;

\set monitor_password `cat "$VIGIE_ROLE_SECRETS/monitor_password"`

SELECT 'CREATE ROLE vigie_monitor'
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'vigie_monitor')
\gexec

ALTER ROLE vigie_monitor LOGIN PASSWORD :'monitor_password';
GRANT pg_monitor TO vigie_monitor;
GRANT CONNECT ON DATABASE vigie TO vigie_monitor;
