#!/bin/sh
# A real dnsmasq (Debian's package) as a name server on loopback, with its files in a folder of its own.
#
#   dnsmasq.sh install          the package, when it is not there (needs root); no service is started
#   dnsmasq.sh start            knows the zone peer.test and nothing else: www (A, AAAA), alias, MX, TXT, SRV, and
#                               many.peer.test with more records than a datagram takes
#   dnsmasq.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR   where configuration and log lie (required but for install)
#   DNS_PORT   a port that is free for UDP and TCP (required but for install)
set -eu
LOOP=127.0.0.1

die() { echo "dnsmasq.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/dnsmasq ] || return 0
  # The programs alone: Debian's `dnsmasq` would also start a service.
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install dnsmasq-base
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${DNS_PORT:?}"
  [ -x /usr/sbin/dnsmasq ] || die "dnsmasq is not installed: sh tests/peers/dnsmasq.sh install"
}

write_conf() {
  mkdir -p "$PEER_DIR"
  cat >"$PEER_DIR/dnsmasq.conf" <<CONF
port=$DNS_PORT
listen-address=$LOOP
bind-interfaces
no-resolv
no-hosts
no-dhcp-interface=lo
user=$(id -un)
pid-file=$PEER_DIR/pid
log-facility=$PEER_DIR/log
local=/peer.test/
local-ttl=300
host-record=www.peer.test,192.0.2.10,2001:db8::10
cname=alias.peer.test,www.peer.test
mx-host=peer.test,mx.peer.test,10
txt-record=peer.test,"v=spf1 -all"
srv-host=_web._tcp.peer.test,www.peer.test,8080,5,10
CONF
  number=0
  while [ "$number" -lt 100 ]; do
    number=$((number + 1))
    echo "txt-record=many.peer.test,\"record $number of many, which together are too long for one datagram\""
  done >>"$PEER_DIR/dnsmasq.conf"
}

start() {
  write_conf
  dnsmasq --conf-file="$PEER_DIR/dnsmasq.conf" || die "it did not start"
  echo "$LOOP:$DNS_PORT"
}

end() {
  [ ! -s "$PEER_DIR/pid" ] || kill "$(cat "$PEER_DIR/pid")" 2>/dev/null || true
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
  *) sed -n '2,11p' "$0"; exit 2 ;;
esac
