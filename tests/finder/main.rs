//! The finder with real processes and the kernel's real reports. Needs root, Python and Debian's libssl.so.3.

mod cached;
mod overlay;
mod programs;
mod support;
mod trap;
mod unused;
mod wanted;

use plainspan::probe::finder::{Attach, AttachError, Found, Options, State};
use plainspan::probe::target::Target;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::*;

#[test]
fn a_library_loaded_later_is_attached_within_milliseconds_of_its_mapping() {
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let mut latencies = Vec::new();
    for _ in 0..5 {
        let private = Private::new();
        let mut python = Python::start(&mut interpreter(), LOAD, &private.path());
        std::thread::sleep(Duration::from_millis(300));
        assert!(recorder.of(private.mark).is_empty());
        let mapped = python.load();
        let call = until("the library is attached", || {
            recorder.of(private.mark).pop()
        });
        let symbols: Vec<&str> = call.targets.iter().map(|t| t.symbol.as_str()).collect();
        assert!(
            symbols.contains(&"ssl_read_internal (from SSL_read)"),
            "{symbols:?}"
        );
        latencies.push(
            call.at
                .duration_since(mapped)
                .expect("attached after it was mapped"),
        );
        let verdict = state(&finder.verdicts().snapshot(), &private.path());
        assert_eq!(
            verdict,
            Some((State::Attached, Found::Process(python.child.id())))
        );
    }
    latencies.sort();
    eprintln!("from before dlopen to attach: {latencies:?}");
    assert!(latencies[2] < Duration::from_millis(250), "{latencies:?}");
}

#[test]
fn a_library_with_the_number_of_a_file_without_tls_is_attached() {
    let private = Private::new();
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let inode = || std::fs::metadata(private.path()).expect("there").ino();
    let before = inode();
    std::fs::copy(LIBCRYPTO, private.path()).expect("written over");
    let scanned = finder.verdicts().snapshot().counts.files_scanned;
    let (python, _) = Python::loaded(&private.path());
    // Its own libcrypto is another file: both are looked through.
    until("it is scanned", || {
        let now = finder.verdicts().snapshot().counts.files_scanned;
        (now > scanned).then_some(())
    });
    std::thread::sleep(Duration::from_millis(200));
    drop(python);
    private.write();
    assert_eq!(inode(), before, "the same file");
    let other = private.dir.path().join("libssl.other.so");
    std::fs::rename(private.path(), &other).expect("renamed");
    let (_python, _) = Python::loaded(&other);
    until("it is attached", || recorder.of(private.mark).pop());
}

#[test]
fn the_ssl_module_is_found_when_python_imports_it() {
    let private = Private::new();
    let recorder = Recorder::default();
    let _finder = started(recorder.clone(), options());
    let import = "import time; time.sleep(0.3); import ssl; print(0, flush=True); time.sleep(60)";
    let _python = Python::start(&mut interpreter(), import, &private.path());
    until("libssl is attached", || recorder.of(private.mark).pop());
}

#[test]
fn a_file_is_attached_once_however_many_map_it() {
    let private = Private::new();
    let alias = private.dir.path().join("other-name.so");
    std::fs::hard_link(private.path(), &alias).expect("linked");
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let _first = Python::loaded(&private.path());
    let _second = Python::loaded(&private.path());
    let _third = Python::loaded(&alias);
    let last = Private::new();
    let _last = Python::loaded(&last.path());
    until("a later library is attached", || {
        recorder.of(last.mark).pop()
    });
    assert_eq!(recorder.of(private.mark).len(), 1);
    finder.stop();
    let detached = recorder.detached.lock().expect("not poisoned").clone();
    assert_eq!(detached.iter().filter(|m| **m == private.mark).count(), 1);
}

