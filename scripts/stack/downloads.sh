# shellcheck shell=bash
# What comes from outside: the broker's jars, the SMTP sink's Python packages, the ONNX runtime's library; prometheus.sh
# adds its own.
# Kept in the cache for all stacks of this clone; each step is done once.

KAFKA_VERSION=4.1.1
ONNXRUNTIME_VERSION=1.31.1
KAFKA_JARS="$CACHE/kafka-$KAFKA_VERSION"
PYTHON="$CACHE/venv/bin/python"
ONNXRUNTIME="$CACHE/onnxruntime/libonnxruntime.so"

require() {
  command -v "$1" >/dev/null || STATUS=2 die "$1 is missing; run scripts/install.sh, which installs it or says how"
}

download_all() {
  local lock
  exec {lock}>"$CACHE/lock"
  flock "$lock"
  download_kafka
  download_python
  download_onnxruntime
  download_prometheus
  exec {lock}>&-
}

download_kafka() {
  local jars=("$KAFKA_JARS"/kafka_*.jar)
  [[ -f ${jars[0]} ]] && return
  require mvn
  say "downloading Apache Kafka $KAFKA_VERSION (54 MB)…"
  rm -rf "$KAFKA_JARS.part"
  mvn -q -B -Dstyle.color=never -f "$ROOT/scripts/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -Dkafka.version="$KAFKA_VERSION" -DoutputDirectory="$KAFKA_JARS.part"
  mv "$KAFKA_JARS.part" "$KAFKA_JARS"
}

download_python() {
  local wanted="$ROOT/scripts/requirements.txt" have="$CACHE/venv/requirements.txt"
  # An environment whose interpreter was upgraded away is made anew.
  cmp -s "$wanted" "$have" && "$PYTHON" -c 'import aiosmtpd' 2>/dev/null && return
  require python3
  say "making the Python environment of the SMTP sink…"
  python3 -m venv --clear "$CACHE/venv"
  "$PYTHON" -m pip install -q --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$have"
}

download_onnxruntime() {
  local folder="$CACHE/onnxruntime" versioned="libonnxruntime.so.$ONNXRUNTIME_VERSION"
  [[ -f $folder/$versioned && -e $ONNXRUNTIME ]] && return
  say "downloading the ONNX runtime $ONNXRUNTIME_VERSION (24 MB)…"
  rm -rf "$folder" "$folder.part"
  mkdir -p "$folder.part"
  "$PYTHON" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
    -d "$folder.part" "onnxruntime==$ONNXRUNTIME_VERSION"
  "$PYTHON" -m zipfile -e "$folder.part"/onnxruntime-*.whl "$folder.part/wheel"
  mkdir -p "$folder"
  mv "$folder.part/wheel/onnxruntime/capi/$versioned" "$folder/"
  ln -s "$versioned" "$ONNXRUNTIME"
  rm -rf "$folder.part"
}
