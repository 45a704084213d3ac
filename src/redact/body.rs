//! Bodies: what sinks get of them.
//!
//! Codings are undone when a sink asks, so by the payload stage's encoders or by stdout's writer, never on the capture
//! thread: to inflate a body costs more than all the rest of redaction, and a transaction that the queues
//! have no room for should not cost it at all. Nothing is remembered: who waits in a queue holds the bytes as sent, which
//! are the fewer. What sinks show of a body they take from here alone; whatever is to be masked inside bodies is masked
//! here, in the decoded content, before any digest is made of it.

use super::Capture;
use crate::transaction::content::{self, Decoded, Stop};
use crate::transaction::{Body, Headers};

/// What of bodies leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPolicy {
    /// Most bytes that come out of a coding.
    pub max_bytes: usize,
    /// The bytes as sent are kept beside what they decode to.
    pub as_sent: bool,
}

/// Content of a message as sinks may show it.
pub struct Content<'a> {
    decoded: Decoded<'a>,
    as_sent: Option<&'a [u8]>,
    is_text: bool,
}

impl Capture {
    /// Content of the request, decoded now. Empty below level full; None without a request.
    pub fn request_content(&self) -> Option<Content<'_>> {
        let request = self.transaction.request.as_ref()?;
        let content_type = self.facts.request_content_type.as_deref();
        Some(self.content(&request.headers, &request.body, content_type))
    }

    /// Content of the response, decoded now. Empty below level full; None without a response.
    pub fn response_content(&self) -> Option<Content<'_>> {
        let response = self.transaction.response.as_ref()?;
        let content_type = self.facts.response_content_type.as_deref();
        Some(self.content(&response.headers, &response.body, content_type))
    }

    fn content<'a>(
        &self,
        headers: &Headers,
        body: &'a Body,
        content_type: Option<&str>,
    ) -> Content<'a> {
        // Transfer codings were applied after those of the content (RFC 9112 §6.1).
        let content = headers.get_all(b"content-encoding");
        let codings = content.chain(headers.get_all(b"transfer-encoding"));
        let decoded = content::decode(codings, body.bytes(), self.bodies.max_bytes);
        let as_sent = self.bodies.as_sent && !decoded.undone.is_empty();
        Content {
            is_text: decoded.is_plain() && content_type.is_some_and(content::is_text),
            decoded,
            as_sent: as_sent.then(|| body.bytes()),
        }
    }
}

impl Content<'_> {
    /// What was captured, its codings undone as far as possible.
    pub fn bytes(&self) -> &[u8] {
        &self.decoded.bytes
    }

    /// The bytes, where the content type says that they are text, and no coding is left.
    pub fn text(&self) -> Option<&[u8]> {
        self.is_text.then(|| self.bytes())
    }

    /// The codings that were undone, as `Content-Encoding` lists them; empty: none.
    pub fn encoding(&self) -> String {
        let names: Vec<&str> = self.decoded.undone.iter().map(|c| c.name()).collect();
        names.join(", ")
    }

    /// Why decoding ended early.
    pub fn stop(&self) -> Option<Stop> {
        self.decoded.stop
    }

    /// The bytes before decoding; None where they are the same, or not to be kept.
    pub fn as_sent(&self) -> Option<&[u8]> {
        self.as_sent
    }
}
