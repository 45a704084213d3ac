//! Attaching and detaching beside programs that work.

use super::LIBRARIES;
use crate::harness::process::Running;
use crate::harness::servers::{self, go_program};
use crate::harness::turn;
use crate::harness::work::Work;
use plainspan::probe::elf;
use plainspan::probe::kernel::{Kernel, KernelOptions};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The program of tests/programs/go that is probed.
const GO: &str = "new";

/// A load of nothing but new connections and requests, which counts what fails.
fn load(work: &Work, url: &str, name: &str, arguments: &[&str]) -> Running {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c4", "-d120s", "--timeout", "10s"]);
    Running::start(wrk.args(arguments).arg(url), work.dir(), name)
}

fn end(mut load: Running) -> u64 {
    load.signal(libc::SIGINT);
    let status = load.wait(Duration::from_secs(30));
    assert!(status.success(), "{}", load.outputs());
    let report = load.stdout();
    assert!(
        !report.contains("Socket errors") && !report.contains("Non-2xx"),
        "requests failed:\n{report}"
    );
    let line = report.lines().find(|line| line.contains("requests in"));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no count of requests:\n{report}"))
}

#[test]
fn attaching_and_detaching_a_hundred_times_under_load_fails_no_request() {
    let _turn = turn();
    let work = Work::new();
    let nginx = servers::nginx(&work);
    let go = servers::go(&work, GO, None);
    let url = |base: String| format!("{base}{}", work.url_path("get/loop"));
    let kept = load(&work, &url(nginx.base()), "wrk-kept", &[]);
    let fresh = load(
        &work,
        &url(nginx.base()),
        "wrk-fresh",
        &["-H", "connection: close"],
    );
    let of_go = load(&work, &url(go.base()), "wrk-go", &[]);

    let files: [PathBuf; 2] = [Path::new(LIBRARIES).join("libssl.so.3"), go_program(GO)];
    let targets = files.map(|path| {
        let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let scan = elf::scan_file(&file).expect("scanned");
        assert!(!scan.targets().is_empty(), "{}", path.display());
        (path, scan.targets())
    });
    // Nobody reads its rings: they fill, and the kernel programs count what finds no room.
    let kernel = Kernel::load(&KernelOptions::default()).expect("load the kernel programs");
    let attacher = kernel.attacher();
    let began = Instant::now();
    for round in 0..100 {
        let attached: Vec<_> = targets
            .iter()
            .map(|(path, targets)| attacher.attach(path, targets).expect("attached"))
            .collect();
        // At every moment of a request, in the course of a hundred rounds.
        std::thread::sleep(Duration::from_millis(5 + round % 20));
        drop(attached);
    }
    let took = began.elapsed();
    let requests = [kept, fresh, of_go].map(end);
    eprintln!("100 rounds in {took:?}, {requests:?} requests");
    assert!(requests.iter().all(|n| *n > 100), "{requests:?}");
    let seen = kernel.counters().expect("counters");
    eprintln!("{seen:?}");
}
