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

#[cfg(test)]
mod tests {
    use super::super::sample::{body, policy, redact, transaction};
    use crate::rules::Level;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn codings_of_the_transfer_are_undone_before_those_of_the_content() {
        let fields = [
            ("Transfer-Encoding", "gzip, chunked"),
            ("Content-Encoding", "deflate"),
            ("content-encoding", "gzip"),
            ("Content-Type", "text/plain"),
        ];
        let mut t = transaction("/", &[], &fields);
        let level = flate2::Compression::default();
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), level);
        deflate.write_all(b"hello").unwrap();
        let sent = gzip(&gzip(&deflate.finish().unwrap()));
        t.response.as_mut().unwrap().body = body(&sent);
        let (capture, _) = redact(&policy(), t, Level::Full);
        let content = capture.response_content().unwrap();
        assert_eq!(content.text(), Some(&b"hello"[..]));
        assert_eq!(content.encoding(), "deflate, gzip, gzip");
        assert!(content.stop().is_none() && content.as_sent().is_none());
    }

    #[test]
    fn below_level_full_there_is_nothing_to_decode() {
        let mut t = transaction("/", &[], &[("Content-Encoding", "gzip")]);
        t.response.as_mut().unwrap().body = body(&gzip(b"hello"));
        let (capture, _) = redact(&policy(), t, Level::Headers);
        let content = capture.response_content().unwrap();
        assert!(content.bytes().is_empty() && content.stop().is_none());
    }

    #[test]
    fn messages_of_a_websocket_go_with_level_full() {
        use crate::transaction::websocket::{WebSocket, WebSocketMessage};
        let mut t = transaction("/", &[], &[]);
        let mut websocket = WebSocket::default();
        websocket.from_client.messages = 1;
        websocket.from_client.kept.push(WebSocketMessage {
            text: true,
            compressed: false,
            whole: true,
            time: t.timing.start,
            size: 6,
            bytes: b"secret".to_vec(),
        });
        t.websocket = Some(websocket);
        for level in [Level::Summary, Level::Headers, Level::Full] {
            let (capture, _) = redact(&policy(), t.clone(), level);
            let websocket = capture.transaction.websocket.as_ref().unwrap();
            let kept = websocket.from_client.kept.len();
            assert_eq!(kept, usize::from(level == Level::Full), "{level:?}");
            assert_eq!(websocket.from_client.messages, 1);
        }
    }
}
