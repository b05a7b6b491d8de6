#!/bin/sh
# Installs ticketd from a checkout into a virtual environment of its own, every dependency checked by the hash in uv.lock.
#
#   deploy/install.sh all          [TARGET]   both steps below; TARGET is /opt/ticketd when not given
#   deploy/install.sh dependencies [TARGET]   what uv.lock names; an image keeps this layer while the code changes
#   deploy/install.sh application  [TARGET]   ticketd itself, built with the locked builder, without asking any index
#
# Needs Python >= 3.11 with venv and pip (PYTHON names it) and a package index. Never writes into the checkout.
set -eu

verb=${1:-}
target=${2:-/opt/ticketd}
python=${PYTHON:-python3}
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

die() { echo "install.sh: $*" >&2; exit 1; }

case $verb in all | dependencies | application) ;; *) die "usage: install.sh all|dependencies|application [TARGET]" ;; esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is older than 3.11; set PYTHON to a newer one"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONDONTWRITEBYTECODE=1 UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR="$scratch/cache" UV_LINK_MODE=copy
# What the tools leave behind is left in there.
mkdir "$scratch/tmp"
export TMPDIR="$scratch/tmp"

# The installer comes by hash, too, and goes away with the scratch directory.
"$python" -m venv "$scratch/tools"
"$scratch/tools/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  --require-hashes --only-binary :all: -r "$source/.ci/bootstrap.txt"
uv=$scratch/tools/bin/uv

if [ "$verb" != application ]; then
  "$python" -m venv --without-pip "$target"
  UV_PROJECT_ENVIRONMENT="$target" "$uv" sync --quiet --project "$source" --locked --no-default-groups --no-install-project --compile-bytecode
fi

if [ "$verb" != dependencies ]; then
  [ -x "$target/bin/python" ] || die "$target is no virtual environment; run: install.sh dependencies $target"
  "$python" -m venv --without-pip "$scratch/builder"
  UV_PROJECT_ENVIRONMENT="$scratch/builder" "$uv" sync --quiet --project "$source" --locked --only-group build
  (cd "$source" && "$scratch/builder/bin/hatchling" build --target wheel --directory "$scratch/wheel" >"$scratch/log" 2>&1) ||
    { cat "$scratch/log" >&2; die "the wheel could not be built"; }
  "$uv" pip install --quiet --python "$target/bin/python" --no-deps --no-index --reinstall --compile-bytecode "$scratch"/wheel/ticketd-*.whl
  "$target/bin/ticketd" --version >/dev/null || die "ticketd was installed into $target and does not start"
fi
