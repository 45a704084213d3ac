//! `packaging/install.sh` against a folder of a release: it takes what SHA256SUMS says, and nothing else.

use crate::{outcome, output, repository, serve};
use std::path::Path;
use std::process::{Command, Output};

const DEB: &str = "plainspan_0.1.0_amd64.deb";

/// A folder with a package of any bytes and its checksum.
fn release(folder: &Path) {
    std::fs::write(folder.join(DEB), "a package").expect("written");
    let sums = output(Command::new("sha256sum").arg(DEB).current_dir(folder));
    std::fs::write(folder.join("SHA256SUMS"), sums).expect("written");
}

fn install(arguments: &[&str]) -> Output {
    outcome(
        Command::new("sh")
            .arg(repository("packaging/install.sh"))
            .args(arguments)
            .env_remove("PLAINSPAN_BASE_URL"),
    )
}

/// Of the package of `kind` at `url`, into folder `to`.
fn download(kind: &str, url: &str, to: &Path) -> Output {
    install(&[
        "--base-url",
        url,
        "--kind",
        kind,
        "--download",
        to.to_str().expect("UTF-8"),
    ])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_matches_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    release(folder.path());
    let to = folder.path().join("to");
    let url = serve::folder(folder.path());
    let done = download("deb", &url, &to);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(
        std::fs::read(to.join(DEB)).expect("the package"),
        b"a package"
    );
}

#[test]
fn what_does_not_match_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    release(folder.path());
    std::fs::write(folder.path().join(DEB), "another package").expect("written");
    let to = folder.path().join("to");
    let url = serve::folder(folder.path());
    let done = download("deb", &url, &to);
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains("is not what SHA256SUMS says"),
        "{}",
        said(&done)
    );
    assert!(!to.exists());
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("to");
    let url = serve::folder(folder.path());
    let run = |kind: &str| download(kind, &url, &to);
    let done = run("deb");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains("cannot download") && said(&done).contains("SHA256SUMS"),
        "{}",
        said(&done)
    );

    release(folder.path());
    let done = run("rpm");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains("names no package of kind rpm"),
        "{}",
        said(&done)
    );

    std::fs::remove_file(folder.path().join(DEB)).expect("removed");
    let done = run("deb");
    assert_eq!(done.status.code(), Some(1));
    assert!(
        said(&done).contains(&format!("cannot download {url}/{DEB}")),
        "{}",
        said(&done)
    );

    let sums = format!(
        "{}  {DEB}\n{}  ../../etc/passwd\n",
        "0".repeat(10),
        "0".repeat(64)
    );
    std::fs::write(folder.path().join("SHA256SUMS"), sums).expect("written");
    std::fs::write(folder.path().join(DEB), "a package").expect("written");
    let done = run("deb");
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("has no SHA-256 of"), "{}", said(&done));
    assert!(!to.exists());
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["--kind", "zip"][..], &["--kind"], &["--prefix"], &["-x"]] {
        let done = install(arguments);
        assert_eq!(
            done.status.code(),
            Some(2),
            "{arguments:?}: {}",
            said(&done)
        );
    }
}

#[test]
fn a_script_that_broke_off_does_nothing() {
    let text = std::fs::read_to_string(repository("packaging/install.sh")).expect("the script");
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part.sh");
    // Without its last line: as far as a download may have come.
    let (most, last) = text.trim_end().rsplit_once('\n').expect("lines");
    assert_eq!(last, "main \"$@\"");
    std::fs::write(&part, most).expect("written");
    let done = outcome(Command::new("sh").arg(&part));
    assert!(done.status.success() && done.stdout.is_empty() && done.stderr.is_empty());
}
