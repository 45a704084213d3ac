//! A payload document, read (`docs/payload-format.md`).
//!
//! Keys that are not there have their defaults, so that documents of QTap can be read too; unknown keys are passed over.

use crate::sink::payload::VERSION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Elements of a list of a document, at the most: far more than the agent writes, and few enough for memory.
const MAX_ELEMENTS: usize = 1 << 18;

/// Why bytes are no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("this is no payload document: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the document has version {0}; this program reads version {VERSION}")]
    Version(u32),
}

/// One transaction.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    pub metadata: Metadata,
    pub request: Option<Message>,
    pub response: Option<Message>,
    /// Its start: RFC 3339, UTC.
    pub transaction_time: String,
    /// Absent in documents of QTap.
    pub version: Option<u32>,
    pub transaction_id: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub parent_span_id: Option<String>,
    pub level: String,
    pub rule: Option<String>,
    pub complete: Option<bool>,
    #[serde(deserialize_with = "list")]
    pub marks: Vec<String>,
    pub duration_ms: u64,
    pub duration_ns: Option<u64>,
    /// From the start to the last byte of the request.
    pub request_end_ns: Option<u64>,
    /// From the start to the first byte of the response.
    pub response_start_ns: Option<u64>,
    pub connection: Connection,
    pub websocket: Option<WebSocket>,
    pub grpc: Option<Grpc>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    pub connection_id: String,
    /// Decimal digits.
    pub process_id: String,
    pub service_name: String,
    pub process_exe: String,
    pub pod_name: String,
    pub pod_namespace: String,
    pub container_name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// `client` or `server`.
    pub role: String,
    pub local: Option<String>,
    pub remote: Option<String>,
}

/// A request or a response. One type: what is flattened into another would be read into memory without bounds first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    // Of a request.
    pub method: String,
    pub url: String,
    pub scheme: String,
    pub path: String,
    pub authority: String,
    pub query: String,
    /// `1.0`, `1.1`, `2`.
    pub protocol_version: String,
    // Of a response.
    pub status: u16,
    pub reason: String,
    // Of both.
    pub content_type: String,
    /// One value a name; documents of QTap have no other.
    #[serde(deserialize_with = "map")]
    headers: Vec<(String, String)>,
    /// Lines in the order of the wire. None: level summary, or a document of QTap.
    #[serde(deserialize_with = "some_list")]
    header_list: Option<Vec<(Bytes, Bytes)>>,
    #[serde(deserialize_with = "list")]
    pub trailer_list: Vec<(Bytes, Bytes)>,
    /// Without its content codings. None: the level keeps none, or there was none.
    pub body: Option<Body>,
    /// With its content codings, where that is kept.
    pub body_as_sent: Option<Body>,
    pub body_is_text: bool,
    /// The content codings that were undone.
    pub body_encoding: Option<String>,
    pub body_decoded_truncated: bool,
    pub body_redacted: bool,
    /// Why some or all of it was left out by redaction.
    pub body_dropped: Option<String>,
    /// Length on the wire, in bytes.
    pub body_size: Option<u64>,
    /// Not all of it was kept.
    pub body_truncated: bool,
    /// Bytes of it that were not seen.
    pub body_missing: u64,
}

impl Message {
    /// Header lines in the order of the wire, without the pseudo-headers of HTTP/2. Nothing at level summary.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let listed = self.header_list.as_deref().unwrap_or_default();
        let listed = listed.iter().map(|(name, value)| (&*name.0, &*value.0));
        // Where there is a list, the map says the same again.
        let mapped = match self.header_list {
            Some(_) => &[],
            None => self.headers.as_slice(),
        };
        let mapped = mapped.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        listed
            .chain(mapped)
            .filter(|(name, _)| !name.starts_with(b":"))
    }

    /// The values of a header, in the order of the wire.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Bytes of the body that are here.
    pub fn content(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.0)
    }

    /// The body as text, where it is such.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.content())
            .ok()
            .filter(|_| self.body_is_text)
    }

    /// Why the body that is here is not the whole one; None: it is.
    pub fn cut(&self) -> Option<String> {
        let size = self.body_size.unwrap_or_default();
        if let Some(why) = &self.body_dropped {
            return Some(format!("redaction left out some or all of it: {why}"));
        }
        if self.body.is_none() {
            return (size > 0).then(|| format!("not kept at this level; it had {size} bytes"));
        }
        let here = self.content().len();
        if self.body_missing > 0 {
            let missing = self.body_missing;
            return Some(format!("cut: {missing} of its {size} bytes were not seen"));
        }
        if self.body_truncated {
            return Some(format!("cut: {here} bytes are here; it had {size}"));
        }
        self.body_decoded_truncated
            .then(|| format!("cut: decoding ended after {here} bytes"))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WebSocket {
    #[serde(deserialize_with = "list")]
    pub messages: Vec<WebSocketMessage>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WebSocketMessage {
    /// `client` or `server`.
    pub from: String,
    /// `text` or `binary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// From the transaction's start.
    pub time_ns: u64,
    pub text: Option<String>,
    pub base64: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Grpc {
    pub method: Option<String>,
    pub status: Option<String>,
}

impl Document {
    /// Reads the JSON of a document.
    ///
    /// # Errors
    /// When it is none, or one of a version that this program does not know.
    pub fn read(json: &[u8]) -> Result<Document, DocumentError> {
        let document: Document = serde_json::from_slice(json)?;
        match document.version {
            Some(other) if other > VERSION => Err(DocumentError::Version(other)),
            _ => Ok(document),
        }
    }

    /// How long it took, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        let rounded = self.duration_ms.saturating_mul(1_000_000);
        self.duration_ns.unwrap_or(rounded)
    }

    /// The server's address, where it is known.
    pub fn server(&self) -> Option<&str> {
        match self.connection.role.as_str() {
            "server" => self.connection.local.as_deref(),
            _ => self.connection.remote.as_deref(),
        }
    }
}

/// Content, in documents as base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decode;
        impl Visitor<'_> for Decode {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Body, E> {
                STANDARD.decode(text).map(Body).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Decode)
    }
}

/// Bytes of a header's name or value: a string, or `{"base64": "…"}` where they are not UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with `base64`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
                let mut bytes = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "base64" {
                        bytes = Some(Bytes(map.next_value::<Body>()?.0));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                bytes.ok_or_else(|| A::Error::missing_field("base64"))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

struct Capped<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Capped<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_ELEMENTS} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            if elements.len() == MAX_ELEMENTS {
                return Err(A::Error::invalid_length(MAX_ELEMENTS + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    d.deserialize_seq(Capped(PhantomData))
}

fn some_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Option<Vec<T>>, D::Error> {
    list(d).map(Some)
}

/// The members of an object in their order.
fn map<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an object of at most {MAX_ELEMENTS} members")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                if members.len() == MAX_ELEMENTS {
                    return Err(A::Error::invalid_length(MAX_ELEMENTS + 1, &self));
                }
                members.push(member);
            }
            Ok(members)
        }
    }
    d.deserialize_map(Members)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
