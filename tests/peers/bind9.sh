#!/bin/sh
# A real BIND (Debian's package) on loopback, twice: whose zones are signed, and who validates them.
#
#   bind9.sh install          the package, when it is not there (needs root); no service is started
#   bind9.sh start            on ZONE_PORT the zones signed.test, forged.test (altered after it was signed) and plain.test
#                             (not signed), each with www; on RESOLVER_PORT a resolver that knows the keys of the first two
#   bind9.sh stop | clean     ends them | and removes all they wrote
#
# Settings by environment:
#   PEER_DIR                   where configuration, zones and logs lie (required but for install)
#   ZONE_PORT RESOLVER_PORT    ports that are free for UDP and TCP (required but for install)
set -eu
LOOP=127.0.0.1
PATH=$PATH:/usr/sbin

die() { echo "bind9.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/named ] || [ ! -x /usr/bin/dnssec-signzone ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install bind9 bind9-utils
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${ZONE_PORT:?}" "${RESOLVER_PORT:?}"
  [ -x /usr/sbin/named ] || die "BIND is not installed: sh tests/peers/bind9.sh install"
}

zone() { # NAME
  cat <<ZONE
\$ORIGIN $1.
\$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A $LOOP
www A 192.0.2.10
ZONE
}

options() { # NAME PORT RECURSION MORE...
  folder=$PEER_DIR/$1 port=$2 recursion=$3
  shift 3
  cat <<CONF
controls { };
options {
  directory "$folder";
  pid-file "$folder/pid";
  session-keyfile "$folder/session.key";
  listen-on port $port { $LOOP; };
  listen-on-v6 { none; };
  recursion $recursion;
  allow-transfer { none; };
  notify no;
  $*
};
logging { channel all { file "$folder/log"; }; category default { all; }; };
CONF
}

write_confs() {
  zones=$PEER_DIR/zones resolver=$PEER_DIR/resolver
  mkdir -p "$zones" "$resolver"
  cd "$zones"
  for name in plain signed forged; do zone "$name.test" >"$name.zone"; done
  for name in signed forged; do
    key=$(dnssec-keygen -q -a ECDSAP256SHA256 -f KSK "$name.test")
    cat "$key.key" >>"$name.zone"
    dnssec-signzone -q -z -o "$name.test" -f "$name.done" "$name.zone" "$key" >"$name.log" 2>&1 \
      || { cat "$name.log" >&2; die "$name.test cannot be signed"; }
    dnssec-dsfromkey -2 "$key.key" >"$name.ds"
  done
  sed 's/192\.0\.2\.10/192.0.2.66/' forged.done >altered
  mv altered forged.done
  cp plain.zone plain.done
  {
    options zones "$ZONE_PORT" no "dnssec-validation no;"
    for name in plain signed forged; do echo "zone \"$name.test\" { type primary; file \"$zones/$name.done\"; };"; done
  } >named.conf
  cd "$resolver"
  {
    options resolver "$RESOLVER_PORT" yes "dnssec-validation yes; forward only; forwarders { $LOOP port $ZONE_PORT; };" \
      "empty-zones-enable no; qname-minimization off;"
    echo "trust-anchors {"
    # NAME IN DS TAG ALGORITHM TYPE DIGEST
    for name in signed forged; do
      while read -r _ _ _ tag algorithm type digest; do
        echo "  $name.test. static-ds $tag $algorithm $type \"$digest\";"
      done <"$zones/$name.ds"
    done
    echo "};"
  } >named.conf
}

start() {
  [ -e "$PEER_DIR/resolver/named.conf" ] || write_confs
  for one in zones resolver; do
    named -c "$PEER_DIR/$one/named.conf" -D "ticketd-peer-$one" >"$PEER_DIR/$one/start.log" 2>&1 \
      || { cat "$PEER_DIR/$one/start.log" "$PEER_DIR/$one/log" >&2; die "$one did not start"; }
  done
  echo "$LOOP:$ZONE_PORT $LOOP:$RESOLVER_PORT"
}

end() {
  for one in zones resolver; do
    [ ! -s "$PEER_DIR/$one/pid" ] || kill "$(cat "$PEER_DIR/$one/pid")" 2>/dev/null || true
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
  *) sed -n '2,11p' "$0"; exit 2 ;;
esac
