//! What the finder found: for each TLS library whether it is captured and how, or why not.

use crate::probe::count::CallCounts;
use crate::probe::elf::{Placement, Scan, Stack};
use crate::probe::finder::file::FileId;
use crate::probe::target::Target;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many libraries are remembered one by one; further ones are counted in `verdicts_left_out`.
pub const MAX_VERDICTS: usize = 4096;
/// How many processes are; further ones are counted in `processes_left_out`.
pub const MAX_PROCESSES: usize = 4096;

/// What became of a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its probes are attached.
    Attached,
    /// Another mount shows the same file, and the probes attached through that one are in effect here.
    AttachedThrough { through: String },
    /// It is being scanned: what it says until then is not captured.
    Waiting,
    /// The filters leave out all processes that use it.
    Filtered,
    /// It is not captured.
    Failed { reason: String },
}

/// Where a library was first met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// In a directory of the dynamic linker, before anyone used it.
    Directory,
    /// Mapped by this process.
    Process(u32),
}

/// One place that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetVerdict {
    pub symbol: String,
    #[serde(flatten)]
    pub placement: Placement,
}

/// One TLS implementation in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackVerdict {
    pub name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub targets: Vec<TargetVerdict>,
    /// Why this one is not captured, whatever becomes of the file's others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl StackVerdict {
    fn new(stack: &Stack) -> Self {
        let target = |(target, placement): (&Target, &Placement)| TargetVerdict {
            symbol: target.symbol.clone(),
            placement: placement.clone(),
        };
        StackVerdict {
            name: stack.name,
            version: stack.version.clone(),
            targets: stack.places().map(target).collect(),
            refused: stack.refused.clone(),
        }
    }
}

/// One library, or program with a library inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibraryVerdict {
    /// As the process sees it that was first seen to map it.
    pub path: String,
    pub device: u64,
    pub inode: u64,
    /// In hexadecimal digits.
    pub build_id: Option<String>,
    pub stacks: Vec<StackVerdict>,
    #[serde(flatten)]
    pub state: State,
    pub found: Found,
    /// What went through its probes so far; none where they are another file's, or nobody counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<CallCounts>,
    /// When this was decided, milliseconds since 1970.
    pub at_unix_ms: u64,
}

impl LibraryVerdict {
    pub(super) fn new(path: &Path, id: FileId, found: Found, scan: &Scan, state: State) -> Self {
        let hex = |id: &Vec<u8>| id.iter().map(|b| format!("{b:02x}")).collect();
        LibraryVerdict {
            path: path.to_string_lossy().into_owned(),
            device: id.device,
            inode: id.inode,
            build_id: scan.build_id.as_ref().map(hex),
            stacks: scan.stacks.iter().map(StackVerdict::new).collect(),
            state,
            found,
            calls: None,
            at_unix_ms: now_unix_ms(),
        }
    }
}

/// What becomes of a process's TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProcessState {
    /// All TLS that was found in it.
    Captured,
    /// Some of it: for the rest see its libraries.
    CapturedInPart {
        reason: String,
    },
    NotCaptured {
        reason: String,
    },
    /// A file of it is being scanned.
    Waiting,
    /// The filters of the configuration leave it out. What only its container, pod or environment tells is known of
    /// processes that began, or used the network, since the agent.
    Filtered,
    /// No TLS was found in its files. What it says in the clear is captured.
    NoTls,
}

/// One process that has executable files mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessVerdict {
    pub pid: u32,
    /// Its program, as it sees it; its name where that cannot be read.
    pub exe: String,
    #[serde(flatten)]
    pub state: ProcessState,
    /// Its files that have a verdict.
    pub libraries: Vec<FileId>,
}

fn now_unix_ms() -> u64 {
    unix_ms(SystemTime::now())
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// What the finder did, in numbers since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Executable mappings that were looked at.
    pub mappings_seen: u64,
    /// Files whose symbols were read.
    pub files_scanned: u64,
    /// Libraries attached now.
    pub libraries_attached: u64,
    /// Libraries that were detached because their first calls could not be right.
    pub libraries_implausible: u64,
    /// Attempts to attach that failed.
    pub attach_failures: u64,
    /// Libraries whose probes went because no process used them any more.
    pub libraries_detached: u64,
    /// Files whose scan was taken from the cache on disk.
    pub files_from_cache: u64,
    /// Entries of that cache that were not believed, or could not be read or written.
    pub cache_errors: u64,
    /// ELF files that are damaged, of another architecture, or too large.
    pub files_unsupported: u64,
    /// Files whose file system did not answer, or whose scan took too long.
    pub files_given_up: u64,
    /// Mapped files that could not be opened or read.
    pub files_unreadable: u64,
    /// Times that a process's mappings could not be listed, for lack of rights (CAP_SYS_PTRACE).
    pub processes_unreadable: u64,
    /// Processes that ended before their file could be opened.
    pub processes_vanished: u64,
    /// Mappings that the kernel could not report in time; a pass over /proc followed.
    pub records_lost: u64,
    /// Passes over /proc.
    pub passes: u64,
    /// Libraries beyond [`MAX_VERDICTS`].
    pub verdicts_left_out: u64,
    /// Processes beyond [`MAX_PROCESSES`] at the last pass.
    pub processes_left_out: u64,
    /// Times that the memory of scanned files was full and was emptied.
    pub cache_emptied: u64,
}

