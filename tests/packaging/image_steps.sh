#!/usr/bin/env bash
# What the Dockerfile does, without an engine: its install steps from a checkout that cannot be written, by a user who
# owns nothing, then the daemon with one writable directory, its health check and its end by SIGTERM.
#
#   tests/packaging/image_steps.sh        as root it becomes `nobody`; otherwise it stays who it is, and says so
#
# The files come from the Dockerfile's own COPY lines, so that a forgotten one fails here too.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
daemon=

say() { printf 'image_steps: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
finish() {
  if [[ -n $daemon ]] && kill -0 "$daemon" 2>/dev/null; then kill -KILL "$daemon"; fi
  chmod -R u+w "$work"
  rm -rf "$work"
}
trap finish EXIT

# An interpreter that another user may run: a private one of root's would not do.
python=${PYTHON:-}
for candidate in ${python:-/usr/bin/python3 /usr/local/bin/python3 python3}; do
  candidate=$(command -v "$candidate") || continue
  if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate && break; fi
done
[[ -n $python ]] || die "no Python >= 3.11 with venv found; set PYTHON"

as_user=()
if [[ $(id -u) == 0 ]]; then
  as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all)
  "${as_user[@]}" "$python" -c '' || die "nobody may not run $python; set PYTHON"
else
  say "not root: stays user $(id -un)"
fi
clean=(env -i PATH="$PATH" HOME="$work/data" LANG=C.UTF-8)
for name in ${!PIP_@} ${!UV_@} ${!SSL_@} REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY http_proxy https_proxy NO_PROXY no_proxy; do
  if [[ -n ${!name:-} && $name != UV_PROJECT_ENVIRONMENT ]]; then clean+=("$name=${!name}"); fi
done
run() { "${as_user[@]}" "${clean[@]}" "$@"; }

say "the build stage's files, read-only"
chmod 0711 "$work"
mkdir -p "$work/src" "$work/etc" "$work/opt" "$work/data" "$work/tmp"
copy() { # copy TARGET SOURCES...
  local target=$1 source
  shift
  for source in "$@"; do
    mkdir -p "$(dirname "$target/$source")"
    cp -R "$root/$source" "$target/$source"
  done
}
# COPY lines of the first stage end at the second FROM; in the second stage what comes --from=build is the result itself.
mapfile -t built < <(awk '/^FROM/ { stage++ } stage == 1 && /^COPY/ { for (i = 2; i < NF; i++) print $i }' "$root/Dockerfile")
mapfile -t shipped < <(awk '/^FROM/ { stage++ } stage == 2 && /^COPY/ && !/--from=/ { for (i = 2; i < NF; i++) print $i }' "$root/Dockerfile")
copy "$work/src" "${built[@]}"
copy "$work/etc" "${shipped[@]}"
find "$work/src" -name __pycache__ -type d -prune -exec rm -rf {} +
chmod -R a-w,a+rX "$work/src" "$work/etc"
if [[ $(id -u) == 0 ]]; then chown 65534:65534 "$work/opt" "$work/data" "$work/tmp"; fi
chmod 0700 "$work/data"
touch "$work/begun"

for verb in dependencies application; do
  say "deploy/install.sh $verb"
  run PYTHON="$python" TMPDIR="$work/tmp" "$work/src/deploy/install.sh" "$verb" "$work/opt/ticketd"
done
[[ -z $(find "$work/src" -newer "$work/begun" -print -quit) ]] || die "the checkout was written to"
[[ -z $(ls -A "$work/tmp") ]] || die "the install left files behind: $(ls -A "$work/tmp")"

say "the installed tree, read-only from here on, as an image's root is"
chmod -R a-w "$work/opt" "$work/tmp"
ticketd=$work/opt/ticketd/bin/ticketd
cd /
run "$ticketd" --version
run "$ticketd" --help >/dev/null
run PYTHONDONTWRITEBYTECODE=1 "$ticketd" check --config "$work/etc/config.example.toml"

port=$(run "$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
say "the daemon on 127.0.0.1:$port, writing only into its data directory"
cd "$work/data"
touch "$work/marker"
# Not through run(): $! has to be the daemon itself, not a shell around it.
"${as_user[@]}" "${clean[@]}" PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TMPDIR="$work/tmp" TICKETD_LISTEN="127.0.0.1:$port" \
  TICKETD_STORE="sqlite:///$work/data/ticketd.db" "$ticketd" run --config "$work/etc/config.example.toml" >"$work/log" 2>&1 &
daemon=$!
fetch() { run "$python" -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=4).status)' "http://127.0.0.1:$port$1" 2>/dev/null; }
ready=
for _ in $(seq 100); do
  if [[ $(fetch /-/ready) == 200 ]]; then ready=1 && break; fi
  kill -0 "$daemon" 2>/dev/null || break
  sleep 0.2
done
if [[ -z $ready ]]; then cat "$work/log" >&2; die "never became ready"; fi
say "ready"

# The image's own HEALTHCHECK, taken from the Dockerfile.
mapfile -t probe < <("$python" - "$root/Dockerfile" <<'PY'
import json, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
print(*json.loads(re.search(r"^HEALTHCHECK(?:.*\\\n)*\s*CMD (\[.*\])$", text, re.MULTILINE)[1]), sep="\n")
PY
)
run PATH="$work/opt/ticketd/bin:$PATH" TICKETD_LISTEN="0.0.0.0:$port" "${probe[@]}" || die "the health check fails on a healthy daemon"
say "health check passes"

[[ -f $work/data/ticketd.db ]] || die "the store is not in the data directory"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
daemon=
if [[ $status != 0 ]]; then cat "$work/log" >&2; die "SIGTERM ended it with $status, not 0"; fi
if run PATH="$work/opt/ticketd/bin:$PATH" TICKETD_LISTEN="0.0.0.0:$port" "${probe[@]}" 2>/dev/null; then die "the health check passes without a daemon"; fi
[[ -z $(find "$work/opt" "$work/etc" "$work/src" "$work/tmp" -newer "$work/marker" -print -quit) ]] || die "something was written outside the data directory"
say "ended by SIGTERM with 0; nothing was written outside the data directory"
