#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are not there yet. Does nothing, quickly, when all are.
#
#   scripts/ensure-packages.sh clang libelf-dev
#
# PLAINSPAN_SKIP_DEPS=1 turns it off, for hosts where packages come another way.
set -euo pipefail

if [ "${PLAINSPAN_SKIP_DEPS:-}" = 1 ]; then
    exit 0
fi
if ! command -v apt-get dpkg-query >/dev/null; then
    echo "This host has no apt-get. Install what these Debian packages hold, then run again with PLAINSPAN_SKIP_DEPS=1:" >&2
    echo "  $*" >&2
    exit 1
fi

missing=()
for package in "$@"; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    case $status in
    *" installed") ;;
    *) missing+=("$package") ;;
    esac
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi

# A package that holds a server must not start it: policy-rc.d says no while we install, and goes away after.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi

echo "installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >&2
