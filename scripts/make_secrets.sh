#!/usr/bin/env bash
# Makes what docker-compose.yml mounts as secrets: random passwords and keys, and a certificate for PostgreSQL.
# What is there already stays as it is; a file that was removed is made anew, and its service wants a restart then.
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

# An authority that signs this one certificate; its key is not kept. All three files, since none fits another's.
make_certificate() {
  local work curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch)
  work=$(mktemp -d "$FOLDER/certificate.XXXXXX")
  openssl req -x509 "${curve[@]}" -days 3650 -subj "/CN=Vigie database authority" \
    -addext keyUsage=critical,keyCertSign -keyout "$work/authority" -out "$work/ca" 2>/dev/null
  openssl req "${curve[@]}" -subj /CN=postgres -keyout "$work/key" -out "$work/request" 2>/dev/null
  printf '%s\n' "subjectAltName=$HOSTS" basicConstraints=critical,CA:FALSE extendedKeyUsage=serverAuth >"$work/extensions"
  openssl x509 -req -in "$work/request" -CA "$work/ca" -CAkey "$work/authority" -CAcreateserial \
    -CAserial "$work/serial" -days 3650 -extfile "$work/extensions" -out "$work/cert" 2>/dev/null
  rm -f "$FOLDER"/database_{ca,cert,key}.pem
  write_once database_ca.pem cat "$work/ca"
  write_once database_cert.pem cat "$work/cert"
  write_once database_key.pem cat "$work/key"
  rm -rf "$work"
}

command -v openssl >/dev/null || { echo "make_secrets: openssl is missing" >&2 && exit 2; }
mkdir -p "$FOLDER"
chmod 700 "$FOLDER"
for name in "${PASSWORDS[@]}"; do write_once "$name" random_bytes 24; done
# Losing this one splits every account's history: keep a copy where the database's backups are.
write_once token_key random_bytes 32
[[ -s $FOLDER/database_ca.pem && -s $FOLDER/database_cert.pem && -s $FOLDER/database_key.pem ]] || make_certificate
