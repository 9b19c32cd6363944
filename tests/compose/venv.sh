#!/usr/bin/env bash
# The Python environment of these checks, made once per requirements.txt and kept in the ignored cache.
# Prints its interpreter.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CACHE="${VIGIE_STACK_CACHE:-$HERE/../../.stack/cache}"
mkdir -p "$CACHE"
VENV="$(cd "$CACHE" && pwd)/compose-venv"

exec 9>"$VENV.lock"
flock 9
if ! cmp -s "$HERE/requirements.txt" "$VENV/made-for"; then
  echo "compose: making the Python environment in $VENV" >&2
  python3 -m venv --clear "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$HERE/requirements.txt" >&2
  cp "$HERE/requirements.txt" "$VENV/made-for"
fi
echo "$VENV/bin/python"
