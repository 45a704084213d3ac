//! Room of a local store: its payloads stay within bytes and within an age.
//!
//! Enters: the size of what is to be written. Leaves: room for it, made by removing the oldest payloads, and counts.
//! Holds: only the sum of bytes is kept in memory, so a put costs an addition. The folder is walked when the sum is too
//! large (then a tenth of the room is made at once, so that a walk is rare), when the oldest has reached its age, and at
//! the start. Nothing is removed but files of this user that have the names and the first bytes of payloads, in the
//! folders that the prefix makes; links are not followed.

use super::explain::{Failure, StoreError};
use super::{document, segment};
use crate::config::DiskStore;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Removed;
use std::collections::{BinaryHeap, HashMap};
use std::fs::{DirEntry, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex as AsyncMutex;

/// Of the room, made at once.
const SHARE: u64 = 10;
/// Walks for one object: smaller ones may take room meanwhile.
const WALKS: usize = 4;
/// Files that one walk removes at the most, and remembers; then it begins anew.
const BATCH: usize = 32_768;
/// What was being written for longer was left by an agent that was killed.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Between two walks for the sake of age: a hundredth of it, within these. Others may write and remove here too.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Bounds of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    bytes: u64,
    age: Duration,
}

/// The room of one folder, shared by all that write there.
pub(super) struct Room {
    /// Where all payloads are, and how many folders below.
    root: PathBuf,
    depth: usize,
    ledger: Ledger,
    state: Mutex<State>,
    /// Held while the folder is walked.
    walking: AsyncMutex<()>,
}

struct State {
    bounds: Bounds,
    /// Bytes of all payloads, those that are being written included; None: not known yet.
    used: Option<u64>,
    /// Bytes that are being written.
    writing: u64,
    /// Bytes that were written since the last walk began.
    since: u64,
}

/// Room that was taken, until it is known whether it is used.
pub(super) struct Taken {
    room: Arc<Room>,
    size: u64,
    used: bool,
}

impl Taken {
    /// The object is on the disk.
    pub fn stored(mut self) {
        self.used = true;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.room.state();
        state.writing = state.writing.saturating_sub(self.size);
        if self.used {
            state.since += self.size;
        } else if let Some(used) = &mut state.used {
            *used = used.saturating_sub(self.size);
        }
    }
}

type Place = (PathBuf, usize);
/// Stages of one folder share its room, also while one takes the place of another.
static ROOMS: LazyLock<Mutex<HashMap<Place, Weak<Room>>>> = LazyLock::new(Mutex::default);

impl Room {
    /// The room of payloads in `root` and `depth` folders below. The newest bounds hold.
    pub fn of(root: PathBuf, depth: usize, disk: &DiskStore, ledger: &Ledger) -> Arc<Room> {
        let bounds = Bounds {
            bytes: disk.max_bytes,
            age: disk.max_age,
        };
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.strong_count() > 0);
        let place = (root, depth);
        if let Some(room) = rooms.get(&place).and_then(Weak::upgrade) {
            room.state().bounds = bounds;
            return room;
        }
        let room = Arc::new(Room {
            root: place.0.clone(),
            depth,
            ledger: ledger.clone(),
            state: Mutex::new(State {
                bounds,
                used: None,
                writing: 0,
                since: 0,
            }),
            walking: AsyncMutex::new(()),
        });
        rooms.insert(place, Arc::downgrade(&room));
        room
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for an object of `bytes`.
    ///
    /// # Errors
    /// When it has more than all the room, or the oldest payloads cannot be removed.
    pub async fn take(self: &Arc<Self>, bytes: usize) -> Result<Taken, StoreError> {
        let size = on_disk(bytes as u64);
        let bounds = self.state().bounds;
        if size > bounds.bytes {
            return Err(StoreError::new(
                Failure::Unfit,
                format!("its object has {bytes} bytes, more than all the room of the store"),
                "raise `max_bytes`",
            ));
        }
        if let Some(taken) = self.fits(size) {
            return Ok(taken);
        }
        let _walking = self.walking.lock().await;
        // Others may have waited too, and made room.
        if let Some(taken) = self.fits(size) {
            return Ok(taken);
        }
        for _ in 0..WALKS {
            let room = bounds.bytes - bounds.bytes / SHARE;
            let goal = room.saturating_sub(size + self.state().writing);
            if let (_, Some(taken)) = self.walk(goal, Some(size)).await? {
                return Ok(taken);
            }
        }
        Err(StoreError::new(
            Failure::Full,
            format!(
                "{}: payloads have all of the room, and cannot be removed",
                self.root.display()
            ),
            "check the folder's owner and mode, or raise `max_bytes`",
        ))
    }

