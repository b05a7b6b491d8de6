#!/bin/sh
# What the fault tests need of the machine: strace, to end the daemon at a chosen system call.
#   strace.sh install    the package, when it is not there (needs root)
set -eu
case ${1:-} in
  install)
    command -v strace >/dev/null || DEBIAN_FRONTEND=noninteractive \
      apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install strace
    ;;
  *) sed -n '2,3p' "$0"; exit 2 ;;
esac
