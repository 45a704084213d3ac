//! What a virtual machine has on its disk: an initramfs of programs of this host, with the libraries that they load.
//!
//! An initramfs, because it needs no driver: in some of these kernels virtio is a module, and the kernels' packages are
//! unpacked, not installed. It is not compressed: unpacking it costs the emulated processor more than copying it.

use crate::harness::repository;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Programs that are found along PATH.
const PROGRAMS: [&str; 5] = ["curl", "nginx", "openssl", "setpriv", "busybox"];

/// Programs of the tests, and files that are read: they stand where they stand on the host.
const FILES: [&str; 3] = [
    "target/go/new",
    "target/rustls/peer",
    "tests/programs/nginx.conf",
];

/// The file, for as long as this lives.
pub struct Image {
    folder: TempDir,
}

impl Image {
    /// Packs it.
    ///
    /// # Panics
    /// When something is missing.
    pub fn pack() -> Image {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        for dir in ["proc", "sys", "dev", "tmp", "etc", "root", "run"] {
            std::fs::create_dir_all(root.join(dir)).expect("a folder");
        }
        // As Debian has them: a program or library has one path, whoever asks.
        for dir in ["bin", "sbin", "lib", "lib64"] {
            let real = format!("usr/{dir}");
            std::fs::create_dir_all(root.join(&real)).expect("a folder");
            std::os::unix::fs::symlink(&real, root.join(dir)).expect("a link");
        }
        let mut libraries = BTreeSet::new();
        for name in PROGRAMS {
            let program = which(name);
            libraries.extend(needed(&program));
            copy(&program, &at(&root, &program));
        }
        let own = std::env::current_exe().expect("its own path");
        libraries.extend(needed(&own));
        strip(&own, &root.join("kernels"));
        let agent = Path::new(env!("CARGO_BIN_EXE_plainspan"));
        libraries.extend(needed(agent));
        strip(agent, &at(&root, agent));
        for file in FILES {
            let file = repository(file);
            assert!(
                file.exists(),
                "{} is missing: run tests/setup.sh",
                file.display()
            );
            libraries.extend(needed(&file));
            copy(&file, &at(&root, &file));
        }
        for library in &libraries {
            copy(library, &at(&root, library));
        }
        copy(&repository("tests/kernels/init.sh"), &root.join("init"));
        std::os::unix::fs::symlink("busybox", root.join("usr/bin/sh")).expect("a link");
        for (name, text) in [
            ("etc/hosts", "127.0.0.1 localhost\n"),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            (
                "etc/nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files\n",
            ),
        ] {
            std::fs::write(root.join(name), text).expect("a file");
        }
        let openssl = Path::new("/etc/ssl/openssl.cnf");
        copy(openssl, &at(&root, openssl));
        // Where openssl looks for it.
        let link = root.join("usr/lib/ssl/openssl.cnf");
        std::fs::create_dir_all(link.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(openssl, link).expect("a link");
        run(Command::new("bash").arg("-c").arg(
            "cd root && find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet >../initramfs",
        ).current_dir(folder.path()));
        Image { folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("initramfs")
    }
}

/// The same path below another root.
fn at(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").expect("an absolute path"))
}

/// A program along PATH, and where Debian has servers.
fn which(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's own first: the images of others bring a second curl.
    let own = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    let all = own.into_iter().chain(std::env::split_paths(&path));
    let found = all.map(|dir| dir.join(name)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run tests/setup.sh"))
}

/// The libraries that a program or library loads, as the dynamic loader finds them; none where it loads none.
fn needed(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let said = String::from_utf8_lossy(&output.stdout);
    let missing = said.lines().find(|line| line.contains("not found"));
    assert!(missing.is_none(), "{}: {missing:?}", program.display());
    let path = |line: &str| {
        let words = line.split_whitespace();
        words
            .into_iter()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    };
    said.lines().filter_map(path).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    std::fs::copy(from, to)
        .unwrap_or_else(|e| panic!("{}: {e}; run tests/setup.sh", from.display()));
}

/// Copies a program without what debuggers read: a tenth of it.
fn strip(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    run(Command::new("strip").arg("-o").arg(to).arg(from));
}

fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup.sh"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
}
