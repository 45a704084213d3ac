//! Deciding what to do with each mapped file, and holding the probes.
//!
//! Enters: mappings and files of directories; what the lanes found. Leaves: links and verdicts. Holds: a file is scanned
//! once as long as it does not change, and has probes once, however many processes and mounts show it; this thread waits
//! for no file of others.

use super::attach::Attach;
use super::choice::Choice;
use super::file::{FileId, Located, Version};
use super::lane::{Done, Ticket};
use super::look::Lanes;
use super::maps::{MappedFile, Mapping};
use super::verdict::{Found, LibraryVerdict, State, Verdicts};
use crate::probe::elf::Scan;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Files of no interest that are remembered, so that they are not read again.
const MAX_REMEMBERED: usize = 16_384;
/// How often attaching to one file is tried. Later tries come with passes over /proc.
pub(super) const MAX_ATTEMPTS: u32 = 3;
/// Files that are looked at or scanned at a time: each is held open.
const MAX_AT_WORK: usize = 64;
/// A file of so many bytes has the verdict that it is waiting while it is scanned.
const LARGE: u64 = 8 << 20;

/// How closely to look at a mapping whose file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The kernel reported it with this inode generation: trust what is known of the same path.
    Reported { generation: u64 },
    /// Ask the file system whether the file changed, and try again what failed.
    Closely,
}

/// A mapping's file, as it was known last.
pub(super) struct Seen {
    path: PathBuf,
    generation: Option<u64>,
    pub id: FileId,
}

/// What is known of a file.
pub(super) struct Known<L> {
    pub version: Version,
    pub outcome: Outcome<L>,
    /// When a process was last seen to map it of which anything may be wanted; where it is probed for nobody, any process.
    pub used: Instant,
    /// That process.
    pub user: Option<u32>,
    /// Its path in a directory of the dynamic linker.
    pub directory: Option<PathBuf>,
}

pub(super) enum Outcome<L> {
    /// It is being scanned.
    Scanning(Ticket),
    /// No TLS functions in it, or it cannot be probed.
    Nothing,
    /// TLS that cannot be captured; there is a verdict. What that says of its processes.
    Refused(&'static str),
    /// TLS of processes of which nothing is wanted.
    Unwanted,
    Attached(Attached<L>),
    /// The file is probed through another mount, as this file.
    AttachedThrough(FileId),
    Failed {
        attempts: u32,
    },
}

pub(super) struct Attached<L> {
    pub path: PathBuf,
    pub build_id: Option<Vec<u8>>,
    /// Its `drop` detaches.
    pub link: L,
}

/// A mapping whose file is looked for.
struct Looking {
    mapping: Mapping,
    look: Look,
    /// Of the same file, in case that the first one's process is gone.
    other: Option<Mapping>,
}

/// A file that is scanned.
pub(super) struct Scanning {
    pub id: FileId,
    pub path: PathBuf,
    pub mapping: Option<Mapping>,
    pub other: Option<Mapping>,
    pub attempts: u32,
    /// Something may be wanted of one that uses it.
    pub wanted: bool,
}

/// All files known, and the links.
pub struct Libraries<A: Attach> {
    pub(super) attach: A,
    pub(super) proc: PathBuf,
    pub(super) verdicts: Verdicts,
    /// What JVMs were given is probed.
    pub(super) java: bool,
    pub(super) choice: Choice,
    /// Nothing is probed at its return ([`super::trap`]).
    pub(super) seccomp_trap: bool,
    own_pid: u32,
    own_file: Option<FileId>,
    pub(super) seen: HashMap<MappedFile, Seen>,
    pub(super) files: HashMap<FileId, Known<A::Link>>,
    /// Why files could not be looked at.
    pub(super) unreadable: HashMap<MappedFile, String>,
    /// Of these, files that a thread hangs at: another would too.
    stuck: HashSet<MappedFile>,
    lanes: Lanes,
    looking: HashMap<Ticket, Looking>,
    /// What is in `looking`.
    at: HashMap<(MappedFile, PathBuf), Ticket>,
    scanning: HashMap<Ticket, Scanning>,
}

impl<A: Attach> Libraries<A> {
    pub fn new(attach: A, proc: PathBuf, verdicts: Verdicts, lanes: Lanes, java: bool) -> Self {
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
            java,
            choice: Choice::default(),
            seccomp_trap: false,
            own_pid: std::process::id(),
            own_file,
            seen: HashMap::new(),
            files: HashMap::new(),
            unreadable: HashMap::new(),
            stuck: HashSet::new(),
            lanes,
            looking: HashMap::new(),
            at: HashMap::new(),
            scanning: HashMap::new(),
        }
    }

    /// Nothing is looked at or scanned.
    pub fn is_idle(&self) -> bool {
        self.looking.is_empty() && self.scanning.is_empty()
    }