#[test]
fn libraries_of_the_linkers_directories_are_attached_before_anyone_maps_them() {
    let private = Private::new();
    std::fs::copy(private.path(), private.dir.path().join("unrelated.so")).expect("copied");
    std::fs::write(private.dir.path().join("libssl.txt"), "no ELF file").expect("written");
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![private.dir.path().into(), "/no/such/directory".into()],
        ..options()
    };
    let finder = started(recorder.clone(), options);
    assert_eq!(recorder.of(private.mark).len(), 1);
    let snapshot = finder.verdicts().snapshot();
    let verdict = state(&snapshot, &private.path());
    assert_eq!(verdict, Some((State::Attached, Found::Directory)));
    let inside = |v: &str| Path::new(v).starts_with(private.dir.path());
    assert_eq!(
        snapshot
            .libraries
            .iter()
            .filter(|v| inside(&v.path))
            .count(),
        1
    );
}

#[test]
fn libraries_mapped_before_the_start_are_attached_even_if_deleted_since() {
    let (kept, deleted) = (Private::new(), Private::new());
    let (deleted_path, deleted_mark) = (deleted.path(), deleted.mark);
    let _kept = Python::loaded(&kept.path());
    let _deleted = Python::loaded(&deleted_path);
    drop(deleted);
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    assert_eq!(recorder.of(kept.mark).len(), 1);
    assert_eq!(recorder.of(deleted_mark).len(), 1);
    let verdict = state(&finder.verdicts().snapshot(), &deleted_path);
    assert!(matches!(
        verdict,
        Some((State::Attached, Found::Process(_)))
    ));
}

#[test]
fn a_library_in_another_mount_namespace_is_found() {
    let private = Private::new();
    let hidden = private.dir.path().join("hidden");
    std::fs::create_dir(&hidden).expect("made");
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let mut inside = Command::new("unshare");
    let mount = "mount -t tmpfs none \"$1\" && cp \"$2\" \"$3\" \"$1\" && shift 3 && exec /usr/bin/python3 \"$@\"";
    inside.args(["--mount", "sh", "-c", mount, "sh"]);
    inside.arg(&hidden).args([LIBSSL, LIBCRYPTO]);
    let library = hidden.join("libssl.so.3");
    let mut python = Python::start(&mut inside, LOAD, &library);
    python.load();
    let (state, _) = until("it is attached", || {
        state(&finder.verdicts().snapshot(), &library)
    });
    assert_eq!(state, State::Attached);
    assert!(!library.exists());
}

#[test]
fn what_cannot_be_attached_is_tried_again_a_few_times_and_says_why() {
    let private = Private::new();
    let recorder = Recorder {
        refuse: Some("the kernel said no"),
        ..Recorder::default()
    };
    let options = Options {
        pass_interval: Duration::from_millis(50),
        ..options()
    };
    let finder = started(recorder.clone(), options);
    let _python = Python::loaded(&private.path());
    let passes = || finder.verdicts().snapshot().counts.passes;
    until("it is tried three times", || {
        (recorder.of(private.mark).len() == 3).then_some(())
    });
    let then = passes();
    until("passes go on", || (passes() > then + 3).then_some(()));
    assert_eq!(recorder.of(private.mark).len(), 3);
    let reason = "the kernel said no".to_owned();
    let (state, _) = state(&finder.verdicts().snapshot(), &private.path()).expect("a verdict");
    assert_eq!(state, State::Failed { reason });
}

#[test]
fn a_library_that_is_written_over_is_detached_and_attached_anew() {
    let private = Private::new();
    let inode = || std::fs::metadata(private.path()).expect("there").ino();
    let before = inode();
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    drop(Python::loaded(&private.path()));
    until("it is attached", || recorder.of(private.mark).pop());
    private.write();
    assert_eq!(inode(), before);
    let _python = Python::loaded(&private.path());
    until("it is attached anew", || {
        (recorder.of(private.mark).len() == 2).then_some(())
    });
    assert!(
        recorder
            .detached
            .lock()
            .expect("not poisoned")
            .contains(&private.mark)
    );
    until("the verdict says so", || {
        let (state, _) = state(&finder.verdicts().snapshot(), &private.path())?;
        (state == State::Attached).then_some(())
    });
}

