#!/bin/sh
# A real OpenSSH server (Debian's package) on loopback, with keys and configuration in a folder of its own.
#
#   openssh.sh install          the package, when it is not there (needs root); no service is started
#   openssh.sh start            listens on SSH_PORT with two host keys, PEER_DIR/ed25519 and PEER_DIR/rsa (and .pub);
#                               nobody can log in
#   openssh.sh stop | clean     ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR    where keys, configuration and log lie (required but for install)
#   SSH_PORT    a free port (required but for install)
set -eu
LOOP=127.0.0.1

die() { echo "openssh.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/sshd ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install openssh-server
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${SSH_PORT:?}"
  [ -x /usr/sbin/sshd ] || die "OpenSSH is not installed: sh tests/peers/openssh.sh install"
}

write_conf() {
  mkdir -p "$PEER_DIR"
  [ "$(id -u)" != 0 ] || mkdir -p /run/sshd # where root's server locks itself in
  for kind in ed25519 rsa; do
    [ -e "$PEER_DIR/$kind" ] || ssh-keygen -q -t "$kind" -N '' -f "$PEER_DIR/$kind"
  done
  cat >"$PEER_DIR/sshd_config" <<CONF
ListenAddress $LOOP
Port $SSH_PORT
HostKey $PEER_DIR/ed25519
HostKey $PEER_DIR/rsa
PidFile $PEER_DIR/pid
UsePAM no
PasswordAuthentication no
PubkeyAuthentication no
MaxStartups 100
CONF
}

start() {
  write_conf
  /usr/sbin/sshd -f "$PEER_DIR/sshd_config" -E "$PEER_DIR/log" || { cat "$PEER_DIR/log" >&2; die "it did not start"; }
  echo "$LOOP:$SSH_PORT"
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
