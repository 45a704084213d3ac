#!/usr/bin/env bash
# Makes a Python environment with exactly the packages named. Does nothing, quickly, when it is there.
#
#   scripts/ensure-venv.sh DIR PACKAGE==VERSION...
#
# From Debian's own interpreter: a `python3` on PATH may be another one, or a slow shim.
set -euo pipefail

dir=$1
shift
stamp=$dir/.packages
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$*" ]; then
    exit 0
fi
echo "installing into $dir: $*" >&2
rm -rf "$dir"
/usr/bin/python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --pre "$@"
echo "$*" >"$stamp"
