//! What is in a folder when the agent starts.

use super::record::{self, Found};
use super::segment::{self, Front, Segment};
use super::{Lock, Spool, SpoolError, SpoolLimits, Tally};
use std::collections::VecDeque;
use std::path::Path;

/// What was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// What waits.
    pub left: Tally,
    /// What is damaged, as far as that can be told.
    pub corrupt: Tally,
    /// Bytes of which nothing can be told.
    pub unreadable: u64,
    /// Files that cannot be read at all. They are left alone.
    pub unreadable_files: u64,
}

impl Spool {
    /// Looks through the folder: cuts torn ends off, removes files without anything that waits.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn open(lock: Lock, limits: SpoolLimits) -> Result<(Spool, Scanned), SpoolError> {
        let folder = lock.folder().to_owned();
        let numbers = segment::numbers(&folder)?;
        let mut spool = Spool {
            next_number: numbers.last().map_or(0, |last| last + 1),
            limits,
            segments: VecDeque::new(),
            writer: None,
            front: None,
            lock,
        };
        let mut scanned = Scanned::default();
        for number in numbers {
            match Front::open(&folder, number) {
                Ok(front) => spool.take(&front, &mut scanned),
                Err(error) => {
                    let path = segment::path(&folder, number);
                    tracing::warn!(%error, path = %path.display(), "spool: a file cannot be read; it is left alone");
                    scanned.unreadable_files += 1;
                }
            }
        }
        Ok((spool, scanned))
    }

    fn take(&mut self, front: &Front, scanned: &mut Scanned) {
        let path = segment::path(self.folder(), front.number);
        let segment = look(front, &path, scanned);
        let empty = segment.left.batches == 0;
        self.limits.usage.found(segment.bytes);
        self.segments.push_back(segment);
        if empty {
            self.remove_last();
        }
    }

    fn remove_last(&mut self) {
        if let Some(segment) = self.segments.pop_back() {
            self.discard(&segment);
        }
    }
}

/// What is in a file; what is damaged is marked, and a torn end cut off.
pub(super) fn look(front: &Front, path: &Path, scanned: &mut Scanned) -> Segment {
    let mut segment = Segment::new(front.number);
    let (mut at, mut len) = (0, front.bytes.len());
    while let Some(step) = record::step(&front.bytes, at) {
        match step.found {
            Found::Record { header, .. } => {
                if segment.left.batches == 0 {
                    segment.oldest = header.written;
                }
                segment.left += header.tally();
            }
            Found::Damaged { header } => {
                scanned.corrupt += header.tally();
                // Counted once, not at each start.
                front.mark(step.at);
            }
            Found::Noise => scanned.unreadable += (step.end - step.at) as u64,
            Found::Done => {}
        }
        if step.torn {
            len = step.at;
        }
        at = step.end;
    }
    segment.bytes = len as u64;
    if len < front.bytes.len()
        && let Err(error) = front.cut(len)
    {
        tracing::warn!(%error, path = %path.display(), "spool: cannot cut off the torn end of a file");
        segment.bytes = front.bytes.len() as u64;
    }
    scanned.left += segment.left;
    segment
}
