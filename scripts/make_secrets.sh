#!/usr/bin/env bash
# Makes what docker-compose.yml mounts as secrets: random passwords and keys, and a certificate for PostgreSQL.
# What is there already stays as it is; a file that was removed is made anew, and its service wants a restart then. But
# PostgreSQL and Grafana take admin_password and grafana_admin_password at their first start only: README.md, "With
# containers", says how they are told of another one.
#
#   scripts/make_secrets.sh [FOLDER]    default: secrets/ beside docker-compose.yml, which is never committed
#
# The folder lets nobody in but its owner. The files in it can be read by anybody who is in: a container's user is
# another than yours, and each container is given only the files it needs.
set -euo pipefail
umask 077

FOLDER="${1:-$(dirname "${BASH_SOURCE[0]}")/../secrets}"
PASSWORDS=(admin_password migrator_password writer_password reader_password desk_password monitor_password
  grafana_admin_password metrics_token pager_token)
HOSTS=DNS:postgres,DNS:localhost,IP:127.0.0.1

# write_once NAME COMMAND…: the command's output becomes the file, whole or not at all.
write_once() {
  local file="$FOLDER/$1"
  [[ ! -s $file ]] || return 0
  "${@:2}" >"$file.part"
  chmod 444 "$file.part"
  mv -f "$file.part" "$file"
  echo "made $1"
}

random_bytes() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# What openssl says is of interest when it fails only.
openssl_quietly() { openssl "$@" 2>"$WORK/said" || { cat "$WORK/said" >&2 && return 1; }; }

# An authority that signs this one certificate; its key is not kept. All three files, since none fits another's.
make_certificate() {
  local curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch)
  WORK=$(mktemp -d "$FOLDER/certificate.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  openssl_quietly req -x509 "${curve[@]}" -days 3650 -subj "/CN=Vigie database authority" \
    -addext keyUsage=critical,keyCertSign -keyout "$WORK/authority" -out "$WORK/ca"
  openssl_quietly req "${curve[@]}" -subj /CN=postgres -keyout "$WORK/key" -out "$WORK/request"
  printf '%s\n' "subjectAltName=$HOSTS" basicConstraints=critical,CA:FALSE extendedKeyUsage=serverAuth >"$WORK/extensions"
  openssl_quietly x509 -req -in "$WORK/request" -CA "$WORK/ca" -CAkey "$WORK/authority" -CAcreateserial \
    -CAserial "$WORK/serial" -days 3650 -extfile "$WORK/extensions" -out "$WORK/cert"
  rm -f "$FOLDER"/database_{ca,cert,key}.pem
  write_once database_ca.pem cat "$WORK/ca"
  write_once database_cert.pem cat "$WORK/cert"
  write_once database_key.pem cat "$WORK/key"
}

command -v openssl >/dev/null || { echo "make_secrets: openssl is missing" >&2 && exit 2; }
mkdir -p "$FOLDER"
chmod 700 "$FOLDER"
for name in "${PASSWORDS[@]}"; do write_once "$name" random_bytes 24; done
# Losing this one splits every account's history: keep a copy where the database's backups are.
write_once token_key random_bytes 32
[[ -s $FOLDER/database_ca.pem && -s $FOLDER/database_cert.pem && -s $FOLDER/database_key.pem ]] || make_certificate
