//! What the agent itself may do on the host: no more than it needs, whatever becomes of it.
//!
//! Enters: what the configuration needs to write, and which rights parts of it need. Leaves: a process with few
//! capabilities, without a way back to more, and what became of each [`Measure`].
//! Holds: [`Guard::set`] comes before any other thread, so that all inherit it. A kernel that lacks a measure is said and
//! goes without. Two kinds of threads: those that look at other processes open nothing for writing but what the finder
//! caches; those that talk to the network see no other process and write below the configuration's folders alone (Landlock
//! hides other processes from whom it confines, so it cannot be for all).

mod calls;
pub mod capabilities;
mod folders;
mod priority;

pub use priority::Priority;

use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What this run needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Folders that are written to by threads that talk to the network.
    pub folders: Vec<PathBuf>,
    /// CAP_SYS_ADMIN is needed for as long as it runs: perf probes, measured kernel programs.
    pub admin: bool,
    /// JVMs are given a library: files of other users, signals, their users' identity.
    pub java: bool,
}

/// How far a measure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    On,
    Partly,
    Off,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::On => "on",
            State::Partly => "partly",
            State::Off => "off",
        }
    }
}

/// One measure, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Measure {
    pub state: State,
    pub text: String,
}

impl Measure {
    fn of(state: State, text: impl Into<String>) -> Measure {
        let text = text.into();
        Measure { state, text }
    }
}

/// By name: `capabilities`, `no_new_privs`, `dumpable`, `seccomp`, `landlock`.
pub type Measures = BTreeMap<&'static str, Measure>;

/// What was done to this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    measures: Arc<Measures>,
    /// None: threads are not confined.
    folders: Option<Arc<folders::Folders>>,
}

impl Guard {
    /// Nothing is done, because the configuration says so.
    pub fn off() -> Guard {
        let names = [
            "capabilities",
            "no_new_privs",
            "dumpable",
            "seccomp",
            "landlock",
        ];
        let off = |name| {
            (
                name,
                Measure::of(State::Off, "security.sandbox is false in the configuration"),
            )
        };
        Guard {
            measures: Arc::new(names.into_iter().map(off).collect()),
            folders: None,
        }
    }

    /// Does what this kernel has. Call it while there is no other thread but those that it is not meant for.
    pub fn set(plan: &Plan) -> Guard {
        let mut measures = Measures::new();
        measures.insert("dumpable", not_dumpable());
        let (lowered, no_new_privs) = (capabilities::lower(plan), no_new_privs());
        measures.insert("capabilities", lowered);
        let privileged = no_new_privs.state == State::On;
        measures.insert("no_new_privs", no_new_privs);
        // Without it both need CAP_SYS_ADMIN, and a part of them would be undone by a program that is started.
        let (folders, landlock) = match privileged {
            true => folders::Folders::prepare(&plan.folders),
            false => (None, Measure::of(State::Off, "needs no_new_privs")),
        };
        measures.insert("landlock", landlock);
        measures.insert(
            "seccomp",
            match privileged {
                true => calls::refuse(plan),
                false => Measure::of(State::Off, "needs no_new_privs"),
            },
        );
        Guard {
            measures: Arc::new(measures),
            folders: folders.map(Arc::new),
        }
    }

    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// From now on this thread, and those that it starts, write below the plan's folders alone and see no other process.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn confine_thread(&self) -> io::Result<()> {
        self.folders
            .as_ref()
            .map_or(Ok(()), |folders| folders.confine_thread())
    }

    /// Whether a thread that is confined may write below this folder.
    pub fn allows(&self, folder: &Path) -> bool {
        self.folders
            .as_ref()
            .is_none_or(|folders| folders.allows(folder))
    }
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these options take numbers alone.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// No file with its memory when it ends badly, and no look into it for others without CAP_SYS_PTRACE.
fn not_dumpable() -> Measure {
    match prctl(libc::PR_SET_DUMPABLE, 0) {
        Ok(()) => Measure::of(
            State::On,
            "its memory and environment are for root alone, and in no core dump",
        ),
        Err(error) => Measure::of(State::Off, error.to_string()),
    }
}

fn no_new_privs() -> Measure {
    match prctl(libc::PR_SET_NO_NEW_PRIVS, 1) {
        Ok(()) => Measure::of(State::On, "no program that is started gets more rights"),
        Err(error) => Measure::of(State::Off, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_programs_have_no_way_to_change_a_process() {
        let mut sources = 0;
        for folder in ["bpf", "bpf/include", "bpf/parts"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in std::fs::read_dir(folder).expect("sources").flatten() {
                let is_source = file
                    .path()
                    .extension()
                    .is_some_and(|e| e == "c" || e == "h");
                if !is_source {
                    continue;
                }
                sources += 1;
                let text = std::fs::read_to_string(file.path()).expect("text");
                // bpf-helpers(7), and the functions that do the same.
                for helper in [
                    "bpf_probe_write_user",
                    "bpf_override_return",
                    "bpf_send_signal",
                    "bpf_copy_to_user",
                    "bpf_sysctl_set",
                ] {
                    assert!(!text.contains(helper), "{helper} in {:?}", file.path());
                }
            }
        }
        assert!(sources > 10, "{sources}");
    }

    #[test]
    fn a_sandbox_that_is_off_confines_nothing() {
        let guard = Guard::off();
        assert!(guard.measures().values().all(|of| of.state == State::Off));
        assert_eq!(guard.measures().len(), 5);
        guard.confine_thread().expect("nothing to do");
        std::fs::read_link("/proc/self/exe").expect("seen");
        assert!(guard.allows(Path::new("/anywhere")));
    }
}
