//! Messages of a call in bodies that were kept.
//!
//! Like bodies they are decoded when a sink asks ([`super::body`]), and this is the one place that sinks have them from.

use super::Capture;
use super::body::Part as Side;
use super::hits::Hits;
use super::matchers::{Dropped, Masked};
use super::names::UNREADABLE;
use crate::proto::grpc::{Part, split};
use crate::transaction::content::{self, Stop};
use crate::transaction::grpc::Kind;
use crate::transaction::{Body, Headers};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Messages of one direction that are shown at the most.
pub(super) const SHOWN_MAX: usize = 10_000;

/// A message of a call as sinks may show it.
pub struct Message<'a> {
    /// It went over the wire compressed.
    pub compressed: bool,
    /// It is the last message of a Connect stream, which says how the call ended.
    pub is_end: bool,
    /// Length on the wire without prefix, in bytes.
    pub size: u64,
    /// What was kept of it, its coding undone as far as possible, without what has to be hidden.
    pub bytes: Cow<'a, [u8]>,
    /// Not all of what went over the wire was kept.
    pub truncated: bool,
    /// The coding that was undone; None: none.
    pub encoding: Option<&'static str>,
    /// Why decoding ended early.
    pub stop: Option<Stop>,
    /// Something in it was masked, hashed or left out.
    pub changed: bool,
    /// Why some or all of it was left out.
    pub dropped: Option<Dropped>,
    is_text: bool,
}

impl Message<'_> {
    /// The bytes, where the content type says that they are text, and no coding is left.
    pub fn text(&self) -> Option<&str> {
        let plain = self.is_text && self.is_readable();
        std::str::from_utf8(&self.bytes).ok().filter(|_| plain)
    }

    /// No coding is left.
    pub(super) fn is_readable(&self) -> bool {
        !self.compressed || self.encoding.is_some()
    }
}

/// What all messages of one direction have in common.
struct Direction<'a> {
    side: Side,
    kind: Kind,
    /// Names the coding of compressed messages.
    coding: &'a [u8],
    content_type: Option<&'a str>,
    /// The body may go on behind what is there.
    cut: bool,
}

