//! Reading: one document by its bytes, and the index from the end.
//!
//! Whoever wrote an object is not trusted: lengths are bounded before memory is taken.

use super::super::document::{Hex, Message};
use super::index::Index;
use super::{FOOTER, FORMAT, MAGIC, SKIPPABLE, SKIPPABLE_HEAD};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::Read;

/// A document, or an index, is not larger, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Why a segment, or a part of one, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("these bytes are no document of a segment: {0}")]
    Frame(String),
    #[error("the object does not end as a segment of format {FORMAT} does")]
    NoFooter,
    #[error("the index is damaged: {0}")]
    Index(String),
    #[error("the segment has format {0}; this program reads format {FORMAT}")]
    Format(u32),
    #[error("the document refers to a body that is not where it says: {0}")]
    Body(String),
    #[error("the digest of the document is {found}, not {wanted}: it is not what was stored")]
    Digest { wanted: String, found: String },
}

/// The JSON in one frame.
///
/// # Errors
/// When the bytes are not exactly one frame with a document.
pub fn document(frame: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut json = unpack(frame).map_err(ReadError::Frame)?;
    if json.pop() != Some(b'\n') {
        return Err(ReadError::Frame("it ends in the middle".into()));
    }
    Ok(json)
}

fn unpack(frame: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = zstd::Decoder::with_buffer(frame).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    let mut decoder = decoder.single_frame().take(MAX_BYTES);
    decoder.read_to_end(&mut out).map_err(|e| e.to_string())?;
    if out.len() as u64 == MAX_BYTES {
        return Err(format!("it holds more than {MAX_BYTES} bytes"));
    }
    let rest = decoder.into_inner().finish();
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the frame", rest.len()));
    }
    Ok(out)
}

/// What the last bytes of an object say of its index.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail {
    /// The index, which was in them.
    Index(Index),
    /// The index begins at this byte of the object, before them.
    From(u64),
}

/// Reads the last bytes of an object of `size` bytes: at least [`FOOTER`] of them, rather 64 KiB.
///
/// # Errors
/// When the object is no segment, or its index is damaged.
pub fn tail(size: u64, tail: &[u8]) -> Result<Tail, ReadError> {
    let (_, footer) = tail
        .split_last_chunk::<FOOTER>()
        .ok_or(ReadError::NoFooter)?;
    let (start, magic) = footer.split_at(8);
    if magic != MAGIC {
        return Err(ReadError::NoFooter);
    }
    let start = u64::from_le_bytes(start.try_into().map_err(|_| ReadError::NoFooter)?);
    let held = size.saturating_sub(tail.len() as u64);
    if start >= size {
        return Err(ReadError::Index("it begins behind the object".into()));
    }
    let Some(within) = start.checked_sub(held) else {
        return Ok(Tail::From(start));
    };
    let skippable = usize::try_from(within).ok().and_then(|at| tail.get(at..));
    let index = skippable.and_then(packed);
    let index = index.ok_or_else(|| ReadError::Index("its frame has another length".into()))?;
    let json = unpack(index).map_err(ReadError::Index)?;
    let index: Index =
        serde_json::from_slice(&json).map_err(|e| ReadError::Index(e.to_string()))?;
    match index.format {
        FORMAT => Ok(Tail::Index(index)),
        other => Err(ReadError::Format(other)),
    }
}

/// The index in its skippable frame.
fn packed(frame: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    let (length, content) = rest.split_first_chunk::<4>()?;
    let whole = u32::from_le_bytes(*magic) == SKIPPABLE
        && u32::from_le_bytes(*length) as usize == content.len()
        && frame.len() == SKIPPABLE_HEAD + content.len();
    let index = content.len().checked_sub(FOOTER)?;
    whole.then(|| content.get(..index)).flatten()
}

/// Puts the bodies that `document` refers to where they would stand. `get`: the object's bytes from the first to the
/// last, both included.
///
/// # Errors
/// Those of `get`, and when a body is not there or is another one.
pub fn resolve<E: From<ReadError>>(
    document: &mut Value,
    mut get: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    for message in [Message::Request, Message::Response] {
        let Some(message) = document.get_mut(message.name()) else {
            continue;
        };
        let Some(place) = message.get("body_ref") else {
            continue;
        };
        let place = Place::read(place).ok_or_else(|| wrong("it says nothing that can be read"))?;
        let frame = get(place.first, place.last)?;
        let body = place.body(&frame)?;
        if let Some(message) = message.as_object_mut() {
            message.remove("body_ref");
            message.insert("body".to_owned(), body);
        }
    }
    Ok(())
}

/// A `body_ref`.
struct Place {
    first: u64,
    last: u64,
    message: String,
    digest: String,
}

impl Place {
    fn read(reference: &Value) -> Option<Place> {
        let text = |key| reference.get(key)?.as_str();
        let (first, last) = text("bytes")?.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(())?;
        Some(Place {
            first,
            last,
            message: text("message")?.to_owned(),
            digest: text("sha256")?.to_owned(),
        })
    }

    /// The body in base64, out of the frame that it stands in.
    fn body(&self, frame: &[u8]) -> Result<Value, ReadError> {
        let json = document(frame)?;
        let holder: Value =
            serde_json::from_slice(&json).map_err(|e| wrong(&format!("there is no JSON: {e}")))?;
        let body = holder
            .get(&self.message)
            .and_then(|message| message.get("body"))
            .and_then(Value::as_str)
            .ok_or_else(|| wrong("the document there has no such body"))?;
        let bytes = STANDARD
            .decode(body)
            .map_err(|e| wrong(&format!("it is no base64: {e}")))?;
        if Hex(&Sha256::digest(&bytes)).to_string() != self.digest {
            return Err(wrong("another body stands there"));
        }
        Ok(Value::from(body))
    }
}

fn wrong(what: &str) -> ReadError {
    ReadError::Body(what.to_owned())
}

/// Makes sure that the JSON of a document is what a link's digest (64 hex digits) says.
///
/// # Errors
/// When it is not.
pub fn verify(json: &[u8], digest: &str) -> Result<(), ReadError> {
    let found = Hex(&Sha256::digest(json)).to_string();
    if found.eq_ignore_ascii_case(digest) {
        return Ok(());
    }
    Err(ReadError::Digest {
        wanted: digest.to_owned(),
        found,
    })
}
