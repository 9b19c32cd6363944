# shellcheck shell=bash
# One Apache Kafka node, broker and controller in one process, on the loopback.

KAFKA_DATA="$DIR/kafka"
KAFKA_CONFIG="$DIR/server.properties"

start_kafka() {
  require java
  if is_paused kafka; then resume_service kafka; fi
  if is_alive kafka; then return; fi
  ! is_open "$KAFKA_PORT" || die "port $KAFKA_PORT is taken by somebody else; set VIGIE_KAFKA_PORT"
  write_kafka_config
  if [[ ! -f $KAFKA_DATA/meta.properties ]]; then format_kafka; fi
  say "starting Kafka $KAFKA_VERSION on 127.0.0.1:$KAFKA_PORT"
  launch kafka java -Xms256m -Xmx768m -XX:+UseSerialGC -Xshare:auto \
    -Dlog4j2.configurationFile="$ROOT/scripts/kafka/log4j2.properties" \
    -cp "$KAFKA_JARS/*" kafka.Kafka "$KAFKA_CONFIG"
}

await_kafka() { until_or_fail 60 kafka kafka_answers; }
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

write_kafka_config() {
  cat >"$KAFKA_CONFIG" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
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