    fn fits(self: &Arc<Self>, size: u64) -> Option<Taken> {
        self.reserve(&mut self.state(), size)
    }

    /// Takes the room if it is there. What is there before the first walk has ended is not known: it is taken then.
    fn reserve(self: &Arc<Self>, state: &mut State, size: u64) -> Option<Taken> {
        let used = state.used.unwrap_or_default().saturating_add(size);
        if used > state.bounds.bytes {
            return None;
        }
        state.writing += size;
        if let Some(known) = &mut state.used {
            *known = used;
        }
        Some(Taken {
            room: self.clone(),
            size,
            used: false,
        })
    }

    /// Removes what is too old, or too much, for as long as this runs.
    pub async fn look_after(self: Arc<Self>) {
        loop {
            let (bytes, age) = {
                let bounds = self.state().bounds;
                (bounds.bytes, bounds.age)
            };
            let walking = self.walking.lock().await;
            let walked = self.walk(bytes, None).await;
            drop(walking);
            let oldest = match walked {
                Ok((oldest, _)) => oldest,
                Err(error) => {
                    tracing::warn!(folder = %self.root.display(), "payloads that are too old were not removed: {error}");
                    None
                }
            };
            let since = oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
            let due = age.saturating_sub(since.unwrap_or_default());
            // Walking for each file that reaches its age would be a walk a put.
            let pause = (age / 100).clamp(PAUSE.0, PAUSE.1);
            tokio::time::sleep(due.clamp(pause, PAUSE.1)).await;
        }
    }

    /// Walks through the folder, and says when the oldest was written that stayed. Takes room for `size` before anybody
    /// else can, where it is there.
    async fn walk(
        self: &Arc<Self>,
        goal: u64,
        size: Option<u64>,
    ) -> Result<(Option<SystemTime>, Option<Taken>), StoreError> {
        let age = {
            let mut state = self.state();
            state.since = 0;
            state.bounds.age
        };
        let room = self.clone();
        let walk = move || {
            let mut sweep = Sweep::new(&room.root, room.depth, SystemTime::now());
            let done = sweep.run(age, goal);
            (sweep.swept, done)
        };
        let (swept, done) = tokio::task::spawn_blocking(walk).await.map_err(|error| {
            StoreError::new(
                Failure::Unavailable,
                format!("{}: {error}", self.root.display()),
                "this is a fault of the agent",
            )
        })?;
        for (reason, (objects, bytes)) in [
            (Removed::MaxAge, swept.aged),
            (Removed::MaxBytes, swept.crowded),
        ] {
            self.ledger.payloads_removed(reason, objects, bytes);
        }
        done.map_err(|error| {
            StoreError::file(format!("{}: {error}", self.root.display()), &error)
        })?;
        let mut state = self.state();
        // The walk may have seen some of what was written meanwhile: until the next one it counts twice.
        state.used = Some(swept.left + state.since + state.writing);
        let taken = size.and_then(|size| self.reserve(&mut state, size));
        Ok((swept.oldest, taken))
    }
}

/// Room that a file of so many bytes takes: whole blocks, as most file systems have them.
fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Swept {
    /// Bytes that stay.
    left: u64,
    oldest: Option<SystemTime>,
    /// Objects and bytes that were too old.
    aged: (u64, u64),
    /// That were too many.
    crowded: (u64, u64),
}

/// A file of ours: when it was written, its room on the disk, its path.
type Found = (SystemTime, u64, PathBuf);

