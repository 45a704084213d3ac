//! The table of processes: what of each is captured, or why not.

use super::attach::Attach;
use super::jvms::Jvms;
use super::library::{Libraries, Outcome};
use super::maps::MappedFile;
use super::verdict::{ProcessState, ProcessVerdict, exe};

/// Why a process is not captured, where its library's verdict says more.
pub const NOT_CAPTURED: &str = "a library of it is not captured";

/// What a pass over /proc found.
#[derive(Debug, Default)]
pub struct Pass {
    /// All processes were listed.
    pub complete: bool,
    /// Processes, with the files that each maps executable.
    pub processes: Vec<(u32, Vec<MappedFile>)>,
    /// Processes whose mappings could not be read, and why.
    pub unreadable: Vec<(u32, String)>,
}

impl<A: Attach> Libraries<A> {
    /// What becomes of each process of a pass, in the order of their numbers.
    pub fn table(&self, pass: &Pass, jvms: &Jvms) -> Vec<ProcessVerdict> {
        let read = pass.processes.iter().map(|(pid, files)| {
            let (mut state, libraries) = self.state(files);
            if let Some(of_jvm) = jvms.state(*pid) {
                state = with_jvm(state, of_jvm);
            }
            if !libraries.is_empty() && !self.choice.process(*pid) {
                state = ProcessState::Filtered;
            }
            ProcessVerdict {
                pid: *pid,
                exe: exe(*pid).unwrap_or_default(),
                state,
                libraries,
            }
        });
        let unread = pass.unreadable.iter().map(|(pid, error)| ProcessVerdict {
            pid: *pid,
            exe: exe(*pid).unwrap_or_default(),
            state: ProcessState::NotCaptured {
                reason: format!("its mappings cannot be read (CAP_SYS_PTRACE): {error}"),
            },
            libraries: Vec::new(),
        });
        let own = std::process::id();
        // A process that is gone has neither program nor name.
        let shown = |p: &ProcessVerdict| p.pid != own && !p.exe.is_empty();
        let mut all: Vec<ProcessVerdict> = read.chain(unread).filter(shown).collect();
        all.sort_by_key(|process| process.pid);
        all
    }

    fn state(&self, mapped: &[MappedFile]) -> (ProcessState, Vec<super::file::FileId>) {
        let mut libraries = Vec::new();
        let (mut captured, mut waiting) = (false, false);
        let mut reason = None;
        for key in mapped {
            if let Some(error) = self.unreadable.get(key) {
                reason.get_or_insert_with(|| format!("a file of it cannot be read: {error}"));
                continue;
            }
            let Some(seen) = self.seen.get(key) else {
                continue;
            };
            match self.files.get(&seen.id).map(|known| &known.outcome) {
                None | Some(Outcome::Nothing) => continue,
                Some(Outcome::Attached(_) | Outcome::AttachedThrough(_)) => captured = true,
                // Who is wanted makes it be scanned.
                Some(Outcome::Scanning(_) | Outcome::Unwanted) => waiting = true,
                Some(Outcome::Refused(of_process)) => {
                    reason.get_or_insert_with(|| (*of_process).to_owned());
                }
                Some(Outcome::Failed { .. }) => {
                    reason.get_or_insert_with(|| NOT_CAPTURED.to_owned());
                }
            }
            libraries.push(seen.id);
        }
        let state = match (captured, reason) {
            (true, None) => ProcessState::Captured,
            (true, Some(reason)) => ProcessState::CapturedInPart { reason },
            (false, _) if waiting => ProcessState::Waiting,
            (false, Some(reason)) => ProcessState::NotCaptured { reason },
            (false, None) => ProcessState::NoTls,
        };
        (state, libraries)
    }
}

/// The state of a process by its files, and that of its JVM.
fn with_jvm(by_files: ProcessState, jvm: ProcessState) -> ProcessState {
    match (by_files, jvm) {
        (ProcessState::Captured, ProcessState::NotCaptured { reason }) => {
            ProcessState::CapturedInPart { reason }
        }
        (ProcessState::NoTls, jvm) => jvm,
        (by_files, _) => by_files,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jvm_that_is_not_captured_is_told_beside_what_is_captured_of_its_process() {
        let not = || ProcessState::NotCaptured {
            reason: "off".into(),
        };
        assert_eq!(with_jvm(ProcessState::NoTls, not()), not());
        let part = ProcessState::CapturedInPart {
            reason: "off".into(),
        };
        assert_eq!(with_jvm(ProcessState::Captured, not()), part);
        let waiting = with_jvm(ProcessState::NoTls, ProcessState::Waiting);
        assert_eq!(waiting, ProcessState::Waiting);
        assert_eq!(
            with_jvm(ProcessState::Captured, ProcessState::Waiting),
            ProcessState::Captured
        );
    }
}
