-- The roles of Vigie and its database: once per cluster, by a superuser.
--
--   VIGIE_ROLE_SECRETS=/path/to/secrets psql -X -v ON_ERROR_STOP=1 -d postgres -f scripts/roles.sql
--
-- The folder holds one file per login role (migrator_password, writer_password, reader_password,
-- desk_password), so that no password stands in a command line. Running it again changes only the passwords.
-- What each role may do with the tables is granted per schema, by the migrations.

-- A failing statement would otherwise be logged whole, password included.
SET log_min_error_statement = 'panic';
SET log_statement = 'none';
SET log_min_duration_statement = -1;

\set migrator_password `cat "$VIGIE_ROLE_SECRETS/migrator_password"`
\set writer_password `cat "$VIGIE_ROLE_SECRETS/writer_password"`
\set reader_password `cat "$VIGIE_ROLE_SECRETS/reader_password"`
\set desk_password `cat "$VIGIE_ROLE_SECRETS/desk_password"`

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['vigie_migrator', 'vigie_writer', 'vigie_reader', 'vigie_desk']) AS wanted (role)
WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE vigie_migrator LOGIN PASSWORD :'migrator_password';
ALTER ROLE vigie_writer LOGIN PASSWORD :'writer_password';
ALTER ROLE vigie_reader LOGIN PASSWORD :'reader_password';
ALTER ROLE vigie_desk LOGIN PASSWORD :'desk_password';

SELECT 'CREATE DATABASE vigie OWNER vigie_migrator ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'vigie')
\gexec

-- The owner creates schemas; nobody else gets in unless named. The writer stages upserts in temporary tables.
REVOKE ALL ON DATABASE vigie FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE vigie TO vigie_writer;
GRANT CONNECT ON DATABASE vigie TO vigie_reader, vigie_desk;
