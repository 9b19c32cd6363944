#!/usr/bin/env bash
# How long the dashboards' SQL takes over many payments, on a stack of its own that is removed afterwards.
#
#   BENCH_PAYMENTS=10000000   payments over 90 days; with less than 200,000 some panels have nothing to show
#
# Exit code 1 when a panel took a second or more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

finish() {
  local status=$?
  trap - EXIT INT TERM
  scripts/stack.sh wipe --name panels >&2
  exit "$status"
}

mkdir -p .stack
exec 8>.stack/panels-bench.lock
flock -n 8 || { echo "another bench of the panels is under way in this clone" >&2 && exit 1; }

cargo build --locked -p vigie
python="$(grafana/venv.sh)"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
{ scripts/stack.sh wipe --name panels && scripts/stack.sh up --name panels; } >&2 8>&-
# shellcheck source=/dev/null
source .stack/panels/env
"$python" -m vigie_dashboards bench --payments "${BENCH_PAYMENTS:-10000000}"
