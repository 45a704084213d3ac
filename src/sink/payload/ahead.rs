//! What is written ahead of a payload: records of a journal, from which an agent after this one can store it, or say whose
//! payload is lost.
//!
//! A record's content is a line of JSON, its [`Head`], and behind it the bytes that it is about: the document in layout
//! `object`, its frame in layout `segment`, nothing for the resource of a process.

use super::document::Hex;
use super::job::About;
use super::segment::Entry;
use crate::enrich::{Process, ResourceValue};
use crate::sink::PayloadLink;
use crate::sink::PayloadStatus;
use crate::spool::AppendError;
use crate::spool::journal::Journal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a record is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Head {
    /// A process; heads behind it name it by its number.
    Resource {
        number: usize,
        attributes: Map<String, Value>,
    },
    /// One object of layout `object`.
    Document(Place),
    /// One frame of the segment with its key.
    Frame { place: Place, entry: Box<Entry> },
}

/// Where a payload is to be, and whose it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    pub key: String,
    pub url: Option<String>,
    pub digest: Option<String>,
    /// Bytes of the document.
    pub size: Option<u64>,
    pub transaction: String,
    /// Trace and span id in hex.
    pub span: Option<(String, String)>,
    pub resource: usize,
}

impl Place {
    pub fn new(key: &str, link: &PayloadLink, about: &About) -> Place {
        Place {
            key: key.to_owned(),
            url: link.url.clone(),
            digest: link.digest.clone(),
            size: link.size,
            transaction: about.transaction.clone(),
            span: about
                .span
                .map(|(trace, span)| (Hex(&trace).to_string(), Hex(&span).to_string())),
            resource: 0,
        }
    }

    pub fn link(&self, status: PayloadStatus) -> PayloadLink {
        PayloadLink {
            url: self.url.clone(),
            digest: self.digest.clone(),
            size: self.size,
            status,
        }
    }

    /// Whom it is about; `process`: the one that its number names.
    pub fn about(&self, process: Arc<Process>) -> About {
        let span = self.span.as_ref().and_then(|(trace, span)| {
            let trace = u128::from_str_radix(trace, 16).ok()?;
            let span = u64::from_str_radix(span, 16).ok()?;
            Some((trace.to_be_bytes(), span.to_be_bytes()))
        });
        About {
            process,
            transaction: self.transaction.clone(),
            span,
        }
    }
}

/// Content of a record.
fn content(head: &Head, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut content = serde_json::to_vec(head)?;
    content.push(b'\n');
    content.extend_from_slice(bytes);
    Ok(content)
}

/// Head and bytes of a record's content. None: it is no such content.
pub(super) fn read(mut content: Vec<u8>) -> Option<(Head, Vec<u8>)> {
    let line = memchr::memchr(b'\n', &content)?;
    let head = serde_json::from_slice(content.get(..line)?).ok()?;
    content.drain(..=line);
    Some((head, content))
}

fn resource(number: usize, process: &Process) -> Head {
    let value = |value: &ResourceValue| match value {
        ResourceValue::Str(text) => Value::from(text.as_str()),
        ResourceValue::Int(number) => Value::from(*number),
        ResourceValue::Strs(texts) => Value::from(texts.clone()),
    };
    let attributes = process.resource.iter();
    Head::Resource {
        number,
        attributes: attributes.map(|(k, v)| (k.clone(), value(v))).collect(),
    }
}

/// A process as far as its resource tells.
pub(super) fn process(attributes: Map<String, Value>) -> Process {
    let value = |value| match value {
        Value::String(text) => Some(ResourceValue::Str(text)),
        Value::Number(number) => number.as_i64().map(ResourceValue::Int),
        Value::Array(values) => {
            let texts = values.into_iter().filter_map(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            });
            Some(ResourceValue::Strs(texts.collect()))
        }
        _ => None,
    };
    let resource = attributes.into_iter();
    Process {
        resource: resource
            .filter_map(|(key, v)| Some((key, value(v)?)))
            .collect(),
        ..Process::default()
    }
}

