//! Bodies: what sinks get of them.
//!
//! Codings are undone when a sink asks, so by the payload stage's encoders or by stdout's writer, never on the capture
//! thread: to inflate a body costs more than all the rest of redaction, and a transaction that the queues
//! have no room for should not cost it at all. Nothing is remembered: who waits in a queue holds the bytes as sent, which
//! are the fewer. What sinks show of a body they take from here alone; whatever is to be masked inside bodies is masked
//! here, in the decoded content, before any digest is made of it.

use super::head::Places;
use super::hits::Hits;
use super::matchers::{Dropped, Masked};
use super::names::UNREADABLE;
use super::{Capture, Message};
use crate::telemetry::ledger::BodiesLeftOut;
use crate::transaction::content::{self, Decoded, Stop};
use crate::transaction::grpc::Kind;
use crate::transaction::{Body, Headers};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What of bodies leaves, and what is hidden in them.
#[derive(Clone)]
pub struct BodyPolicy {
    /// Most bytes that come out of a coding.
    pub max_bytes: usize,
    /// The bytes as sent are kept beside what they decode to, where nothing in them had to be hidden.
    pub as_sent: bool,
    /// Those of which the limits left some or all out.
    pub left_out: BodiesLeftOut,
    pub(super) places: Option<Arc<Places>>,
    /// The parts of a transaction whose values were counted; sinks ask more than once.
    pub(super) counted: Arc<AtomicU8>,
}

impl BodyPolicy {
    /// Nothing is hidden: for tests of what comes after redaction.
    #[cfg(test)]
    pub(crate) fn plain(max_bytes: usize, as_sent: bool) -> Self {
        BodyPolicy {
            max_bytes,
            as_sent,
            left_out: BodiesLeftOut::default(),
            places: None,
            counted: Arc::default(),
        }
    }
}

/// A part of a transaction that holds content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Request = 1,
    Response = 2,
    WebSocket = 4,
}

/// Content of a message as sinks may show it.
pub struct Content<'a> {
    bytes: Cow<'a, [u8]>,
    undone: Vec<content::Coding>,
    stop: Option<Stop>,
    as_sent: Option<&'a [u8]>,
    is_text: bool,
    changed: bool,
    dropped: Option<Dropped>,
}