/// All verdicts at one moment. Serialises to the JSON of `/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub ready: bool,
    pub counts: Counts,
    /// Calls and bytes of each TLS stack by its name, since the agent's start: they only grow.
    pub stacks: BTreeMap<&'static str, CallCounts>,
    pub libraries: Vec<LibraryVerdict>,
    /// As of the last pass over /proc, with what was captured since.
    pub processes: Vec<ProcessVerdict>,
}

/// Shared handle to the verdicts.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    inner: Arc<Mutex<Inner>>,
    /// Something in `Inner::jvms` waits for an answer: whoever answers looks at nothing else, as a rule.
    asking: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Inner {
    snapshot: Snapshot,
    /// Processes that the filters leave out.
    filtered: HashSet<u32>,
    /// JVMs that would be given a library, and what the pipeline says of them: whether anything of them is wanted.
    jvms: HashMap<u32, Option<bool>>,
}

impl Verdicts {
    // A panic elsewhere must not take the verdicts away: each change leaves them whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All verdicts at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let mut snapshot = inner.snapshot.clone();
        for process in &mut snapshot.processes {
            if inner.filtered.contains(&process.pid) {
                process.state = ProcessState::Filtered;
            }
        }
        snapshot
    }

    /// The filters leave the process out, or no longer do.
    pub fn filter(&self, pid: u32, filtered: bool) {
        let mut inner = self.lock();
        match filtered {
            true if inner.filtered.len() < MAX_PROCESSES => inner.filtered.insert(pid),
            _ => inner.filtered.remove(&pid),
        };
    }

    /// Asks whether anything of a JVM is wanted.
    pub(crate) fn ask(&self, pid: u32) {
        let mut inner = self.lock();
        if inner.jvms.len() < MAX_PROCESSES {
            inner.jvms.entry(pid).or_insert(None);
            self.asking.store(true, Ordering::Release);
        }
    }

    /// JVMs that are asked about, without an answer yet.
    pub fn asked(&self) -> Vec<u32> {
        if !self.asking.load(Ordering::Acquire) {
            return Vec::new();
        }
        let inner = self.lock();
        let open = inner.jvms.iter().filter(|(_, answer)| answer.is_none());
        let open: Vec<u32> = open.map(|(pid, _)| *pid).collect();
        self.asking.store(!open.is_empty(), Ordering::Release);
        open
    }

    /// Whether anything of a JVM is wanted.
    pub fn answer(&self, pid: u32, wanted: bool) {
        if let Some(answer) = self.lock().jvms.get_mut(&pid) {
            *answer = Some(wanted);
        }
    }

    /// The answer to [`Verdicts::ask`], given once.
    pub(crate) fn answered(&self, pid: u32) -> Option<bool> {
        let mut inner = self.lock();
        let answer = inner.jvms.get(&pid).copied().flatten();
        if answer.is_some() {
            inner.jvms.remove(&pid);
        }
        answer
    }

    /// Nobody wants to know any more.
    pub(super) fn unask(&self, pid: u32) {
        self.lock().jvms.remove(&pid);
    }

    /// What became of a JVM between two passes.
    pub(super) fn of_jvm(&self, pid: u32, state: ProcessState) {
        let inner = &mut self.lock().snapshot;
        if let Some(process) = inner.processes.iter_mut().find(|p| p.pid == pid) {
            if matches!(process.state, ProcessState::NoTls | ProcessState::Waiting) {
                process.state = state;
            }
        } else if inner.processes.len() < MAX_PROCESSES {
            inner.processes.push(ProcessVerdict {
                pid,
                exe: exe(pid).unwrap_or_default(),
                state,
                libraries: Vec::new(),
            });
        }
    }

    /// A library of the process was captured after `began`, or is being scanned still.
    pub fn is_late(&self, pid: u32, began: SystemTime) -> bool {
        let began = unix_ms(began);
        let inner = self.lock();
        let libraries = &inner.snapshot.libraries;
        let process = inner.snapshot.processes.iter().find(|p| p.pid == pid);
        let own = |v: &LibraryVerdict| {
            let found = v.found == Found::Process(pid);
            found || process.is_some_and(|p| p.libraries.iter().any(|id| v.is_of(*id)))
        };
        libraries.iter().filter(|v| own(v)).any(|v| match v.state {
            State::Attached | State::AttachedThrough { .. } => v.at_unix_ms >= began,
            State::Waiting => true,
            State::Filtered | State::Failed { .. } => false,
        })
    }

    /// What is known of the process shows that the filters leave it out.
    pub(super) fn is_filtered(&self, pid: u32) -> bool {
        self.lock().filtered.contains(&pid)
    }

    /// Every library and process that was there at the start has been handled.
    pub fn ready(&self) -> bool {
        self.lock().snapshot.ready
    }

    pub(super) fn set_ready(&self) {
        self.lock().snapshot.ready = true;
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().snapshot.counts);
    }

    fn change(&self, id: FileId, change: impl FnOnce(&mut LibraryVerdict)) {
        let mut inner = self.lock();
        let same = |v: &&mut LibraryVerdict| (v.device, v.inode) == (id.device, id.inode);
        // One beyond the bound has none.
        if let Some(verdict) = inner.snapshot.libraries.iter_mut().find(same) {
            change(verdict);
        }
    }

    /// What went through the probes of a file since they were attached.
    pub(super) fn set_calls(&self, id: FileId, calls: CallCounts) {
        let mut more = None;
        self.change(id, |verdict| {
            let before = verdict.calls.replace(calls).unwrap_or_default();
            let stack = verdict.stacks.iter().find(|s| s.refused.is_none());
            more = stack.map(|stack| (stack.name, calls.since(&before)));
        });
        if let Some((name, calls)) = more {
            self.lock()
                .snapshot
                .stacks
                .entry(name)
                .or_default()
                .add(&calls);
        }
    }

    /// What each stack gave so far, by its name.
    pub fn stacks(&self) -> BTreeMap<&'static str, CallCounts> {
        self.lock().snapshot.stacks.clone()
    }

    /// The library is not captured any more.
    pub(super) fn fail(&self, id: FileId, reason: String) {
        self.change(id, |verdict| {
            verdict.state = State::Failed { reason };
            verdict.at_unix_ms = now_unix_ms();
        });
    }

    /// Adds a verdict, or replaces the one for the same file.
    pub(super) fn set(&self, verdict: LibraryVerdict) {
        let inner = &mut self.lock().snapshot;
        let same = |v: &LibraryVerdict| (v.device, v.inode) == (verdict.device, verdict.inode);
        let attached = matches!(
            verdict.state,
            State::Attached | State::AttachedThrough { .. }
        );
        if let (true, Found::Process(pid)) = (attached, verdict.found) {
            let file = FileId {
                device: verdict.device,
                inode: verdict.inode,
            };
            inner.captured_now(pid, file, &verdict.path);
        }
        if let Some(old) = inner.libraries.iter_mut().find(|v| same(v)) {
            *old = verdict;
        } else if inner.libraries.len() < MAX_VERDICTS {
            inner.libraries.push(verdict);
        } else {
            inner.counts.verdicts_left_out += 1;
        }
    }

    /// What a file was waiting for found nothing to tell.
    pub(super) fn no_longer_waits(&self, id: FileId) {
        let waits = |v: &LibraryVerdict| v.is_of(id) && v.state == State::Waiting;
        self.lock().snapshot.libraries.retain(|v| !waits(v));
    }

    /// Forgets the verdict on a file.
    pub(super) fn remove(&self, id: FileId) {
        self.lock().snapshot.libraries.retain(|v| !v.is_of(id));
    }

    /// Replaces the verdicts on processes.
    pub(super) fn set_processes(&self, mut processes: Vec<ProcessVerdict>) {
        let mut inner = self.lock();
        let surplus = processes.len().saturating_sub(MAX_PROCESSES);
        inner.snapshot.counts.processes_left_out = surplus as u64;
        processes.truncate(MAX_PROCESSES);
        let lives = |pid: &u32| processes.iter().any(|p| p.pid == *pid);
        inner.filtered.retain(lives);
        inner.snapshot.processes = processes;
    }
}

