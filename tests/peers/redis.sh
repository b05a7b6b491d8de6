#!/bin/sh
# A real Redis (Debian's package) as a plain process on loopback, in a folder of its own; nothing is written to disk.
#
#   redis.sh install          the package, when it is not there (needs root); no service is started
#   redis.sh start            a server with the password `peer` for everybody and the user `watcher`, password `watching`,
#                             who may only PING and INFO; prints its address
#   redis.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR                  where configuration and log lie (required but for install)
#   REDIS_PORT REDIS_TLS_PORT two free ports (required but for install)
#   CERTIFICATE KEY           PEM files
set -eu
LOOP=127.0.0.1

die() { echo "redis.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/bin/redis-server ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install redis-server
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${REDIS_PORT:?}" "${REDIS_TLS_PORT:?}"
  [ -x /usr/bin/redis-server ] || die "Redis is not installed: sh tests/peers/redis.sh install"
}

write_conf() {
  mkdir -p "$PEER_DIR"
  cat >"$PEER_DIR/redis.conf" <<CONF
bind $LOOP
port $REDIS_PORT
tls-port $REDIS_TLS_PORT
tls-cert-file ${CERTIFICATE:?}
tls-key-file ${KEY:?}
tls-auth-clients no
dir $PEER_DIR
logfile $PEER_DIR/log
pidfile $PEER_DIR/pid
daemonize yes
save ""
appendonly no
requirepass peer
user watcher on >watching ~* +ping +info
CONF
}

start() {
  write_conf
  redis-server "$PEER_DIR/redis.conf" >"$PEER_DIR/start.log" 2>&1 || { cat "$PEER_DIR/start.log" >&2; die "it did not start"; }
  tries=0
  until REDISCLI_AUTH=peer redis-cli -h $LOOP -p "$REDIS_PORT" ping >"$PEER_DIR/ping" 2>&1 && grep -q PONG "$PEER_DIR/ping"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$PEER_DIR/log" >&2; die "it did not become ready"; }
    sleep 0.1
  done
  echo "$LOOP:$REDIS_PORT"
}

end() {
  [ -s "$PEER_DIR/pid" ] || return 0
  pid=$(cat "$PEER_DIR/pid")
  kill "$pid" 2>/dev/null || return 0
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
}

case ${1:-help} in
  install) install_package ;;
  start) need; start ;;
  stop) need; end ;;
  clean)
    need
    end
    rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,12p' "$0"; exit 2 ;;
esac
