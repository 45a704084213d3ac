//! `plainspan check`: every problem of a broken file, with its place; exit code 2.

use crate::harness::agent::plainspan;
use crate::harness::repository;
use crate::harness::work::Work;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn fixtures(prefix: &str, extension: &str) -> Vec<PathBuf> {
    let dir = repository("tests/fixtures/configs");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && path.extension().is_some_and(|e| e == extension)
    });
    found.sort();
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn each_broken_configuration_is_reported_as_its_fixture_says_and_ends_with_2() {
    let work = Work::new();
    let broken = fixtures("broken-", "yaml");
    let mut placed = 0;
    for file in &broken {
        let wanted =
            std::fs::read_to_string(file.with_extension("txt")).expect("the expected report");
        let name = file.file_name().expect("a name").to_string_lossy();
        // Some fixtures say so where a variable is not set; the command knows none here.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_plainspan"));
        command
            .args(["check", &name])
            .env_clear()
            .current_dir(file.parent().expect("a folder"));
        let output = crate::harness::process::run(
            &mut command,
            work.dir(),
            "check",
            Duration::from_secs(20),
        );
        assert_eq!(output.code, Some(2), "{name}: {}", output.stderr);
        assert_eq!(output.stderr.trim_end(), wanted.trim_end(), "{name}");
        let place = |line: &str| {
            let mut parts = line.strip_prefix(&format!("{name}:"))?.splitn(3, ':');
            let line: u32 = parts.next()?.parse().ok()?;
            let column: u32 = parts.next()?.parse().ok()?;
            Some((line, column))
        };
        placed +=
            usize::from(wanted.lines().any(|line| place(line).is_some()) && wanted.contains('^'));
    }
    assert!(
        placed >= 10,
        "only {placed} of {broken:?} have problems with a place and a caret"
    );
}

#[test]
fn a_file_that_does_not_exist_is_exit_code_2_and_names_it() {
    let work = Work::new();
    for command in ["check", "run"] {
        let arguments: &[&str] = if command == "check" {
            &["check", "/no/such.yaml"]
        } else {
            &["run", "-c", "/no/such.yaml"]
        };
        let output = plainspan(&work, arguments, &[]);
        assert_eq!(output.code, Some(2), "{command}: {}", output.stderr);
        assert!(
            output.stderr.contains("/no/such.yaml"),
            "{command}: {}",
            output.stderr
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_and_version_are_0() {
    let work = Work::new();
    assert_eq!(plainspan(&work, &["runn"], &[]).code, Some(2));
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "--help"],
        &["--version"],
    ] {
        let output = plainspan(&work, arguments, &[]);
        assert_eq!(output.code, Some(0), "{arguments:?}");
        assert!(
            output.stdout.contains("plainspan"),
            "{arguments:?}: {}",
            output.stdout
        );
    }
}

#[test]
fn the_commented_reference_configuration_is_valid() {
    let work = Work::new();
    let file = repository("otel-config/plainspan.yaml");
    let environment = [
        ("OTEL_API_KEY", "k"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("PLAINSPAN_HASH_KEY", "h"),
    ];
    let output = plainspan(&work, &["check", text(&file)], &environment);
    assert_eq!(output.code, Some(0), "{}\n{}", output.stdout, output.stderr);
}

#[test]
fn the_configurations_of_the_demo_and_of_the_examples_are_valid() {
    let work = Work::new();
    let demo = std::fs::read_to_string(repository("demo/plainspan.yaml"))
        .expect("the demo's configuration");
    let filled = work.path("demo.yaml");
    std::fs::write(
        &filled,
        demo.replace("@GRPC@", "4317").replace("@DIR@", "/tmp/demo"),
    )
    .expect("write it");
    let example = repository("collector-examples/tempo-loki-prometheus/plainspan.yaml");
    for file in [filled, example] {
        let output = plainspan(&work, &["check", text(&file)], &[]);
        assert_eq!(
            output.code,
            Some(0),
            "{}\n{}\n{}",
            file.display(),
            output.stdout,
            output.stderr
        );
    }
}
