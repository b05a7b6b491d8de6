#!/bin/sh
# A real Dovecot (Debian's package) as an IMAP server on loopback, in a folder of its own.
#
#   dovecot.sh install          the package, when it is not there (needs root); no service is started
#   dovecot.sh start            IMAP over TLS on IMAPS_PORT for the user and password `ticketd`; its INBOX is the Maildir
#                               PEER_DIR/mail, where files may be put into `new`
#   dovecot.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR         where configuration, mail and log lie (required but for install); when root calls this, no folder
#                    above it may be closed to others, as mail is read as the user `nobody`
#   IMAPS_PORT       a free port (required but for install)
#   SASL_PORT        a free port at which another server may ask whether a login is right; none: not at all
#   CERTIFICATE KEY  PEM files
#   IMAP_PORT        another free port, for IMAP that begins in plain text and offers STARTTLS; without it there is none
set -eu
LOOP=127.0.0.1

die() { echo "dovecot.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/lib/dovecot/imap ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install dovecot-imapd
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${IMAPS_PORT:?}"
  [ -x /usr/lib/dovecot/imap ] || die "Dovecot is not installed: sh tests/peers/dovecot.sh install"
}

write_conf() {
  mkdir -p "$PEER_DIR/mail/new" "$PEER_DIR/mail/cur" "$PEER_DIR/mail/tmp" "$PEER_DIR/run"
  reader=$(id -un) group=$(id -gn) inner=$(id -un) login=$(id -un)
  if [ "$reader" = root ]; then
    reader=nobody group=$(id -gn nobody) inner=dovecot login=dovenull
    chown -R "$reader:$group" "$PEER_DIR/mail"
    chmod 755 "$PEER_DIR"
  fi
  printf 'ticketd:{PLAIN}ticketd:%s:%s::%s::\n' "$(id -u "$reader")" "$(id -g "$reader")" "$PEER_DIR" >"$PEER_DIR/users"
  chmod 644 "$PEER_DIR/users"
  cat >"$PEER_DIR/dovecot.conf" <<CONF
protocols = imap
listen = $LOOP
base_dir = $PEER_DIR/run
state_dir = $PEER_DIR/run
log_path = $PEER_DIR/log
default_internal_user = $inner
default_login_user = $login
default_internal_group = $group
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:$PEER_DIR/mail
mail_fsync = never
ssl = required
ssl_cert = <${CERTIFICATE:?}
ssl_key = <${KEY:?}
auth_mechanisms = plain
passdb {
  driver = passwd-file
  args = $PEER_DIR/users
}
userdb {
  driver = passwd-file
  args = $PEER_DIR/users
}
service imap-login {
  chroot =
  inet_listener imap {
    address = $LOOP
    port = ${IMAP_PORT:-0}
  }
  inet_listener imaps {
    address = $LOOP
    port = $IMAPS_PORT
    ssl = yes
  }
}
service auth {
  inet_listener {
    address = $LOOP
    port = ${SASL_PORT:-0}
  }
}
service anvil {
  chroot =
}
CONF
}

start() {
  write_conf
  dovecot -c "$PEER_DIR/dovecot.conf" >"$PEER_DIR/start.log" 2>&1 || { cat "$PEER_DIR/start.log" >&2; die "it did not start"; }
  echo "$LOOP:$IMAPS_PORT"
}

end() {
  [ ! -s "$PEER_DIR/run/master.pid" ] || doveadm -c "$PEER_DIR/dovecot.conf" stop >"$PEER_DIR/stop.log" 2>&1 || true
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
  *) sed -n '2,15p' "$0"; exit 2 ;;
esac
