#!/usr/bin/env bash
# Makes Vigie's roles and its database, or gives them the passwords of today.
set -euo pipefail

# psql reads no password from a secret's file; in a variable of this process nobody else sees it.
PGPASSWORD="$(</run/secrets/admin_password)"
export PGPASSWORD
exec psql -X -q -v ON_ERROR_STOP=1 -f /etc/vigie/roles.sql -f /etc/vigie/monitor.sql
