//! Deciding what to do with each mapped file, and holding the probes.
//!
//! Enters: mappings and files of directories. Leaves: links and verdicts. Holds: a file is scanned once as long as it
//! does not change, and has probes once, however many processes and mounts show it.

use super::attach::Attach;
use super::file::{FileId, Located, Version, locate};
use super::maps::{MappedFile, Mapping};
use super::verdict::{Found, LibraryVerdict, State, Verdicts};
use crate::probe::elf::{self, Scan, ScanError};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tracing::field::Empty;

/// Files of no interest that are remembered, so that they are not read again.
const MAX_REMEMBERED: usize = 16_384;
/// How often attaching to one file is tried. Later tries come with passes over /proc.
const MAX_ATTEMPTS: u32 = 3;

/// How closely to look at a mapping whose file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The kernel reported it with this inode generation: trust what is known of the same path.
    Reported { generation: u64 },
    /// Ask the file system whether the file changed, and try again what failed.
    Closely,
}

/// A mapping's file, as it was known last.
struct Seen {
    path: PathBuf,
    generation: Option<u64>,
    id: FileId,
}

/// What is known of a file.
struct Known<L> {
    version: Version,
    outcome: Outcome<L>,
}

enum Outcome<L> {
    /// No TLS functions in it, or it cannot be probed.
    Nothing,
    Attached(Attached<L>),
    /// The file is probed through another mount.
    AttachedThrough,
    Failed {
        attempts: u32,
    },
}

struct Attached<L> {
    path: PathBuf,
    build_id: Option<Vec<u8>>,
    // Held for its `drop`, which detaches.
    _link: L,
}

/// All files known, and the links.
pub struct Libraries<A: Attach> {
    attach: A,
    proc: PathBuf,
    verdicts: Verdicts,
    own_pid: u32,
    own_file: Option<FileId>,
    seen: HashMap<MappedFile, Seen>,
    files: HashMap<FileId, Known<A::Link>>,
}

impl<A: Attach> Libraries<A> {
    pub fn new(attach: A, proc: PathBuf, verdicts: Verdicts) -> Self {
        let own_file = match Located::at(Path::new("/proc/self/exe")) {
            Ok(own) => Some(own.id()),
            Err(error) => {
                tracing::warn!(%error, "cannot tell the agent's own program file");
                None
            }
        };
        Libraries {
            attach,
            proc,
            verdicts,
            own_pid: std::process::id(),
            own_file,
            seen: HashMap::new(),
            files: HashMap::new(),
        }
    }

    /// Handles a mapping of a process. Answers whether its file is decided on; where it is not, another process's
    /// mapping of the same file may tell more.
    pub fn mapped(&mut self, mapping: &Mapping, look: Look) -> bool {
        if mapping.pid == self.own_pid {
            return false;
        }
        self.verdicts.count(|c| c.mappings_seen += 1);
        if self.is_known(mapping, look) {
            return true;
        }
        let located = match locate(&self.proc, mapping) {
            Ok(located) => located,
            Err(error) => {
                self.not_located(mapping, &error);
                return false;
            }
        };
        let decided = self.handle(&located, &mapping.path, Some(mapping), look);
        if decided {
            self.remember(mapping, located.id(), look);
        }
        self.bound();
        decided
    }

    fn remember(&mut self, mapping: &Mapping, id: FileId, look: Look) {
        let before = self.seen.get(&mapping.key).filter(|seen| seen.id == id);
        let seen = Seen {
            path: mapping.path.clone(),
            generation: match look {
                Look::Reported { generation } => Some(generation),
                Look::Closely => before.and_then(|seen| seen.generation),
            },
            id,
        };
        self.seen.insert(mapping.key, seen);
    }

    /// Handles a file that no process need map yet.
    pub fn in_directory(&mut self, path: &Path) {
        match Located::at(path) {
            Ok(located) => {
                self.handle(&located, path, None, Look::Closely);
            }
            Err(error) => {
                self.verdicts.count(|c| c.files_unreadable += 1);
                tracing::debug!(path = %path.display(), %error, "cannot look at a library");
            }
        }
    }

