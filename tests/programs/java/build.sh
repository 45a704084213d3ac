#!/usr/bin/env bash
# Builds the Java programs of the tests: target/java/*.class, for Java 11. Does nothing, quickly, when they are there.
#
#   tests/programs/java/build.sh
set -euo pipefail
cd "$(dirname "$0")/../../.."

out=$PWD/target/java
stamp=$out/.built
sources=(tests/programs/java/*.java)
want=$(cat "${sources[@]}" tests/programs/java/build.sh | sha256sum; javac -version 2>&1)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
rm -rf "$out"
mkdir -p "$out"
javac --release 11 -Xlint:-options -d "$out" "${sources[@]}"
echo "$want" >"$stamp"
