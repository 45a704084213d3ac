//! The unit of systemd, as systemd reads it.

use crate::{outcome, output, repository};
use std::process::Command;

/// What `systemd-analyze security` may find at the most; docs/security.md explains what is left.
const EXPOSURE: f64 = 3.0;

fn unit() -> String {
    std::fs::read_to_string(repository("packaging/systemd/plainspan.service")).expect("the unit")
}

/// All values of a key.
pub fn values(key: &str) -> Vec<String> {
    let unit = unit();
    let of_key = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    of_key
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    // Where the program and its page are not installed, that alone would be said.
    let text = unit()
        .replace("/usr/bin/plainspan", env!("CARGO_BIN_EXE_plainspan"))
        .replace("man:plainspan(1) ", "");
    let file = folder.path().join("plainspan.service");
    std::fs::write(&file, text).expect("written");
    let verified = outcome(Command::new("systemd-analyze").arg("verify").arg(&file));
    let said = String::from_utf8_lossy(&verified.stderr);
    let about: Vec<_> = said
        .lines()
        .filter(|line| line.contains("plainspan"))
        .collect();
    assert!(verified.status.success() && about.is_empty(), "{said}");
}

#[test]
fn the_unit_is_exposed_no_more_than_its_document_says() {
    let table = output(
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(repository("packaging/systemd/plainspan.service")),
    );
    let level = table
        .lines()
        .find_map(|line| line.split("exposure level for plainspan.service: ").nth(1));
    let level: f64 = level
        .and_then(|level| level.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no level: {table}"));
    assert!(level <= EXPOSURE, "{level}: {table}");
    let document =
        std::fs::read_to_string(repository("docs/security.md")).expect("docs/security.md");
    assert!(
        document.contains(&format!("exposure level {level}")),
        "docs/security.md does not say {level}"
    );
    for line in table.lines().filter(|line| line.starts_with('✗')) {
        let name = line.split_whitespace().nth(1).expect("a name");
        assert!(
            document.contains(name),
            "docs/security.md does not explain {name}"
        );
    }
}

#[test]
fn the_capabilities_are_the_same_wherever_the_agent_is_started() {
    let mut unit: Vec<_> = values("CapabilityBoundingSet")
        .iter()
        .map(|name| name.trim_start_matches("CAP_").to_owned())
        .collect();
    unit.sort();
    assert_eq!(unit.len(), 6, "{unit:?}");
    let read = |path: &str| std::fs::read_to_string(repository(path)).expect("a file");
    let values: serde_yaml::Value =
        serde_yaml::from_str(&read("packaging/helm/plainspan/values.yaml")).expect("YAML");
    let mut chart: Vec<_> = values["capabilities"]
        .as_sequence()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect();
    chart.sort();
    assert_eq!(chart, unit);
    let image = read("packaging/Dockerfile");
    let mut image: Vec<_> = image
        .split("--cap-add=")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    image.sort();
    assert_eq!(image, unit);
}