impl Capture {
    /// Messages that the client sent, decoded and masked now, as far as they were kept; empty below level full.
    pub fn messages_from_client(&self) -> Vec<Message<'_>> {
        self.messages_of_call(Side::Request)
    }

    /// Messages that the server sent, decoded and masked now, as far as they were kept; empty below level full.
    pub fn messages_from_server(&self) -> Vec<Message<'_>> {
        self.messages_of_call(Side::Response)
    }

    fn messages_of_call(&self, side: Side) -> Vec<Message<'_>> {
        match self.transaction.grpc {
            Some(_) => self.messages(side),
            None => Vec::new(),
        }
    }

    /// Messages of a body that is framed as those of calls are.
    pub(super) fn messages(&self, side: Side) -> Vec<Message<'_>> {
        let request = self.transaction.request.as_ref();
        let response = self.transaction.response.as_ref();
        let (message, content_type): (Option<(&Headers, &Body)>, _) = match side {
            Side::Request => (
                request.map(|r| (&r.headers, &r.body)),
                &self.facts.request_content_type,
            ),
            _ => (
                response.map(|r| (&r.headers, &r.body)),
                &self.facts.response_content_type,
            ),
        };
        let Some((headers, body)) = message else {
            return Vec::new();
        };
        let Some(kind) = self.framing(headers) else {
            return Vec::new();
        };
        let name: &[u8] = match kind {
            Kind::Connect => b"connect-content-encoding",
            _ => b"grpc-encoding",
        };
        let decoded = self.decoded(headers, body.bytes());
        if !decoded.is_plain() {
            return Vec::new();
        }
        let direction = Direction {
            side,
            kind,
            coding: headers.get(name).unwrap_or_default(),
            content_type: content_type.as_deref(),
            cut: decoded.stop.is_some() || self.may_be_cut(body),
        };
        let bytes = match kind {
            Kind::WebText => Cow::Owned(from_text(&decoded.bytes)),
            _ => decoded.bytes,
        };
        match bytes {
            Cow::Borrowed(bytes) => self.shown(&direction, bytes),
            Cow::Owned(bytes) => {
                let shown = self.shown(&direction, &bytes).into_iter();
                shown.map(Message::into_owned).collect()
            }
        }
    }

    fn shown<'a>(&self, direction: &Direction<'_>, bytes: &'a [u8]) -> Vec<Message<'a>> {
        // What comes out of all messages together is bounded as one body is.
        let mut room = self.bodies.max_bytes;
        let is_text = direction.content_type.is_some_and(content::is_text);
        self.count(direction.side, |hits| {
            let messages = split(bytes).take(SHOWN_MAX);
            let decoded = messages.map(|part| message(&part, direction.coding, &mut room, is_text));
            decoded
                .map(|message| self.hidden(direction, message, hits))
                .collect()
        })
    }

    /// `message` without what has to be hidden.
    fn hidden<'a>(
        &self,
        direction: &Direction<'_>,
        mut message: Message<'a>,
        hits: &mut Hits,
    ) -> Message<'a> {
        let Some(places) = self.bodies.places.as_ref() else {
            return message;
        };
        let web = matches!(direction.kind, Kind::Web | Kind::WebText);
        if message.is_end
            && web
            && message.is_readable()
            && let Some(bytes) = places.trailers(&message.bytes, hits)
        {
            message.bytes = Cow::Owned(bytes);
            message.changed = true;
        }
        let masked = if places.body.is_empty() {
            None
        } else if !message.is_readable() {
            hits.add(UNREADABLE);
            Some((Vec::new(), Some(Dropped::Coded)))
        } else {
            let is_json = |t: &str| t.contains("json");
            let json = message.is_end && !web || direction.content_type.is_some_and(is_json);
            let content_type = json
                .then_some("application/json")
                .filter(|_| !(web && message.is_end));
            let cut = message.truncated || message.stop.is_some() || direction.cut;
            let Masked {
                bytes,
                changed,
                dropped,
            } = places.body.mask(&message.bytes, content_type, cut, hits);
            changed.then(|| (bytes.into_owned(), dropped))
        };
        if let Some((bytes, dropped)) = masked {
            message.bytes = Cow::Owned(bytes);
            message.changed = true;
            message.dropped = dropped;
        }
        message
    }
}

fn message<'a>(part: &Part<'a>, coding: &[u8], room: &mut usize, is_text: bool) -> Message<'a> {
    let mut message = Message {
        compressed: part.compressed,
        is_end: part.trailers,
        size: part.len.into(),
        bytes: Cow::Borrowed(part.bytes),
        truncated: (part.bytes.len() as u64) < u64::from(part.len),
        encoding: None,
        stop: None,
        changed: false,
        dropped: None,
        is_text: is_text || part.trailers,
    };
    if part.compressed {
        let decoded = content::decode(std::iter::once(coding), part.bytes, *room);
        message.encoding = decoded.undone.last().map(|c| c.name());
        message.stop = decoded.stop;
        if message.encoding.is_some() {
            *room = room.saturating_sub(decoded.bytes.len());
        }
        message.bytes = decoded.bytes;
    }
    message
}

impl Message<'_> {
    fn into_owned(self) -> Message<'static> {
        Message {
            bytes: Cow::Owned(self.bytes.into_owned()),
            compressed: self.compressed,
            is_end: self.is_end,
            size: self.size,
            truncated: self.truncated,
            encoding: self.encoding,
            stop: self.stop,
            changed: self.changed,
            dropped: self.dropped,
            is_text: self.is_text,
        }
    }
}

