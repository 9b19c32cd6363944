#!/usr/bin/env bash
# Every test, against a stack of its own. It is removed afterwards; when a test failed, its data and logs stay in
# .stack/NAME until the next run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

NAME="${VIGIE_TEST_STACK:-test}"

step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((status == 0)); then
    scripts/stack.sh wipe --name "$NAME"
  else
    scripts/stack.sh down --name "$NAME" || true
    printf '\nFAILED (exit code %d); the logs of the stack: .stack/%s/logs\n' "$status" "$NAME" >&2
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step "building"
cargo test --workspace --locked --no-run

step "the training project and the committed golden rows"
make --no-print-directory train-check

step "the compose file, the image, and what they mount"
tests/compose/check.sh

step "a fresh stack"
scripts/stack.sh wipe --name "$NAME"
scripts/stack.sh up --name "$NAME"
# shellcheck source=/dev/null
source ".stack/$NAME/env"

step "the SMTP sink"
"$VIGIE_STACK_PYTHON" scripts/test_smtp_sink.py

step "the imitation of the demo API"
"$VIGIE_STACK_PYTHON" scripts/test_demo_api.py

step "the demo's figures"
"$VIGIE_STACK_PYTHON" scripts/test_demo.py

step "the alert rules and the dashboards"
make --no-print-directory dashboards-check

step "the workspace"
cargo test --workspace --locked --no-fail-fast

step "all passed"
