//! Libraries that nobody uses any more, and what is told of processes.

use crate::support::*;
use plainspan::probe::finder::{Found, Options, ProcessState, ProcessVerdict, Snapshot, State};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Looks often, and drops soon.
fn quick() -> Options {
    Options {
        pass_interval: Duration::from_millis(50),
        unused: Duration::from_millis(400),
        ..options()
    }
}

fn detached(recorder: &Recorder, mark: Mark) -> usize {
    let detached = recorder.detached.lock().expect("not poisoned");
    detached.iter().filter(|m| **m == mark).count()
}

fn process(snapshot: &Snapshot, pid: u32) -> Option<&ProcessVerdict> {
    snapshot.processes.iter().find(|p| p.pid == pid)
}

#[test]
fn probes_of_a_library_go_when_no_process_has_mapped_it_for_a_while_and_come_back() {
    let private = Private::new();
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), quick());
    let (python, _) = Python::loaded(&private.path());
    until("it is attached", || recorder.of(private.mark).pop());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(detached(&recorder, private.mark), 0, "it is in use");
    drop(python);
    until("it is detached", || {
        (detached(&recorder, private.mark) == 1).then_some(())
    });
    until("the verdict is gone", || {
        let snapshot = finder.verdicts().snapshot();
        let counted = snapshot.counts.libraries_detached == 1;
        (state(&snapshot, &private.path()).is_none() && counted).then_some(())
    });
    let _again = Python::loaded(&private.path());
    until("it is attached again", || {
        (recorder.of(private.mark).len() == 2).then_some(())
    });
}

#[test]
fn a_deleted_library_stays_probed_as_long_as_a_process_has_it() {
    let private = Private::new();
    let (path, mark) = (private.path(), private.mark);
    let recorder = Recorder::default();
    let _finder = started(recorder.clone(), quick());
    let (python, _) = Python::loaded(&path);
    until("it is attached", || recorder.of(mark).pop());
    drop(private);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(detached(&recorder, mark), 0, "it is in use");
    drop(python);
    until("it is detached", || {
        (detached(&recorder, mark) == 1).then_some(())
    });
}

#[test]
fn a_library_of_a_directory_stays_probed_without_users_until_it_is_replaced_and_then_the_new_one_is()
 {
    let (old, new) = (Private::new(), Private::new());
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![old.dir.path().into()],
        ..quick()
    };
    let finder = started(recorder.clone(), options);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        (recorder.of(old.mark).len(), detached(&recorder, old.mark)),
        (1, 0)
    );
    std::fs::rename(new.path(), old.path()).expect("renamed");
    until("the new one is attached and the old one is not", || {
        let attached = recorder.of(new.mark).len() == 1;
        (attached && detached(&recorder, old.mark) == 1).then_some(())
    });
    let verdict = state(&finder.verdicts().snapshot(), &old.path());
    assert_eq!(verdict, Some((State::Attached, Found::Directory)));
}

#[test]
fn each_process_has_a_verdict() {
    let private = Private::new();
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), quick());
    let mut sleeps = Command::new("sleep");
    let mut sleeps = sleeps
        .arg("60")
        .stdin(Stdio::null())
        .spawn()
        .expect("sleep");
    let (python, _) = Python::loaded(&private.path());
    let (tls, plain) = (python.child.id(), sleeps.id());
    let snapshot = until("both have a verdict", || {
        let snapshot = finder.verdicts().snapshot();
        let both = [tls, plain]
            .iter()
            .all(|pid| process(&snapshot, *pid).is_some());
        both.then_some(snapshot)
    });
    let captured = process(&snapshot, tls).expect("there");
    assert_eq!(captured.state, ProcessState::Captured);
    assert!(captured.exe.contains("python3"), "{}", captured.exe);
    let library = snapshot
        .libraries
        .iter()
        .find(|l| l.path == private.path().to_string_lossy());
    let library = library.expect("a verdict");
    let of = |f: &plainspan::probe::finder::FileId| (f.device, f.inode);
    assert!(
        captured
            .libraries
            .iter()
            .map(of)
            .any(|f| f == (library.device, library.inode))
    );
    let none = process(&snapshot, plain).expect("there");
    assert_eq!(
        (&none.state, none.libraries.len()),
        (&ProcessState::NoTls, 0)
    );
    assert!(
        process(&snapshot, std::process::id()).is_none(),
        "the agent itself"
    );
    sleeps.kill().expect("ours to end");
    sleeps.wait().expect("ours to wait for");
    drop(python);
    until("they are gone from the table", || {
        let snapshot = finder.verdicts().snapshot();
        let gone = |pid| process(&snapshot, pid).is_none();
        (gone(tls) && gone(plain)).then_some(())
    });
}

#[test]
fn a_process_whose_library_cannot_be_attached_says_so() {
    let private = Private::new();
    let recorder = Recorder {
        refuse: Some("the kernel said no"),
        ..Recorder::default()
    };
    let finder = started(recorder, quick());
    let (python, _) = Python::loaded(&private.path());
    until("it has its verdict", || {
        let snapshot = finder.verdicts().snapshot();
        let state = &process(&snapshot, python.child.id())?.state;
        matches!(state, ProcessState::NotCaptured { .. }).then_some(())
    });
}
