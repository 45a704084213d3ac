//! Reading a file's bytes by position, bounded.

use super::ScanError;
use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// What is read of one file at most, bytes.
pub const MAX_READ: u64 = 512 << 20;

/// What is read of one file at a time at most, bytes: with what a scan remembers, its memory stays below 200 MiB.
pub const MAX_AT_ONCE: u64 = 64 << 20;

/// How long one scan may take. The largest programs take a tenth of it.
pub const MAX_TIME: Duration = Duration::from_secs(10);

/// What is in memory of a table or of strings at a time, bytes: those of a large program take tens of megabytes.
pub const PIECE: u64 = 64 << 10;

/// The same where all of a large part is looked through, bytes.
const LARGE_PIECE: u64 = 1 << 20;

/// Bytes by position. Reading instead of mapping, because a mapped file that shrinks kills the reader (SIGBUS).
pub trait ReadAt {
    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// [`ScanError::Damaged`] with `what` where the range is not in the file; [`ScanError::TooLarge`] over the bound;
    /// [`ScanError::TooLong`] when the time is over.
    fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Cow<'_, [u8]>, ScanError>;
}

impl ReadAt for &[u8] {
    fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Cow<'_, [u8]>, ScanError> {
        let range = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(len).ok())
            .and_then(|(from, len)| self.get(from..from.checked_add(len)?));
        range.map(Cow::Borrowed).ok_or(ScanError::Damaged(what))
    }
}

/// A file, with a budget for all reads together, and an end of the time for them.
pub struct FileBytes<'f> {
    file: &'f File,
    size: u64,
    left: Cell<u64>,
    end: Instant,
}

impl<'f> FileBytes<'f> {
    /// Reads until `end`; what is asked for later is [`ScanError::TooLong`].
    pub fn until(file: &'f File, end: Instant) -> Result<Self, ScanError> {
        Ok(FileBytes {
            file,
            size: file.metadata()?.len(),
            left: Cell::new(MAX_READ),
            end,
        })
    }
}

impl ReadAt for FileBytes<'_> {
    fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Cow<'_, [u8]>, ScanError> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(ScanError::Damaged(what));
        }
        let left = self.left.get();
        if len > left || len > MAX_AT_ONCE {
            return Err(ScanError::TooLarge);
        }
        if Instant::now() > self.end {
            return Err(ScanError::TooLong);
        }
        self.left.set(left - len);
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| ScanError::TooLarge)?];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Cow::Owned(bytes)),
            // It shrank since its size was asked.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(ScanError::Damaged(what))
            }
            Err(e) => Err(ScanError::Read(e)),
        }
    }
}

/// A part of a file that is looked at in pieces.
#[derive(Clone, Copy)]
pub struct Part {
    pub offset: u64,
    pub size: u64,
    /// What it is called where it is damaged.
    pub what: &'static str,
}

impl Part {
    /// Each whole entry of `entry` bytes, with its number.
    ///
    /// # Errors
    /// As [`ReadAt::read`], and what `each` says.
    pub fn entries<B: ReadAt>(
        self,
        bytes: &B,
        entry: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let (Some(piece), Ok(len)) = (PIECE.checked_div(entry), usize::try_from(entry)) else {
            return Ok(());
        };
        let mut number = 0;
        self.pieces(bytes, piece.max(1) * entry, 0, |_, piece| {
            for entry in piece.chunks_exact(len) {
                each(number, entry)?;
                number += 1;
            }
            Ok(())
        })
    }

    /// Pieces that end `overlap` bytes inside the next, with their positions in the part. A string of at most as many
    /// bytes lies whole in the piece that it begins in.
    ///
    /// # Errors
    /// As [`ReadAt::read`], and what `each` says.
    pub fn strings<B: ReadAt>(
        self,
        bytes: &B,
        overlap: u64,
        each: impl FnMut(u64, &[u8]) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.pieces(bytes, PIECE, overlap, each)
    }

    /// The same in larger pieces, for code and constants.
    ///
    /// # Errors
    /// As [`ReadAt::read`], and what `each` says.
    pub fn large_strings<B: ReadAt>(
        self,
        bytes: &B,
        overlap: u64,
        each: impl FnMut(u64, &[u8]) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.pieces(bytes, LARGE_PIECE, overlap, each)
    }

    fn pieces<B: ReadAt>(
        self,
        bytes: &B,
        piece: u64,
        overlap: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let mut at = 0;
        while at < self.size {
            let offset = self.offset.checked_add(at);
            let offset = offset.ok_or(ScanError::Damaged(self.what))?;
            let len = piece.saturating_add(overlap).min(self.size - at);
            each(at, &bytes.read(offset, len, self.what)?)?;
            at = at.saturating_add(piece);
        }
        Ok(())
    }
}

/// Little-endian number at `offset`.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Little-endian number at `offset`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Little-endian number at `offset`.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
