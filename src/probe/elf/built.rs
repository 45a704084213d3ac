//! For tests: small programs made here, and files with damage.

use super::{Scan, scan};
use std::path::PathBuf;
use std::process::Command;

pub(super) const LIBRARY: [&str; 2] = ["-shared", "-fPIC"];
/// Linked to fixed addresses, and without the table of frames.
pub(super) const PROGRAM: [&str; 4] = [
    "-no-pie",
    "-fno-pie",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--no-eh-frame-hdr",
];

/// A program of one file of C, with its symbols.
pub(super) struct Built {
    _dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl Built {
    pub fn new(source: &str, flags: &[&str]) -> Built {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (c, path) = (dir.path().join("a.c"), dir.path().join("program"));
        std::fs::write(&c, source).expect("source written");
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-fno-ipa-icf", "-w", "-o"]);
        let output = gcc.arg(&path).arg(&c).args(flags).output();
        let output = output.expect("gcc is installed");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "gcc: {errors}");
        Built { _dir: dir, path }
    }

    pub fn strip(&self) {
        let status = Command::new("strip").arg(&self.path).status();
        assert!(status.expect("strip is installed").success());
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("readable")
    }

    pub fn scanned(&self) -> Scan {
        scan(&self.bytes()).expect("scanned")
    }
}

/// A byte here and there is another, in the headers and in all of it, and some of the end is missing: whatever comes out
/// comes out, and nothing beyond the file.
pub(super) fn survives_damage(whole: &[u8]) {
    let random = |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).rotate_left(17);
    let mut seed = 1;
    for round in 0..200 {
        let mut bytes = whole.to_vec();
        for _ in 0..=round % 4 {
            seed = random(seed + 1);
            let end = if round % 2 == 0 {
                1024
            } else {
                bytes.len() as u64
            };
            bytes[usize::try_from(seed % end).expect("in the file")] = (seed >> 32) as u8;
        }
        if round % 5 == 0 {
            let cut = usize::try_from(seed % whole.len() as u64).expect("in the file");
            bytes.truncate(whole.len() - cut);
        }
        if let Ok(scan) = scan(&bytes) {
            let end = bytes.len() as u64;
            assert!(scan.places().all(|(target, _)| target.file_offset < end));
        }
    }
}
