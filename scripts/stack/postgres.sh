# shellcheck shell=bash
# A private PostgreSQL: own folder, own port, TCP on the loopback only, never as root.

# Where the link leads, if it is one: the owner cannot walk through the folders above the link.
POSTGRES="$(realpath -m "$DIR/postgres")"
ROLE_SECRETS=(admin_password migrator_password writer_password reader_password desk_password)

start_postgres() {
  find_postgres
  if is_paused postgres; then resume_service postgres; fi
  if is_alive postgres; then return; fi
  ! is_open "$POSTGRES_PORT" || die "port $POSTGRES_PORT is taken by somebody else; set VIGIE_POSTGRES_PORT"
  local secret
  for secret in "${ROLE_SECRETS[@]}"; do random_secret "$SECRETS/$secret"; done
  if [[ ! -f $POSTGRES/data/PG_VERSION ]]; then make_cluster; fi
  write_postgres_config
  clear_former_cluster
  say "starting PostgreSQL on 127.0.0.1:$POSTGRES_PORT"
  launch postgres "${AS_OWNER[@]}" "$POSTGRES_BIN/postgres" -D "$POSTGRES/data"
}

await_postgres() {
  until_or_fail 60 postgres postgres_answers
  if [[ ! -f $DIR/roles-made ]]; then
    VIGIE_ROLE_SECRETS="$SECRETS" as_admin -v ON_ERROR_STOP=1 -d postgres -f "$ROOT/scripts/roles.sql" >/dev/null
    touch "$DIR/roles-made"
  fi
}

postgres_answers() { "$POSTGRES_BIN/pg_isready" -q -h 127.0.0.1 -p "$POSTGRES_PORT"; }

# Fast shutdown: sessions are ended, what was committed is flushed.
end_postgres() { end_service postgres INT; }

as_admin() {
  PGPASSWORD="$(<"$SECRETS/admin_password")" "$POSTGRES_BIN/psql" -X -q -h 127.0.0.1 -p "$POSTGRES_PORT" -U vigie_admin "$@"
}

# The newest installation of version 15 or later: POSTGRES_BIN. And how to run it as its owner: AS_OWNER.
find_postgres() {
  local candidate version
  POSTGRES_BIN=''
  for candidate in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) $(dirname "$(command -v postgres || echo /none/x)"); do
    [[ -x $candidate/initdb ]] || continue
    version=$("$candidate/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    if ((version >= 15)); then POSTGRES_BIN=$candidate && break; fi
  done
  [[ -n $POSTGRES_BIN ]] || STATUS=2 die "PostgreSQL 15 or later is missing; run scripts/install.sh"
  AS_OWNER=()
  OWNER=$(id -un)
  if ((EUID == 0)); then
    OWNER=postgres
    if ! getent passwd postgres >/dev/null; then
      OWNER=vigie-stack
      getent passwd "$OWNER" >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin "$OWNER"
    fi
    AS_OWNER=(setpriv "--reuid=$OWNER" "--regid=$(id -g "$OWNER")" --clear-groups)
  fi
}

make_cluster() {
  say "making a PostgreSQL cluster owned by $OWNER"
  make_cluster_folder
  # initdb reads the superuser's password as the owner, who has no way into secrets/.
  install -o "$OWNER" -m 600 "$SECRETS/admin_password" "$POSTGRES/password"
  (cd / && "${AS_OWNER[@]}" "$POSTGRES_BIN/initdb" -D "$POSTGRES/data" -U vigie_admin --pwfile="$POSTGRES/password" \
    -A scram-sha-256 --encoding=UTF8 --locale=C) >"$LOGS/initdb.log" 2>&1 ||
    { rm -f "$POSTGRES/password"; cat "$LOGS/initdb.log" >&2; die "initdb failed"; }
  rm -f "$POSTGRES/password" "$DIR/roles-made"
  echo "include 'vigie.conf'" >>"$POSTGRES/data/postgresql.conf"
}

# Below a folder that only root may enter (a clone in /root), the owner cannot reach its data: it then lies in
# /var/tmp, behind a link.
make_cluster_folder() {
  remove_cluster
  if "${AS_OWNER[@]}" test -x "$DIR"; then
    install -d -o "$OWNER" -m 700 "$POSTGRES"
  else
    local elsewhere
    elsewhere=$(mktemp -d /var/tmp/vigie-stack.XXXXXXXX)
    chown "$OWNER" "$elsewhere"
    ln -s "$elsewhere" "$POSTGRES"
    say "$OWNER cannot enter $DIR; the database lies in $elsewhere"
    POSTGRES=$elsewhere
  fi
}

remove_cluster() {
  if [[ -L $DIR/postgres && $POSTGRES == /var/tmp/vigie-stack.* ]]; then rm -rf "$POSTGRES"; fi
  POSTGRES="$DIR/postgres"
  rm -rf "$POSTGRES"
}

write_postgres_config() {
  make_certificate
  # PostgreSQL wants to own its key, and nobody else to read it.
  install -o "$OWNER" -m 600 "$TLS/key.pem" "$POSTGRES/data/server.key"
  install -o "$OWNER" -m 644 "$TLS/cert.pem" "$POSTGRES/data/server.crt"
  cat >"$POSTGRES/data/vigie.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $POSTGRES_PORT
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 200
# Whoever wants it encrypted has it so; on the loopback nobody must.
ssl = on
# A committed row is on the disk: what the tests prove about crashes would mean nothing otherwise.
fsync = on
synchronous_commit = on
# A day is a partition: a query without its day locks hundreds of tables and their indexes.
max_locks_per_transaction = 1024
shared_buffers = 256MB
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
log_lock_waits = on
CONF
}

# After a kill the backends of the dead postmaster may need a moment; a new one refuses to start beside them. It
# also refuses while the dead one's pid is held by a zombie, which a container without an init keeps for ever:
# once the processes are gone, the lock file is removed here.
clear_former_cluster() {
  local lock="$POSTGRES/data/postmaster.pid" former memory deadline=$((SECONDS + 20))
  [[ -f $lock ]] || return 0
  former=$(head -n 1 "$lock")
  if is_running_postgres "$former"; then die "a PostgreSQL with pid $former runs in $POSTGRES/data already"; fi
  memory=$(sed -n '7s/.* //p' "$lock")
  while [[ -n $memory ]] && ipcs -m -i "$memory" 2>/dev/null | grep -Eq 'nattch=[1-9]'; do
    ((SECONDS < deadline)) || die "processes of the former PostgreSQL still run in $POSTGRES/data"
    sleep 0.1
  done
  rm -f "$lock"
}

# Somebody else may have the pid by now: what counts is a postmaster that works in this folder.
is_running_postgres() {
  [[ $(readlink "/proc/$1/cwd" 2>/dev/null) == "$POSTGRES/data" ]] && ! is_dead "$1"
}
