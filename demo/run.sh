#!/usr/bin/env bash
# One HTTPS request between curl and nginx, which know nothing of it, shown as span, log record and payload.
#
# nginx speaks TLS with a certificate made here; rotel is an OpenTelemetry collector that prints what it gets.
# Everything runs on loopback, in a temporary folder, and is gone at the end. Exit code 1 when one of the three
# is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/ensure-packages.sh nginx curl openssl python3 python3-venv ca-certificates
# rotel links to the Python library of the interpreter that it was built for.
scripts/ensure-packages.sh "libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
scripts/ensure-venv.sh target/demo-venv rotel==0.0.1a15
LIBBPF_SYS_LIBRARY_PATH=$(pkg-config --variable=libdir libelf) cargo build --locked --bin plainspan

if [ "$(id -u)" -ne 0 ]; then
    echo "loading kernel programs needs root: asking sudo"
    as_root=(sudo -E)
else
    as_root=()
fi
exec "${as_root[@]}" demo/scene.sh
