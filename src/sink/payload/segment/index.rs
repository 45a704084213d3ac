//! The index of a segment: what its transactions are, without reading one of them.

use super::super::document::{Hex, resource};
use super::super::target::Target;
use super::{FORMAT, LEVEL, ReadError};
use crate::enrich::rfc3339;
use crate::event::Role;
use crate::redact::Capture;
use crate::sink::json::Json;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::io::{self, Read, Write};

/// Of what is compared with what is packed, as a power of two: lines are alike, and many segments may be open.
const WINDOW_LOG: u32 = 17;

/// One transaction of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// First and last byte of its document's frame, as `FIRST-LAST`.
    pub bytes: String,
    pub transaction_id: String,
    pub trace_id: String,
    pub span_id: String,
    /// RFC 3339, UTC.
    pub transaction_time: String,
    pub duration_ns: u64,
    /// `client` or `server`.
    pub role: String,
    pub service_namespace: String,
    pub service_name: String,
    pub method: String,
    pub authority: String,
    /// Without query.
    pub path: String,
    /// None: no response was seen.
    pub status: Option<u16>,
    pub level: String,
}

impl Entry {
    /// First and last byte of its frame. None: it does not say so.
    pub fn range(&self) -> Option<(u64, u64)> {
        let (first, last) = self.bytes.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    }

    pub(super) fn of(capture: &Capture, first: u64, last: u64) -> Entry {
        let transaction = &capture.transaction;
        let target = Target::of(capture);
        let (authority, path) = match &target {
            Some(target) => (target.authority.to_string(), target.path.to_string()),
            None => Default::default(),
        };
        let role = match transaction.role {
            Role::Client => "client",
            Role::Server => "server",
        };
        let request = transaction.request.as_ref();
        let method = request.map(|r| String::from_utf8_lossy(&r.method).into_owned());
        let process = &capture.process;
        Entry {
            bytes: format!("{first}-{last}"),
            transaction_id: capture.id.clone(),
            trace_id: Hex(&capture.ids.trace_id).to_string(),
            span_id: Hex(&capture.ids.span_id).to_string(),
            transaction_time: rfc3339(capture.start),
            duration_ns: transaction.timing.end.since(transaction.timing.start),
            role: role.to_owned(),
            service_namespace: resource(process, "service.namespace").to_owned(),
            service_name: resource(process, "service.name").to_owned(),
            method: method.unwrap_or_default(),
            authority,
            path,
            status: transaction.response.as_ref().map(|r| r.status),
            level: capture.decision.level.name().to_owned(),
        }
    }

    fn write(&self, j: &mut Json) {
        j.object(|j| {
            j.key("bytes").string(&self.bytes);
            j.key("transaction_id").string(&self.transaction_id);
            j.key("trace_id").string(&self.trace_id);
            j.key("span_id").string(&self.span_id);
            j.key("transaction_time").string(&self.transaction_time);
            j.key("duration_ns").number(self.duration_ns);
            j.key("role").string(&self.role);
            j.key("service_namespace").string(&self.service_namespace);
            j.key("service_name").string(&self.service_name);
            j.key("method").string(&self.method);
            j.key("authority").string(&self.authority);
            j.key("path").string(&self.path);
            match self.status {
                Some(status) => j.key("status").number(status),
                None => j.key("status").null(),
            }
            j.key("level").string(&self.level);
        });
    }
}

/// An index that grows by one line a document. What it was told is packed as it comes: a segment holds no entries.
pub(super) struct Index {
    packed: zstd::Encoder<'static, Vec<u8>>,
    /// One line before it is packed.
    line: Vec<u8>,
    count: usize,
}

impl Index {
    /// # Errors
    /// When there is no memory for a compressor.
    pub fn new() -> io::Result<Index> {
        let mut packed = zstd::Encoder::new(Vec::new(), LEVEL)?;
        packed.include_checksum(true)?;
        packed.window_log(WINDOW_LOG)?;
        write!(packed, "{{\"format\":{FORMAT},\"transactions\":[")?;
        Ok(Index {
            packed,
            line: Vec::new(),
            count: 0,
        })
    }

    /// # Errors
    /// When it cannot be compressed: the index is then of no use.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut json = Json::into(std::mem::take(&mut self.line));
        entry.write(&mut json);
        self.line = json.finish();
        if self.count > 0 {
            self.packed.write_all(b",")?;
        }
        self.packed.write_all(&self.line)?;
        self.count += 1;
        Ok(())
    }

    /// Entries that it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The frame.
    ///
    /// # Errors
    /// When it cannot be compressed.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.packed.write_all(b"]}")?;
        self.packed.finish()
    }
}

/// Reads the JSON of an index, entry by entry: none is kept.
pub(super) fn read(json: impl Read, each: &mut dyn FnMut(Entry)) -> Result<(), ReadError> {
    let mut format = None;
    let mut deserializer = serde_json::Deserializer::from_reader(json);
    let seed = Reading {
        format: &mut format,
        each,
    };
    let read = seed
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match (read, format) {
        (Err(_), Some(other)) if other != FORMAT => Err(ReadError::Format(other)),
        (Err(error), _) => Err(ReadError::Index(error.to_string())),
        (Ok(()), _) => Ok(()),
    }
}

/// The object that an index is.
struct Reading<'a> {
    format: &'a mut Option<u32>,
    each: &'a mut dyn FnMut(Entry),
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with `format` and `transactions`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut read = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "format" => {
                    let format = map.next_value()?;
                    *self.format = Some(format);
                    if format != FORMAT {
                        return Err(A::Error::custom("another format"));
                    }
                }
                "transactions" if self.format.is_some() && !read => {
                    map.next_value_seed(Transactions(&mut *self.each))?;
                    read = true;
                }
                "transactions" => {
                    return Err(A::Error::custom(
                        "`transactions` without `format` before it",
                    ));
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match read {
            true => Ok(()),
            false => Err(A::Error::missing_field("transactions")),
        }
    }
}

/// The list of transactions.
struct Transactions<'a>(&'a mut dyn FnMut(Entry));

impl<'de> DeserializeSeed<'de> for Transactions<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Transactions<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of transactions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(entry) = list.next_element()? {
            (self.0)(entry);
        }
        Ok(())
    }
}
