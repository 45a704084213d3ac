//! Reading a file's bytes by position, bounded.

use super::ScanError;
use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What is read of one file at most, bytes.
pub const MAX_READ: u64 = 256 << 20;

/// Bytes by position. Reading instead of mapping, because a mapped file that shrinks kills the reader (SIGBUS).
pub trait ReadAt {
    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// [`ScanError::Damaged`] with `what` where the range is not in the file; [`ScanError::TooLarge`] over the bound.
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

/// A file, with a budget for all reads together.
pub struct FileBytes<'f> {
    file: &'f File,
    size: u64,
    left: Cell<u64>,
}

impl<'f> FileBytes<'f> {
    pub fn new(file: &'f File) -> Result<Self, ScanError> {
        Ok(FileBytes {
            file,
            size: file.metadata()?.len(),
            left: Cell::new(MAX_READ),
        })
    }
}

impl ReadAt for FileBytes<'_> {
    fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Cow<'_, [u8]>, ScanError> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(ScanError::Damaged(what));
        }
        let left = self.left.get();
        if len > left {
            return Err(ScanError::TooLarge);
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