    /// So much is looked at or scanned that there must be answers before more is asked.
    pub fn is_full(&self) -> bool {
        self.looking.len() + self.scanning.len() >= MAX_AT_WORK
    }

    /// Handles a mapping of a process.
    pub fn mapped(&mut self, mapping: &Mapping, look: Look) {
        if mapping.pid == self.own_pid {
            return;
        }
        self.verdicts.count(|c| c.mappings_seen += 1);
        if self.is_known(mapping, look) || self.stuck.contains(&mapping.key) {
            return;
        }
        let at = (mapping.key, mapping.path.clone());
        if let Some(ticket) = self.at.get(&at).copied() {
            self.meanwhile(ticket, mapping, look);
            return;
        }
        self.look(mapping.clone(), look);
        self.bound();
    }

    /// Handles a mapping of a file that another one of the same pass was handled for.
    pub fn also_mapped(&mut self, mapping: &Mapping) {
        if mapping.pid == self.own_pid {
            return;
        }
        let at = (mapping.key, mapping.path.clone());
        match self.at.get(&at).copied() {
            Some(ticket) => self.meanwhile(ticket, mapping, Look::Closely),
            None if self.seen.contains_key(&mapping.key) => self.also(mapping, Look::Closely),
            // The first one's process was gone, or did not let it be read.
            None => self.mapped(mapping, Look::Closely),
        }
    }

    /// Another mapping of a file that is looked for. One of a process that is wanted counts for more.
    fn meanwhile(&mut self, ticket: Ticket, mapping: &Mapping, look: Look) {
        let wanted = self.is_wanted(mapping.pid, look);
        if let Some(looking) = self.looking.get_mut(&ticket)
            && (wanted || looking.other.is_none())
        {
            looking.other = Some(mapping.clone());
        }
    }

    /// Whether something may be wanted of a process. Of one that has just begun nothing is known but what the choice
    /// sees; what the filters came to know of others counts too.
    fn is_wanted(&self, pid: u32, look: Look) -> bool {
        self.choice.process(pid) && (look != Look::Closely || !self.verdicts.is_filtered(pid))
    }

    /// A process has the file mapped; answers whether something of it may be wanted.
    fn used(&mut self, id: FileId, pid: u32, look: Look) -> bool {
        let Some(of_nobody) = self.files.get(&id).map(|known| match known.outcome {
            Outcome::Nothing => Some(false),
            Outcome::Unwanted => Some(true),
            _ => None,
        }) else {
            return false;
        };
        let wanted = of_nobody != Some(false) && self.is_wanted(pid, look);
        if let Some(known) = self.files.get_mut(&id)
            && (wanted || of_nobody.is_some())
        {
            known.used = Instant::now();
            known.user = Some(pid);
        }
        wanted
    }

    fn look(&mut self, mapping: Mapping, look: Look) {
        let ticket = self.lanes.looks.submit(mapping.clone());
        self.at.insert((mapping.key, mapping.path.clone()), ticket);
        let looking = Looking {
            mapping,
            look,
            other: None,
        };
        self.looking.insert(ticket, looking);
    }

    /// Goes on with what the lanes have done.
    pub fn answers(&mut self) {
        for (ticket, done) in self.lanes.looks.take() {
            let Some(looking) = self.looking.remove(&ticket) else {
                continue;
            };
            let mapping = &looking.mapping;
            self.at.remove(&(mapping.key, mapping.path.clone()));
            match done {
                Done::Answer(Ok(located)) => self.located(located, looking),
                Done::Answer(Err(error)) => match looking.other {
                    Some(other) => self.look(other, looking.look),
                    None => self.not_located(mapping, &error),
                },
                Done::GivenUp => self.given_up_looking(mapping),
            }
        }
        for (ticket, done) in self.lanes.scans.take() {
            if let Some(scanning) = self.scanning.remove(&ticket) {
                self.scanned(ticket, scanning, done);
            }
        }
    }

    fn located(&mut self, located: Located, looking: Looking) {
        let Looking {
            mapping,
            look,
            other,
        } = looking;
        self.unreadable.remove(&mapping.key);
        self.remember(&mapping, located.id(), look);
        let path = mapping.path.clone();
        self.handle(located, path, Some(mapping), look);
        if let Some(other) = other {
            self.also(&other, look);
        }
    }

