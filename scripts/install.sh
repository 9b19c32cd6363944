#!/usr/bin/env bash
# Installs the Debian packages that building and the development stack need, as far as they are missing.
# Without the right to do so it prints the command and ends with 2.
set -euo pipefail

say() { printf 'install: %s\n' "$*"; }

have() { command -v "$1" >/dev/null 2>&1; }

have_java() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  [[ -n $major ]] && ((major >= 17))
}

have_postgres() {
  local server major
  for server in /usr/lib/postgresql/*/bin/postgres "$(command -v postgres || true)"; do
    [[ -x $server && -x $(dirname "$(realpath "$server")")/initdb ]] || continue
    major=$("$server" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    if ((major >= 15)); then return; fi
  done
  return 1
}

# What is looked for is the thing, not the package: a JDK or Maven from elsewhere serves as well.
missing_packages() {
  have curl || echo curl
  have g++ || echo g++
  have make || echo make
  have pkg-config || echo pkg-config
  pkg-config --exists openssl 2>/dev/null || echo libssl-dev
  pkg-config --exists zlib 2>/dev/null || echo zlib1g-dev
  have openssl || echo openssl
  have zstd || echo zstd
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  have_java || echo default-jdk-headless
  have mvn || echo maven
  have_postgres || echo postgresql
}

# A machine that was just started installs its own updates first.
apt() { "${AS_ROOT[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"; }

# The package would make a cluster and start it, on a port and in folders that are none of ours; a cluster that
# runs already is left alone.
install_without_cluster() {
  local settings=/etc/postgresql-common/createcluster.conf
  apt install --no-install-recommends postgresql-common
  # A copy that is there already is of a run that was killed: the settings as they were.
  [[ -e $settings.before-vigie ]] || "${AS_ROOT[@]}" cp -p "$settings" "$settings.before-vigie"
  trap '"${AS_ROOT[@]}" mv '"$settings.before-vigie $settings" EXIT
  echo 'create_main_cluster = false' | "${AS_ROOT[@]}" tee -a "$settings" >/dev/null
  apt install --no-install-recommends "$@"
}

have cargo || {
  say "Rust is missing: https://rustup.rs says how; rust-toolchain.toml names the version" >&2
  exit 2
}

! have python3 || python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  say "Python 3.11 or later is missing: python3 is $(python3 -V | cut -d" " -f2)" >&2
  exit 2
}

mapfile -t packages < <(missing_packages)
if ((${#packages[@]} == 0)); then
  say "nothing is missing"
  exit 0
fi

AS_ROOT=()
if ((EUID != 0)); then
  AS_ROOT=(sudo -n)
  if ! sudo -n true 2>/dev/null; then
    say "some Debian packages are missing; as root:" >&2
    say "  apt-get update && apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 2
  fi
fi

say "installing ${packages[*]}"
apt update
if [[ " ${packages[*]} " == *" postgresql "* ]]; then
  install_without_cluster "${packages[@]}"
else
  apt install --no-install-recommends "${packages[@]}"
fi

mapfile -t packages < <(missing_packages)
((${#packages[@]} == 0)) || {
  say "still missing after the installation: ${packages[*]}" >&2
  exit 2
}
