#!/usr/bin/env bash
# Fetches the kernels that tests/kernels boots in virtual machines: DIR/NAME/vmlinuz, and DIR/NAME/package with the
# package that it came from. They are unpacked, never installed. Quick when all are there; a folder that is removed is
# fetched anew, in the newest version that its suite has.
#
#   tests/kernels/fetch.sh DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
dir=$(cd "$1" && pwd)
key=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror of this host: the first address that ends in this word.
mirror() {
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        sed 's/#.*//' | grep -oE "https?://[^[:space:]]+/$1/?([[:space:]]|\$)" | head -n 1 | tr -d '[:space:]' || true
}
debian=$(mirror debian)
security=$(mirror debian-security)
debian=${debian:?no mirror of Debian among the sources of this host}
security=${security:?no mirror of the security suites among the sources of this host}

# fetch NAME SOURCE...: the kernel that these suites have for machines of clouds. A source is an address and a suite.
fetch() {
    local name=$1 package=linux-image-cloud-amd64 source
    shift
    if [ -e "$dir/$name/vmlinuz" ]; then
        return
    fi
    echo "fetching the kernel $name" >&2
    # A state of apt's own: nothing of the host's changes, and no other suite is looked at.
    local state=$dir/.$name
    rm -rf "$state"
    mkdir -p "$state"/{lists/partial,cache/archives/partial,root,debs}
    for source in "$@"; do
        echo "deb [arch=amd64 signed-by=$key] $source main" >>"$state/sources.list"
    done
    local apt=(-qq -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status"
        -o "Dir::Cache=$state/cache" -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root -o APT::Architecture=amd64
        -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
    touch "$state/status"
    if ! apt-get update "${apt[@]}"; then
        echo "cannot read the lists of packages of $*: is the mirror there, and does it still have these suites?" >&2
        return 1
    fi
    local image
    image=$(apt-cache "${apt[@]}" depends --important "$package" 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    image=${image:-$package}
    if ! (cd "$state/debs" && apt-get download "${apt[@]}" "$image"); then
        echo "cannot fetch $image, the kernel $name, from $*" >&2
        return 1
    fi
    dpkg-deb -x "$state"/debs/*.deb "$state/root"
    mkdir -p "$dir/$name"
    basename "$state"/debs/*.deb .deb | sed 's/%3a/:/' >"$dir/$name/package"
    # Last: it says that all is there.
    mv "$state"/root/boot/vmlinuz-* "$dir/$name/vmlinuz"
    rm -rf "$state"
}

jobs=()
fetch 5.10 "$debian bullseye" "$security bullseye-security" &
jobs+=($!)
fetch 6.1 "$debian bookworm" "$security bookworm-security" &
jobs+=($!)
fetch 6.12 "$debian bookworm-backports" &
jobs+=($!)
for job in "${jobs[@]}"; do
    wait "$job"
done
