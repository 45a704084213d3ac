//! What the finder found: for each TLS library whether it is captured and how, or why not.

use crate::probe::elf::{Placement, Scan, Stack};
use crate::probe::finder::file::FileId;
use crate::probe::target::Target;
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many libraries are remembered one by one; further ones are counted in `verdicts_left_out`.
pub const MAX_VERDICTS: usize = 4096;

/// What became of a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its probes are attached.
    Attached,
    /// Another mount shows the same file, and the probes attached through that one are in effect here.
    AttachedThrough { path: String },
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
            at_unix_ms: now_unix_ms(),
        }
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
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
    /// Attempts to attach that failed.
    pub attach_failures: u64,
    /// ELF files that are damaged, of another architecture, or too large.
    pub files_unsupported: u64,
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
    /// Times that the memory of scanned files was full and was emptied.
    pub cache_emptied: u64,
}

/// All verdicts at one moment. Serialises to the JSON of `/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub ready: bool,
    pub counts: Counts,
    pub libraries: Vec<LibraryVerdict>,
}

/// Shared handle to the verdicts.
#[derive(Debug, Clone, Default)]
pub struct Verdicts {
    inner: Arc<Mutex<Snapshot>>,
}

impl Verdicts {
    // A panic elsewhere must not take the verdicts away: each change leaves them whole.
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All verdicts at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Every library and process that was there at the start has been handled.
    pub fn ready(&self) -> bool {
        self.lock().ready
    }

    pub(super) fn set_ready(&self) {
        self.lock().ready = true;
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock().counts);
    }

    /// Adds a verdict, or replaces the one for the same file.
    pub(super) fn set(&self, verdict: LibraryVerdict) {
        let mut inner = self.lock();
        let same = |v: &LibraryVerdict| (v.device, v.inode) == (verdict.device, verdict.inode);
        if let Some(old) = inner.libraries.iter_mut().find(|v| same(v)) {
            *old = verdict;
        } else if inner.libraries.len() < MAX_VERDICTS {
            inner.libraries.push(verdict);
        } else {
            inner.counts.verdicts_left_out += 1;
        }
    }
}
