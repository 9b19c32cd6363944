#!/usr/bin/env bash
# docker-compose.yml, the Dockerfile and what they mount, against the rules; and whether the rules find planted errors.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

PYTHON="$("$HERE/venv.sh")"
cd "$HERE"
"$PYTHON" -m ruff format --check --quiet .
"$PYTHON" -m ruff check --quiet .
"$PYTHON" -m mypy --no-error-summary .
"$PYTHON" -m pytest -q
