#!/bin/sh
# A real PostgreSQL (Debian's package) as a plain process on loopback, in a folder of its own.
#
#   postgresql.sh install          the package, when it is not there (needs root); no cluster and no service is made
#   postgresql.sh start            a server with the user, password and database `peer`; prints its URL
#   postgresql.sh stop             ends it, keeping what it holds
#   postgresql.sh kill             ends it as a crash would
#   postgresql.sh clean            ends it and removes all it wrote
#
# Settings by environment:
#   PEER_DIR          where data, log and socket lie (required but for install); no folder above it may be closed to
#                     the user `postgres`, as whom it runs when root calls this
#   POSTGRESQL_PORT   a free port (required but for install)
#   CERTIFICATE KEY   PEM files: with them, it also takes TLS
set -eu
LOOP=127.0.0.1
CONFIG=/etc/postgresql-common/createcluster.conf

die() { echo "postgresql.sh: $*" >&2; exit 1; }

programs() { # the newest version's folder, or nothing
  for folder in /usr/lib/postgresql/*/bin; do [ ! -x "$folder/initdb" ] || echo "$folder"; done | sort -V | tail -n 1
}

install_package() {
  [ -z "$(programs)" ] || return 0
  mkdir -p "${CONFIG%/*}"
  [ -e "$CONFIG" ] || echo 'create_main_cluster = false' >"$CONFIG"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install postgresql
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${POSTGRESQL_PORT:?}"
  BIN=$(programs)
  [ -n "$BIN" ] || die "PostgreSQL is not installed: sh tests/peers/postgresql.sh install"
}

as_user() { # PROGRAM ARGUMENTS... ; the server refuses to be root
  program=$BIN/$1
  shift
  cd /
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups -- "$program" "$@"
  else
    "$program" "$@"
  fi
}

secure() { # the key must be the server's own, and nobody else's
  cp "$CERTIFICATE" "$PEER_DIR/tls.crt"
  cp "${KEY:?}" "$PEER_DIR/tls.key"
  chmod 600 "$PEER_DIR/tls.key"
  [ "$(id -u)" != 0 ] || chown postgres: "$PEER_DIR/tls.crt" "$PEER_DIR/tls.key"
  printf "ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\n" "$PEER_DIR/tls.crt" "$PEER_DIR/tls.key" \
    >>"$PEER_DIR/data/postgresql.conf"
}

begin() { # what initdb leaves, for tests: nothing is worth waiting for the disk
  printf peer >"$PEER_DIR/password"
  as_user initdb -D "$PEER_DIR/data" -U peer --pwfile="$PEER_DIR/password" --auth=scram-sha-256 -E UTF8 \
    --locale=C.UTF-8 --no-sync >"$PEER_DIR/initdb.log"
  cat >>"$PEER_DIR/data/postgresql.conf" <<CONF
listen_addresses = '$LOOP'
port = $POSTGRESQL_PORT
unix_socket_directories = '$PEER_DIR'
max_connections = 50
fsync = off
CONF
  [ -z "${CERTIFICATE:-}" ] || secure
}

start() {
  mkdir -p "$PEER_DIR"
  [ "$(id -u)" != 0 ] || chown postgres: "$PEER_DIR"
  new=
  [ -s "$PEER_DIR/data/PG_VERSION" ] || { new=yes; begin; }
  as_user pg_ctl -D "$PEER_DIR/data" -l "$PEER_DIR/log" -w -t 60 start >"$PEER_DIR/pg_ctl.log" \
    || { cat "$PEER_DIR/log" >&2; die "the server did not start"; }
  [ -z "$new" ] || PGPASSWORD=peer "$BIN/psql" -q -h "$LOOP" -p "$POSTGRESQL_PORT" -U peer -d postgres \
    -c 'CREATE DATABASE peer'
  echo "postgresql://peer:peer@$LOOP:$POSTGRESQL_PORT/peer"
}

end() { # MODE
  [ -s "$PEER_DIR/data/postmaster.pid" ] || return 0
  as_user pg_ctl -D "$PEER_DIR/data" -m "$1" -w -t 60 stop >"$PEER_DIR/pg_ctl.log" || [ ! -s "$PEER_DIR/data/postmaster.pid" ]
}

case ${1:-help} in
  install) install_package ;;
  start) need; start ;;
  stop) need; end fast ;;
  kill) need; end immediate ;;
  clean)
    need
    end immediate
    rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,14p' "$0"; exit 2 ;;
esac
