# shellcheck shell=bash
# A Prometheus that scrapes whom it is told: every file NAME.json in targets/, written and removed by whoever runs a
# processor, is a list as in [{"targets": ["127.0.0.1:9464"]}]. With the alert rules of the repository.

PROMETHEUS_DATA="$DIR/prometheus"
PROMETHEUS_CONFIG="$DIR/prometheus.yml"
TARGETS="$DIR/targets"
TOOLS="$CACHE/prometheus"

start_prometheus() {
  if is_paused prometheus; then resume_service prometheus; fi
  if is_alive prometheus; then return; fi
  ! is_open "$PROMETHEUS_PORT" || die "port $PROMETHEUS_PORT is taken by somebody else; set VIGIE_PROMETHEUS_PORT"
  mkdir -p "$TARGETS"
  write_prometheus_config
  say "starting Prometheus on 127.0.0.1:$PROMETHEUS_PORT"
  launch prometheus "$TOOLS/prometheus" --config.file="$PROMETHEUS_CONFIG" --storage.tsdb.path="$PROMETHEUS_DATA" \
    --storage.tsdb.retention.time=30d --web.listen-address="127.0.0.1:$PROMETHEUS_PORT"
}

await_prometheus() { until_or_fail 60 prometheus prometheus_answers; }

prometheus_answers() {
  python3 - "http://127.0.0.1:$PROMETHEUS_PORT/-/ready" <<'PY' 2>/dev/null
import sys, urllib.request

urllib.request.urlopen(sys.argv[1], timeout=1)
PY
}

end_prometheus() { end_service prometheus TERM; }

write_prometheus_config() {
  cat >"$PROMETHEUS_CONFIG" <<YAML
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files:
  - $ROOT/prometheus/alerts.yml
scrape_configs:
  - job_name: vigie
    file_sd_configs:
      - files: ["$TARGETS/*.json"]
        refresh_interval: 1s
YAML
}

# The programs out of Debian's packages, without installing these: nothing is started, no user made, no systemd pulled
# in. What is on the PATH already serves as well.
download_prometheus() {
  [[ -x $TOOLS/prometheus && -x $TOOLS/promtool && -x $TOOLS/alertmanager && -x $TOOLS/amtool ]] && return
  rm -rf "$TOOLS" "$TOOLS.part"
  mkdir -p "$TOOLS.part"
  if command -v prometheus && command -v promtool && command -v alertmanager && command -v amtool; then
    link_prometheus "$(command -v prometheus)" "$(command -v promtool)" "$(command -v alertmanager)" "$(command -v amtool)"
  else
    unpack_prometheus
    link_prometheus "$TOOLS/packages/"{usr/bin/prometheus,usr/bin/promtool,alertmanager,usr/bin/amtool}
  fi >/dev/null
  mv "$TOOLS.part" "$TOOLS"
}

unpack_prometheus() {
  local package
  require apt-get
  require dpkg
  say "downloading Prometheus and Alertmanager (30 MB)…" >&2
  fetch_packages || refresh_packages_and_fetch || STATUS=2 die "the packages prometheus and prometheus-alertmanager \
cannot be downloaded; $TOOLS.part/apt.log says why, and 'apt-get update' as root is the usual cure"
  for package in "$TOOLS.part"/*.deb; do dpkg -x "$package" "$TOOLS.part/packages"; done
  rm -f "$TOOLS.part"/*.deb
  move_alertmanager
}

fetch_packages() {
  (cd "$TOOLS.part" && apt-get -q download prometheus prometheus-alertmanager) >"$TOOLS.part/apt.log" 2>&1
}

# An image for containers has no lists of packages until somebody asks for them.
refresh_packages_and_fetch() {
  local as_root=()
  ((EUID == 0)) || as_root=(sudo -n)
  "${as_root[@]}" apt-get -q update >"$TOOLS.part/apt.log" 2>&1 && fetch_packages
}

# link_prometheus PROMETHEUS PROMTOOL ALERTMANAGER AMTOOL
link_prometheus() {
  ln -s "$1" "$TOOLS.part/prometheus"
  ln -s "$2" "$TOOLS.part/promtool"
  ln -s "$3" "$TOOLS.part/alertmanager"
  ln -s "$4" "$TOOLS.part/amtool"
}

# Debian's Alertmanager reads its templates below /usr/share, where nothing of ours is put. In the unpacked copy that
# one path is made relative, at the same length, and the program is started where it leads to the unpacked templates.
move_alertmanager() {
  local packages="$TOOLS.part/packages"
  python3 - "$packages/usr/bin/prometheus-alertmanager" <<'PY'
import pathlib, sys

program = pathlib.Path(sys.argv[1])
absolute, relative = b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager"
code = program.read_bytes()
assert absolute in code and len(absolute) == len(relative)
program.write_bytes(code.replace(absolute, relative))
PY
  printf '%s\n' '#!/bin/sh' '# Needs absolute paths.' \
    'cd "$(dirname "$(readlink -f "$0")")" && exec usr/bin/prometheus-alertmanager "$@"' >"$packages/alertmanager"
  chmod +x "$packages/alertmanager"
}
