//! A segment that is being written.

use super::super::document::{self, Bodies, BodyRef, Message};
use super::index::{Entry, Index};
use super::{FOOTER, LEVEL, MAGIC, SHARED_FROM, SKIPPABLE, SKIPPABLE_HEAD};
use crate::redact::Capture;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Room for documents that an open segment keeps at the most, in bytes.
const KEPT_ROOM: usize = 64 << 10;
/// No segment is longer, in bytes: a file that claims so is not believed.
const MOST: u64 = 1 << 30;

/// A document's place in its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// First and last byte of its frame in the object.
    pub first: u64,
    pub last: u64,
    /// SHA-256 of the document's JSON.
    pub digest: [u8; 32],
    /// Bytes of the document's JSON.
    pub size: usize,
    /// Bodies that were not written again, and their bytes.
    pub shared: u64,
    pub saved: u64,
}

/// An open segment. Memory: its object so far, its packed index, and 100 bytes a body of [`SHARED_FROM`] bytes or more.
pub struct Segment {
    bytes: Vec<u8>,
    index: Index,
    last: Option<Entry>,
    /// The last document, and room for the next.
    document: Vec<u8>,
    bodies: HashMap<[u8; 32], BodyRef>,
    compressor: Compressor<'static>,
}

/// What one document adds to the bodies that are known.
struct Known<'a> {
    bodies: &'a HashMap<[u8; 32], BodyRef>,
    /// Bodies that are written in this document.
    new: Vec<([u8; 32], Message)>,
    shared: u64,
    saved: u64,
}

impl Bodies for Known<'_> {
    fn find(&mut self, message: Message, body: &[u8]) -> Option<BodyRef> {
        if body.len() < SHARED_FROM {
            return None;
        }
        let digest = Sha256::digest(body).into();
        let known = self.bodies.get(&digest).copied();
        if known.is_some() {
            self.shared += 1;
            self.saved += body.len() as u64;
        } else {
            self.new.push((digest, message));
        }
        known
    }
}

/// Why a document is not in the segment, which is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("its document has {0} bytes")]
    TooLarge(usize),
    #[error("cannot compress: {0}")]
    Compress(#[from] io::Error),
}

impl Segment {
    /// # Errors
    /// When there is no memory for a compressor.
    pub fn new() -> io::Result<Segment> {
        Ok(Segment {
            bytes: Vec::new(),
            index: Index::new()?,
            last: None,
            document: Vec::new(),
            bodies: HashMap::new(),
            compressor: compressor()?,
        })
    }

    /// Writes the document of `capture`, of `max` bytes at the most.
    ///
    /// # Errors
    /// When it is larger, or cannot be compressed.
    pub fn add(&mut self, capture: &Capture, max: usize) -> Result<Added, AddError> {
        let mut known = Known {
            bodies: &self.bodies,
            new: Vec::new(),
            shared: 0,
            saved: 0,
        };
        let room = std::mem::take(&mut self.document);
        let mut document = document::encode_into(room, capture, &mut known);
        let digest = Sha256::digest(&document).into();
        let size = document.len();
        if size > max {
            return Err(AddError::TooLarge(size));
        }
        document.push(b'\n');
        let first = self.bytes.len();
        let packed = pack(&mut self.compressor, &document, &mut self.bytes);
        if document.capacity() <= KEPT_ROOM {
            self.document = document;
        }
        let packed = packed?;
        let (first, last) = (first as u64, (first + packed) as u64 - 1);
        let entry = Entry::of(capture, first, last);
        self.index.add(&entry)?;
        self.last = Some(entry);
        let Known {
            new, shared, saved, ..
        } = known;
        for (digest, message) in new {
            let place = BodyRef {
                first,
                last,
                message,
                digest,
            };
            // Request and response may be equal: the first one is it.
            self.bodies.entry(digest).or_insert(place);
        }
        Ok(Added {
            first,
            last,
            digest,
            size,
            shared,
            saved,
        })
    }

    /// Bytes of the object so far, without its index.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// The frame that was added last, and its line of the index.
    pub fn last(&self) -> Option<(&[u8], &Entry)> {
        let entry = self.last.as_ref()?;
        let (first, _) = entry.range()?;
        let frame = self.bytes.get(usize::try_from(first).ok()?..)?;
        Some((frame, entry))
    }

    /// The whole object.
    ///
    /// # Errors
    /// When the index cannot be compressed.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        close(self.bytes, self.index)
    }
}

/// Puts an object together again of its frames, in their order, each with its line of the index. Where one is missing
/// stands a skippable frame of its length, so that all others are where their links say. Gives how many frames are in it.
///
/// # Errors
/// When the index cannot be compressed.
pub fn assemble(frames: Vec<(Entry, Vec<u8>)>) -> io::Result<(Vec<u8>, usize)> {
    let mut bytes = Vec::with_capacity(frames.iter().map(|(_, frame)| frame.len()).sum());
    let mut index = Index::new()?;
    for (entry, frame) in frames {
        let Some((first, last)) = entry.range() else {
            continue;
        };
        let right = (last - first).checked_add(1) == Some(frame.len() as u64);
        if right && pad(&mut bytes, first) {
            bytes.extend_from_slice(&frame);
            index.add(&entry)?;
        }
    }
    let count = index.len();
    Ok((close(bytes, index)?, count))
}

/// Fills up to byte `until`; false where that cannot be.
fn pad(bytes: &mut Vec<u8>, until: u64) -> bool {
    let Some(gap) = until.checked_sub(bytes.len() as u64) else {
        return false;
    };
    if gap == 0 {
        return true;
    }
    let content = gap.checked_sub(SKIPPABLE_HEAD as u64);
    let content = content.and_then(|n| u32::try_from(n).ok());
    let Some(content) = content.filter(|_| until <= MOST) else {
        return false;
    };
    bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
    bytes.extend_from_slice(&content.to_le_bytes());
    bytes.resize(bytes.len() + content as usize, 0);
    true
}

/// Appends a frame of `document` to `bytes`. Gives its length.
fn pack(
    compressor: &mut Compressor<'_>,
    document: &[u8],
    bytes: &mut Vec<u8>,
) -> io::Result<usize> {
    let before = bytes.len();
    bytes.reserve(zstd::zstd_safe::compress_bound(document.len()));
    let mut tail = io::Cursor::new(std::mem::take(bytes));
    tail.set_position(before as u64);
    let packed = compressor.compress_to_buffer(document, &mut tail);
    *bytes = tail.into_inner();
    packed
}

fn compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

/// Adds the index.
fn close(mut bytes: Vec<u8>, index: Index) -> io::Result<Vec<u8>> {
    let index = index.finish()?;
    let length = index.len() + FOOTER;
    let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let start = bytes.len() as u64;
    bytes.reserve_exact(SKIPPABLE_HEAD + length as usize);
    bytes.extend_from_slice(&SKIPPABLE.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&index);
    bytes.extend_from_slice(&start.to_le_bytes());
    bytes.extend_from_slice(&MAGIC);
    Ok(bytes)
}
