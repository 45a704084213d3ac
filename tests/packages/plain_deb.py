#!/usr/bin/python3
"""Builds the .deb that [package.metadata.deb] of Cargo.toml describes, around any program, with dpkg-deb.

    plain_deb.py PROGRAM VERSION OUT.deb

`make packages` uses cargo-deb, which takes a minute to compile; tests do not wait for that. What is made by `make
packages` alone (target/packages) is left out.
"""

import glob
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile


def copy(source, to, mode):
    os.makedirs(os.path.dirname(to), exist_ok=True)
    if "/man/" in to:
        to += ".gz"
        with open(source, "rb") as text, open(to, "wb") as out:
            out.write(gzip.compress(text.read(), 9, mtime=0))
    else:
        shutil.copyfile(source, to)
    os.chmod(to, int(mode, 8))


def control(deb, package, version, size):
    lines = [
        "Package: plainspan",
        f"Version: {version}",
        "Architecture: amd64",
        f"Maintainer: {deb['maintainer']}",
        f"Installed-Size: {size // 1024}",
        f"Depends: {deb['depends']}",
        f"Recommends: {deb['recommends']}",
        f"Section: {deb['section']}",
        f"Priority: {deb['priority']}",
        f"Homepage: {package['repository']}",
        f"Description: {package['description'].split(' and turns')[0]}",
    ]
    lines += [f" {line}" for line in deb["extended-description"].splitlines()]
    return "\n".join(lines) + "\n"


def main(program, version, out):
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"],
        check=True, stdout=subprocess.PIPE,
    )
    (package,) = json.loads(metadata.stdout)["packages"]
    deb = package["metadata"]["deb"]
    root = tempfile.mkdtemp()
    try:
        for source, to, mode in deb["assets"]:
            if source.startswith("target/packages/"):
                continue
            files = [program] if source == "target/release/plainspan" else sorted(glob.glob(source))
            assert files, f"no file is called {source}"
            for file in files:
                name = os.path.basename(source if file == program else file)
                copy(file, os.path.join(root, to + name if to.endswith("/") else to), mode)
        subprocess.run(["strip", "--strip-all", f"{root}/usr/bin/plainspan"], check=True)

        documents = f"{root}/usr/share/doc/plainspan"
        copy(deb["license-file"][0], f"{documents}/copyright", "644")
        with open(deb["changelog"], "rb") as text, open(f"{documents}/changelog.Debian.gz", "wb") as to:
            to.write(gzip.compress(text.read(), 9, mtime=0))

        os.mkdir(f"{root}/DEBIAN")
        for script in glob.glob(f"{deb['maintainer-scripts']}/*"):
            copy(script, f"{root}/DEBIAN/{os.path.basename(script)}", "755")
        with open(f"{root}/DEBIAN/conffiles", "w") as to:
            to.write("".join(f"{file}\n" for file in deb["conf-files"]))
        size, sums = 0, []
        for folder, _, files in os.walk(root):
            os.chmod(folder, 0o755)
            for file in files:
                path = os.path.join(folder, file)
                size += os.path.getsize(path)
                name = os.path.relpath(path, root)
                if not name.startswith(("DEBIAN/", "etc/")):
                    done = subprocess.run(["md5sum", name], cwd=root, check=True, stdout=subprocess.PIPE, text=True)
                    sums.append(done.stdout)
        with open(f"{root}/DEBIAN/md5sums", "w") as to:
            to.write("".join(sorted(sums)))
        with open(f"{root}/DEBIAN/control", "w") as to:
            to.write(control(deb, package, version, size))
        # Fast: tests install it, nobody downloads it.
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, out],
            check=True, stdout=subprocess.DEVNULL,
        )
    finally:
        shutil.rmtree(root)


main(*sys.argv[1:])