    /// Nothing needs to be done for this mapping, by what is known without asking the file system.
    fn is_known(&mut self, mapping: &Mapping, look: Look) -> bool {
        let (Look::Reported { generation }, Some(seen)) = (look, self.seen.get_mut(&mapping.key))
        else {
            return false;
        };
        let uninteresting = self
            .files
            .get(&seen.id)
            .is_some_and(|k| matches!(k.outcome, Outcome::Nothing));
        if seen.path != mapping.path || seen.generation.is_some_and(|g| g != generation) {
            return false;
        }
        if uninteresting {
            seen.generation = Some(generation);
        }
        uninteresting
    }

    fn not_located(&self, mapping: &Mapping, error: &std::io::Error) {
        let alive = self.proc.join(mapping.pid.to_string()).exists();
        self.verdicts.count(|c| match alive {
            true => c.files_unreadable += 1,
            false => c.processes_vanished += 1,
        });
        let (path, pid) = (mapping.path.display(), mapping.pid);
        tracing::debug!(%path, pid, %error, alive, "cannot look at a mapped file");
    }

    /// Scans and attaches where needed. Answers whether the decision may be remembered.
    fn handle(
        &mut self,
        located: &Located,
        path: &Path,
        mapping: Option<&Mapping>,
        look: Look,
    ) -> bool {
        let (id, version) = (located.id(), located.version());
        let mut attempts = 0;
        if let Some(known) = self.files.get(&id)
            && known.version == version
        {
            match &known.outcome {
                Outcome::Failed { attempts: before }
                    if look == Look::Closely && *before < MAX_ATTEMPTS =>
                {
                    attempts = *before;
                }
                _ => return true,
            }
        }
        // A file that was written over, or another one with the number of a deleted one, has other code: the probes must
        // go before anything else.
        if let Some(Known {
            outcome: Outcome::Attached(old),
            ..
        }) = self.files.remove(&id)
        {
            tracing::warn!(path = %path.display(), "a probed file has changed: probing it anew");
            drop(old);
            self.verdicts.count(|c| c.libraries_attached -= 1);
        }
        let outcome = if Some(id) == self.own_file {
            Outcome::Nothing
        } else {
            let scan = match self.scan(located, path, mapping) {
                Some(scan) => scan,
                None => return false,
            };
            match self.decide(located, path, mapping, &scan, attempts) {
                Some(outcome) => outcome,
                None => return false,
            }
        };
        self.files.insert(id, Known { version, outcome });
        true
    }

    /// `None` where the file could not be read, which may be different next time.
    fn scan(&self, located: &Located, path: &Path, mapping: Option<&Mapping>) -> Option<Scan> {
        let scanned = located
            .open()
            .map_err(ScanError::Read)
            .and_then(|file: File| elf::scan_file(&file));
        match scanned {
            Ok(scan) => {
                self.verdicts.count(|c| c.files_scanned += 1);
                Some(scan)
            }
            Err(ScanError::NotElf) => Some(Scan::default()),
            Err(ScanError::Read(error)) => {
                self.verdicts.count(|c| c.files_unreadable += 1);
                tracing::debug!(path = %path.display(), %error, "cannot read a mapped file");
                None
            }
            Err(error) => {
                self.verdicts.count(|c| c.files_unsupported += 1);
                // Only what calls itself a TLS library is worth a verdict.
                if is_tls_library(path) {
                    let scan = Scan::default();
                    let reason = error.to_string();
                    self.verdict(located, path, mapping, &scan, State::Failed { reason });
                }
                Some(Scan::default())
            }
        }
    }

    /// `None` where it cannot be decided from this mapping.
    fn decide(
        &self,
        located: &Located,
        path: &Path,
        mapping: Option<&Mapping>,
        scan: &Scan,
        attempts: u32,
    ) -> Option<Outcome<A::Link>> {
        if scan.places().next().is_none() {
            let refused = scan.stacks.iter().find_map(|s| s.refused.clone());
            if let Some(reason) = refused {
                tracing::info!(path = %path.display(), reason, "a TLS library cannot be captured");
                self.verdict(located, path, mapping, scan, State::Failed { reason });
            }
            return Some(Outcome::Nothing);
        }
        if let (Some(twin), Some(mapping)) = (self.twin(located, scan), mapping) {
            match probed_in(&self.proc, mapping, scan) {
                Some(true) => {
                    let through = twin.path.to_string_lossy().into_owned();
                    let state = State::AttachedThrough { path: through };
                    self.verdict(located, path, Some(mapping), scan, state);
                    return Some(Outcome::AttachedThrough);
                }
                Some(false) => {}
                None => {
                    self.verdicts.count(|c| c.processes_vanished += 1);
                    return None;
                }
            }
        }
        Some(self.attach(located, path, mapping, scan, attempts))
    }