    /// Another mapping of a file that is known, and may be scanned now.
    fn also(&mut self, other: &Mapping, look: Look) {
        let Some(id) = self.seen.get(&other.key).map(|seen| seen.id) else {
            return;
        };
        let wanted = self.used(id, other.pid, look);
        match self.files.get(&id).map(|known| &known.outcome) {
            Some(Outcome::Scanning(ticket)) => {
                if let Some(scanning) = self.scanning.get_mut(ticket) {
                    if wanted || scanning.other.is_none() {
                        scanning.other = Some(other.clone());
                    }
                    scanning.wanted |= wanted;
                }
            }
            Some(Outcome::Unwanted) if wanted => self.look(other.clone(), look),
            _ => {}
        }
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
                let id = located.id();
                self.handle(located, path.to_owned(), None, Look::Closely);
                if let Some(known) = self.files.get_mut(&id) {
                    known.directory = Some(path.to_owned());
                }
            }
            Err(error) => {
                self.verdicts.count(|c| c.files_unreadable += 1);
                tracing::debug!(path = %path.display(), %error, "cannot look at a library");
            }
        }
    }

    /// Nothing needs to be done for this mapping, by what is known without asking the file system.
    fn is_known(&mut self, mapping: &Mapping, look: Look) -> bool {
        let Some(seen) = self.seen.get(&mapping.key) else {
            return false;
        };
        if seen.path != mapping.path {
            return false;
        }
        let id = seen.id;
        self.used(id, mapping.pid, look);
        let known = self.files.get(&id);
        let uninteresting = known.is_some_and(|known| matches!(known.outcome, Outcome::Nothing));
        let Look::Reported { generation } = look else {
            return false;
        };
        let Some(seen) = self.seen.get_mut(&mapping.key) else {
            return false;
        };
        if seen.generation.is_some_and(|g| g != generation) {
            return false;
        }
        if uninteresting {
            seen.generation = Some(generation);
        }
        uninteresting
    }

    fn not_located(&mut self, mapping: &Mapping, error: &std::io::Error) {
        let alive = self.proc.join(mapping.pid.to_string()).exists();
        self.verdicts.count(|c| match alive {
            true => c.files_unreadable += 1,
            false => c.processes_vanished += 1,
        });
        if alive && self.unreadable.len() < MAX_REMEMBERED {
            self.unreadable.insert(mapping.key, error.to_string());
        }
        let (path, pid) = (mapping.path.display(), mapping.pid);
        tracing::debug!(%path, pid, %error, alive, "cannot look at a mapped file");
    }

    fn given_up_looking(&mut self, mapping: &Mapping) {
        let path = mapping.path.display();
        tracing::warn!(%path, pid = mapping.pid, "the file system of a mapped file does not answer");
        self.verdicts.count(|c| c.files_given_up += 1);
        let reason = "its file system did not answer".to_owned();
        self.unreadable.insert(mapping.key, reason);
        self.stuck.insert(mapping.key);
    }

    /// Has the file scanned where it is new, has changed, or could not be attached.
    fn handle(&mut self, located: Located, path: PathBuf, mapping: Option<Mapping>, look: Look) {
        let (id, version) = (located.id(), located.version());
        let mut attempts = 0;
        let mut directory = None;
        let user = mapping.as_ref().map(|mapping| mapping.pid);
        let wanted = match user {
            // What is known of another file that had its number, or of what it held before, says nothing.
            Some(pid) if self.files.get(&id).is_some_and(|k| k.version == version) => {
                self.used(id, pid, look)
            }
            Some(pid) => self.is_wanted(pid, look),
            None => self.choice.anyone(),
        };
        if let Some(known) = self.files.get(&id) {
            directory.clone_from(&known.directory);
            match &known.outcome {
                Outcome::Failed { attempts: before }
                    if look == Look::Closely && *before < MAX_ATTEMPTS =>
                {
                    attempts = *before;
                }
                Outcome::Unwanted if wanted => {}
                _ if known.version == version => {
                    if let Some(mapping) = &mapping {
                        self.also(mapping, look);
                    }
                    return;
                }
                _ => {}
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
            self.scan(located, path, mapping, (attempts, wanted))
        };
        let known = Known {
            version,
            outcome,
            used: Instant::now(),
            user,
            directory,
        };
        self.files.insert(id, known);
    }

    fn scan(
        &mut self,
        located: Located,
        path: PathBuf,
        mapping: Option<Mapping>,
        (attempts, wanted): (u32, bool),
    ) -> Outcome<A::Link> {
        let id = located.id();
        if located.version().size >= LARGE {
            let scan = Scan::default();
            self.verdict(id, &path, mapping.as_ref(), &scan, State::Waiting);
        }
        let ticket = self.lanes.scans.submit(located);
        let scanning = Scanning {
            id,
            path,
            mapping,
            other: None,
            attempts,
            wanted,
        };
        self.scanning.insert(ticket, scanning);
        Outcome::Scanning(ticket)
    }

    pub(super) fn verdict(
        &self,
        id: FileId,
        path: &Path,
        mapping: Option<&Mapping>,
        scan: &Scan,
        state: State,
    ) {
        let found = mapping.map_or(Found::Directory, |m| Found::Process(m.pid));
        let verdict = LibraryVerdict::new(path, id, found, scan, state);
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
        self.unreadable.clear();
        self.stuck.clear();
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
