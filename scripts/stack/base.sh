# shellcheck shell=bash
# What every part of the stack stands on: where things lie, words for the person, ports, processes.
# Sourced by stack.sh, which has set ROOT and NAME.

# shellcheck disable=SC2034 # used by the files sourced beside this one
CACHE="${VIGIE_STACK_CACHE:-$ROOT/.stack/cache}"
DIR="$ROOT/.stack/$NAME"
LOGS="$DIR/logs"
PIDS="$DIR/pids"
SECRETS="$DIR/secrets"
PORTS="$DIR/ports"
# What needs a port: one word each. Ours come from the file or a VIGIE_ variable, not from whatever the environment
# calls so.
PORT_NAMES=(KAFKA CONTROLLER POSTGRES SMTP PROMETHEUS KAFKA_TLS KAFKA_MTLS)
unset "${PORT_NAMES[@]/%/_PORT}"

say() { printf 'stack %s: %s\n' "$NAME" "$*"; }

die() {
  printf 'stack %s: %s\n' "$NAME" "$*" >&2
  exit "${STATUS:-1}"
}

make_folders() {
  # The database's user must be able to walk down to its own folder, whatever the umask.
  mkdir -p "$CACHE" "$DIR" "$LOGS" "$PIDS" "$SECRETS"
  chmod 755 "$ROOT/.stack" "$DIR"
  chmod 700 "$SECRETS"
}

# random_secret FILE: 32 random bytes in hexadecimal, readable by the owner only, made once.
random_secret() {
  [[ -s $1 ]] && return
  (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$1")
}

# until_or_fail SECONDS SERVICE CONDITION…: waits for the condition, as long as the service lives.
until_or_fail() {
  local seconds=$1 service=$2
  shift 2
  local deadline=$((SECONDS + seconds))
  until "$@"; do
    is_alive "$service" || fail_with_log "$service" "ended while starting"
    ((SECONDS < deadline)) || fail_with_log "$service" "not ready after $seconds s"
    sleep 0.1
  done
}

fail_with_log() {
  tail -n 20 "$LOGS/$1.log" >&2 || true
  die "$1 $2; its whole log: $LOGS/$1.log"
}

# --- ports -----------------------------------------------------------------------------------------------

# Chosen below the range that the kernel hands out to outgoing connections (32768 and up), so that nobody
# takes the port of a service while it is down.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys

held = []
while len(held) < int(sys.argv[1]):
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", random.randrange(20000, 32000)))
    except OSError:
        continue
    held.append(listener)
print(*(listener.getsockname()[1] for listener in held))
PY
}

# Sets KAFKA_PORT and its likes to what was chosen at the first `up`.
read_ports() {
  [[ -f $PORTS ]] || die "this stack has never been up"
  # shellcheck disable=SC1090
  source "$PORTS"
}

# A variable wins over what is remembered, and what is remembered over a new choice: a service that came later gets
# its port beside those that the others have.
choose_ports() {
  local name variable wanted fresh missing=()
  if [[ -f $PORTS ]]; then read_ports; fi
  for name in "${PORT_NAMES[@]}"; do
    variable="${name}_PORT" wanted="VIGIE_${name}_PORT"
    [[ -z ${!wanted:-} ]] || printf -v "$variable" %s "${!wanted}"
    [[ -n ${!variable:-} ]] || missing+=("$variable")
  done
  if ((${#missing[@]})); then
    read -r -a fresh <<<"$(free_ports "${#missing[@]}")"
    for name in "${!missing[@]}"; do printf -v "${missing[name]}" %s "${fresh[name]}"; done
  fi
  for name in "${PORT_NAMES[@]}"; do
    variable="${name}_PORT"
    printf '%s=%s\n' "$variable" "${!variable}"
  done >"$PORTS"
}

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# --- processes -------------------------------------------------------------------------------------------

# A pid file holds the pid and, on its second line, when that process began: a pid alone may by now belong to
# somebody else.
began_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
threads_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f18; }
state_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1; }

remember() { printf '%s\n%s\n' "$2" "$(began_at "$2")" >"$PIDS/$1"; }

pid_of() { head -n 1 "$PIDS/$1" 2>/dev/null; }

is_alive() {
  local pid began
  { read -r pid && read -r began; } 2>/dev/null <"$PIDS/$1" || return 1
  [[ -n $began && $(began_at "$pid") == "$began" ]] && ! is_dead "$pid"
}

# A killed process is a zombie as soon as its first thread is gone; its ports stay open until the last one is.
is_dead() { [[ $(state_of "$1") == Z && $(threads_of "$1") -le 1 ]]; }

# launch SERVICE COMMAND…: in a session of its own, so that Ctrl-C in the terminal does not end it; the lock
# (descriptor 9) is not handed down, or it would be held as long as the service lives.
launch() {
  local service=$1
  shift
  [[ ! -f $LOGS/$service.log ]] || mv "$LOGS/$service.log" "$LOGS/$service.log.1"
  setsid "$@" >"$LOGS/$service.log" 2>&1 </dev/null 9>&- &
  remember "$service" $!
}

# A service and the processes it started (PostgreSQL's backends). The service comes first.
family_of() {
  pid_of "$1"
  cat "/proc/$(pid_of "$1")/task/"*"/children" 2>/dev/null | tr ' ' '\n' | sed '/^$/d'
}

# A parent is stopped before its children, so that it starts no others meanwhile.
pause_service() {
  local pid
  is_alive "$1" || die "$1 is not running"
  kill -STOP "$(pid_of "$1")"
  for pid in $(family_of "$1"); do kill -STOP "$pid" 2>/dev/null || true; done
  say "$1 paused"
}

resume_service() {
  is_alive "$1" || die "$1 is not running"
  continue_family "$1"
  say "$1 goes on"
}

continue_family() {
  local pid
  for pid in $(family_of "$1" | tac); do kill -CONT "$pid" 2>/dev/null || true; done
}

is_paused() { is_alive "$1" && [[ $(state_of "$(pid_of "$1")") == T ]]; }

kill_service() {
  is_alive "$1" || die "$1 is not running"
  local pid family
  family=$(family_of "$1")
  for pid in $family; do kill -KILL "$pid" 2>/dev/null || true; done
  wait_until_gone 10 "$1" || die "$1 survives SIGKILL"
  say "$1 killed"
}

wait_until_gone() {
  local deadline=$((SECONDS + $1))
  while is_alive "$2"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# end_service SERVICE SIGNAL: the service's own way to stop, and after 20 s the hard one.
end_service() {
  if is_alive "$1"; then
    kill "-$2" "$(pid_of "$1")"
    continue_family "$1"
    if wait_until_gone 20 "$1"; then say "$1 ended"; else kill_service "$1"; fi
  fi
  rm -f "$PIDS/$1"
}