/// Base64 in whole groups of four, each perhaps padded; ends at what is none.
fn from_text(body: &[u8]) -> Vec<u8> {
    let characters: Vec<u8> = body
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let mut plain = Vec::with_capacity(characters.len() / 4 * 3);
    for group in characters.chunks_exact(4) {
        let mut bytes = [0; 3];
        let Ok(n) = STANDARD.decode_slice(group, &mut bytes) else {
            break;
        };
        plain.extend_from_slice(bytes.get(..n).unwrap_or_default());
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::sample::{body, headers, policy, redact, transaction};
    use crate::rules::Level;
    use crate::transaction::Transaction;
    use crate::transaction::grpc::{Code, Grpc, Kind};
    use std::io::Write;

    fn framed(flags: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![flags];
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
        out
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn call(kind: Kind, answer: &[(&str, &str)], content: &[u8]) -> Transaction {
        let mut t = transaction("/a.B/C", &[], answer);
        t.response.as_mut().unwrap().body = body(content);
        t.grpc = Some(Grpc {
            kind,
            from_client: None,
            from_server: None,
            code: Some(Code::OK),
            inferred: false,
        });
        t
    }

    #[test]
    fn a_message_is_decoded_by_its_own_flag_and_all_together_within_the_limit() {
        let content = [
            framed(0, b"{\"plain\":1}"),
            framed(1, &gzip(b"{\"small\":2}")),
            framed(1, &gzip(&[b'x'; 100_000])),
            framed(1, &gzip(b"no room")),
        ]
        .concat();
        let mut policy = policy();
        policy.body_max_bytes = 5000;
        let fields = [
            ("content-type", "application/grpc+json"),
            ("grpc-encoding", "gzip"),
        ];
        let (capture, _) = redact(&policy, call(Kind::Grpc, &fields, &content), Level::Full);
        let messages = capture.messages_from_server();
        let told: Vec<_> = messages
            .iter()
            .map(|m| (m.compressed, m.encoding, m.bytes.len(), m.stop.is_some()))
            .collect();
        let gzip = Some("gzip");
        let want = [
            (false, None, 11, false),
            (true, gzip, 11, false),
            (true, gzip, 5000 - 11, true),
            (true, gzip, 0, true),
        ];
        assert_eq!(told, want);
        assert_eq!(messages[1].text(), Some("{\"small\":2}"));
    }

    #[test]
    fn what_is_compressed_in_an_unknown_way_is_left_out_and_no_text_where_nothing_is_looked_for() {
        use crate::config::{NameMatch, RedactMode, RedactPlace};
        let fields = [("content-type", "application/grpc+json")];
        let content = framed(1, b"abc");
        let of = |policy| {
            let (capture, _) = redact(&policy, call(Kind::Grpc, &fields, &content), Level::Full);
            let messages = capture.messages_from_server();
            let body = capture.response_content().unwrap().bytes().len();
            let text = messages[0].text().map(str::to_owned);
            (text, messages[0].bytes.to_vec(), body)
        };
        assert_eq!(of(policy()), (None, Vec::new(), 0));
        let mut open = policy();
        open.redact.push(super::super::sample::rule(
            "none",
            RedactPlace::Detector,
            NameMatch::Exact("*".to_owned()),
            RedactMode::Keep,
        ));
        assert_eq!(of(open), (None, b"abc".to_vec(), content.len()));
    }

    #[test]
    fn messages_in_base64_are_read_and_below_level_full_there_are_none() {
        use base64::Engine;
        let text = super::STANDARD.encode([framed(0, b"one"), framed(0, b"two")].concat());
        let fields = [("content-type", "application/grpc-web-text+proto")];
        let of = |level| {
            let t = call(Kind::WebText, &fields, text.as_bytes());
            let (capture, _) = redact(&policy(), t, level);
            let messages = capture.messages_from_server();
            messages
                .iter()
                .map(|m| m.bytes.to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Level::Full), [b"one", b"two"]);
        assert!(of(Level::Headers).is_empty());
    }

    #[test]
    fn what_the_server_said_goes_where_its_field_goes() {
        use crate::config::{NameMatch, RedactMode, RedactPlace};
        let mut t = call(Kind::Grpc, &[("content-type", "application/grpc")], b"");
        t.response.as_mut().unwrap().trailers = headers(&[
            ("grpc-status", "5"),
            ("grpc-message", "no%20cart%20of%20ann"),
        ]);
        let (capture, _) = redact(&policy(), t.clone(), Level::Headers);
        let said = capture.facts.grpc_message.as_deref();
        assert_eq!(said, Some("no cart of ann"));
        let mut policy = policy();
        policy.redact.push(super::super::sample::rule(
            "messages",
            RedactPlace::Header,
            NameMatch::Exact("grpc-message".to_owned()),
            RedactMode::Mask,
        ));
        let (capture, _) = redact(&policy, t, Level::Headers);
        assert_eq!(capture.facts.grpc_message.as_deref(), Some("REDACTED"));
    }

    #[test]
    fn a_secret_in_a_message_is_nowhere_and_the_body_that_holds_it_is_left_out() {
        use base64::Engine;
        let secret = b"\x0a\x1bBearer SECRET-CANARY-1";
        let plain = framed(0, secret);
        let packed = framed(1, &gzip(secret));
        let text = super::STANDARD.encode(&plain);
        let fields = [("grpc-encoding", "gzip"), ("content-encoding", "gzip")];
        for (kind, content_type, content) in [
            (Kind::Grpc, "application/grpc", plain.clone()),
            (Kind::Grpc, "application/grpc", packed.clone()),
            (Kind::Web, "application/grpc-web", packed.clone()),
            (
                Kind::WebText,
                "application/grpc-web-text",
                text.into_bytes(),
            ),
            (Kind::Connect, "application/connect+proto", plain.clone()),
        ] {
            for coded in [false, true] {
                let sent = if coded {
                    gzip(&content)
                } else {
                    content.clone()
                };
                let mut all = vec![("content-type", content_type), fields[0]];
                all.extend(coded.then_some(fields[1]));
                let (capture, _) = redact(&policy(), call(kind, &all, &sent), Level::Full);
                let messages = capture.messages_from_server();
                assert_eq!(messages.len(), 1, "{content_type} {coded}");
                assert_eq!(&*messages[0].bytes, b"\x0a\x1bBearer REDACTED");
                let body = capture.response_content().unwrap();
                assert!(body.bytes().is_empty() && body.as_sent().is_none());
            }
        }
    }

    #[test]
    fn trailers_in_a_body_are_masked_as_header_fields_are() {
        let block = b"grpc-status: 0\r\nx-my-token: SECRET-CANARY\r\ngrpc-message: Bearer%20SECRET-CANARY\r\n";
        let content = [framed(0, b"fine"), framed(0x80, block)].concat();
        let fields = [("content-type", "application/grpc-web+proto")];
        let (capture, hits) = redact(&policy(), call(Kind::Web, &fields, &content), Level::Full);
        let messages = capture.messages_from_server();
        assert_eq!(&*messages[0].bytes, b"fine");
        let want = "grpc-status: 0\r\nx-my-token: REDACTED\r\ngrpc-message: Bearer%20REDACTED\r\n";
        assert_eq!(String::from_utf8_lossy(&messages[1].bytes), want);
        assert!(!super::super::tests::leaks(&capture, &hits));
    }

    #[test]
    fn metadata_is_looked_into_as_it_was_meant() {
        use base64::Engine;
        let mut t = call(Kind::Grpc, &[("content-type", "application/grpc")], b"");
        let details = super::STANDARD.encode(b"\x08\x05Bearer SECRET-CANARY");
        t.response.as_mut().unwrap().trailers = headers(&[
            ("grpc-status", "16"),
            ("grpc-message", "no%20Bearer%20SECRET-CANARY-2"),
            ("grpc-status-details-bin", details.trim_end_matches('=')),
            ("trace-bin", "AAEC"),
        ]);
        for level in [Level::Summary, Level::Headers, Level::Full] {
            let (capture, _) = redact(&policy(), t.clone(), level);
            let said = capture.facts.grpc_message.as_deref();
            assert_eq!(said, Some("no Bearer REDACTED"));
            if level > Level::Summary {
                let trailers = &capture.transaction.response.as_ref().unwrap().trailers;
                let bin = trailers.get(b"grpc-status-details-bin");
                assert_eq!(bin, Some(&b"REDACTED"[..]));
                assert_eq!(trailers.get(b"trace-bin"), Some(&b"AAEC"[..]));
            }
        }
    }
}
