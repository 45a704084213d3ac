#!/usr/bin/env bash
# README's commands for somebody new, as they are written there, on a machine that never saw this project.
#
# The machine is an empty Debian of this host's release with git and make, and this host's Rust toolchain, read-only. It
# has this host's kernel, processes and network, what this host trusts (CA certificates) and where it asks for names;
# nothing else of it: no crate, package or build that this host has. What is cloned is what is committed here; git is told
# that the address in README means this repository. Says how long each command took; the first that fails ends it.
#
#   scripts/fresh.sh
#
# PLAINSPAN_FRESH_ROOT: the archive of the empty machine, made where it is missing (target/fresh-root.tar).
# PLAINSPAN_FRESH_LOCK: a file to be locked while the agent runs, for hosts where others load kernel programs too.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t commands < <(sed -n '/^## Five minutes$/,/^## /{/^```sh$/,/^```$/p}' README.md | sed -n '2,/^```$/{/^```$/!p}')
if [ ${#commands[@]} -eq 0 ]; then
    echo "README.md has no commands under 'Five minutes'" >&2
    exit 1
fi

scripts/ensure-packages.sh mmdebstrap git
archive=${PLAINSPAN_FRESH_ROOT:-target/fresh-root.tar}
tests/packages/root.sh "$archive" ca-certificates,git,make,mount

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
root=$(mktemp -d /tmp/plainspan-fresh.XXXXXX)
# The mounts are in a namespace of their own and go with it: nothing of the host is below the folder.
trap '"${as_root[@]}" rm -rf --one-file-system "$root"' EXIT
echo "unpacking $archive, an empty Debian with git and make" >&2
"${as_root[@]}" tar -xpf "$archive" -C "$root"

# Its address, as README has it.
address=$(printf '%s\n' "${commands[@]}" | sed -n 's/^git clone \([^ ]*\).*/\1/p')
work=$(mktemp -d)
trap 'rm -rf "$work"; "${as_root[@]}" rm -rf --one-file-system "$root"' EXIT
git clone --quiet --bare "$PWD" "$work/repository"
cat >"$work/gitconfig" <<END
[url "file:///srv/repository"]
    insteadOf = $address
[safe]
    directory = *
END
{
    echo 'set -euo pipefail; cd /root'
    for command in "${commands[@]}"; do
        printf 'since=$EPOCHREALTIME\necho %q >&2\n%s\n' "+ $command" "$command"
        printf 'took %q "$since"\n' "$command"
    done
} >"$work/commands"
cat >"$work/took" <<'END'
took() {
    times+=("$(awk -v a="$2" -v b="$EPOCHREALTIME" 'BEGIN { printf "%7.1f s", b - a }')  $1")
}
times=()
trap 'printf "%s\n" "" "took:" "${times[@]}" >&2' EXIT
END
# Read by each of bash's scripts before its own lines.
cat >"$work/turns" <<'END'
case $0 in
*demo/scene.sh) exec {turn}>>/srv/lock && flock "$turn" ;;
esac
END

cat >"$work/enter" <<'END'
set -eu
root=$1 work=$2 rust=$3 lock=$4
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/srv" "$root/opt/rust"
# Rust as somebody has it who has it.
mount --bind "$rust" "$root/opt/rust"
mount -o remount,bind,ro "$root/opt/rust"
cp -R "$work/repository" "$work/took" "$work/commands" "$root/srv/"
cp "$work/gitconfig" "$root/root/.gitconfig"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
fi
if [ -n "$lock" ]; then
    cp "$work/turns" "$root/srv/"
    : >"$root/srv/lock"
    mount --bind "$lock" "$root/srv/lock"
fi
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mkdir -p old
pivot_root . old
umount -l /old
rmdir /old
turns=
if [ -n "$lock" ]; then
    turns=BASH_ENV=/srv/turns
fi
exec env -i HOME=/root LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    $turns bash -c '. /srv/took; . /srv/commands'
END

lock=${PLAINSPAN_FRESH_LOCK:-}
if [ -n "$lock" ]; then
    : >>"$lock"
fi
"${as_root[@]}" unshare --mount sh "$work/enter" "$root" "$work" "$(rustc --print sysroot)" "$lock"
echo "README's commands work on an empty machine" >&2
