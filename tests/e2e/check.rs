//! `plainspan check`: every problem of a broken file, with its place; exit code 2.

use crate::harness::agent::plainspan;
use crate::harness::repository;
use crate::harness::work::Work;
use std::path::{Path, PathBuf};

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
fn each_broken_configuration_is_reported_with_file_line_and_column_and_exit_code_2() {
    let work = Work::new();
    let broken = fixtures("broken-", "yaml");
    assert!(broken.len() >= 10, "only {broken:?}");
    for file in broken {
        let output = plainspan(&work, &["check", text(&file)], &[]);
        assert_eq!(
            output.code,
            Some(2),
            "{}\n{}\n{}",
            file.display(),
            output.stdout,
            output.stderr
        );
        let name = text(&file);
        let placed = output.stderr.lines().any(|line| {
            line.split_once(&format!("{name}:"))
                .is_some_and(|(_, rest)| {
                    let mut numbers = rest.split(':');
                    let number = |part: Option<&str>| {
                        part.map(|p| {
                            p.trim()
                                .chars()
                                .take_while(char::is_ascii_digit)
                                .collect::<String>()
                        })
                        .is_some_and(|p| !p.is_empty())
                    };
                    number(numbers.next()) && number(numbers.next())
                })
        });
        assert!(placed, "no FILE:LINE:COLUMN for {name}:\n{}", output.stderr);
        assert!(
            output.stderr.contains('^'),
            "no caret for {name}:\n{}",
            output.stderr
        );
    }
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
