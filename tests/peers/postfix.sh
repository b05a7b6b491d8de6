#!/bin/sh
# A real Postfix (Debian's package) as a mail server on loopback, in a folder of its own; needs root, as Postfix does.
#
#   postfix.sh install          the package, when it is not there; no configuration and no service is made
#   postfix.sh start            takes mail on SMTP_PORT, with STARTTLS, and prints its address
#   postfix.sh queue            what waits in it, one JSON object a line
#   postfix.sh stop | clean     ends it | and removes all it wrote
#
# Mail for office.test is taken for PEOPLE (others are refused with 550), for grey.test where the policy service says
# so, for far.test whoever it is for: all of it is handed on to NEXT_PORT. What is for tickets.test goes to REPLIES_PORT.
#
# Settings by environment:
#   PEER_DIR      where configuration, queue and log lie (required but for install); open to the user `postfix`
#   SMTP_PORT NEXT_PORT REPLIES_PORT POLICY_PORT   (required but for install)
#   PEOPLE        addresses in office.test
#   CERTIFICATE KEY   PEM files for STARTTLS
#   SMTPS_PORT    a free port for SMTP with TLS from the first byte; none: not at all
#   SASL_PORT     where a Dovecot says who may log in, which is offered after STARTTLS only; none: nobody
set -eu
LOOP=127.0.0.1

die() { echo "postfix.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/postfix ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install postfix
}

need() {
  : "${PEER_DIR:?where may the server write?}" "${SMTP_PORT:?}" "${NEXT_PORT:?}" "${REPLIES_PORT:?}" "${POLICY_PORT:?}"
  [ -x /usr/sbin/postfix ] || die "Postfix is not installed: sh tests/peers/postfix.sh install"
  [ "$(id -u)" = 0 ] || die "Postfix must be started by root"
}

write_conf() {
  mkdir -p "$PEER_DIR/conf" "$PEER_DIR/spool" "$PEER_DIR/data"
  chmod 755 "$PEER_DIR"
  chown postfix: "$PEER_DIR/data"
  known=
  for one in ${PEOPLE:-}; do known="$known{$one = ok}, "; done
  cat >"$PEER_DIR/conf/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $PEER_DIR/spool
data_directory = $PEER_DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = $PEER_DIR/maillog
maillog_file_prefixes = $PEER_DIR
inet_interfaces = $LOOP
inet_protocols = ipv4
myhostname = mx.office.test
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = $LOOP/32
smtp_dns_support_level = disabled
relay_domains = office.test, grey.test, far.test, tickets.test
relay_recipient_maps = inline:{ $known{@grey.test = ok}, {@far.test = ok}, {@tickets.test = ok} }
transport_maps = inline:{ {tickets.test = smtp:[$LOOP]:$REPLIES_PORT} }
relayhost = [$LOOP]:$NEXT_PORT
relay_transport = smtp:[$LOOP]:$NEXT_PORT
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient, check_recipient_access inline:{ {grey.test = greylist} }
smtpd_restriction_classes = greylist
greylist = check_policy_service inet:$LOOP:$POLICY_PORT
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 4s
smtpd_tls_security_level = may
smtpd_tls_cert_file = ${CERTIFICATE:?}
smtpd_tls_key_file = ${KEY:?}
smtp_tls_security_level = none
CONF
  [ -z "${SASL_PORT:-}" ] || cat >>"$PEER_DIR/conf/main.cf" <<CONF
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:$LOOP:$SASL_PORT
smtpd_tls_auth_only = yes
CONF
  # the stock table, with smtpd on our port and nothing in a chroot
  sed -E "s/^smtp +inet .*/$LOOP:$SMTP_PORT inet n - n - - smtpd/; s/^([a-z0-9-]+ +(unix|inet) +[n-] +[n-] +)y/\1n/" \
    /usr/share/postfix/master.cf.dist >"$PEER_DIR/conf/master.cf"
  [ -z "${SMTPS_PORT:-}" ] \
    || echo "$LOOP:$SMTPS_PORT inet n - n - - smtpd -o smtpd_tls_wrappermode=yes" >>"$PEER_DIR/conf/master.cf"
}

start() {
  write_conf
  postfix -c "$PEER_DIR/conf" start >"$PEER_DIR/start.log" 2>&1 || { cat "$PEER_DIR/start.log" >&2; die "it did not start"; }
  echo "$LOOP:$SMTP_PORT"
}

end() {
  [ ! -s "$PEER_DIR/spool/pid/master.pid" ] || postfix -c "$PEER_DIR/conf" stop >"$PEER_DIR/stop.log" 2>&1 || true
}

case ${1:-help} in
  install) install_package ;;
  start) need; start ;;
  queue) need; postqueue -c "$PEER_DIR/conf" -j ;;
  stop) need; end ;;
  clean)
    need
    end
    rm -rf "$PEER_DIR"
    ;;
  *) sed -n '2,18p' "$0"; exit 2 ;;
esac
