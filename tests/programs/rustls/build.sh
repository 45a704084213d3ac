#!/usr/bin/env bash
# Builds the rustls programs of the tests: target/rustls/peer, stripped, and target/rustls/peer-symbols, which have the
# cryptography of aws-lc and of ring inside; and with older versions of rustls target/rustls/peer-0.20 to
# peer-0.22 and peer-0.20-symbols to peer-0.22-symbols. Does nothing, quickly, when they are there. Needs a C compiler,
# which aws-lc and ring are compiled with, and no cmake.
#
#   tests/programs/rustls/build.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."

out=$PWD/target/rustls
stamp=$out/.built
sources=(tests/programs/rustls/{Cargo.toml,Cargo.lock,build.sh} tests/programs/rustls/src/*.rs)
want=$(cat "${sources[@]}" | sha256sum; rustc --version)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
echo "building the rustls program of the tests: some minutes at the first time" >&2
mkdir -p "$out"
rm -f "$stamp"
# Flags of the agent's own build, and of a caller that is cargo, are not this program's.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
build() {
    CARGO_TARGET_DIR=$out/cargo cargo build --quiet --release --locked --manifest-path tests/programs/rustls/Cargo.toml \
        --no-default-features --features "$1"
    cp "$out/cargo/release/rustls-peer" "$out/$2-symbols"
    strip -o "$out/$2" "$out/$2-symbols"
}
build v23 peer
build v22 peer-0.22
build v21 peer-0.21
build v20 peer-0.20
echo "$want" >"$stamp"
