#!/usr/bin/env bash
# Builds what makes packages, at exactly these versions, into target/tools. Quick when all is there; else minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD/target/tools
for tool in cargo-deb@3.8.0 cargo-generate-rpm@0.21.1 cargo-cyclonedx@0.5.9; do
    stamp=$root/.$tool
    if [ -e "$stamp" ]; then
        continue
    fi
    echo "building $tool" >&2
    cargo install --quiet --locked --root "$root" "$tool"
    touch "$stamp"
done
rm -rf "$root/release"
