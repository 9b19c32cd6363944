#!/usr/bin/env bash
# The build stage of the Dockerfile: Debian 12 with Rust.
#
#   docker/build.sh packages          what building needs beyond Rust and a C compiler; as root
#   docker/build.sh library FOLDER    FOLDER/lib: libonnxruntime.so
#   docker/build.sh binaries FOLDER   FOLDER/bin: vigie and vigie-producer
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages() {
  apt-get update -q
  apt-get install -q -y --no-install-recommends g++ make pkg-config libssl-dev zlib1g-dev ca-certificates python3-venv
  rm -rf /var/lib/apt/lists/*
}

binaries() {
  local built="${CARGO_TARGET_DIR:-target}/release" name
  cargo build --release --locked --workspace --bins
  install -d "$1/bin"
  for name in vigie vigie-producer; do
    # Names of functions stay, for the backtrace of a bug; lines of source do not.
    objcopy --strip-debug "$built/$name" "$1/bin/$name"
  done
}

# The same library, of the same version and from the same place, as in the development stack.
library() {
  local ROOT=$PWD CACHE="${VIGIE_STACK_CACHE:-}"
  [[ -n $CACHE ]] || CACHE=$(mktemp -d)
  say() { echo "$*"; }
  die() { echo "$*" >&2 && exit 1; }
  # shellcheck source=scripts/stack/downloads.sh
  source scripts/stack/downloads.sh
  download_python
  download_onnxruntime
  install -d "$1/lib"
  install -m 644 "$(realpath "$ONNXRUNTIME")" "$1/lib/libonnxruntime.so"
  [[ -n ${VIGIE_STACK_CACHE:-} ]] || rm -rf "$CACHE"
}

case "${1:-}" in
  packages) packages ;;
  library | binaries) "$1" "${2:?docker/build.sh $1 FOLDER}" ;;
  *) echo "usage: docker/build.sh packages | library FOLDER | binaries FOLDER" >&2 && exit 2 ;;
esac
