#!/bin/sh
# A real blackbox_exporter, and a Prometheus that scrapes it and itself (Debian's packages), on loopback.
#
#   blackbox.sh install        the packages, when they are not there (needs root)
#   blackbox.sh start          both, as plain processes
#   blackbox.sh stop | clean   ends them | and removes all they wrote
#
# Settings by environment:
#   PEER_DIR                          where configurations, data, logs and process ids lie (required but for install)
#   EXPORTER_PORT PROMETHEUS_PORT     two free ports (required but for install)
set -eu
LOOP=127.0.0.1

die() { echo "blackbox.sh: $*" >&2; exit 1; }

install_packages() {
  missing=
  for package in prometheus prometheus-blackbox-exporter curl; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  # Debian starts a service for each package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install $missing
}

need() { : "${PEER_DIR:?where may the peers write?}" "${EXPORTER_PORT:?}" "${PROMETHEUS_PORT:?}"; }

write_configs() {
  mkdir -p "$PEER_DIR/tsdb"
  cat >"$PEER_DIR/blackbox.yml" <<YAML
modules:
  http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}
  http_well:
    prober: http
    http: {preferred_ip_protocol: ip4, fail_if_body_not_matches_regexp: ['all is well']}
  tcp_connect: {prober: tcp, tcp: {preferred_ip_protocol: ip4}}
YAML
  cat >"$PEER_DIR/prometheus.yml" <<YAML
global: {scrape_interval: 500ms}
scrape_configs:
  - job_name: self
    static_configs: [{targets: ['$LOOP:$PROMETHEUS_PORT']}]
  - job_name: exporter
    static_configs: [{targets: ['$LOOP:$EXPORTER_PORT']}]
YAML
}

spawn() { # NAME READY_URL COMMAND...
  name=$1 url=$2
  shift 2
  setsid "$@" >"$PEER_DIR/$name.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$PEER_DIR/$name.pid"
  tries=0
  until curl -fsS -o "$PEER_DIR/curl.out" "$url" 2>"$PEER_DIR/curl.err"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ] || ! kill -0 "$pid"; then
      cat "$PEER_DIR/$name.log" >&2
      die "$name did not become ready"
    fi
    sleep 0.1
  done
}

start() {
  write_configs
  spawn exporter "http://$LOOP:$EXPORTER_PORT/-/healthy" \
    prometheus-blackbox-exporter --config.file="$PEER_DIR/blackbox.yml" --web.listen-address="$LOOP:$EXPORTER_PORT"
  spawn prometheus "http://$LOOP:$PROMETHEUS_PORT/-/ready" \
    prometheus --config.file="$PEER_DIR/prometheus.yml" --storage.tsdb.path="$PEER_DIR/tsdb" \
    --web.listen-address="$LOOP:$PROMETHEUS_PORT"
}

stop_one() { # NAME: at once, for all that they wrote is thrown away
  [ -s "$PEER_DIR/$1.pid" ] || return 0
  pid=$(cat "$PEER_DIR/$1.pid")
  rm -f "$PEER_DIR/$1.pid"
  kill -9 "$pid" 2>/dev/null || return 0
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
}

case ${1:-help} in
  install) install_packages ;;
  start) need; start ;;
  stop | clean)
    need
    for peer in exporter prometheus; do stop_one $peer; done
    [ "$1" = stop ] || rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,11p' "$0"; exit 2 ;;
esac