/// One payload that is to be written ahead.
pub(super) struct Ahead {
    pub process: Arc<Process>,
    pub head: Head,
    pub bytes: bytes::Bytes,
}

/// A journal, and the processes that it knows.
pub(super) struct Book {
    pub journal: Arc<Journal>,
    processes: Vec<Arc<Process>>,
}

impl Book {
    pub fn new(journal: Arc<Journal>) -> Book {
        Book {
            journal,
            processes: Vec::new(),
        }
    }

    /// Writes them; the place of each. All go in one write where there is room for all. Blocks.
    ///
    /// # Errors
    /// For each why it is not there.
    pub fn write(&mut self, mut all: Vec<Ahead>, now: u64) -> Vec<Result<u64, AppendError>> {
        match self.write_some(&mut all, now) {
            Ok(places) => places.into_iter().map(Ok).collect(),
            Err(AppendError::Full) if all.len() > 1 => {
                let alone = all.iter_mut().map(|one| {
                    let places = self.write_some(std::slice::from_mut(one), now)?;
                    places.first().copied().ok_or(AppendError::Full)
                });
                alone.collect()
            }
            Err(error) => {
                let mut error = Some(error);
                // The first has it with its cause.
                all.iter()
                    .map(|_| Err(error.take().unwrap_or(AppendError::Full)))
                    .collect()
            }
        }
    }

    /// All or none.
    fn write_some(&mut self, all: &mut [Ahead], now: u64) -> Result<Vec<u64>, AppendError> {
        let known = self.processes.len();
        let written = self.try_write(all, now);
        if written.is_err() {
            self.processes.truncate(known);
        }
        written
    }

    fn try_write(&mut self, all: &mut [Ahead], now: u64) -> Result<Vec<u64>, AppendError> {
        let mut contents = Vec::with_capacity(all.len() + 1);
        let mut ours = Vec::with_capacity(all.len());
        for ahead in all {
            let process = &ahead.process;
            let known = self.processes.iter().rposition(|p| Arc::ptr_eq(p, process));
            let number = match known {
                Some(number) => number,
                None => {
                    let number = self.processes.len();
                    contents.push((content(&resource(number, process), &[])?, 0));
                    self.processes.push(process.clone());
                    number
                }
            };
            match &mut ahead.head {
                Head::Document(place) | Head::Frame { place, .. } => place.resource = number,
                Head::Resource { .. } => {}
            }
            ours.push(contents.len());
            contents.push((content(&ahead.head, &ahead.bytes)?, 1));
        }
        let places = self.journal.append(&contents, now)?;
        Ok(ours
            .into_iter()
            .filter_map(|at| places.get(at).copied())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing;

    #[test]
    fn a_record_says_whose_payload_it_has_and_where_it_is_to_be() {
        let about = About {
            process: testing::process(7, "shop"),
            transaction: "t".into(),
            span: Some(([0xab; 16], [0x0d; 8])),
        };
        let link = PayloadLink {
            url: Some("http://s/b/k#bytes=3-9".into()),
            digest: Some("d".into()),
            size: Some(7),
            status: PayloadStatus::Pending,
        };
        let head = Head::Document(Place::new("k", &link, &about));
        let bytes = b"one line\nand another";
        let (head, rest) = read(content(&head, bytes).expect("JSON")).expect("a head");
        assert_eq!(rest, bytes);
        let Head::Document(place) = head else {
            panic!("{head:?}");
        };
        assert_eq!(place.link(PayloadStatus::Pending), link);
        let head = resource(0, &about.process);
        let (head, rest) = read(content(&head, &[]).expect("JSON")).expect("a head");
        let Head::Resource { attributes, .. } = head else {
            panic!("{head:?}");
        };
        assert!(rest.is_empty());
        let read = place.about(Arc::new(process(attributes)));
        let sorted = |process: &Process| {
            let mut resource = process.resource.clone();
            resource.sort_by(|a, b| a.0.cmp(&b.0));
            resource
        };
        assert_eq!(sorted(&read.process), sorted(&about.process));
        assert_eq!(
            (read.transaction, read.span),
            (about.transaction, about.span)
        );
        assert!(super::read(b"no head".to_vec()).is_none());
    }
}