impl Capture {
    /// Content of the request, decoded and masked now. Empty below level full; None without a request.
    pub fn request_content(&self) -> Option<Content<'_>> {
        let request = self.transaction.request.as_ref()?;
        let content_type = self.facts.request_content_type.as_deref();
        Some(self.content(Part::Request, &request.headers, &request.body, content_type))
    }

    /// Content of the response, decoded and masked now. Empty below level full; None without a response.
    pub fn response_content(&self) -> Option<Content<'_>> {
        let response = self.transaction.response.as_ref()?;
        let content_type = self.facts.response_content_type.as_deref();
        Some(self.content(
            Part::Response,
            &response.headers,
            &response.body,
            content_type,
        ))
    }

    fn content<'a>(
        &self,
        part: Part,
        headers: &Headers,
        body: &'a Body,
        content_type: Option<&str>,
    ) -> Content<'a> {
        let decoded = self.decoded(headers, body.bytes());
        let as_sent = self.bodies.as_sent && !decoded.undone.is_empty();
        let is_plain = decoded.is_plain();
        let masked = self.masked(part, headers, body, content_type, &decoded);
        let (changed, dropped) = match masked {
            Some(masked) => (
                masked.changed.then(|| masked.bytes.into_owned()),
                masked.dropped,
            ),
            None => (None, None),
        };
        // Bytes behind the place where decoding ended, and such as no coding speaks of, were not looked at.
        let hides = self.hides();
        let seen = changed.is_none() && decoded.stop.is_none() && !self.may_be_cut(body);
        let wide = dropped == Some(Dropped::Charset);
        Content {
            is_text: is_plain && !wide && content_type.is_some_and(content::is_text),
            as_sent: (as_sent && (seen || !hides)).then(|| body.bytes()),
            changed: changed.is_some(),
            dropped,
            bytes: changed.map_or(decoded.bytes, Cow::Owned),
            undone: decoded.undone,
            stop: decoded.stop,
        }
    }

    /// There is something to look for in content.
    fn hides(&self) -> bool {
        let places = self.bodies.places.as_ref();
        places.is_some_and(|places| !places.body.is_empty())
    }

    /// Content without its codings, as far as they can be undone.
    pub(super) fn decoded<'a>(&self, headers: &Headers, bytes: &'a [u8]) -> Decoded<'a> {
        // Transfer codings were applied after those of the content (RFC 9112 §6.1).
        let content = headers.get_all(b"content-encoding");
        let codings = content.chain(headers.get_all(b"transfer-encoding"));
        content::decode(codings, bytes, self.bodies.max_bytes)
    }

    /// The body may be the head of a longer one.
    pub(super) fn may_be_cut(&self, body: &Body) -> bool {
        body.truncated() || !self.transaction.complete()
    }

    /// What may be shown of decoded content. None: there is nothing to look for.
    fn masked<'d>(
        &self,
        part: Part,
        headers: &Headers,
        body: &Body,
        content_type: Option<&str>,
        decoded: &'d Decoded<'_>,
    ) -> Option<Masked<'d>> {
        let rules = &self.bodies.places.as_ref()?.body;
        let framing = self.framing(headers);
        // Its trailers are header fields, and stand in the body.
        let web = matches!(framing, Some(Kind::Web | Kind::WebText));
        if rules.is_empty() && !web || body.bytes().is_empty() {
            return None;
        }
        if !decoded.is_plain() && !is_uncoded(decoded) {
            self.count(part, |hits| hits.add(UNREADABLE));
            return Some(Masked::nothing(Dropped::Coded));
        }
        if framing.is_some() {
            let messages = self.messages(part);
            let shown = |m: &Message| !m.changed && m.stop.is_none() && m.is_readable();
            let all = messages.len() < super::grpc::SHOWN_MAX && messages.iter().all(shown);
            return Some(match all && decoded.stop.is_none() {
                true => Masked {
                    bytes: Cow::Borrowed(&decoded.bytes),
                    changed: false,
                    dropped: None,
                },
                false => Masked::nothing(Dropped::Messages),
            });
        }
        let cut = decoded.stop.is_some() || self.may_be_cut(body);
        Some(self.count(part, |hits| {
            rules.mask(&decoded.bytes, content_type, cut, hits)
        }))
    }

    fn hides_content_type(&self) -> bool {
        let places = self.bodies.places.as_ref();
        places.is_some_and(|places| places.masks_header(b"content-type"))
    }

    /// How the messages in a body with these headers are framed; None: it is none of messages.
    pub(super) fn framing(&self, headers: &Headers) -> Option<Kind> {
        let call = self.transaction.grpc.as_ref().map(|c| c.kind);
        // The body may be framed in another way than the other side's, or not at all; or its type was not seen.
        let kind = match headers.get(b"content-type") {
            // A rule hid it, so that the call has to say.
            Some(content_type) if self.hides_content_type() => Kind::of(content_type).or(call),
            Some(content_type) => Kind::of(content_type),
            None => call,
        };
        kind.filter(|kind| *kind != Kind::ConnectUnary)
    }

    /// Runs `mask`, and reports what it touched, once for each part.
    pub(super) fn count<R>(&self, part: Part, mask: impl FnOnce(&mut Hits) -> R) -> R {
        let rules = self.bodies.places.as_ref().map(|places| &places.body);
        let names = rules.map_or_else(|| Arc::from([]), |rules| rules.names.clone());
        let mut hits = Hits::new(names);
        let result = mask(&mut hits);
        let report = rules.and_then(|rules| rules.report.as_ref());
        if let Some(report) = report.filter(|_| hits.total() > 0) {
            let before = self.bodies.counted.fetch_or(part as u8, Ordering::Relaxed);
            if before & part as u8 == 0 {
                hits.iter().for_each(|(name, n)| report(name, n));
            }
        }
        result
    }
}

/// Its header fields speak of a coding, and it is text as it stands.
fn is_uncoded(decoded: &Decoded<'_>) -> bool {
    let text = match std::str::from_utf8(&decoded.bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let whole = decoded.bytes.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let odd = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    decoded.stop == Some(Stop::Damaged) && !text.is_empty() && !text.chars().any(odd)
}

impl Content<'_> {
    /// What was captured, its codings undone as far as possible, without what has to be hidden.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, where the content type says that they are text, and no coding is left.
    pub fn text(&self) -> Option<&[u8]> {
        self.is_text.then(|| self.bytes())
    }

    /// The codings that were undone, as `Content-Encoding` lists them; empty: none.
    pub fn encoding(&self) -> String {
        let names: Vec<&str> = self.undone.iter().map(|c| c.name()).collect();
        names.join(", ")
    }

    /// Why decoding ended early.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// The bytes before decoding; None where they are the same, or not to be kept, or hold what has to be hidden.
    pub fn as_sent(&self) -> Option<&[u8]> {
        self.as_sent
    }

    /// Something in it was masked, hashed or left out.
    pub fn redacted(&self) -> bool {
        self.changed
    }

    /// Why some or all of it was left out: it had to be looked into, and could not be.
    pub fn dropped(&self) -> Option<Dropped> {
        self.dropped
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
            follows: true,
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
