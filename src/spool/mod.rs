//! Spools: what waits on disk until its destination takes it.
//!
//! Enters: batches, with what is in them. Leaves: the same, oldest first, after a restart too.
//! Holds: all spools of a store stay within their bound of bytes, and what is too old is given up; what is damaged is
//! told, counted, and passed over; an error is an answer, never a panic. All of it blocks, and runs outside the tasks.
//!
//! [`record`] is the format of all files. [`Spool`] has batches that are sent in their order, several in a file; a signal
//! of OTLP has one. [`journal`] has files that are written ahead, for payloads.

pub mod handle;
pub mod journal;
mod lock;
mod queue;
pub mod record;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

pub use handle::Handle;
pub use lock::Lock;
pub use queue::{GivenUp, Oldest, Spool, State};
pub use scan::Scanned;

use crate::sink::folder::{self, FolderError};
use std::io;
use std::ops::{AddAssign, SubAssign};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Batches and what is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub batches: u64,
    /// Spans, or log records of transactions.
    pub items: u64,
    /// Log records of transactions that last.
    pub progress: u64,
}

impl Tally {
    fn at_most(self, most: Tally) -> Tally {
        Tally {
            batches: self.batches.min(most.batches),
            items: self.items.min(most.items),
            progress: self.progress.min(most.progress),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.batches += other.batches;
        self.items += other.items;
        self.progress += other.progress;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Tally) {
        self.batches = self.batches.saturating_sub(other.batches);
        self.items = self.items.saturating_sub(other.items);
        self.progress = self.progress.saturating_sub(other.progress);
    }
}

/// A spool cannot be used, or not now.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("spool: {0}")]
    Folder(#[from] FolderError),
    #[error("spool {path}: cannot {action}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error(
        "spool {folder} is used by {holder}; stop that agent, or give each its own folder by `spool.dir`"
    )]
    InUse { folder: PathBuf, holder: String },
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("it holds as much as it may")]
    Full,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Bytes on disk of all spools of a store.
#[derive(Debug)]
pub struct Usage {
    bytes: AtomicU64,
    max: u64,
}

impl Usage {
    /// `max`: bytes that all of them may take.
    pub fn new(max: u64) -> Arc<Usage> {
        Arc::new(Usage {
            bytes: AtomicU64::new(0),
            max,
        })
    }

    fn reserve(&self, bytes: u64) -> bool {
        // Added first, so that two at once cannot both take the last place.
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.max;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Which part of all is taken.
    pub fn fill(&self) -> f64 {
        self.taken() as f64 / self.max as f64
    }

    fn found(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bounds of one spool.
#[derive(Debug, Clone)]
pub struct SpoolLimits {
    pub usage: Arc<Usage>,
    pub max_age: Duration,
}

impl SpoolLimits {
    /// Bytes of a file; the room of a file is free again when all in it was sent.
    fn segment(&self) -> u64 {
        (self.usage.max / 32).clamp(64 << 10, 4 << 20)
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// The folder of one signal of a store, made where it is not there, and for its owner alone.
///
/// # Errors
/// When it cannot be made, or is not for this user alone.
pub fn prepare(dir: &Path, store_id: &str, signal: &str) -> Result<PathBuf, SpoolError> {
    folder::prepare(dir, "a spool", |_| false)?;
    // In one name, so that no id leads elsewhere.
    let folder = dir.join(format!("{store_id}.{signal}"));
    folder::prepare(&folder, "a spool", |name| {
        name == lock::NAME.as_bytes() || segment::number_of(name).is_some()
    })?;
    Ok(folder)
}
