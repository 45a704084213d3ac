//! The kernel matrix: Debian's kernels, booted in software emulation, with the agent and real programs inside.
//!
//! Enters: kernels that `fetch.sh` fetched, and programs of this host. Leaves: a line of `docs/kernel-matrix.md` for each
//! kernel and tier, compared with what ran. `table` says what is wanted of which kernel. `image` packs the programs, `machine`
//! boots, `guest` is the suite: this same program, started inside by `init.sh`. The suite speaks to the test in lines
//! (`report`) over a serial port of its own; the kernel's messages have another one.
//!
//! Holds: nothing is installed or loaded on the host, and no virtual machine has a network. docs/testing.md says how to run
//! one, and how to look into it.

#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod harness;
#[path = "../support/otlp_sink.rs"]
mod otlp_sink;

mod guest;
mod image;
mod machine;
mod page;
mod report;
mod table;
mod verdicts;

use image::Image;
use machine::Ran;
use std::io::Write;
use std::sync::Mutex;

/// Each kernel boots and does what the table says; the page says so too.
///
/// One test, because all share what is packed, and two machines run at a time. `PLAINSPAN_TEST_KERNEL=6.12` runs one.
#[test]
fn every_kernel_captures_with_every_tier_that_it_has_or_says_why_not() {
    let only = std::env::var("PLAINSPAN_TEST_KERNEL").ok();
    let kernels: Vec<_> = match &only {
        Some(name) => vec![table::kernel(name)],
        None => table::KERNELS.iter().collect(),
    };
    let image = Image::pack();
    // The longest ones first.
    let queue = Mutex::new(kernels);
    let next = || queue.lock().expect("no panic inside").pop();
    let ran: Mutex<Vec<Ran>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(kernel) = next() {
                    let result = machine::run(kernel, &image);
                    ran.lock().expect("no panic inside").push(result);
                }
            });
        }
    });
    let mut ran = ran.into_inner().expect("no panic inside");
    ran.sort_by_key(|ran| {
        table::KERNELS
            .iter()
            .position(|k| k.name == ran.kernel.name)
    });
    // Past the test program's own capture: what was seen belongs to every run.
    writeln!(std::io::stderr(), "{}", page::table(&ran)).expect("written");
    let wrong: Vec<String> = ran.iter().flat_map(verdicts::wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    page::check(&ran);
}
