//! Configurations that people start from: each is fine without a warning, says how it is started, and decides what its
//! file of expectations says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The reference has every key and no rules, and headers-only has none either.
const WITHOUT_RULES: [&str; 2] = ["plainspan", "headers-only"];

/// What people look for.
const PRESETS: [&str; 6] = [
    "errors-in-full",
    "headers-only",
    "llm-apis",
    "migration-inventory",
    "security-audit",
    "usage-by-user",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("otel-config")
}

fn plainspan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plainspan"))
        .args(args)
        .current_dir(folder())
        .env_clear()
        .env("PLAINSPAN_HASH_KEY", "0123456789abcdef")
        .output()
        .expect("plainspan runs")
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Names of the configurations, without their ending.
fn configurations() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("otel-config");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut found: Vec<String> = names
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".yaml")?.to_owned()))
        .filter(|name| !name.ends_with(".tests"))
        .collect();
    found.sort();
    found
}

#[test]
fn each_preset_is_there() {
    let found = configurations();
    for preset in PRESETS {
        assert!(found.iter().any(|name| name == preset), "{preset}");
    }
}

#[test]
fn each_is_fine_without_a_warning_and_says_how_it_is_started() {
    for name in configurations() {
        let file = format!("{name}.yaml");
        let checked = plainspan(&["check", &file]);
        assert_eq!(shown(&checked), format!("{file}: fine\n"));
        let text = std::fs::read_to_string(folder().join(&file)).expect("a file");
        assert!(
            text.contains(&format!("plainspan run -c otel-config/{file}")),
            "{file}"
        );
    }
}

#[test]
fn each_decides_what_is_expected_of_it() {
    for name in configurations() {
        let expectations = folder().join(format!("{name}.tests.yaml"));
        if WITHOUT_RULES.contains(&&*name) {
            assert!(!expectations.exists(), "{name} has rules now");
            continue;
        }
        let tested = plainspan(&["rules", "test", &format!("{name}.yaml")]);
        assert!(tested.status.success(), "{name}: {}", shown(&tested));
    }
}
