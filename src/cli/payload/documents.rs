//! Documents of transactions that were found, many in one read.

use super::error::PayloadError;
use super::open::Opener;
use super::walk::Found;
use crate::payload::{Document, escaped};
use crate::sink::payload::segment;

/// Frames that are read at once: their bytes with those between them, and how many they are.
const MAX_SPAN: u64 = 4 << 20;
const MAX_COUNT: usize = 1024;
/// Bytes between two frames that are rather read than asked around.
const GAP: u64 = 64 << 10;

/// What is done with each document. True: go on.
pub type Done<'a> = &'a mut dyn FnMut(&Found, &Document, &[u8]) -> Result<bool, PayloadError>;

/// Frames of one object that wait to be read.
pub struct Documents<'a> {
    opener: Opener<'a>,
    group: Vec<Found>,
    span: (u64, u64),
    /// Documents that could not be read.
    pub failed: u64,
}

impl<'a> Documents<'a> {
    pub fn new(opener: Opener<'a>) -> Documents<'a> {
        Documents {
            opener,
            group: Vec::new(),
            span: (0, 0),
            failed: 0,
        }
    }

    /// Takes a transaction, and gives its document to `done`, now or with those that follow.
    ///
    /// # Errors
    /// Those of `done`.
    pub fn push(&mut self, mut found: Found, done: Done<'_>) -> Result<bool, PayloadError> {
        if let Some(json) = found.json.take() {
            return Ok(self.flush(done)? && self.one(&found, json, done)?);
        }
        let Some((first, last)) = found.part else {
            return Ok(true);
        };
        let more = match self.fits(&found, first, last) {
            true => true,
            false => self.flush(done)?,
        };
        self.span = match self.group.is_empty() {
            true => (first, last),
            false => (self.span.0, last),
        };
        self.group.push(found);
        Ok(more)
    }

    fn fits(&self, found: &Found, first: u64, last: u64) -> bool {
        let Some(before) = self.group.last() else {
            return true;
        };
        before.object.place() == found.object.place()
            && self.group.len() < MAX_COUNT
            && first > self.span.1
            && first - self.span.1 <= GAP
            && last - self.span.0 < MAX_SPAN
    }

    /// Reads what waits.
    ///
    /// # Errors
    /// Those of `done`.
    pub fn flush(&mut self, done: Done<'_>) -> Result<bool, PayloadError> {
        let group = std::mem::take(&mut self.group);
        let Some(object) = group.first().map(|found| found.object.clone()) else {
            return Ok(true);
        };
        let bytes = match self.opener.fetch.part(&object, Some(self.span)) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failed += group.len() as u64 - 1;
                self.fail(&object.place(), &error);
                return Ok(true);
            }
        };
        for found in &group {
            let frame = found.part.and_then(|part| self.frame(&bytes, part));
            let json = segment::document(frame.unwrap_or_default());
            let more = match json {
                Ok(json) => self.one(found, json, done)?,
                Err(error) => {
                    self.fail(&place(found), &error.into());
                    true
                }
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn frame<'b>(&self, bytes: &'b [u8], (first, last): (u64, u64)) -> Option<&'b [u8]> {
        // What lies outside of what was read is no frame of it.
        let at = |n: u64| usize::try_from(n.checked_sub(self.span.0)?).ok();
        bytes.get(at(first)?..=at(last)?)
    }

    fn one(&mut self, found: &Found, json: Vec<u8>, done: Done<'_>) -> Result<bool, PayloadError> {
        let read = self
            .opener
            .resolved(&found.object, json)
            .and_then(|json| Ok((Document::read(&json)?, json)));
        match read {
            Ok((document, json)) => done(found, &document, &json),
            Err(error) => {
                self.fail(&place(found), &error);
                Ok(true)
            }
        }
    }

    fn fail(&mut self, place: &str, error: &PayloadError) {
        self.failed += 1;
        eprintln!(
            "warning: {}",
            escaped(format!("{place}: {error}").as_bytes())
        );
    }
}

fn place(found: &Found) -> String {
    found.url.clone().unwrap_or_else(|| found.object.place())
}
