//! Libraries of processes of which nothing is wanted.

use crate::support::*;
use plainspan::probe::finder::{Choice, Choose, Found, Options, ProcessState, Snapshot, State};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Wants processes by their numbers, and perhaps everyone else.
#[derive(Clone, Default)]
struct Wants {
    anyone: bool,
    listed: Arc<Mutex<HashSet<u32>>>,
}

impl Wants {
    fn list(&self, pid: u32) {
        self.listed.lock().expect("not poisoned").insert(pid);
    }
}

impl Choose for Wants {
    fn anyone(&self) -> bool {
        self.anyone
    }

    fn process(&self, pid: u32) -> bool {
        self.listed.lock().expect("not poisoned").contains(&pid) != self.anyone
    }
}

fn quick(wants: &Wants) -> Options {
    Options {
        pass_interval: Duration::from_millis(50),
        unused: Duration::from_millis(400),
        choice: Choice::new(wants.clone()),
        ..options()
    }
}

fn detached(recorder: &Recorder, mark: Mark) -> usize {
    let detached = recorder.detached.lock().expect("not poisoned");
    detached.iter().filter(|m| **m == mark).count()
}

fn of_process(snapshot: &Snapshot, pid: u32) -> Option<ProcessState> {
    let process = snapshot.processes.iter().find(|p| p.pid == pid)?;
    Some(process.state.clone())
}

#[test]
fn a_library_is_probed_as_long_as_a_process_uses_it_that_is_wanted() {
    let private = Private::new();
    let recorder = Recorder::default();
    let wants = Wants::default();
    let finder = started(recorder.clone(), quick(&wants));
    let (unwanted, _) = Python::loaded(&private.path());
    let left_out = |pid| {
        until("it is left out", || {
            let snapshot = finder.verdicts().snapshot();
            let (library, _) = state(&snapshot, &private.path())?;
            let process = of_process(&snapshot, pid)?;
            (library == State::Filtered && process == ProcessState::Filtered).then_some(())
        });
    };
    left_out(unwanted.child.id());
    assert_eq!(recorder.of(private.mark).len(), 0);
    let mut wanted = Python::start(&mut interpreter(), LOAD, &private.path());
    wants.list(wanted.child.id());
    wanted.load();
    until("it is attached", || recorder.of(private.mark).pop());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(detached(&recorder, private.mark), 0, "it is in use");
    drop(wanted);
    until("it is detached", || {
        (detached(&recorder, private.mark) == 1).then_some(())
    });
    left_out(unwanted.child.id());
    assert_eq!(recorder.of(private.mark).len(), 1);
}

#[test]
fn a_process_that_comes_to_be_wanted_has_its_library_probed() {
    let private = Private::new();
    let recorder = Recorder::default();
    let wants = Wants::default();
    let finder = started(recorder.clone(), quick(&wants));
    let (python, _) = Python::loaded(&private.path());
    until("it is left out", || {
        let found = state(&finder.verdicts().snapshot(), &private.path())?;
        (found.0 == State::Filtered).then_some(())
    });
    wants.list(python.child.id());
    until("it is attached", || recorder.of(private.mark).pop());
}

#[test]
fn a_directory_is_probed_before_it_is_used_only_where_anyone_may_be_wanted() {
    let private = Private::new();
    let recorder = Recorder::default();
    let in_directory = |wants: &Wants| Options {
        library_dirs: vec![private.dir.path().into()],
        pass_interval: Duration::from_secs(3600),
        ..quick(wants)
    };
    let listed_alone = Wants::default();
    let finder = started(recorder.clone(), in_directory(&listed_alone));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(recorder.of(private.mark).len(), 0);
    // Another configuration, without a new start.
    finder.choose(Choice::new(Wants {
        anyone: true,
        ..Wants::default()
    }));
    until("it is attached", || recorder.of(private.mark).pop());
    let found = state(&finder.verdicts().snapshot(), &private.path());
    assert_eq!(found, Some((State::Attached, Found::Directory)));
}
