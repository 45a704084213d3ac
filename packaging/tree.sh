# Functions of build.sh and of tests; sourced, from the repository's folder.

version_of_project() {
    sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1
}

# tarball PROGRAM FOLDER: plainspan-VERSION-x86_64-linux.tar.gz, laid out to be unpacked into a prefix such as /usr/local.
tarball() {
    local name work
    name=plainspan-$(version_of_project)-x86_64-linux
    work=$(mktemp -d)
    local to=$work/$name
    install -D -m 755 "$1" "$to/bin/plainspan"
    install -D -m 644 -t "$to/share/man/man1" packaging/man/*.1
    install -D -m 644 packaging/completions/plainspan.bash "$to/share/bash-completion/completions/plainspan"
    install -D -m 644 -t "$to/share/zsh/site-functions" packaging/completions/_plainspan
    install -D -m 644 -t "$to/share/fish/vendor_completions.d" packaging/completions/plainspan.fish
    install -D -m 644 -t "$to/share/doc/plainspan" LICENSE README.md
    install -D -m 644 -t "$to/share/doc/plainspan/examples" otel-config/*.yaml packaging/systemd/*.conf
    install -D -m 644 -t "$to/etc/plainspan" packaging/plainspan.yaml
    install -D -m 600 -t "$to/etc/plainspan" packaging/plainspan.env
    install -D -m 644 -t "$to/lib/sysusers.d" packaging/sysusers/plainspan.conf
    install -d "$to/lib/systemd/system"
    sed 's,/usr/bin/plainspan,/usr/local/bin/plainspan,' packaging/systemd/plainspan.service \
        >"$to/lib/systemd/system/plainspan.service"
    chmod 644 "$to/lib/systemd/system/plainspan.service"
    tar --create --gzip --file "$2/$name.tar.gz" --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@${SOURCE_DATE_EPOCH:-0}" "$name"
    rm -rf "$work"
}
