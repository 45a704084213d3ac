//! Over all that was asked for, transaction by transaction.
//!
//! Holds: what is read is said at the end, on stderr; an object that cannot be read is said and counted, and the others
//! are read all the same.

use super::args::{Places, Which};
use super::error::PayloadError;
use super::fetch::{Fetch, Object, Part, explain};
use super::places::{Place, Stores};
use super::{names, open};
use crate::payload::{Document, Select, Summary, digest_of, escaped};
use crate::sink::payload::segment::{Entry, SUFFIX, verify};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use std::path::Path;

/// Folders within folders: prefixes have a few.
const MAX_DEPTH: usize = 16;
/// Whole objects that are read together, by their length in bytes and by count.
const TOGETHER: u64 = 32 << 20;
const COUNT: usize = 64;

/// A transaction that was asked for.
pub struct Found {
    pub summary: Summary,
    /// Its link; None: its store has no URLs.
    pub url: Option<String>,
    pub object: Object,
    pub part: Part,
    /// The document, where it was read to know the summary.
    pub json: Option<Vec<u8>>,
}

/// True: go on.
pub type Each<'a> = &'a mut dyn FnMut(Found) -> Result<bool, PayloadError>;

/// What the way over all took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub segments: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Objects, or transactions, that could not be read.
    pub failed: u64,
}

/// Something that may hold transactions.
struct Item {
    object: Object,
    url: Option<String>,
    size: u64,
    segment: bool,
}

pub struct Walk<'a> {
    fetch: &'a Fetch,
    select: Select,
    left: u64,
    pub tally: Tally,
    waiting: Vec<Item>,
    said: bool,
}