    fn attach(
        &self,
        located: &Located,
        path: &Path,
        mapping: Option<&Mapping>,
        scan: &Scan,
        attempts: u32,
    ) -> Outcome<A::Link> {
        let targets = scan.targets();
        let span = tracing::info_span!(
            "attach",
            path = %path.display(),
            targets = targets.len(),
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let _entered = span.clone().entered();
        match self.attach.attach(&located.path(), &targets) {
            Ok(link) => {
                self.verdicts.count(|c| c.libraries_attached += 1);
                tracing::info!(path = %path.display(), targets = targets.len(), "probing a TLS library");
                self.verdict(located, path, mapping, scan, State::Attached);
                Outcome::Attached(Attached {
                    path: path.to_owned(),
                    build_id: scan.build_id.clone(),
                    _link: link,
                })
            }
            Err(error) => {
                self.verdicts.count(|c| c.attach_failures += 1);
                tracing::warn!(path = %path.display(), %error, "cannot probe a TLS library");
                let reason = error.to_string();
                span.record("otel.status_code", "error");
                span.record("otel.status_description", &*reason);
                self.verdict(located, path, mapping, scan, State::Failed { reason });
                Outcome::Failed {
                    attempts: attempts + 1,
                }
            }
        }
    }

    /// A probed file that looks like this one on another mount: two overlay mounts of one image layer show different
    /// devices and the same inode number, and the probe is in the layer's inode.
    fn twin(&self, located: &Located, scan: &Scan) -> Option<&Attached<A::Link>> {
        let build_id = scan.build_id.as_ref()?;
        self.files.iter().find_map(|(id, known)| {
            let same =
                id.inode == located.id().inode && known.version.size == located.version().size;
            match &known.outcome {
                Outcome::Attached(a) if same && a.build_id.as_ref() == Some(build_id) => Some(a),
                _ => None,
            }
        })
    }

    fn verdict(
        &self,
        located: &Located,
        path: &Path,
        mapping: Option<&Mapping>,
        scan: &Scan,
        state: State,
    ) {
        let found = mapping.map_or(Found::Directory, |m| Found::Process(m.pid));
        let verdict = LibraryVerdict::new(path, located.id(), found, scan, state);
        self.verdicts.set(verdict);
    }

    /// Forgets what is cheap to learn again when too much is remembered.
    fn bound(&mut self) {
        if self.seen.len().max(self.files.len()) < MAX_REMEMBERED {
            return;
        }
        self.files
            .retain(|_, known| !matches!(known.outcome, Outcome::Nothing));
        let files = &self.files;
        self.seen.retain(|_, seen| files.contains_key(&seen.id));
        self.verdicts.count(|c| c.cache_emptied += 1);
    }
}

/// A file that calls itself a TLS library, or what one reads and writes through.
pub fn is_tls_library(path: &Path) -> bool {
    const NAMES: [&str; 4] = ["libssl", "libgnutls", "libnspr", "libnss3"];
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        NAMES.iter().any(|known| name.contains(known))
    })
}

/// Whether a probe stands in this mapping: the memory differs there from the file. `None` where the process is gone
/// or the mapping holds no target.
fn probed_in(proc: &Path, mapping: &Mapping, scan: &Scan) -> Option<bool> {
    let len = mapping.end.checked_sub(mapping.start)?;
    let (address, file_byte) = scan.places().find_map(|(t, p)| {
        let inside = t.file_offset.checked_sub(mapping.file_offset)?;
        let address = mapping.start.checked_add(inside)?;
        (inside < len).then_some((address, p.file_byte))
    })?;
    let memory = File::open(proc.join(mapping.pid.to_string()).join("mem")).ok()?;
    let mut byte = [0];
    memory.read_exact_at(&mut byte, address).ok()?;
    Some(byte != [file_byte])
}
