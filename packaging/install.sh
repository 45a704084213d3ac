#!/bin/sh
# Installs Plainspan: downloads the package that fits this host, and SHA256SUMS, and installs nothing that does not match.
#
#   curl -fsSL https://github.com/plainspan/plainspan/releases/latest/download/install.sh | sudo sh
#   sudo sh install.sh --base-url https://mirror.example/plainspan/0.1.0 --kind tar
#
#   --base-url URL   where the files of a release lie; else PLAINSPAN_BASE_URL, else the latest release
#   --kind KIND      deb, rpm or tar; else what this host's package manager takes
#   --prefix DIR     of kind tar: /usr/local
#   --download DIR   only downloads and verifies, into DIR
#
# It neither enables nor starts the agent. Exit codes: 0 installed, 1 not, 2 wrong usage.
set -eu

base_url=${PLAINSPAN_BASE_URL:-https://github.com/plainspan/plainspan/releases/latest/download}
kind=
prefix=/usr/local
download=

fail() {
    echo "install.sh: $1" >&2
    exit "${2:-1}"
}

# All in functions, called in the last line: a script that broke off on its way does nothing.
arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --base-url | --kind | --prefix | --download)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            case $1 in
            --base-url) base_url=${2%/} ;;
            --kind) kind=$2 ;;
            --prefix) prefix=$2 ;;
            --download) download=$2 ;;
            esac
            shift 2
            ;;
        *) fail "unknown option $1; --base-url, --kind, --prefix and --download are known" 2 ;;
        esac
    done
    case $kind in
    '' | deb | rpm | tar) ;;
    *) fail "unknown kind $kind: deb, rpm or tar" 2 ;;
    esac
}

host() {
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); the agent needs Linux"
    [ "$(uname -m)" = x86_64 ] || fail "this is $(uname -m); there are packages for x86_64 alone"
    if [ -z "$download" ] && [ "$(id -u)" -ne 0 ]; then
        fail "installing needs root: run it through sudo, or with --download DIR"
    fi
    for program in sha256sum awk mktemp; do
        command -v "$program" >/dev/null || fail "$program is not there; install it"
    done
    if [ -z "$kind" ]; then
        if command -v dpkg >/dev/null; then
            kind=deb
        elif command -v rpm >/dev/null; then
            kind=rpm
        else
            kind=tar
        fi
    fi
}

fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --retry 2 -o "$2" "$1" || fail "cannot download $1"
    elif command -v wget >/dev/null; then
        wget -q -O "$2" "$1" || fail "cannot download $1"
    else
        fail "neither curl nor wget is there; install one"
    fi
}

# The name of the package of this kind in SHA256SUMS; one, and a plain name.
named() {
    case $kind in
    deb) pattern='^plainspan_[0-9A-Za-z.~+-]+_amd64[.]deb$' ;;
    rpm) pattern='^plainspan-[0-9A-Za-z.~+-]+[.]x86_64[.]rpm$' ;;
    tar) pattern='^plainspan-[0-9A-Za-z.~+-]+-x86_64-linux[.]tar[.]gz$' ;;
    esac
    awk -v pattern="$pattern" '{ name = $2; sub(/^[*]/, "", name) } name ~ pattern { print name }' "$work/SHA256SUMS"
}

verified() {
    wanted=$(awk -v name="$1" '{ n = $2; sub(/^[*]/, "", n) } n == name { print $1 }' "$work/SHA256SUMS")
    [ ${#wanted} -eq 64 ] || fail "SHA256SUMS has no SHA-256 of $1"
    found=$(sha256sum "$work/$1" | awk '{ print $1 }')
    [ "$found" = "$wanted" ] || fail "$1 is not what SHA256SUMS says: $found instead of $wanted. Nothing was installed"
}

tarball() {
    tar -xzf "$work/$1" -C "$work" --no-same-owner
    tree=$work/${1%.tar.gz}
    mkdir -p "$prefix" /etc/plainspan
    cp -R "$tree/bin" "$tree/share" "$prefix/"
    # What somebody changed stays.
    for file in plainspan.yaml plainspan.env; do
        if [ -e "/etc/plainspan/$file" ]; then
            cp -p "$tree/etc/plainspan/$file" "/etc/plainspan/$file.new"
        else
            cp -p "$tree/etc/plainspan/$file" "/etc/plainspan/$file"
        fi
    done
    if command -v systemd-sysusers >/dev/null; then
        mkdir -p /etc/sysusers.d
        cp "$tree/lib/sysusers.d/plainspan.conf" /etc/sysusers.d/
        systemd-sysusers plainspan.conf || fail "the user plainspan, which the unit runs as, cannot be made"
    fi
    if [ -d /etc/systemd ]; then
        mkdir -p /etc/systemd/system
        sed "s,/usr/local/bin/plainspan,$prefix/bin/plainspan," "$tree/lib/systemd/system/plainspan.service" \
            >/etc/systemd/system/plainspan.service
    fi
}

main() {
    arguments "$@"
    host
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    fetch "$base_url/SHA256SUMS" "$work/SHA256SUMS"
    file=$(named)
    case $file in
    '') fail "$base_url/SHA256SUMS names no package of kind $kind" ;;
    *"
"*) fail "$base_url/SHA256SUMS names several packages of kind $kind" ;;
    esac
    fetch "$base_url/$file" "$work/$file"
    verified "$file"
    if [ -n "$download" ]; then
        mkdir -p "$download"
        cp "$work/$file" "$work/SHA256SUMS" "$download/"
        echo "$download/$file is what SHA256SUMS says."
        return
    fi
    case $kind in
    deb) dpkg -i "$work/$file" || fail "dpkg could not install it: apt-get install -f may help" ;;
    rpm) rpm -U --replacepkgs "$work/$file" || fail "rpm could not install it" ;;
    tar) tarball "$file" ;;
    esac
    echo "Installed. Next: edit /etc/plainspan/plainspan.yaml, then: systemctl enable --now plainspan"
}

main "$@"