impl<'a> Walk<'a> {
    /// # Errors
    /// When a pattern is none.
    pub fn new(fetch: &'a Fetch, which: &Which) -> Result<Walk<'a>, PayloadError> {
        Ok(Walk {
            fetch,
            select: which.select()?,
            left: which.limit.unwrap_or(u64::MAX),
            tally: Tally::default(),
            waiting: Vec::new(),
            said: false,
        })
    }

    /// Gives each transaction that was asked for to `each`, in the order in which they are stored.
    ///
    /// # Errors
    /// Those of `each`, and when a place cannot be looked at at all.
    pub fn over(
        &mut self,
        stores: &Stores,
        asked: &Places,
        each: Each<'_>,
    ) -> Result<(), PayloadError> {
        for (place, bytes) in stores.places(asked)? {
            let more = match (bytes, place.folder) {
                (Some(_), _) => self.one(&place, bytes, each)?,
                (None, true) => self.folder(&place, each)? && self.flush(each)?,
                (None, false) => {
                    let item = self.item(&place)?;
                    self.take(item, each)? && self.flush(each)?
                }
            };
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says on stderr what was read.
    pub fn tell(&self) {
        let Tally {
            segments,
            objects,
            bytes,
            failed,
        } = self.tally;
        let mut said = Vec::new();
        if segments > 0 {
            said.push(format!("the indices of {segments} segments"));
        }
        if objects > 0 {
            said.push(format!("{objects} objects whole"));
        }
        if !said.is_empty() {
            eprintln!("read {} ({bytes} bytes)", said.join(" and "));
        }
        if failed > 0 {
            eprintln!("error: {failed} could not be read");
        }
    }

    /// Says why something could not be read, and counts it.
    pub fn failed(&mut self, error: &PayloadError) {
        self.tally.failed += 1;
        eprintln!("warning: {}", escaped(error.to_string().as_bytes()));
    }

    /// The document of a link.
    fn one(&mut self, place: &Place, part: Part, each: Each<'_>) -> Result<bool, PayloadError> {
        let url = url(place, &place.object).map(|url| linked(&url, part));
        let bytes = self.fetch.part(&place.object, part);
        let json = bytes.and_then(|bytes| Ok(crate::sink::payload::segment::document(&bytes)?));
        self.document((place.object.clone(), part, url), json, each)
    }

    fn item(&self, place: &Place) -> Result<Item, PayloadError> {
        let size = self.fetch.size(&place.object)?;
        let name = place.object.name();
        Ok(Item {
            url: url(place, &place.object),
            object: place.object.clone(),
            size,
            segment: name.is_some_and(|name| name.ends_with(SUFFIX)),
        })
    }

    fn folder(&mut self, place: &Place, each: Each<'_>) -> Result<bool, PayloadError> {
        match &place.object {
            Object::File(path) => self.files(place, path, 0, each),
            Object::Remote { store, key } => {
                let mut list = store.client.list(Some(key));
                while let Some(next) = self.fetch.wait(list.next()) {
                    let meta = next.map_err(|e| explain(&place.object, &e))?;
                    let name = meta.location.as_ref();
                    if !names::wanted(self.select.since, name, meta.last_modified) {
                        continue;
                    }
                    let object = Object::Remote {
                        store: store.clone(),
                        key: meta.location.clone(),
                    };
                    let item = Item {
                        url: url(place, &object),
                        object,
                        size: meta.size,
                        segment: name.ends_with(SUFFIX),
                    };
                    if !self.take(item, each)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    }

    /// Files of a folder in the order of their names; links are passed over.
    fn files(
        &mut self,
        place: &Place,
        path: &Path,
        depth: usize,
        each: Each<'_>,
    ) -> Result<bool, PayloadError> {
        let failed = |source| PayloadError::File {
            place: path.display().to_string(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        for name in names {
            let path = path.join(&name);
            // It may have been removed since.
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let modified = metadata.modified().map(DateTime::<Utc>::from);
            let more = if metadata.is_dir() && depth < MAX_DEPTH {
                self.files(place, &path, depth + 1, each)?
            } else if metadata.is_file()
                && let Some(name) = name.to_str()
                && names::wanted(
                    self.select.since,
                    name,
                    modified.unwrap_or(DateTime::<Utc>::MAX_UTC),
                )
            {
                let object = Object::File(path);
                let item = Item {
                    url: url(place, &object),
                    object,
                    size: metadata.len(),
                    segment: name.ends_with(SUFFIX),
                };
                self.take(item, each)?
            } else {
                true
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, item: Item, each: Each<'_>) -> Result<bool, PayloadError> {
        if item.segment {
            return Ok(self.flush(each)? && self.segment(&item, each)?);
        }
        if !self.said {
            self.said = true;
            eprintln!("layout object has no index: each object is read whole");
        }
        self.waiting.push(item);
        let bytes: u64 = self.waiting.iter().map(|item| item.size).sum();
        match self.waiting.len() >= COUNT || bytes >= TOGETHER {
            true => self.flush(each),
            false => Ok(true),
        }
    }

    /// Reads the whole objects that wait.
    fn flush(&mut self, each: Each<'_>) -> Result<bool, PayloadError> {
        let items = std::mem::take(&mut self.waiting);
        let wanted = items.iter().map(|item| (item.object.clone(), None));
        let read = self.fetch.parts(wanted.collect());
        for (item, json) in items.into_iter().zip(read) {
            self.tally.objects += 1;
            self.tally.bytes += json.as_ref().map_or(0, |json| json.len() as u64);
            let named = item.object.name().and_then(digest_of);
            let json = json.and_then(|json| {
                named.map_or(Ok(()), |digest| verify(&json, digest))?;
                Ok(json)
            });
            if !self.document((item.object, None, item.url), json, each)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn document(
        &mut self,
        (object, part, url): (Object, Part, Option<String>),
        json: Result<Vec<u8>, PayloadError>,
        each: Each<'_>,
    ) -> Result<bool, PayloadError> {
        let read = json.and_then(|json| Ok((Document::read(&json)?, json)));
        let (document, json) = match read {
            Ok(read) => read,
            Err(error) => {
                let place = url.unwrap_or_else(|| object.place());
                self.failed(&PayloadError::Store {
                    place,
                    what: error.to_string(),
                });
                return Ok(true);
            }
        };
        let found = Found {
            summary: Summary::from(&document),
            url,
            object,
            part,
            json: Some(json),
        };
        self.give(found, each)
    }

    fn segment(&mut self, item: &Item, each: Each<'_>) -> Result<bool, PayloadError> {
        let mut outcome = Ok(true);
        let mut bad = 0;
        let fetch = self.fetch;
        let mut entry = |entry: Entry| {
            if !matches!(outcome, Ok(true)) {
                return;
            }
            let part = entry.range().filter(|(_, last)| *last < item.size);
            let Some(part) = part else {
                bad += 1;
                return;
            };
            let found = Found {
                url: item.url.as_ref().map(|url| linked(url, Some(part))),
                object: item.object.clone(),
                part: Some(part),
                json: None,
                summary: entry,
            };
            outcome = self.give(found, each);
        };
        let read = open::entries(fetch, &item.object, item.size, &mut entry);
        self.tally.segments += 1;
        if bad > 0 {
            let place = item.object.place();
            let what = "its index names bytes that it does not have";
            self.failed(&PayloadError::Unfit { place, what });
        }
        match read {
            Ok(bytes) => self.tally.bytes += bytes,
            Err(error) => self.failed(&PayloadError::Store {
                place: item.object.place(),
                what: error.to_string(),
            }),
        }
        outcome
    }

    fn give(&mut self, found: Found, each: Each<'_>) -> Result<bool, PayloadError> {
        if !self.select.takes(&found.summary) {
            return Ok(true);
        }
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        Ok(each(found)? && self.left > 0)
    }
}

fn url(place: &Place, object: &Object) -> Option<String> {
    let key = match (object, &place.object) {
        (Object::Remote { key, .. }, _) => key.as_ref().to_owned(),
        (Object::File(path), Object::File(root)) => {
            // Beneath a folder the rest of the path is the rest of the key.
            let rest = path.strip_prefix(root).ok()?.to_str()?;
            format!("{}{rest}", place.key)
        }
        (Object::File(_), Object::Remote { .. }) => return None,
    };
    place.naming.url(object, &key)
}

fn linked(url: &str, part: Part) -> String {
    match part {
        Some((first, last)) => format!("{url}#bytes={first}-{last}"),
        None => url.to_owned(),
    }
}
