//! Kernels whose return probes end programs with a seccomp filter.

use crate::support::*;
use plainspan::probe::finder::{Options, ProcessState, State};
use std::time::Duration;

#[test]
fn where_returns_end_programs_a_library_that_needs_them_is_not_probed_and_its_process_is_told_why()
{
    let private = Private::new();
    let recorder = Recorder::default();
    let options = Options {
        pass_interval: Duration::from_millis(50),
        seccomp_trap: true,
        ..options()
    };
    let finder = started(recorder.clone(), options);
    let (python, _) = Python::loaded(&private.path());
    let (library, process) = until("both have a verdict", || {
        let snapshot = finder.verdicts().snapshot();
        let (library, _) = state(&snapshot, &private.path())?;
        let mut processes = snapshot.processes.into_iter();
        let process = processes.find(|p| p.pid == python.child.id())?;
        match process.state {
            ProcessState::Waiting | ProcessState::NoTls => None,
            state => Some((library, state)),
        }
    });
    let (State::Failed { reason: of_library }, ProcessState::NotCaptured { reason: of_process }) =
        (&library, &process)
    else {
        panic!("{library:?}, {process:?}");
    };
    for reason in [of_library, of_process] {
        assert!(
            reason.contains("seccomp") && reason.contains("update the kernel"),
            "{reason}"
        );
    }
    assert_eq!(recorder.of(private.mark).len(), 0);
}
