//! Reading: one document by its bytes, and the index from the end.
//!
//! Whoever wrote an object is not trusted: lengths are bounded before memory is taken, and an index is read entry by
//! entry.

use super::super::document::{Hex, Message};
use super::index::{self, Entry};
use super::{FOOTER, FORMAT, MAGIC, SKIPPABLE, SKIPPABLE_HEAD};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{BufReader, Read};

/// A document is not larger, in bytes: twice what the agent writes at the most.
pub const MAX_DOCUMENT: u64 = 64 << 20;
/// The JSON of an index is not larger, in bytes; packed it is a tenth or less.
const MAX_INDEX: u64 = 256 << 20;
/// Frames name no larger window, as a power of two.
const WINDOW_LOG: u32 = 26;

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
    let mut decoder = decoder(frame)?.take(MAX_DOCUMENT + 1);
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).map_err(|e| e.to_string())?;
    if out.len() as u64 > MAX_DOCUMENT {
        return Err(format!("it holds more than {MAX_DOCUMENT} bytes"));
    }
    let rest = decoder.into_inner().finish();
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the frame", rest.len()));
    }
    Ok(out)
}

fn decoder(frame: &[u8]) -> Result<zstd::Decoder<'static, &[u8]>, String> {
    let mut decoder = zstd::Decoder::with_buffer(frame).map_err(|e| e.to_string())?;
    decoder
        .window_log_max(WINDOW_LOG)
        .map_err(|e| e.to_string())?;
    Ok(decoder.single_frame())
}

/// What the last bytes of an object say of its index.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail<'a> {
    /// The index, packed, which was in them: for [`entries`].
    Index(&'a [u8]),
    /// The index begins at this byte of the object, before them.
    From(u64),
}

/// Looks at the last bytes of an object of `size` bytes: at least 16 of them, rather 64 KiB.
///
/// # Errors
/// When the object is no segment, or its end is damaged.
pub fn tail(size: u64, tail: &[u8]) -> Result<Tail<'_>, ReadError> {
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
    index
        .map(Tail::Index)
        .ok_or_else(|| ReadError::Index("its frame has another length".into()))
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

/// Reads a packed index and gives each entry to `each`, in the order of the segment.
///
/// # Errors
/// When the index is damaged, or of a format that this program does not know. Entries before the damage have been given.
pub fn entries(packed: &[u8], each: &mut dyn FnMut(Entry)) -> Result<(), ReadError> {
    let decoder = decoder(packed).map_err(ReadError::Index)?;
    index::read(BufReader::new(decoder.take(MAX_INDEX)), each)
}

/// All entries of the index, which is in the last bytes: for tests that look at small segments.
///
/// # Errors
/// Those of [`tail`] and [`entries`].
#[cfg(test)]
pub fn listed(size: u64, last: &[u8]) -> Result<Vec<Entry>, ReadError> {
    let mut all = Vec::new();
    match tail(size, last)? {
        Tail::Index(packed) => entries(packed, &mut |entry| all.push(entry))?,
        Tail::From(start) => return Err(ReadError::Index(format!("from {start}"))),
    }
    Ok(all)
}

/// The document with the bodies that it refers to in the place of the references; all else stays byte for byte.
/// `get`: the object's bytes from the first to the last, both included.
///
/// # Errors
/// Those of `get`, and when a body is not there or is another one.
pub fn resolve<E: From<ReadError>>(
    mut document: Vec<u8>,
    mut get: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    if memchr::memmem::find(&document, KEY.as_bytes()).is_none() {
        return Ok(document);
    }
    for message in [Message::Response, Message::Request] {
        let Some((key, place)) = reference(&document, message)? else {
            continue;
        };
        let frame = get(place.first, place.last)?;
        let body = place.body(&frame)?;
        let resolved = format!("\"body\":\"{body}\"");
        document.splice(key, resolved.into_bytes());
    }
    Ok(document)
}

/// The key of a reference, as documents have it.
const KEY: &str = "\"body_ref\"";

#[derive(Deserialize)]
struct References<'a> {
    #[serde(borrow)]
    request: Option<Referring<'a>>,
    #[serde(borrow)]
    response: Option<Referring<'a>>,
}

#[derive(Deserialize)]
struct Referring<'a> {
    #[serde(borrow)]
    body_ref: Option<&'a RawValue>,
}

/// The reference of a message: where it stands in `document`, its key included, and what it says.
fn reference(
    document: &[u8],
    message: Message,
) -> Result<Option<(std::ops::Range<usize>, Place)>, ReadError> {
    let text = std::str::from_utf8(document).map_err(|e| wrong(&e.to_string()))?;
    let all: References = serde_json::from_str(text).map_err(|e| wrong(&e.to_string()))?;
    let side = match message {
        Message::Request => all.request,
        Message::Response => all.response,
    };
    let Some(value) = side.and_then(|side| side.body_ref) else {
        return Ok(None);
    };
    let unreadable = || wrong("it says nothing that can be read");
    let said: Said = serde_json::from_str(value.get()).map_err(|_| unreadable())?;
    let place = Place::read(said).ok_or_else(unreadable)?;
    // The value is a part of the text: it was borrowed from it.
    let at = (value.get().as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let before = text.get(..at).ok_or_else(unreadable)?.trim_end();
    let before = before.strip_suffix(':').ok_or_else(unreadable)?.trim_end();
    let before = before.strip_suffix(KEY).ok_or_else(unreadable)?;
    Ok(Some((before.len()..at + value.get().len(), place)))
}

/// A `body_ref`.
#[derive(Deserialize)]
struct Said {
    bytes: String,
    message: String,
    sha256: String,
}

/// Where a body stands.
struct Place {
    first: u64,
    last: u64,
    message: Message,
    digest: String,
}

/// A document of which only the bodies matter.
#[derive(Deserialize)]
struct Holder<'a> {
    #[serde(borrow)]
    request: Option<Holding<'a>>,
    #[serde(borrow)]
    response: Option<Holding<'a>>,
}

#[derive(Deserialize)]
struct Holding<'a> {
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
}

impl Place {
    fn read(said: Said) -> Option<Place> {
        let (first, last) = said.bytes.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let message = [Message::Request, Message::Response]
            .into_iter()
            .find(|message| message.name() == said.message)?;
        (first <= last).then_some(Place {
            first,
            last,
            message,
            digest: said.sha256,
        })
    }

    /// The body in base64, out of the frame that it stands in.
    fn body(&self, frame: &[u8]) -> Result<String, ReadError> {
        let json = document(frame)?;
        let holder: Holder =
            serde_json::from_slice(&json).map_err(|e| wrong(&format!("there is no JSON: {e}")))?;
        let side = match self.message {
            Message::Request => holder.request,
            Message::Response => holder.response,
        };
        let body = side
            .and_then(|side| side.body)
            .ok_or_else(|| wrong("the document there has no such body"))?;
        let bytes = STANDARD
            .decode(body.as_bytes())
            .map_err(|e| wrong(&format!("it is no base64: {e}")))?;
        if Hex(&Sha256::digest(&bytes)).to_string() != self.digest {
            return Err(wrong("another body stands there"));
        }
        Ok(body.into_owned())
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
