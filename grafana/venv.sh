#!/usr/bin/env bash
# The Python environment of the dashboards, made once per pyproject.toml and kept in the ignored cache.
# Prints its interpreter.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CACHE="${VIGIE_STACK_CACHE:-$HERE/../.stack/cache}"
mkdir -p "$CACHE"
VENV="$(cd "$CACHE" && pwd)/dashboards-venv"

exec 9>"$VENV.lock"
flock 9
# A clone elsewhere has a path of its own, which an editable installation remembers.
wanted="$(cat "$HERE/pyproject.toml" - <<<"$HERE")"
if [[ "$(cat "$VENV/made-for" 2>/dev/null)" != "$wanted" ]]; then
  echo "grafana: making the Python environment in $VENV" >&2
  python3 -m venv --clear "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check --editable "$HERE[dev]" >&2
  printf '%s\n' "$wanted" >"$VENV/made-for"
fi
echo "$VENV/bin/python"
