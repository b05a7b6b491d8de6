#!/bin/sh
# A real OpenLDAP server (Debian's package) on loopback, with its files in a folder of its own. It holds no entries.
#
#   slapd.sh install          the package, when it is not there (needs root); no database and no service is made
#   slapd.sh start            LDAP with StartTLS on LDAP_PORT
#   slapd.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR          where configuration and log lie (required but for install)
#   LDAP_PORT         a free port (required but for install)
#   CERTIFICATE KEY   PEM files; without them it knows no TLS
set -eu
LOOP=127.0.0.1

die() { echo "slapd.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/slapd ] || return 0
  # Debian makes a database and starts a service for the package; both are declined.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  echo 'slapd slapd/no_configuration boolean true' | debconf-set-selections
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install slapd
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${LDAP_PORT:?}"
  [ -x /usr/sbin/slapd ] || die "OpenLDAP is not installed: sh tests/peers/slapd.sh install"
}

write_conf() {
  mkdir -p "$PEER_DIR"
  {
    echo "pidfile $PEER_DIR/pid"
    echo "argsfile $PEER_DIR/args"
    if [ -n "${CERTIFICATE:-}" ]; then
      echo "TLSCertificateFile $CERTIFICATE"
      echo "TLSCertificateKeyFile ${KEY:?}"
    fi
    echo "database monitor"
  } >"$PEER_DIR/slapd.conf"
}

start() {
  write_conf
  /usr/sbin/slapd -f "$PEER_DIR/slapd.conf" -h "ldap://$LOOP:$LDAP_PORT" >"$PEER_DIR/start.log" 2>&1 \
    || { /usr/sbin/slaptest -f "$PEER_DIR/slapd.conf" -u >&2 || true; die "it did not start"; }
  echo "$LOOP:$LDAP_PORT"
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
