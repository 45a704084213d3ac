//! What tells one file's content from another's without reading all of it.
//!
//! Two builds never have the same build id, but a tool that edits a file after its build keeps the id and moves what is
//! inside: so the header, and the tables that say where everything is, belong to it.

use super::ScanError;
use super::bytes::{FileBytes, MAX_TIME, ReadAt, u16_at, u64_at};
use super::image::Image;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::time::Instant;

/// Tables of headers together, bytes: those of a program have some kilobytes.
const MAX_TABLE: u64 = 16 << 20;

/// What a file is, as far as that shows without its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub build_id: Option<Vec<u8>>,
    /// Bytes of the whole file.
    pub size: u64,
    /// SHA-256 of its header, program headers and section headers.
    pub headers: [u8; 32],
}

impl Identity {
    /// # Errors
    /// As [`super::scan_file`].
    pub fn of(file: &File) -> Result<Identity, ScanError> {
        let bytes = FileBytes::until(file, Instant::now() + MAX_TIME)?;
        let image = Image::parse(&bytes)?;
        Ok(Identity {
            build_id: image.build_id()?,
            size: file.metadata()?.len(),
            headers: headers(&bytes)?,
        })
    }
}

fn headers<B: ReadAt>(bytes: &B) -> Result<[u8; 32], ScanError> {
    let damaged = || ScanError::Damaged("the header");
    let header = bytes.read(0, 64, "the header")?;
    let mut digest = Sha256::new();
    digest.update(&header);
    // Positions of the tables, and sizes and counts of their entries.
    for (at, [size, count]) in [(32, [54, 56]), (40, [58, 60])] {
        let offset = u64_at(&header, at).ok_or_else(damaged)?;
        let size = u16_at(&header, size).ok_or_else(damaged)?;
        let count = u16_at(&header, count).ok_or_else(damaged)?;
        let len = u64::from(size) * u64::from(count);
        if offset == 0 || len == 0 {
            continue;
        }
        if len > MAX_TABLE {
            return Err(ScanError::TooLarge);
        }
        digest.update(bytes.read(offset, len, "a table of headers")?);
    }
    Ok(digest.finalize().into())
}