#[test]
fn the_agents_own_mappings_are_left_alone() {
    let (own, other) = (Private::new(), Private::new());
    let recorder = Recorder::default();
    let _finder = started(recorder.clone(), options());
    let file = std::fs::File::open(own.path()).expect("opened");
    // SAFETY: a new private mapping at an address of the kernel's choice, never read or run.
    let at = unsafe {
        use std::os::fd::AsRawFd;
        let access = libc::PROT_READ | libc::PROT_EXEC;
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            access,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    let _python = Python::loaded(&other.path());
    until("a later library is attached", || {
        recorder.of(other.mark).pop()
    });
    assert!(recorder.of(own.mark).is_empty());
}

#[test]
fn it_stops_promptly_and_detaches() {
    let private = Private::new();
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![private.dir.path().into()],
        ..options()
    };
    let finder = started(recorder.clone(), options);
    assert!(finder.running());
    let began = Instant::now();
    finder.stop();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(
        recorder
            .detached
            .lock()
            .expect("not poisoned")
            .contains(&private.mark)
    );
}

#[test]
fn verdicts_serialise_for_the_status_page_without_command_lines() {
    let private = Private::new();
    let options = Options {
        library_dirs: vec![private.dir.path().into()],
        ..options()
    };
    let finder = started(Recorder::default(), options);
    let json = serde_json::to_value(finder.verdicts().snapshot()).expect("serialises");
    assert_eq!(json["ready"], true);
    let library = json["libraries"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|v| v["path"] == private.path().to_string_lossy().as_ref());
    let library = library.expect("the private copy");
    assert_eq!(library["state"], "attached");
    assert_eq!(library["found"], "directory");
    assert_eq!(library["stacks"][0]["name"], "openssl");
    assert_eq!(library["build_id"].as_str().map(str::len), Some(40));
    let target = &library["stacks"][0]["targets"][0];
    assert_eq!(target["symbol"], "ssl_read_internal (from SSL_read)");
    assert_eq!(target["method"], "internal");
    assert_eq!(target["instruction"], "push");
    assert_eq!(target["emulated"], true);
}

/// Holds the finder back at one library until it is told to go on.
#[derive(Clone)]
struct Slow {
    recorder: Recorder,
    at: Mark,
    go_on: Arc<AtomicBool>,
}

impl Attach for Slow {
    type Link = RecordedLink;

    fn attach(&self, path: &Path, targets: &[Target]) -> Result<RecordedLink, AttachError> {
        let link = self.recorder.attach(path, targets)?;
        if link.mark == self.at {
            until("it may go on", || {
                self.go_on.load(Ordering::Acquire).then_some(())
            });
        }
        Ok(link)
    }
}

/// Maps so much on one CPU that its ring is full before the library comes.
const FLOOD: &str = "import ctypes, mmap, os, sys, time\n\
    sys.stdin.readline()\n\
    os.sched_setaffinity(0, {0})\n\
    file = os.open('/bin/true', os.O_RDONLY)\n\
    for _ in range(8000): mmap.mmap(file, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()\n\
    before = time.time_ns()\n\
    ctypes.CDLL(sys.argv[1])\n\
    print(before, flush=True)\n\
    sys.stdin.readline()\n";

#[test]
fn mappings_that_the_kernel_could_not_report_are_found_by_a_pass() {
    let (first, unreported) = (Private::new(), Private::new());
    let slow = Slow {
        recorder: Recorder::default(),
        at: first.mark,
        go_on: Arc::default(),
    };
    let (recorder, go_on) = (slow.recorder.clone(), slow.go_on.clone());
    let finder = started(slow, options());
    let _first = Python::loaded(&first.path());
    until("the finder is held back", || recorder.of(first.mark).pop());
    let mut flood = Python::start(&mut interpreter(), FLOOD, &unreported.path());
    flood.load();
    go_on.store(true, Ordering::Release);
    until("the library is attached", || {
        recorder.of(unreported.mark).pop()
    });
    // The kernel tells of the loss with its next record only: the pass must not wait for that. The count of passes
    // follows when the whole pass is done.
    until("the pass is done", || {
        (finder.verdicts().snapshot().counts.passes >= 2).then_some(())
    });
}
