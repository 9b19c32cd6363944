# shellcheck shell=bash
# One Apache Kafka node, broker and controller in one process, on the loopback. Three ways in: in the clear; encrypted,
# with user and password (PLAIN and SCRAM-SHA-512); encrypted, with a certificate of one's own.

KAFKA_DATA="$DIR/kafka"
KAFKA_CONFIG="$DIR/server.properties"

start_kafka() {
  require java
  if is_paused kafka; then resume_service kafka; fi
  if is_alive kafka; then return; fi
  local name variable
  for name in KAFKA CONTROLLER KAFKA_TLS KAFKA_MTLS; do
    variable="${name}_PORT"
    ! is_open "${!variable}" || die "port ${!variable} is taken by somebody else; set VIGIE_$variable"
  done
  make_certificate
  random_secret "$SECRETS/kafka_password"
  write_kafka_config
  if [[ ! -f $KAFKA_DATA/meta.properties ]]; then format_kafka; fi
  say "starting Kafka $KAFKA_VERSION on 127.0.0.1:$KAFKA_PORT"
  launch kafka java -Xms256m -Xmx768m -XX:+UseSerialGC -Xshare:auto \
    -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" \
    -cp "$KAFKA_JARS/*" kafka.Kafka "$KAFKA_CONFIG"
}

await_kafka() {
  until_or_fail 60 kafka kafka_answers
  [[ -f $DIR/kafka-user-made ]] || make_kafka_user
}

kafka_answers() { grep -q 'Kafka Server started' "$LOGS/kafka.log" && is_open "$KAFKA_PORT"; }
end_kafka() { end_service kafka TERM; }

format_kafka() {
  local id
  id=$(python3 -c 'import base64, uuid; print("V" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])')
  java -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" -cp "$KAFKA_JARS/*" \
    kafka.tools.StorageTool format --standalone -t "$id" -c "$KAFKA_CONFIG" >"$LOGS/kafka-format.log" 2>&1 ||
    { cat "$LOGS/kafka-format.log" >&2; die "Kafka's storage could not be formatted"; }
}

# The user of SCRAM is kept in Kafka's own metadata. The file keeps the password out of the command line.
make_kafka_user() {
  local secret="$SECRETS/kafka-user.properties"
  (umask 077 && printf 'SCRAM-SHA-512=password=%s\n' "$(<"$SECRETS/kafka_password")" >"$secret")
  java -XX:TieredStopAtLevel=1 -Xshare:auto \
    -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" -cp "$KAFKA_JARS/*" \
    kafka.admin.ConfigCommand --bootstrap-server "127.0.0.1:$KAFKA_PORT" --alter --entity-type users \
    --entity-name vigie --add-config-file "$secret" >"$LOGS/kafka-user.log" 2>&1 ||
    { rm -f "$secret"; die "Kafka's user could not be made; why: $LOGS/kafka-user.log"; }
  rm -f "$secret"
  touch "$DIR/kafka-user-made"
}

write_kafka_config() {
  local ways="PLAINTEXT://127.0.0.1:$KAFKA_PORT,SASL_SSL://127.0.0.1:$KAFKA_TLS_PORT"
  ways+=",SSL://127.0.0.1:$KAFKA_MTLS_PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT"
  # The key first: Kafka wants both in one file.
  (umask 077 && cat "$TLS/key.pem" "$TLS/cert.pem" >"$TLS/kafka.pem")
  (umask 077 && : >"$KAFKA_CONFIG")
  cat >"$KAFKA_CONFIG" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=$ways
advertised.listeners=$ways
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$TLS/kafka.pem
ssl.truststore.type=PEM
ssl.truststore.location=$TLS/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_vigie="$(<"$SECRETS/kafka_password")";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$CONTROLLER_PORT
log.dirs=$KAFKA_DATA

# A topic is made by whoever needs it, with the partitions it needs; a typing error makes none.
auto.create.topics.enable=false
num.partitions=8
# Nothing is deleted behind a test's back. Larger records than the default 1 MiB are a topic's own wish
# (max.message.bytes).
log.retention.ms=-1
log.segment.delete.delay.ms=1000

# One node: one replica of everything.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# Groups form at once and notice a dead member within a second, when a test asks for that.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=1000

# Start quickly, also after a kill: the controller forgets the node that died sooner than the default 9 s.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controlled.shutdown.enable=false

# A small machine.
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
}
