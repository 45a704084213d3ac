//! What the packages hold: the .deb by Debian's own checker, and both formats beside each other.

use crate::{deb, outcome, output, repository};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// `[package.metadata]` of Cargo.toml.
fn metadata() -> serde_json::Value {
    let text = output(
        Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(repository("")),
    );
    let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    all["packages"][0]["metadata"].clone()
}

/// Sources of a format, with how they are kept.
fn sources(assets: &serde_json::Value) -> BTreeSet<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let one = |asset: &serde_json::Value| match asset.as_array() {
        Some(list) => (text(&list[0]), text(&list[2])),
        None => (text(&asset["source"]), text(&asset["mode"])),
    };
    assets.as_array().expect("a list").iter().map(one).collect()
}

#[test]
fn both_formats_hold_the_same_files() {
    let metadata = metadata();
    let own = |kind: &str, of: BTreeSet<(String, String)>| -> BTreeSet<_> {
        let foreign = match kind {
            "deb" => "packaging/debian/",
            _ => "LICENSE",
        };
        of.into_iter()
            .filter(|(source, _)| !source.starts_with(foreign))
            .collect()
    };
    let deb = own("deb", sources(&metadata["deb"]["assets"]));
    let rpm = own("rpm", sources(&metadata["generate-rpm"]["assets"]));
    assert_eq!(deb, rpm);
    assert!(deb.len() >= 10, "{deb:?}");

    let kept = metadata["generate-rpm"]["assets"]
        .as_array()
        .expect("a list")
        .iter();
    let kept: BTreeSet<_> = kept
        .filter(|asset| asset["config"] == "noreplace")
        .map(|asset| asset["dest"].clone().to_string())
        .collect();
    let conffiles = metadata["deb"]["conf-files"].as_array().expect("a list");
    let conffiles: BTreeSet<_> = conffiles.iter().map(ToString::to_string).collect();
    assert_eq!(kept, conffiles);
}

#[test]
fn lintian_finds_no_error_in_the_deb() {
    let folder = tempfile::tempdir().expect("a folder");
    let deb = deb(folder.path(), "0.1.0-1");
    let checked = outcome(
        Command::new("lintian")
            .args([
                "--allow-root",
                "--fail-on",
                "error",
                "--tag-display-limit",
                "0",
            ])
            .arg(&deb),
    );
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    assert!(!said.lines().any(|line| line.starts_with("E:")), "{said}");
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |path: &str| std::fs::read_to_string(repository(path)).expect("a file");
    let changelog = read("packaging/debian/changelog");
    assert!(
        changelog.starts_with(&format!("plainspan ({version}-")),
        "{changelog}"
    );
    let chart: serde_yaml::Value =
        serde_yaml::from_str(&read("packaging/helm/plainspan/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], serde_yaml::Value::from(version));
}

#[test]
fn the_configuration_of_the_packages_is_fine() {
    let checked = outcome(
        Command::new(env!("CARGO_BIN_EXE_plainspan"))
            .arg("check")
            .arg(repository("packaging/plainspan.yaml")),
    );
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && !said.contains("warning"),
        "{said}"
    );
}

/// The tarball around the program of these tests.
pub fn tarball(folder: &Path) {
    output(
        Command::new("bash")
            .args([
                "-euc",
                ". packaging/tree.sh; tarball \"$0\" \"$1\"",
                env!("CARGO_BIN_EXE_plainspan"),
            ])
            .arg(folder)
            .current_dir(repository("")),
    );
}

#[test]
fn the_tarball_is_laid_out_for_a_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    tarball(folder.path());
    let name = format!("plainspan-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let list = output(
        Command::new("tar")
            .arg("-tzf")
            .arg(folder.path().join(format!("{name}.tar.gz"))),
    );
    for file in [
        "bin/plainspan",
        "share/man/man1/plainspan-run.1",
        "share/bash-completion/completions/plainspan",
        "etc/plainspan/plainspan.yaml",
        "lib/systemd/system/plainspan.service",
        "lib/sysusers.d/plainspan.conf",
        "share/doc/plainspan/LICENSE",
    ] {
        assert!(
            list.lines().any(|line| line == format!("{name}/{file}")),
            "{file}: {list}"
        );
    }
}
