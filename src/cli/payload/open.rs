//! Documents and indices, out of objects.

use super::error::PayloadError;
use super::fetch::{Fetch, MAX_PART, Object, Part};
use crate::payload::digest_of;
use crate::sink::payload::segment::{self, Entry, Tail};
use std::collections::VecDeque;

/// Bytes that are read of a segment's end: most indices are not longer.
const TAIL: u64 = 64 << 10;
/// Bytes of frames that hold shared bodies which are kept: the next documents refer to the same ones.
const KEPT: usize = 32 << 20;

/// Reads documents and puts shared bodies in.
pub struct Opener<'a> {
    pub fetch: &'a Fetch,
    kept: VecDeque<(String, (u64, u64), Vec<u8>)>,
    kept_bytes: usize,
}

impl<'a> Opener<'a> {
    pub fn new(fetch: &'a Fetch) -> Opener<'a> {
        Opener {
            fetch,
            kept: VecDeque::new(),
            kept_bytes: 0,
        }
    }

    /// The document of a link: one read, two where a body is shared. `digest`: what its SHA-256 must be; the name of an
    /// object of layout object says it too.
    ///
    /// # Errors
    /// When it is not there, is no document, or is another one.
    pub fn document(
        &mut self,
        object: &Object,
        part: Part,
        digest: Option<&str>,
    ) -> Result<Vec<u8>, PayloadError> {
        let bytes = self.fetch.part(object, part)?;
        let json = match part {
            Some(_) => segment::document(&bytes)?,
            None => bytes,
        };
        let named = object.name().and_then(digest_of).filter(|_| part.is_none());
        for digest in [digest, named].into_iter().flatten() {
            segment::verify(&json, digest)?;
        }
        self.resolved(object, json)
    }

    /// A document with the bodies that it refers to in it.
    ///
    /// # Errors
    /// When one is not where it says.
    pub fn resolved(&mut self, object: &Object, json: Vec<u8>) -> Result<Vec<u8>, PayloadError> {
        segment::resolve(json, |first, last| self.frame(object, first, last))
    }

    /// A frame with a body that others share.
    fn frame(&mut self, object: &Object, first: u64, last: u64) -> Result<Vec<u8>, PayloadError> {
        let place = object.place();
        let is = |kept: &&(String, (u64, u64), Vec<u8>)| kept.0 == place && kept.1 == (first, last);
        if let Some((_, _, bytes)) = self.kept.iter().find(is) {
            return Ok(bytes.clone());
        }
        let bytes = self.fetch.part(object, Some((first, last)))?;
        self.kept_bytes += bytes.len();
        self.kept.push_back((place, (first, last), bytes.clone()));
        while self.kept_bytes > KEPT && self.kept.len() > 1 {
            let oldest = self.kept.pop_front();
            self.kept_bytes -= oldest.map_or(0, |(_, _, bytes)| bytes.len());
        }
        Ok(bytes)
    }
}

/// Gives every entry of a segment's index to `each`; the index alone is read. Returns how many bytes were.
///
/// # Errors
/// When the object is no segment, or its index is damaged; entries before the damage have been given.
pub fn entries(
    fetch: &Fetch,
    object: &Object,
    size: u64,
    each: &mut dyn FnMut(Entry),
) -> Result<u64, PayloadError> {
    let last = size.checked_sub(1).ok_or_else(|| empty(object))?;
    let end = fetch.part(object, Some((size.saturating_sub(TAIL), last)))?;
    let read = end.len() as u64;
    let start = match segment::tail(size, &end)? {
        Tail::Index(packed) => {
            segment::entries(packed, each)?;
            return Ok(read);
        }
        Tail::From(start) => start,
    };
    if last.saturating_sub(start) >= MAX_PART {
        let place = object.place();
        let what = "its index is longer than one can be";
        return Err(PayloadError::Unfit { place, what });
    }
    let end = fetch.part(object, Some((start, last)))?;
    match segment::tail(size, &end)? {
        Tail::Index(packed) => segment::entries(packed, each)?,
        Tail::From(_) => return Err(empty(object)),
    }
    Ok(read + end.len() as u64)
}

fn empty(object: &Object) -> PayloadError {
    let place = object.place();
    let what = "it is no segment";
    PayloadError::Unfit { place, what }
}
