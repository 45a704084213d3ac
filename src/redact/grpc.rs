//! Messages of a call in bodies that were kept.
//!
//! Like bodies they are decoded when a sink asks ([`super::body`]), and this is the one place that sinks have them from.

use super::Capture;
use crate::proto::grpc::split;
use crate::transaction::Headers;
use crate::transaction::content::{self, Stop};
use crate::transaction::grpc::Kind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Messages of one direction that are shown at the most.
const SHOWN_MAX: usize = 10_000;

/// A message of a call as sinks may show it.
pub struct Message<'a> {
    /// It went over the wire compressed.
    pub compressed: bool,
    /// It is the last message of a Connect stream, which says how the call ended.
    pub is_end: bool,
    /// Length on the wire without prefix, in bytes.
    pub size: u64,
    /// What was kept of it, its coding undone as far as possible.
    pub bytes: Cow<'a, [u8]>,
    /// Not all of what went over the wire was kept.
    pub truncated: bool,
    /// The coding that was undone; None: none.
    pub encoding: Option<&'static str>,
    /// Why decoding ended early.
    pub stop: Option<Stop>,
    is_text: bool,
}

impl Message<'_> {
    /// The bytes, where the content type says that they are text, and no coding is left.
    pub fn text(&self) -> Option<&str> {
        let plain = self.is_text && (!self.compressed || self.encoding.is_some());
        std::str::from_utf8(&self.bytes).ok().filter(|_| plain)
    }
}

/// What the messages of one direction are read from.
struct Side<'a> {
    headers: &'a Headers,
    body: &'a [u8],
    is_text: bool,
}

impl Capture {
    /// Messages that the client sent, decoded now, as far as they were kept; empty below level full.
    pub fn messages_from_client(&self) -> Vec<Message<'_>> {
        let Some(request) = &self.transaction.request else {
            return Vec::new();
        };
        self.messages(Side {
            headers: &request.headers,
            body: request.body.bytes(),
            is_text: is_text(self.facts.request_content_type.as_deref()),
        })
    }

    /// Messages that the server sent, decoded now, as far as they were kept; empty below level full.
    pub fn messages_from_server(&self) -> Vec<Message<'_>> {
        let Some(response) = &self.transaction.response else {
            return Vec::new();
        };
        self.messages(Side {
            headers: &response.headers,
            body: response.body.bytes(),
            is_text: is_text(self.facts.response_content_type.as_deref()),
        })
    }

    fn messages<'a>(&self, side: Side<'a>) -> Vec<Message<'a>> {
        let call = self.transaction.grpc.as_ref();
        // The body may be framed in another way than the other side's, or not at all; or its type was not seen.
        let kind = match side.headers.get(b"content-type") {
            Some(content_type) => Kind::of(content_type),
            None => call.map(|c| c.kind),
        };
        let is_coded = |v: &[u8]| !v.is_empty() && !v.eq_ignore_ascii_case(b"identity");
        let coded = side.headers.get_all(b"content-encoding").any(is_coded);
        let Some(kind) = kind.filter(|_| !coded && call.is_some()) else {
            return Vec::new();
        };
        let name: &[u8] = match kind {
            Kind::Connect => b"connect-content-encoding",
            _ => b"grpc-encoding",
        };
        let coding = side.headers.get(name).unwrap_or_default();
        // What comes out of all messages together is bounded as one body is.
        let mut room = self.bodies.max_bytes;
        let messages: Vec<Message<'a>> = match kind {
            Kind::WebText => split(&from_text(side.body))
                .map(|part| message(&part, coding, &mut room, side.is_text).into_owned())
                .take(SHOWN_MAX)
                .collect(),
            _ => split(side.body)
                .map(|part| message(&part, coding, &mut room, side.is_text))
                .take(SHOWN_MAX)
                .collect(),
        };
        messages
    }
}

fn is_text(content_type: Option<&str>) -> bool {
    content_type.is_some_and(content::is_text)
}

fn message<'a>(
    part: &crate::proto::grpc::Part<'a>,
    coding: &[u8],
    room: &mut usize,
    is_text: bool,
) -> Message<'a> {
    let mut message = Message {
        compressed: part.compressed,
        is_end: part.trailers,
        size: part.len.into(),
        bytes: Cow::Borrowed(part.bytes),
        truncated: (part.bytes.len() as u64) < u64::from(part.len),
        encoding: None,
        stop: None,
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
    fn what_is_compressed_in_an_unknown_way_is_no_text() {
        let fields = [("content-type", "application/grpc+json")];
        let content = framed(1, b"abc");
        let (capture, _) = redact(&policy(), call(Kind::Grpc, &fields, &content), Level::Full);
        let messages = capture.messages_from_server();
        assert_eq!(
            (messages[0].text(), &*messages[0].bytes),
            (None, &b"abc"[..])
        );
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
}