impl LibraryVerdict {
    fn is_of(&self, id: FileId) -> bool {
        (self.device, self.inode) == (id.device, id.inode)
    }
}

impl Snapshot {
    /// A library of a process was attached between two passes.
    fn captured_now(&mut self, pid: u32, file: FileId, path: &str) {
        if let Some(process) = self.processes.iter_mut().find(|p| p.pid == pid) {
            if !process.libraries.contains(&file) {
                process.libraries.push(file);
            }
            if matches!(process.state, ProcessState::NoTls | ProcessState::Waiting) {
                process.state = ProcessState::Captured;
            }
        } else if self.processes.len() < MAX_PROCESSES {
            self.processes.push(ProcessVerdict {
                pid,
                exe: exe(pid).unwrap_or_else(|| path.to_owned()),
                state: ProcessState::Captured,
                libraries: vec![file],
            });
        }
    }
}

/// The program of a process; its name where that is all that can be read.
pub(super) fn exe(pid: u32) -> Option<String> {
    let process = Path::new("/proc").join(pid.to_string());
    let exe = std::fs::read_link(process.join("exe"));
    let exe = exe.ok().map(|exe| exe.to_string_lossy().into_owned());
    exe.or_else(|| {
        let name = std::fs::read_to_string(process.join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FILE: FileId = FileId {
        device: 1,
        inode: 2,
    };

    fn verdicts(state: State) -> Verdicts {
        let verdicts = Verdicts::default();
        let path = Path::new("/lib/libssl.so");
        let scan = Scan::default();
        verdicts.set(LibraryVerdict::new(
            path,
            FILE,
            Found::Process(7),
            &scan,
            state,
        ));
        verdicts
    }

    #[test]
    fn a_jvm_is_asked_about_until_there_is_an_answer() {
        let verdicts = Verdicts::default();
        assert!(verdicts.asked().is_empty());
        verdicts.answer(7, true);
        verdicts.ask(7);
        assert_eq!(
            (verdicts.asked(), verdicts.answered(7)),
            (vec![7], None),
            "an answer to nobody counts for nothing"
        );
        verdicts.answer(7, true);
        assert!(verdicts.asked().is_empty());
        assert_eq!(verdicts.answered(7), Some(true));
        assert_eq!(verdicts.answered(7), None);
        verdicts.ask(8);
        verdicts.unask(8);
        assert!(verdicts.asked().is_empty());
    }

    #[test]
    fn a_connection_is_late_where_its_process_had_its_library_captured_after_it_began() {
        let now = SystemTime::now();
        let (before, after) = (now - Duration::from_secs(9), now + Duration::from_secs(9));
        let attached = verdicts(State::Attached);
        assert!(attached.is_late(7, before));
        assert!(!attached.is_late(7, after), "it was captured when it began");
        assert!(!attached.is_late(8, before), "another process");
        assert!(verdicts(State::Waiting).is_late(7, after));
        let reason = "no".to_owned();
        assert!(!verdicts(State::Failed { reason }).is_late(7, before));
    }

    #[test]
    fn a_process_has_a_line_as_soon_as_its_library_is_captured() {
        let verdicts = verdicts(State::Attached);
        let own = std::process::id();
        let path = Path::new("/lib/other.so");
        let scan = Scan::default();
        let other = FileId { inode: 3, ..FILE };
        verdicts.set(LibraryVerdict::new(
            path,
            other,
            Found::Process(own),
            &scan,
            State::Attached,
        ));
        let snapshot = verdicts.snapshot();
        let process = snapshot.processes.iter().find(|p| p.pid == own);
        let process = process.expect("a line");
        assert_eq!(process.state, ProcessState::Captured);
        assert_eq!(process.libraries, [other]);
    }

    #[test]
    fn what_the_filters_leave_out_is_said_until_they_no_longer_do() {
        let verdicts = verdicts(State::Attached);
        let state = |verdicts: &Verdicts| {
            let snapshot = verdicts.snapshot();
            let process = snapshot.processes.iter().find(|p| p.pid == 7);
            process.expect("a line").state.clone()
        };
        verdicts.filter(7, true);
        assert_eq!(state(&verdicts), ProcessState::Filtered);
        verdicts.filter(7, false);
        assert_eq!(state(&verdicts), ProcessState::Captured);
        verdicts.filter(7, true);
        verdicts.set_processes(Vec::new());
        assert!(verdicts.lock().filtered.is_empty(), "it is gone");
    }

    #[test]
    fn a_file_that_waited_for_nothing_has_no_verdict() {
        let waiting = verdicts(State::Waiting);
        waiting.no_longer_waits(FILE);
        assert!(waiting.snapshot().libraries.is_empty());
        let attached = verdicts(State::Attached);
        attached.no_longer_waits(FILE);
        assert_eq!(attached.snapshot().libraries.len(), 1);
    }

    #[test]
    fn a_library_under_another_mount_keeps_its_own_path() {
        let through = "/one/libssl.so".to_owned();
        let verdicts = verdicts(State::AttachedThrough { through });
        let json = serde_json::to_value(verdicts.snapshot()).expect("serialises");
        let library = &json["libraries"][0];
        assert_eq!(library["path"], "/lib/libssl.so");
        assert_eq!(library["through"], "/one/libssl.so");
    }
}
