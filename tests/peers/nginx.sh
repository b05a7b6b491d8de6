#!/bin/sh
# A real nginx (Debian's nginx-light) on loopback, as a plain process in a folder of its own; root is not needed.
#
#   nginx.sh install        the package, when it is not there (needs root)
#   nginx.sh start          all servers; certificates are taken from PEER_DIR/NAME.pem and PEER_DIR/NAME.key
#   nginx.sh stop | clean   ends it | and removes all it wrote
#
# Settings by environment:
#   PEER_DIR     where configuration, certificates and logs lie (required but for install)
#   PLAIN_PORT   HTTP
#   GOOD_PORT EXPIRED_PORT NAME_PORT SELF_PORT   HTTPS with PEER_DIR/good.pem, expired.pem, name.pem, self.pem
#   OLD_PORT     HTTPS that speaks no more than TLS 1.2 and none below it; OLDER_PORT: TLS 1.0 and 1.1 alone
#   TWO_PORT     HTTPS with HTTP/2; PRIOR_PORT: HTTP/2 without TLS
#   MUTUAL_PORT  HTTPS for those with a certificate of PEER_DIR/clients.pem
set -eu
LOOP=127.0.0.1

die() { echo "nginx.sh: $*" >&2; exit 1; }

install_package() {
  [ ! -x /usr/sbin/nginx ] || return 0
  # Debian starts a service for the package; a policy that says no keeps the machine quiet.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install nginx-light
}

need() { : "${PEER_DIR:?where may nginx write?}"; }

need_ports() {
  : "${PLAIN_PORT:?}" "${GOOD_PORT:?}" "${EXPIRED_PORT:?}" "${NAME_PORT:?}" "${SELF_PORT:?}" "${OLD_PORT:?}"
  : "${OLDER_PORT:?}" "${TWO_PORT:?}" "${PRIOR_PORT:?}" "${MUTUAL_PORT:?}"
  [ -x /usr/sbin/nginx ] || die "nginx is not installed: sh tests/peers/nginx.sh install"
}

secure() { # PORT NAME MORE...
  port=$1 name=$2
  shift 2
  cat <<CONF
  server {
    listen $LOOP:$port ssl${HTTP2:-};
    ssl_certificate $PEER_DIR/$name.pem;
    ssl_certificate_key $PEER_DIR/$name.key;
    $*
    include $PEER_DIR/site.conf;
  }
CONF
}

write_configs() {
  # The password is "correct horse", which guards nothing.
  printf 'amina:{PLAIN}correct horse\n' >"$PEER_DIR/people"
  mkdir -p "$PEER_DIR/pages"
  [ -e "$PEER_DIR/pages/large.txt" ] || head -c 3000000 /dev/zero | tr '\0' 'x' >"$PEER_DIR/pages/large.txt"
  cat >"$PEER_DIR/site.conf" <<CONF
    root $PEER_DIR/pages;
    default_type text/plain;
    location = / { return 200 'all is well'; }
    location = /report { default_type application/json; return 200 '{"status":"ok","queue":{"depth":12}}'; }
    location = /down { return 503 'closed for today'; }
    location = /moved { return 302 /report; }
    location = /round { return 302 /round; }
    location = /metadata { return 302 http://169.254.169.254/latest/meta-data/; }
    location = /secret { auth_basic shop; auth_basic_user_file $PEER_DIR/people; try_files /large.txt =404; }
    location = /away { auth_basic shop; auth_basic_user_file $PEER_DIR/people; try_files /none @away; }
    location @away { return 302 http://$LOOP:$PLAIN_PORT/told; }
    location = /told { return 200 'authorization: [\$http_authorization]'; }
    location = /packed { gzip on; gzip_types text/plain; gzip_min_length 1; try_files /large.txt =404; }
    location = /hurry { limit_rate 1k; try_files /large.txt =404; }
    location = /cut { return 444; }
    location = /echo { add_header X-Method \$request_method; add_header X-Length \$content_length; add_header X-Asked \$http_x_asked; return 200 'taken'; }
CONF
  {
    cat <<CONF
$([ "$(id -u)" != 0 ] || echo 'user root;')
daemon on;
pid $PEER_DIR/nginx.pid;
error_log $PEER_DIR/error.log;
worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path $PEER_DIR/temp;
  proxy_temp_path $PEER_DIR/temp;
  fastcgi_temp_path $PEER_DIR/temp;
  uwsgi_temp_path $PEER_DIR/temp;
  scgi_temp_path $PEER_DIR/temp;
  server { listen $LOOP:$PLAIN_PORT; include $PEER_DIR/site.conf; }
  server { listen $LOOP:$PRIOR_PORT http2; include $PEER_DIR/site.conf; }
CONF
    secure "$GOOD_PORT" good
    secure "$EXPIRED_PORT" expired
    secure "$NAME_PORT" name
    secure "$SELF_PORT" self
    secure "$OLD_PORT" good "ssl_protocols TLSv1.2;"
    secure "$OLDER_PORT" good "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers DEFAULT@SECLEVEL=0;"
    secure "$MUTUAL_PORT" good "ssl_client_certificate $PEER_DIR/clients.pem; ssl_verify_client on;"
    HTTP2=' http2' secure "$TWO_PORT" good
    echo '}'
  } >"$PEER_DIR/nginx.conf"
}

start() {
  write_configs
  /usr/sbin/nginx -p "$PEER_DIR" -e "$PEER_DIR/error.log" -c "$PEER_DIR/nginx.conf"
  tries=0
  until [ -s "$PEER_DIR/nginx.pid" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 100 ] || die "nginx did not become ready: $(tail -n 5 "$PEER_DIR/error.log")"
    sleep 0.1
  done
}

stop() {
  [ -s "$PEER_DIR/nginx.pid" ] || return 0
  pid=$(cat "$PEER_DIR/nginx.pid")
  kill -TERM "$pid" 2>/dev/null || return 0
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
}

case ${1:-help} in
  install) install_package ;;
  start) need; need_ports; start ;;
  stop) need; stop ;;
  clean) need; stop; rm -rf "$PEER_DIR" ;;
  *) sed -n '2,17p' "$0"; exit 2 ;;
esac
