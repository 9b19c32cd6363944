#!/usr/bin/env bash
# Proves image and compose file where there is no container engine: follows the Dockerfile's steps in a clean Debian
# root (made once by debootstrap), then starts what docker-compose.yml says in it, contained as the file says.
#
#   docker/try_in_debian.sh            with the release build of this tree (built when it is not current)
#   docker/try_in_debian.sh --build    the build stage too, in a clean Debian root (the first time some 20 minutes)
#
# As root, on Debian, with what scripts/install.sh installs; debootstrap is installed when it is missing. Nothing else
# outside of .stack is changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export VIGIE_STACK_CACHE="${VIGIE_STACK_CACHE:-$PWD/.stack/cache}"
BASE="$PWD/.stack/cache/debian-bookworm"
WORK="$PWD/.stack/image"

die() { printf 'image: %s\n' "$*" >&2 && exit "${STATUS:-1}"; }

# Where this machine itself gets Debian from: lines of `address release component`.
sources() { apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' | sort -u; }

make_base() {
  local mirror security
  mirror=$(sources | awk '$2 ~ /^[a-z]+$/ && $1 ~ /debian\/?$/ && $3 == "main" { print $1; exit }')
  security=$(sources | awk '$2 ~ /-security$/ && $3 == "main" { print $1; exit }')
  [[ -n $mirror ]] || die "apt knows no mirror of Debian"
  echo "making a clean Debian root (once, about two minutes)"
  rm -rf "$BASE.part"
  debootstrap --variant=minbase bookworm "$BASE.part" "$mirror" >"$WORK/debootstrap.log" 2>&1 ||
    { tail -n 15 "$WORK/debootstrap.log" >&2 && die "debootstrap failed"; }
  echo "deb $mirror bookworm main" >"$BASE.part/etc/apt/sources.list"
  [[ -z $security ]] || echo "deb $security bookworm-security main" >>"$BASE.part/etc/apt/sources.list"
  apt-config dump Acquire | grep -i '::proxy' >"$BASE.part/etc/apt/apt.conf.d/90machine" || true
  rm -rf "$BASE.part"/var/cache/apt/archives/*.deb "$BASE.part"/var/lib/apt/lists/*
  mv "$BASE.part" "$BASE"
}

((EUID == 0)) || STATUS=2 die "this must run as root"
command -v debootstrap >/dev/null ||
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends debootstrap; }
mkdir -p "$WORK" "$VIGIE_STACK_CACHE" "$PWD/.stack/cache"
exec 9>"$WORK.lock"
flock -n 9 || die "another try is under way in this clone"
[[ -d $BASE ]] || make_base

PYTHON="$(tests/compose/venv.sh)"
export PYTHONPATH="$PWD/tests/compose"
apart=(unshare --mount --pid --fork --kill-child --mount-proc --propagation private)

build=()
if [[ ${1:-} == --build ]]; then
  build=(--build)
else
  docker/build.sh library "$WORK/out"
  docker/build.sh binaries "$WORK/out"
fi
"${apart[@]}" "$PYTHON" -m vigie_compose.build_image "$BASE" "$WORK/out" "$WORK" "${build[@]}"

# The software of the development stack stands in for the images of others.
scripts/stack.sh download
"${apart[@]}" --net "$PYTHON" -m vigie_compose.rehearsal "$WORK/root" "$WORK/rehearsal" "$VIGIE_STACK_CACHE"
