//! Journals: files of records that are written before their destination has them, and stay until it does.
//!
//! Enters: contents, written ahead. Leaves: the same, as long as nobody said that they are done; after a restart too.
//! Holds: a file goes when all in it is done; one whose contents are not, and that nobody works on any more, waits, and
//! files that wait are found oldest first. All of it blocks.

use super::record::{self, Found};
use super::scan::look;
use super::segment::{self, Front};
use super::{AppendError, Lock, Scanned, SpoolError, SpoolLimits, State, Tally};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All journals of one destination, in one folder.
#[derive(Debug)]
pub struct Journals {
    limits: SpoolLimits,
    lock: Lock,
    state: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Those that nobody works on, by number.
    waiting: BTreeMap<u64, Waits>,
    next_number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waits {
    left: u64,
    bytes: u64,
    /// When the first of it was written, milliseconds since 1970.
    oldest: u64,
}

/// One file that is written.
#[derive(Debug)]
pub struct Journal {
    home: Arc<Journals>,
    number: u64,
    file: File,
    /// When it was begun, milliseconds since 1970.
    begun: u64,
    state: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    bytes: u64,
    /// Items that are not done.
    left: u64,
    /// Who works on some of it.
    claims: usize,
    /// Nothing is added any more.
    sealed: bool,
    /// It is in other hands: gone, or waiting.
    over: bool,
}

/// Somebody works on some of a journal's items. Dropped, they wait.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    journal: Arc<Journal>,
    /// Records to mark; none: the file goes as a whole.
    places: Vec<u64>,
    items: u64,
    ended: bool,
}

/// What one record of a journal that waits is.
#[derive(Debug)]
pub enum Entry {
    Content {
        at: usize,
        content: Vec<u8>,
    },
    /// It held so many items.
    Damaged {
        items: u64,
    },
}

/// A journal that waits, as it is read.
#[derive(Debug)]
pub struct Opened {
    front: Front,
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journals {
    /// Looks through the folder: what is in it waits.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(lock: Lock, limits: SpoolLimits) -> Result<(Arc<Journals>, Scanned), SpoolError> {
        let numbers = segment::numbers(lock.folder())?;
        let mut files = Files {
            next_number: numbers.last().map_or(0, |last| last + 1),
            ..Files::default()
        };
        let mut scanned = Scanned::default();
        for number in numbers {
            let path = segment::path(lock.folder(), number);
            match Front::open(lock.folder(), number) {
                Ok(front) => {
                    let file = look(&front, &path, &mut scanned);
                    if file.left.items == 0 {
                        remove(&path);
                        continue;
                    }
                    limits.usage.found(file.bytes);
                    let waits = Waits {
                        left: file.left.items,
                        bytes: file.bytes,
                        oldest: file.oldest,
                    };
                    files.waiting.insert(number, waits);
                }
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "spool: a file cannot be read; it is left alone");
                    scanned.unreadable_files += 1;
                }
            }
        }
        let journals = Journals {
            limits,
            lock,
            state: Mutex::new(files),
        };
        Ok((Arc::new(journals), scanned))
    }

    /// Bytes from which on a journal of many small things gives way to another.
    pub fn usual_bytes(&self) -> u64 {
        self.limits.segment()
    }

    /// Which part of its bytes is taken, 1 and more: it is full.
    pub fn fill(&self) -> f64 {
        self.limits.usage.fill()
    }

    pub fn folder(&self) -> &std::path::Path {
        self.lock.folder()
    }

    /// What waits; bytes: of all files.
    pub fn state(&self) -> State {
        let files = locked(&self.state);
        State {
            left: Tally {
                batches: files.waiting.len() as u64,
                items: files.waiting.values().map(|w| w.left).sum(),
                progress: 0,
            },
            bytes: self.limits.usage.taken(),
            oldest: files.waiting.values().next().map(|w| w.oldest),
        }
    }

    /// A new file, at the time `now`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(self: &Arc<Self>, now: u64) -> io::Result<Arc<Journal>> {
        let number = {
            let mut files = locked(&self.state);
            files.next_number += 1;
            files.next_number - 1
        };
        let file = segment::create(self.folder(), number)?;
        Ok(Arc::new(Journal {
            home: self.clone(),
            number,
            file,
            begun: now,
            state: Mutex::default(),
        }))
    }

    /// The oldest that waits.
    pub fn first(&self) -> Option<u64> {
        locked(&self.state).waiting.keys().next().copied()
    }

    /// Whether what waits in `number` is too old.
    pub fn expired(&self, number: u64, now: u64) -> bool {
        let max_age = u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX);
        let files = locked(&self.state);
        let waits = files.waiting.get(&number);
        waits.is_some_and(|w| now.saturating_sub(w.oldest) > max_age)
    }

    /// Reads one that waits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, number: u64) -> io::Result<Opened> {
        let front = Front::open(self.folder(), number)?;
        Ok(Opened { front })
    }

    /// So many items of one that waits are done.
    pub fn done(&self, number: u64, items: u64) {
        if let Some(waits) = locked(&self.state).waiting.get_mut(&number) {
            waits.left = waits.left.saturating_sub(items);
        }
    }

    /// Nothing of it is needed any more; how many of its items nobody has said to be done.
    pub fn remove(&self, number: u64) -> u64 {
        let Some(waits) = locked(&self.state).waiting.remove(&number) else {
            return 0;
        };
        self.discard(number, waits.bytes);
        waits.left
    }

    fn discard(&self, number: u64, bytes: u64) {
        self.limits.usage.release(bytes);
        remove(&segment::path(self.folder(), number));
    }
}

fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "spool: a file that is not needed any more stays");
    }
}

impl Opened {
    /// What is next in it that is not done; None: the end.
    pub fn next_entry(&mut self) -> Option<Entry> {
        let bytes = self.front.bytes.clone();
        while let Some(step) = record::step(&bytes, self.front.at) {
            self.front.at = step.end;
            match step.found {
                Found::Record { header, content } => {
                    return Some(match record::request(&header, content) {
                        Ok(content) => Entry::Content {
                            at: step.at,
                            content,
                        },
                        Err(_) => {
                            self.front.mark(step.at);
                            Entry::Damaged {
                                items: header.items.into(),
                            }
                        }
                    });
                }
                Found::Damaged { header } => {
                    self.front.mark(step.at);
                    return Some(Entry::Damaged {
                        items: header.items.into(),
                    });
                }
                Found::Done | Found::Noise => {}
            }
        }
        None
    }

    /// The record at `at` is needed no more.
    pub fn mark(&self, at: usize) {
        self.front.mark(at);
    }
}

impl Journal {
    /// Adds contents with the items in each, all or none of them; where each is.
    ///
    /// # Errors
    /// When there is no room, or they cannot be written. Then nothing of them is there.
    pub fn append(&self, contents: &[(Vec<u8>, u64)], now: u64) -> Result<Vec<u64>, AppendError> {
        let mut state = locked(&self.state);
        let mut all = Vec::new();
        let mut places = Vec::with_capacity(contents.len());
        let mut items = 0;
        for (content, count) in contents {
            let tally = Tally {
                batches: 1,
                items: *count,
                progress: 0,
            };
            places.push(state.bytes + all.len() as u64);
            all.extend(record::encode(content, tally, now)?);
            items += count;
        }
        let usage = &self.home.limits.usage;
        if !usage.reserve(all.len() as u64) {
            return Err(AppendError::Full);
        }
        if let Err(error) = self.file.write_all_at(&all, state.bytes) {
            usage.release(all.len() as u64);
            // What is torn is passed over when it is read; what is added next overwrites it.
            if let Err(error) = self.file.set_len(state.bytes) {
                tracing::warn!(%error, "spool: a file keeps a part of what it could not take");
            }
            return Err(error.into());
        }
        state.bytes += all.len() as u64;
        state.left += items;
        Ok(places)
    }

    pub fn bytes(&self) -> u64 {
        locked(&self.state).bytes
    }

    /// When it was begun, milliseconds since 1970.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Who works on `items` of it, in the records at `places`; on none in particular, where the file goes as a whole.
    pub fn claim(self: &Arc<Self>, places: Vec<u64>, items: u64) -> Claim {
        locked(&self.state).claims += 1;
        Claim {
            journal: self.clone(),
            places,
            items,
            ended: false,
        }
    }

    /// Nothing is added any more.
    pub fn seal(&self) {
        let mut state = locked(&self.state);
        state.sealed = true;
        self.settle(&mut state);
    }

    /// The file goes, or waits, once nobody works on it.
    fn settle(&self, state: &mut Written) {
        if !state.sealed || state.claims > 0 || state.over {
            return;
        }
        state.over = true;
        if state.left == 0 {
            return self.home.discard(self.number, state.bytes);
        }
        let waits = Waits {
            left: state.left,
            bytes: state.bytes,
            oldest: self.begun,
        };
        locked(&self.home.state).waiting.insert(self.number, waits);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.seal();
    }
}

impl Claim {
    /// The destination has it, or never will.
    pub fn done(mut self) {
        for at in &self.places {
            let mark = at + record::MARK_AT as u64;
            if let Err(error) = self.journal.file.write_all_at(&record::DONE, mark) {
                tracing::warn!(%error, "spool: cannot mark something as done; after a restart it is done again");
            }
        }
        self.end(true);
    }

    /// It has to wait. The file outlasts a loss of power from here on.
    pub fn wait(mut self) {
        if let Err(error) = self.journal.file.sync_data() {
            tracing::warn!(%error, folder = %self.journal.home.folder().display(), "spool: a file may not outlast a loss of power");
        }
        self.end(false);
    }

    fn end(&mut self, done: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut state = locked(&self.journal.state);
        state.claims = state.claims.saturating_sub(1);
        if done {
            state.left = state.left.saturating_sub(self.items);
        }
        self.journal.settle(&mut state);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end(false);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