/// One or more walks through a folder.
struct Sweep<'a> {
    root: &'a Path,
    depth: usize,
    now: SystemTime,
    user: u32,
    swept: Swept,
    /// The oldest of what was found: the newest of them first.
    oldest: BinaryHeap<Found>,
}

impl<'a> Sweep<'a> {
    fn new(root: &'a Path, depth: usize, now: SystemTime) -> Self {
        Sweep {
            root,
            depth,
            now,
            // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
            user: unsafe { libc::geteuid() },
            swept: Swept::default(),
            oldest: BinaryHeap::new(),
        }
    }

    /// Removes what is older than `age`, and the oldest until no more than `goal` bytes are left.
    fn run(&mut self, age: Duration, goal: u64) -> io::Result<()> {
        loop {
            self.swept.left = 0;
            self.swept.oldest = None;
            self.oldest.clear();
            self.look(self.root, self.depth, age)?;
            let found = std::mem::take(&mut self.oldest).into_sorted_vec();
            let all = found.len() < BATCH;
            let mut removed = false;
            for (time, size, path) in found {
                if self.swept.left <= goal {
                    self.swept.oldest = Some(time);
                    return Ok(());
                }
                self.swept.left -= size;
                if self.remove(&path)? {
                    removed = true;
                    add(&mut self.swept.crowded, size);
                }
            }
            if all || !removed {
                return Ok(());
            }
        }
    }

    fn look(&mut self, folder: &Path, depth: usize, age: Duration) -> io::Result<()> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && depth > 0 {
                self.look(&entry.path(), depth - 1, age)?;
            } else if kind.is_file() && depth == 0 {
                self.found(&entry, age)?;
            }
        }
        Ok(())
    }

    fn found(&mut self, entry: &DirEntry, age: Duration) -> io::Result<()> {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let (object, writing) = match name.iter().position(|b| *b == b'#') {
            Some(mark) => (name.get(..mark).unwrap_or_default(), true),
            None => (name, false),
        };
        if !is_name(object) {
            return Ok(());
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // Somebody else removed it, or it has got its name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if meta.uid() != self.user {
            return Ok(());
        }
        let (time, size) = (meta.modified()?, room_of(&meta));
        let old = self.now.duration_since(time).unwrap_or_default();
        let path = entry.path();
        if writing {
            // Its room is counted by who writes it.
            if old > ABANDONED {
                gone(std::fs::remove_file(&path))?;
            }
            return Ok(());
        }
        if old > age {
            if self.remove(&path)? {
                add(&mut self.swept.aged, size);
            }
            return Ok(());
        }
        self.swept.left += size;
        self.swept.oldest = self.swept.oldest.map_or(Some(time), |o| Some(o.min(time)));
        self.oldest.push((time, size, path));
        if self.oldest.len() > BATCH {
            self.oldest.pop();
        }
        Ok(())
    }

    /// Removes a payload, and its folder where it was the last there; false: it is none.
    fn remove(&self, path: &Path) -> io::Result<bool> {
        if !is_payload(path)? {
            return Ok(false);
        }
        gone(std::fs::remove_file(path))?;
        let above = path.ancestors().skip(1);
        for folder in above.take_while(|folder| *folder != self.root) {
            if std::fs::remove_dir(folder).is_err() {
                // Others are in it.
                break;
            }
        }
        Ok(true)
    }
}

fn add(sum: &mut (u64, u64), size: u64) {
    sum.0 += 1;
    sum.1 += size;
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What the file takes on the disk.
fn room_of(meta: &Metadata) -> u64 {
    on_disk(meta.len()).max(meta.blocks().saturating_mul(512))
}

/// The name of an object, 64 hex digits, or of a segment.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit) || segment::is_name(name)
}

/// The first bytes are those of a document, or of a segment. A file that is gone is one, for it needs no care.
fn is_payload(path: &Path) -> io::Result<bool> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NOFOLLOW);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let mut first = Vec::new();
    file.take(document::BEGIN.len() as u64)
        .read_to_end(&mut first)?;
    Ok(first == document::BEGIN || first.starts_with(&segment::ZSTD))
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;
