#!/usr/bin/env bash
# Makes target/packages from target/release/plainspan: .deb, .rpm, tarball, SBOM, install.sh, and SHA256SUMS of all.
#
# `make packages` builds the program before. SOURCE_DATE_EPOCH, else the time of the last commit, is the time of all files.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/tree.sh

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export PATH=$PWD/target/tools/bin:$PATH
version=$(version_of_project)
if readelf --sections --wide target/release/plainspan | grep -q ' [.]symtab '; then
    echo "target/release/plainspan is not stripped: build it with the profile of Cargo.toml (make build)" >&2
    exit 1
fi
out=target/packages
rm -rf "$out"
mkdir -p "$out"

# Name, version, licence and checksum of each crate inside of the program, without what tests and builds use.
cargo cyclonedx --quiet --format json --describe binaries --target x86_64-unknown-linux-gnu --spec-version 1.5
# Where it was built is nobody's business.
sed "s,path+file://$PWD,path+file:///src,g" plainspan_bin.cdx.json >"$out/plainspan.cdx.json"
rm plainspan_bin.cdx.json

cargo deb --quiet --no-build --no-strip --locked --output "$out/plainspan_${version}_amd64.deb"
cargo generate-rpm --output "$out/plainspan-$version.x86_64.rpm"
tarball target/release/plainspan "$out"
cp packaging/install.sh "$out/"
(cd "$out" && sha256sum -- *.deb *.rpm *.tar.gz *.json install.sh >SHA256SUMS)
(cd "$out" && ls -l && cat SHA256SUMS)
