#!/bin/sh
# A real WebSocket server (Debian's websocketd); the tests start it themselves, once for each way of listening.
#
#   websocketd.sh install          the package, when it is not there (needs root)
set -eu

install_package() {
  [ ! -x /usr/bin/websocketd ] || return 0
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install websocketd
}

case ${1:-help} in
  install) install_package ;;
  *) sed -n '2,4p' "$0"; exit 2 ;;
esac
