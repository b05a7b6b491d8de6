#!/bin/sh
# A real MariaDB (Debian's package) as a plain process on loopback, in a folder of its own.
#
#   mariadb.sh install          the package, when it is not there (needs root); no service is started
#   mariadb.sh start            a server with the user, password and database `peer`; prints its address
#   mariadb.sh sql              runs the statements on its standard input as root, in the database `peer`
#   mariadb.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR          where data, log and socket lie (required but for install); no folder above it may be closed to
#                     the user `mysql`, as whom it runs when root calls this
#   MARIADB_PORT      a free port (required but for install)
#   CERTIFICATE KEY   PEM files
set -eu
LOOP=127.0.0.1

die() { echo "mariadb.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/mariadbd ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install mariadb-server
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${MARIADB_PORT:?}"
  [ -x /usr/sbin/mariadbd ] || die "MariaDB is not installed: sh tests/peers/mariadb.sh install"
}

as_user() { # PROGRAM ARGUMENTS... ; the server refuses to be root
  if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=mysql --regid=mysql --clear-groups -- "$@"
  else
    exec "$@"
  fi
}

sql() { mariadb --no-defaults --batch --skip-column-names -u root -S "$PEER_DIR/socket" "$@"; }

start() {
  mkdir -p "$PEER_DIR"
  cp "${CERTIFICATE:?}" "$PEER_DIR/certificate.pem"
  cp "${KEY:?}" "$PEER_DIR/key.pem"
  [ "$(id -u)" != 0 ] || chown -R mysql: "$PEER_DIR"
  new=
  if [ ! -d "$PEER_DIR/data/mysql" ]; then
    new=yes
    (as_user mariadb-install-db --no-defaults --datadir="$PEER_DIR/data" --auth-root-authentication-method=normal \
      --skip-test-db --innodb-flush-method=nosync) >"$PEER_DIR/install.log" 2>&1 \
      || { cat "$PEER_DIR/install.log" >&2; die "no data folder could be made"; }
  fi
  (as_user setsid mariadbd --no-defaults --datadir="$PEER_DIR/data" --socket="$PEER_DIR/socket" --pid-file="$PEER_DIR/pid" \
    --bind-address=$LOOP --port="$MARIADB_PORT" --ssl-cert="$PEER_DIR/certificate.pem" --ssl-key="$PEER_DIR/key.pem" \
    --innodb-flush-method=nosync --innodb-buffer-pool-size=16M --skip-log-bin) >"$PEER_DIR/log" 2>&1 </dev/null &
  tries=0
  until sql -e 'SELECT 1' >"$PEER_DIR/ping" 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat "$PEER_DIR/log" >&2; die "it did not become ready"; }
    sleep 0.1
  done
  [ -z "$new" ] || sql -e "CREATE DATABASE peer; CREATE USER peer@'%' IDENTIFIED BY 'peer'; GRANT ALL ON peer.* TO peer@'%'"
  echo "$LOOP:$MARIADB_PORT"
}

end() {
  [ -s "$PEER_DIR/pid" ] || return 0
  pid=$(cat "$PEER_DIR/pid")
  kill "$pid" 2>/dev/null || return 0
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
}

case ${1:-help} in
  install) install_package ;;
  start) need; start ;;
  sql) need; sql peer ;;
  stop) need; end ;;
  clean)
    need
    end
    rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,13p' "$0"; exit 2 ;;
esac
