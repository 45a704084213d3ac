//! Real readers of HAR: npm's `har-validator`, and `playwright-core` with Debian's Chromium.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// # Panics
/// When the archive does not follow the schema of HAR 1.2.
pub fn validate(archive: &Path) {
    let told = node("validate_har.js", &[archive.as_os_str()]);
    assert_eq!(told, "valid\n");
}

/// What Chromium got for each of `calls` (`url`, `method`, `body` in base64), all of it out of the archive: `status`,
/// `headers`, `body` in base64. The first one is the page that makes the others.
///
/// # Panics
/// When one is not in the archive.
pub fn replay(archive: &Path, calls: &Value) -> Vec<Value> {
    // Bodies may be longer than a command line.
    let file = archive.with_extension("calls.json");
    std::fs::write(&file, calls.to_string()).expect("write the calls");
    let told = node("replay_har.js", &[archive.as_os_str(), file.as_os_str()]);
    serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"))
}

fn node(program: &str, arguments: &[&std::ffi::OsStr]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = std::env::var_os("PLAINSPAN_TEST_NODE")
        .map_or_else(|| root.join("target/test-node"), PathBuf::from)
        .join("node_modules");
    assert!(
        modules.exists(),
        "{} is missing: run tests/setup.sh",
        modules.display()
    );
    let output = Command::new("node")
        .arg(root.join("tests/programs").join(program))
        .arg(modules)
        .args(arguments)
        .output()
        .expect("node");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {told}");
    String::from_utf8(output.stdout).expect("text")
}
