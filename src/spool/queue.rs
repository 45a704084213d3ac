//! Batches on disk that go out in their order: the spool of one signal of one store.

use super::record::{self, Found};
use super::segment::{self, Front, Segment};
use super::{AppendError, Lock, SpoolLimits, Tally};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    pub left: Tally,
    /// On disk, with what was sent from files that are not empty yet.
    pub bytes: u64,
    /// When the oldest batch was written, milliseconds since 1970.
    pub oldest: Option<u64>,
}

/// What the spool gave up on the way to the next batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenUp {
    pub expired: Tally,
    pub corrupt: Tally,
}

/// The oldest batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Oldest {
    pub request: Vec<u8>,
    pub tally: Tally,
    /// Which one it is.
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u64,
    at: usize,
    end: usize,
}

/// Batches on disk, in files that each hold several.
#[derive(Debug)]
pub struct Spool {
    pub(super) limits: SpoolLimits,
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The last of them, while it is added to.
    pub(super) writer: Option<File>,
    /// The first of them, while it is read.
    pub(super) front: Option<Front>,
    pub(super) next_number: u64,
    pub(super) lock: Lock,
}

impl Spool {
    pub(super) fn folder(&self) -> &Path {
        self.lock.folder()
    }

    pub fn state(&self) -> State {
        let mut state = State::default();
        for segment in &self.segments {
            state.left += segment.left;
            state.bytes += segment.bytes;
            if segment.left.batches > 0 {
                state.oldest = state.oldest.or(Some(segment.oldest));
            }
        }
        state
    }

    /// Adds a batch behind all others.
    ///
    /// # Errors
    /// When there is no room, or it cannot be written. Then nothing of it is there.
    pub fn append(&mut self, request: &[u8], tally: Tally, now: u64) -> Result<(), AppendError> {
        let record = record::encode(request, tally, now)?;
        let len = record.len() as u64;
        if !self.limits.usage.reserve(len) {
            return Err(AppendError::Full);
        }
        if let Err(error) = self.write(&record) {
            self.limits.usage.release(len);
            return Err(error.into());
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += len;
            if last.left.batches == 0 {
                last.oldest = now;
            }
            last.left += tally;
        }
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let full = self.segments.back().is_none_or(|last| {
            last.bytes > 0 && last.bytes + record.len() as u64 > self.limits.segment()
        });
        if full {
            self.seal();
        }
        if self.writer.is_none() {
            let number = self.next_number;
            self.writer = Some(segment::create(self.folder(), number)?);
            self.next_number += 1;
            self.segments.push_back(Segment::new(number));
        }
        let (Some(file), Some(last)) = (&self.writer, self.segments.back()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.write_all_at(record, last.bytes) {
            if let Err(error) = file.set_len(last.bytes) {
                tracing::warn!(%error, folder = %self.folder().display(), "spool: a file keeps a part of a batch");
                // What is added next begins another file.
                self.writer = None;
            }
            return Err(error);
        }
        Ok(())
    }

    /// The last file is complete, and on the disk itself: what comes next goes to another one.
    pub fn seal(&mut self) {
        let Some(file) = self.writer.take() else {
            return;
        };
        // After SIGKILL the kernel has it all; this is for a host that loses power.
        if let Err(error) = file.sync_data() {
            tracing::warn!(%error, folder = %self.folder().display(), "spool: a file may not outlast a loss of power");
        }
    }

    /// The oldest batch that is not too old, with what was given up on the way to it. It stays until [`Spool::done`].
    pub fn oldest(&mut self, now: u64) -> (Option<Oldest>, GivenUp) {
        let mut given_up = GivenUp::default();
        while let Some(number) = self.segments.front().map(|s| s.number) {
            if let Err(error) = self.load(number) {
                let path = segment::path(self.folder(), number);
                tracing::warn!(%error, path = %path.display(), "spool: a file cannot be read; what was in it is lost");
                given_up.corrupt += self.remove_first();
                continue;
            }
            if let Some(oldest) = self.next_of_front(now, &mut given_up) {
                return (Some(oldest), given_up);
            }
            let missing = self.remove_first();
            if missing != Tally::default() {
                tracing::warn!(
                    folder = %self.folder().display(),
                    batches = missing.batches,
                    "spool: batches were overwritten in their file; they are lost"
                );
                given_up.corrupt += missing;
            }
        }
        (None, given_up)
    }

    fn load(&mut self, number: u64) -> io::Result<()> {
        if self.front.as_ref().is_some_and(|f| f.number == number) {
            return Ok(());
        }
        if self.segments.len() == 1 {
            // It is read from now on, not added to.
            self.seal();
        }
        self.front = Some(Front::open(self.folder(), number)?);
        Ok(())
    }

    fn next_of_front(&mut self, now: u64, given_up: &mut GivenUp) -> Option<Oldest> {
        let max_age = u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX);
        let front = self.front.as_mut()?;
        let segment = self.segments.front_mut()?;
        let bytes = front.bytes.clone();
        while let Some(step) = record::step(&bytes, front.at) {
            let lost = match step.found {
                Found::Record { header, .. } if now.saturating_sub(header.written) > max_age => {
                    Some((header, &mut given_up.expired))
                }
                Found::Record { header, content } => match record::request(&header, content) {
                    Ok(request) => {
                        segment.oldest = header.written;
                        let place = Place {
                            segment: segment.number,
                            at: step.at,
                            end: step.end,
                        };
                        return Some(Oldest {
                            request,
                            // Whatever took the file's place: no more comes out than went in.
                            tally: header.tally().at_most(segment.left),
                            place,
                        });
                    }
                    Err(_) => Some((header, &mut given_up.corrupt)),
                },
                Found::Damaged { header } => Some((header, &mut given_up.corrupt)),
                Found::Done | Found::Noise => None,
            };
            if let Some((header, count)) = lost {
                let tally = header.tally().at_most(segment.left);
                *count += tally;
                segment.left -= tally;
                front.mark(step.at);
            }
            front.at = step.end;
        }
        None
    }

    /// The batch needs no sending any more.
    pub fn done(&mut self, batch: &Oldest) {
        let (Some(front), Some(segment)) = (self.front.as_mut(), self.segments.front_mut()) else {
            return;
        };
        let place = batch.place;
        if (front.number, front.at) != (place.segment, place.at) {
            return;
        }
        front.mark(place.at);
        front.at = place.end;
        segment.left -= batch.tally;
        if segment.left.batches == 0 {
            self.remove_first();
        }
    }

    /// Removes the first file; what was still in it.
    fn remove_first(&mut self) -> Tally {
        self.front = None;
        let Some(segment) = self.segments.pop_front() else {
            return Tally::default();
        };
        if self.segments.is_empty() {
            self.writer = None;
        }
        self.discard(&segment);
        segment.left
    }

    pub(super) fn discard(&self, segment: &Segment) {
        self.limits.usage.release(segment.bytes);
        let path = segment::path(self.folder(), segment.number);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "spool: a file that is not needed any more stays");
        }
    }
}
