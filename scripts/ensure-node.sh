#!/usr/bin/env bash
# Puts the packages of a package-lock.json into a folder of their own. Does nothing, quickly, when they are there.
#
#   scripts/ensure-node.sh DIR FOLDER_WITH_THE_LOCK
#
# Scripts of packages are not run: none of those needed has one, and a browser comes from Debian.
set -euo pipefail

dir=$1
lock=$2
stamp=$dir/.lock
if [ -e "$stamp" ] && cmp -s "$stamp" "$lock/package-lock.json"; then
    exit 0
fi
echo "installing into $dir: packages of $lock/package-lock.json" >&2
rm -rf "$dir"
mkdir -p "$dir"
cp "$lock/package.json" "$lock/package-lock.json" "$dir"
npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent
cp "$lock/package-lock.json" "$stamp"
