//! Packages: what is in them, and what becomes of them on a fresh machine.
//!
//! The .deb is built around the program that the tests are built with, from the same lines of Cargo.toml as a release's.
//! `user_path` needs root and a kernel with BTF, as the end-to-end tests do; `tests/setup.sh` installs what is used.

mod chart;
mod contents;
mod guide;
mod image;
mod installer;
#[path = "../support/otlp_sink.rs"]
mod otlp_sink;
mod root;
mod serve;
mod unit;
mod user_path;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of the environment that `tests/setup.sh` makes for these tests.
fn tool(name: &str) -> PathBuf {
    let environment = std::env::var_os("PLAINSPAN_TEST_PACKAGING")
        .map_or_else(|| repository("target/test-packaging"), PathBuf::from);
    environment.join("bin").join(name)
}

/// What a command did.
///
/// # Panics
/// When it cannot be started.
fn outcome(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}; run tests/setup.sh"))
}

/// What a command wrote on stdout.
///
/// # Panics
/// When it fails.
fn output(command: &mut Command) -> String {
    let output = outcome(command);
    let said = String::from_utf8_lossy(&output.stderr);
    let wrote = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{wrote}\n{said}",
        output.status
    );
    wrote.into_owned()
}

/// The .deb around the program of these tests.
fn deb(folder: &Path, version: &str) -> PathBuf {
    let deb = folder.join(format!("plainspan_{version}_amd64.deb"));
    output(
        Command::new("/usr/bin/python3")
            .arg(repository("tests/packages/plain_deb.py"))
            .args([env!("CARGO_BIN_EXE_plainspan"), version])
            .arg(&deb)
            .current_dir(repository("")),
    );
    deb
}
