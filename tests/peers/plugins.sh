#!/bin/sh
# Real monitoring plugins (Debian's package), which the probe `command` runs; there is no server to start.
#
#   plugins.sh install          the package, when it is not there (needs root)
set -eu

install_package() {
  [ ! -x /usr/lib/nagios/plugins/check_disk ] || return 0
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install \
    monitoring-plugins-basic
}

case ${1:-help} in
  install) install_package ;;
  *) sed -n '2,4p' "$0"; exit 2 ;;
esac
