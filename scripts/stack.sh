#!/usr/bin/env bash
# The development stack without containers: Apache Kafka, PostgreSQL, Prometheus and an SMTP sink, all real, on the
# loopback.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: scripts/stack.sh VERB [SERVICE] [--name NAME]

  up                 start what is not running; downloads what is missing first
  down               end what was started here; the data stays
  status             a line per service; exit code 1 unless all of them run
  wipe               down, and remove the stack's data
  download           only fetch what `up` needs
  start SERVICE      start one service again, same port and data
  pause SERVICE      stop it in its tracks (SIGSTOP), connections stay open
  resume SERVICE     let it go on
  kill SERVICE       end it without warning (SIGKILL)
  psql [ROLE] [-- …] psql as reader (default), writer, migrator, desk or admin; what follows -- is for psql

SERVICE is kafka, postgres, smtp or prometheus. NAME (default: dev) is a stack of its own: ports, data, secrets.
Everything lies in .stack/; `source .stack/NAME/env` points the processor at it.
Ports are chosen once and remembered; VIGIE_KAFKA_PORT, VIGIE_CONTROLLER_PORT, VIGIE_POSTGRES_PORT, VIGIE_SMTP_PORT,
VIGIE_PROMETHEUS_PORT, VIGIE_KAFKA_TLS_PORT and VIGIE_KAFKA_MTLS_PORT choose them for you. VIGIE_STACK_CACHE moves the
downloads.
Prometheus scrapes whatever stands in .stack/NAME/targets/ANYTHING.json: [{"targets": ["127.0.0.1:9464"]}]
TEXT
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
NAME=dev
words=()
while (($#)); do
  case $1 in
    --name) NAME=${2:?--name needs a name} && shift ;;
    --name=*) NAME=${1#--name=} ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    *) words+=("$1") ;;
  esac
  shift
done
verb=${words[0]:-}
service=${words[1]:-}
[[ $NAME =~ ^[a-z0-9][a-z0-9_-]*$ && $NAME != cache ]] || { echo "not a name for a stack: $NAME" >&2; exit 2; }

for part in base downloads kafka postgres smtp prometheus; do
  # shellcheck source=/dev/null
  source "$ROOT/scripts/stack/$part.sh"
done

# One command at a time per stack.
lock_stack() {
  exec 9>"$DIR/lock"
  flock -w 120 9 || die "another command has been working on this stack for two minutes"
}

up() {
  local began=$SECONDS
  make_folders
  lock_stack
  download_all
  choose_ports
  random_secret "$SECRETS/token_key"
  make_certificate
  write_env
  start_kafka
  start_postgres
  start_smtp
  start_prometheus
  await_smtp
  await_postgres
  await_kafka
  await_prometheus
  say "up after $((SECONDS - began)) s; source $DIR/env"
}

down() {
  [[ -d $DIR ]] || { say "nothing is running" && return; }
  lock_stack
  end_prometheus
  end_smtp
  end_postgres
  end_kafka
}

wipe() {
  [[ -d $DIR ]] || { say "nothing to remove" && return; }
  down
  remove_cluster
  rm -rf "$DIR"
  say "data removed"
}

status() {
  local all=0 one
  if [[ -f $PORTS ]]; then read_ports; fi
  for one in kafka postgres smtp prometheus; do status_of "$one" || all=1; done
  return $all
}

status_of() {
  local port_variable="${1^^}_PORT"
  if is_paused "$1"; then
    say "$1 paused (pid $(pid_of "$1"), 127.0.0.1:${!port_variable})" && return 1
  elif is_alive "$1"; then
    say "$1 running (pid $(pid_of "$1"), 127.0.0.1:${!port_variable})"
  else
    say "$1 not running" && return 1
  fi
}

start() {
  read_ports
  lock_stack
  choose_ports
  "start_$1"
  "await_$1"
}

open_psql() {
  read_ports
  find_postgres
  [[ -s $SECRETS/$1_password ]] || die "no such role: $1"
  PGPASSWORD="$(<"$SECRETS/$1_password")" exec "$POSTGRES_BIN/psql" -X -h 127.0.0.1 -p "$POSTGRES_PORT" \
    -U "vigie_$1" -d vigie "${@:2}"
}

# What the processor and the tests need to know, as variables. Written at every `up`; never committed.
write_env() {
  local file="$DIR/env" line
  {
    echo "# source this file; written by scripts/stack.sh up"
    while read -r line; do
      printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"
    done <<ENV
VIGIE_KAFKA__BROKERS=127.0.0.1:$KAFKA_PORT
VIGIE_DATABASE__HOST=127.0.0.1
VIGIE_DATABASE__PORT=$POSTGRES_PORT
VIGIE_DATABASE__NAME=vigie
VIGIE_DATABASE__USER=vigie_writer
VIGIE_DATABASE__PASSWORD_FILE=$SECRETS/writer_password
VIGIE_MIGRATE__USER=vigie_migrator
VIGIE_MIGRATE__PASSWORD_FILE=$SECRETS/migrator_password
VIGIE_DESK__USER=vigie_desk
VIGIE_DESK__PASSWORD_FILE=$SECRETS/desk_password
VIGIE_MAIL__HOST=127.0.0.1
VIGIE_MAIL__PORT=$SMTP_PORT
VIGIE_MAIL__TLS=plain
VIGIE_TOKENS__KEY_FILE=$SECRETS/token_key
VIGIE_MODEL__ONNXRUNTIME=$ONNXRUNTIME
VIGIE_STACK_NAME=$NAME
VIGIE_STACK_DIR=$DIR
VIGIE_STACK_SCRIPT=$ROOT/scripts/stack.sh
VIGIE_STACK_PIDS=$PIDS
VIGIE_STACK_SECRETS=$SECRETS
VIGIE_STACK_ADMIN_USER=vigie_admin
VIGIE_STACK_ADMIN_PASSWORD_FILE=$SECRETS/admin_password
VIGIE_STACK_MAILS=$MAILS
VIGIE_STACK_SMTP_MODE=$SMTP_MODE
VIGIE_STACK_SMTP_SINK=$ROOT/scripts/smtp_sink.py
VIGIE_STACK_PYTHON=$PYTHON
VIGIE_STACK_TLS=$TLS
VIGIE_STACK_KAFKA_TLS=127.0.0.1:$KAFKA_TLS_PORT
VIGIE_STACK_KAFKA_MTLS=127.0.0.1:$KAFKA_MTLS_PORT
VIGIE_STACK_KAFKA_USER=vigie
VIGIE_STACK_KAFKA_PASSWORD_FILE=$SECRETS/kafka_password
VIGIE_STACK_PROMETHEUS=http://127.0.0.1:$PROMETHEUS_PORT
VIGIE_STACK_TARGETS=$TARGETS
VIGIE_STACK_TOOLS=$TOOLS
ENV
  } >"$file.part"
  mv "$file.part" "$file"
}

case $verb in
  up | down | status | wipe) "$verb" ;;
  psql) open_psql "${service:-reader}" "$@" ;;
  download) mkdir -p "$CACHE" && download_all ;;
  start | pause | resume | kill)
    case $service in
      kafka | postgres | smtp | prometheus) ;;
      *) usage >&2 && exit 2 ;;
    esac
    case $verb in start) start "$service" ;; *) "${verb}_service" "$service" ;; esac
    ;;
  '') usage ;;
  *) usage >&2 && exit 2 ;;
esac
