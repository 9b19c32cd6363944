#!/usr/bin/env bash
# Starts the broker of docker-compose.yml; the first time, its storage is made, under an id of its own: a cluster that
# was wiped is another one, and Vigie refuses to take it for the former.
set -euo pipefail

settings=/etc/vigie/server.properties
data=$(sed -n 's/^log\.dirs=//p' "$settings")

if [[ ! -f $data/meta.properties ]]; then
  id=$(/opt/kafka/bin/kafka-storage.sh random-uuid)
  /opt/kafka/bin/kafka-storage.sh format --standalone --cluster-id="$id" --config "$settings"
fi
exec /opt/kafka/bin/kafka-server-start.sh "$settings"
