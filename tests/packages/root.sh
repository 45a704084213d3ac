#!/usr/bin/env bash
# Makes the archive of a Debian that never saw the agent, of this host's release and mirrors, with what somebody needs to
# install and use it (curl, jq, systemd), or with the packages named. Quick when it is there.
#
#   tests/packages/root.sh FILE.tar [PACKAGE,...]
set -euo pipefail

file=$1
packages=${2:-ca-certificates,curl,jq,systemd}
if [ -e "$file" ]; then
    exit 0
fi
mkdir -p "$(dirname "$file")"
echo "making $file" >&2
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=()
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    # Those of the release alone: others want keys, and the root does not need them.
    if [ -e "$list" ] && grep -Eq "(^|[[:space:]])$suite([[:space:]]|$)" "$list"; then
        sources+=("$list")
    fi
done
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
"${as_root[@]}" mmdebstrap --quiet --format=tar --variant=apt --include="$packages" "$suite" "$file.part" "${sources[@]}"
mv "$file.part" "$file"
