//! Empty programs at the places that the agent probes: the floor.

use crate::harness::repository;
use libbpf_rs::ObjectBuilder;
use plainspan::probe::attach::{Attacher, Attachment, CallPrograms, Programs};
use plainspan::probe::elf;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Command;

/// Attaches them to a file, found as the agent finds them.
///
/// # Panics
/// When the file cannot be captured, or the kernel is older than 6.13.
pub fn attach(file: &Path, work: &Path) -> Attachment {
    let object = work.join("empty.bpf.o");
    let built = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-c", "-o"])
        .arg(&object)
        .arg(repository("benches/load/empty.bpf.c"))
        .status()
        .expect("start clang");
    assert!(built.success(), "clang: {built}");
    let loaded = ObjectBuilder::default()
        .open_file(&object)
        .and_then(|object| object.load())
        .expect("load the empty programs");
    let program = |name: &str| -> OwnedFd {
        let found = loaded.progs().find(|program| program.name() == name);
        let program = found.unwrap_or_else(|| panic!("no program {name}"));
        let fd = program.as_fd().try_clone_to_owned();
        fd.expect("a descriptor")
    };
    let attacher = Attacher::new(Programs {
        calls: CallPrograms::Session {
            both: program("empty_session"),
        },
        go: program("empty_go"),
        rustls: CallPrograms::Session {
            both: program("empty_session"),
        },
    });
    let opened = File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let scan = elf::scan_file(&opened).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let targets = scan.targets();
    assert!(!targets.is_empty(), "{}: nothing to probe", file.display());
    attacher.attach(file, &targets).expect("attach")
}
