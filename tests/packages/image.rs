//! The Dockerfile, which cannot be built here: linted, and what it copies is there.

use crate::{output, repository, tool};
use std::process::Command;

#[test]
fn hadolint_finds_nothing_wrong_with_the_dockerfile() {
    let found = output(
        Command::new(tool("hadolint"))
            .args(["--no-color", "--format", "tty"])
            .arg(repository("packaging/Dockerfile")),
    );
    assert!(found.is_empty(), "{found}");
}

#[test]
fn what_the_image_is_built_from_is_not_left_out_of_its_context() {
    let kept =
        std::fs::read_to_string(repository("packaging/Dockerfile.dockerignore")).expect("the list");
    let kept: Vec<_> = kept
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    for path in &kept {
        assert!(repository(path).exists(), "{path} is not there");
    }
    // What cargo reads of the package that it builds, and what the last stage copies.
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "src",
        "bpf",
        "benches",
        "scripts",
        "Makefile",
        "LICENSE",
        "packaging/plainspan.yaml",
    ] {
        assert!(kept.contains(&path), "{path} is left out");
    }
}

#[test]
fn the_image_says_what_was_not_run() {
    let text = std::fs::read_to_string(repository("packaging/Dockerfile")).expect("the file");
    assert!(text.starts_with("# Not built here"), "{text}");
}
