#!/bin/sh
# A real Prometheus with its Alertmanager and Pushgateway (Debian's packages), as plain processes on loopback.
#
#   prometheus.sh install              the packages, when they are not there (needs root)
#   prometheus.sh start URL            all three; alerts end at the ticketd that listens at URL
#   prometheus.sh fire NAME [L=V ...]  pushes demo_fault{name="NAME",L="V"} 1, for which the alert DemoFault stands
#   prometheus.sh clear NAME           takes that metric away
#   prometheus.sh stop-one PEER        ends one of prometheus, alertmanager, pushgateway
#   prometheus.sh stop | clean         ends the processes | and removes everything they wrote
#
# Settings by environment:
#   PEER_DIR           where configurations, data, logs and process ids lie (required)
#   PROMETHEUS_PORT ALERTMANAGER_PORT PUSHGATEWAY_PORT   three free ports (required but for install)
#   VIA                alertmanager (default): Prometheus -> Alertmanager -> URL/webhooks/alertmanager
#                      direct: Prometheus -> URL/api/v2/alerts, no Alertmanager is started
#   MAX_ALERTS         the webhook's max_alerts, 0 for all
#   GROUP_BY           the route's group_by, "alertname, name" when not set
#   CREDENTIALS        a bearer token for the webhook
set -eu
LOOP=127.0.0.1

die() { echo "prometheus.sh: $*" >&2; exit 1; }

need() {
  : "${PEER_DIR:?where may the peers write?}" "${PROMETHEUS_PORT:?}" "${ALERTMANAGER_PORT:?}" "${PUSHGATEWAY_PORT:?}"
}

install_packages() {
  missing=
  for package in prometheus prometheus-alertmanager prometheus-pushgateway curl openssl; do
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

write_rules() { # the file is read again at SIGHUP, so a test may take an alert out of it
  cat >"$PEER_DIR/rules.yml" <<'YAML'
groups:
  - name: demo
    rules:
      - alert: DemoFault
        expr: demo_fault == 1
        annotations:
          summary: '{{ $labels.name }} has a fault'
          description: 'demo_fault is {{ $value }}'
      - alert: DemoSecond
        expr: demo_fault == 2
YAML
}

write_configs() {
  mkdir -p "$PEER_DIR/tsdb" "$PEER_DIR/silences"
  target=$LOOP:$ALERTMANAGER_PORT
  [ "${VIA:-alertmanager}" = alertmanager ] || target=${1#http://}
  cat >"$PEER_DIR/prometheus.yml" <<YAML
global:
  scrape_interval: 500ms
  evaluation_interval: 500ms
rule_files: [$PEER_DIR/rules.yml]
alerting:
  alertmanagers:
    - static_configs: [{targets: ['$target']}]
scrape_configs:
  - job_name: pushed
    honor_labels: true
    static_configs: [{targets: ['$LOOP:$PUSHGATEWAY_PORT']}]
YAML
  credentials=
  [ -z "${CREDENTIALS:-}" ] || credentials="
        http_config: {authorization: {credentials: '$CREDENTIALS'}}"
  cat >"$PEER_DIR/alertmanager.yml" <<YAML
route:
  receiver: ticketd
  group_by: [${GROUP_BY-alertname, name}]
  group_wait: 500ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: ticketd
    webhook_configs:
      - url: $1/webhooks/alertmanager
        send_resolved: true
        max_alerts: ${MAX_ALERTS:-0}$credentials
YAML
  [ -e "$PEER_DIR/rules.yml" ] || write_rules
  promtool check config "$PEER_DIR/prometheus.yml" >"$PEER_DIR/promtool.log" || die "bad prometheus.yml"
  amtool check-config "$PEER_DIR/alertmanager.yml" >"$PEER_DIR/amtool.log" || die "bad alertmanager.yml"
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

start_all() {
  write_configs "${1%/}"
  spawn pushgateway "http://$LOOP:$PUSHGATEWAY_PORT/-/ready" \
    prometheus-pushgateway --web.listen-address="$LOOP:$PUSHGATEWAY_PORT" --persistence.file="$PEER_DIR/pushed"
  if [ "${VIA:-alertmanager}" = alertmanager ]; then
    spawn alertmanager "http://$LOOP:$ALERTMANAGER_PORT/-/ready" \
      prometheus-alertmanager --config.file="$PEER_DIR/alertmanager.yml" --storage.path="$PEER_DIR/silences" \
      --web.listen-address="$LOOP:$ALERTMANAGER_PORT" --cluster.listen-address=
  fi
  spawn prometheus "http://$LOOP:$PROMETHEUS_PORT/-/ready" \
    prometheus --config.file="$PEER_DIR/prometheus.yml" --storage.tsdb.path="$PEER_DIR/tsdb" \
    --web.listen-address="$LOOP:$PROMETHEUS_PORT" --rules.alert.resend-delay="${RESEND:-1s}"
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

pushed() { # NAME -> the Pushgateway's address for that metric; base64 takes any name
  key=$(printf %s "$1" | base64 -w0 | tr '+/' '-_')
  echo "http://$LOOP:$PUSHGATEWAY_PORT/metrics/job/demo/fault@base64/$key"
}

quoted() { printf %s "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'; }

fire() {
  name=$1
  shift
  labels="name=\"$(quoted "$name")\""
  for pair in "$@"; do labels="$labels,${pair%%=*}=\"$(quoted "${pair#*=}")\""; done
  printf 'demo_fault{%s} %s\n' "$labels" "${VALUE:-1}" | curl -fsS --data-binary @- "$(pushed "$name")"
}

verb=${1:-help}
[ $# = 0 ] || shift
case $verb in
  install) install_packages ;;
  start) need; start_all "${1:?where does ticketd listen?}" ;;
  fire) need; fire "$@" ;;
  clear) need; curl -fsS -X DELETE "$(pushed "${1:?which metric?}")" ;;
  stop-one) need; stop_one "${1:?which process?}" ;;
  stop | clean)
    need
    for peer in prometheus alertmanager pushgateway; do stop_one $peer; done
    [ "$verb" = stop ] || rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,19p' "$0"; exit 2 ;;
esac
