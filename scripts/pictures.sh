#!/usr/bin/env bash
# The dashboards' pictures in docs/pictures, of a real run on a stack of its own that is removed afterwards: the committed
# payments in some minutes, with dead letters and duplicates among them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

finish() {
  local status=$?
  trap - EXIT INT TERM
  scripts/stack.sh wipe --name pictures
  exit "$status"
}

mkdir -p .stack
exec 8>.stack/pictures.lock
flock -n 8 || { echo "pictures are being drawn in this clone already" >&2 && exit 1; }

cargo build --release --locked -p vigie -p vigie-producer
python="$(grafana/venv.sh)"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
{ scripts/stack.sh wipe --name pictures && scripts/stack.sh up --name pictures; } 8>&-
# shellcheck source=/dev/null
source .stack/pictures/env
"$python" -m vigie_dashboards show docs/pictures
