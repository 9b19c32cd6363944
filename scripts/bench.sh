#!/usr/bin/env bash
# The figures: a release build, a fresh stack of its own, Vigie and a Python consumer on the same topic, a table.
#
#   BENCH_ROWS=500000    payments to drain
#   BENCH_RUNS=3         runs of each part
#   BENCH_LANES=         lanes of `vigie run` (empty: its default)
#   BENCH_RATE=1000      payments a second in the live part, for
#   BENCH_SECONDS=30     seconds, after
#   BENCH_WARM_UP=5      seconds that are not counted
#
# The stack is removed afterwards; when something failed, its data and logs stay in .stack/bench until the next run.
# A bar that is missed is said beside the figure; the exit code is 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CACHE="${VIGIE_STACK_CACHE:-$PWD/.stack/cache}"
RESULTS="$PWD/.stack/bench"

step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS" >&2; }

# make_environment NAME REQUIREMENTS: made once for each state of the pinned versions.
make_environment() {
  local wanted
  VENV="$CACHE/$1"
  wanted="$(cat benches/requirements*.txt benches/peer/requirements.txt)"
  [[ "$(cat "$VENV/made-for" 2>/dev/null)" != "$wanted" ]] || return 0
  step "the Python environment"
  python3 -m venv --clear "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$2" >&2
  printf '%s\n' "$wanted" >"$VENV/made-for"
}

check() {
  make_environment bench-check-venv benches/requirements-dev.txt
  cd benches
  "$VENV/bin/ruff" format --check . && "$VENV/bin/ruff" check . && "$VENV/bin/mypy" peer measure run.py
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((status == 0)); then
    scripts/stack.sh wipe --name bench >&2
    mkdir -p "$RESULTS"
    mv "$MEASURED"/results.* "$RESULTS/"
    echo "kept in .stack/bench/results.md and results.json" >&2
  else
    scripts/stack.sh down --name bench >&2 || true
    printf '\nFAILED (exit code %d); logs: .stack/bench/bench and .stack/bench/logs\n' "$status" >&2
  fi
  rm -rf "$MEASURED"
  exit "$status"
}

mkdir -p .stack "$CACHE"
case "${1:-}" in
  '') ;;
  check) check && exit ;;
  *) echo "usage: scripts/bench.sh [check]" >&2 && exit 2 ;;
esac
exec 8>.stack/bench-run.lock
flock -n 8 || { echo "another bench is under way in this clone" >&2 && exit 1; }

step "building"
cargo build --release --locked --workspace

make_environment bench-venv benches/requirements.txt

MEASURED="$(mktemp -d "$PWD/.stack/bench-results.XXXXXX")"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "a fresh stack"
{ scripts/stack.sh wipe --name bench && scripts/stack.sh up --name bench; } >&2 8>&-
# shellcheck source=/dev/null
source .stack/bench/env

step "the peer's model"
mkdir -p .stack/bench/bench
PYTHONPATH=benches:models/training "$VENV/bin/python" -m peer.model models/card/payments.csv.zst .stack/bench/bench/peer.onnx

step "measuring"
BENCH_RESULTS="$MEASURED" "$VENV/bin/python" benches/run.py
