#!/usr/bin/env bash
# Before the image's own start: PostgreSQL takes no private key that others may read, and a secret's file belongs to
# whoever made it. Its copy lives in memory and is the server's alone.
set -euo pipefail

install -m 600 /run/secrets/database_key.pem /run/postgresql/key.pem
exec docker-entrypoint.sh "$@"
