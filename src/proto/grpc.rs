//! gRPC over any body, gRPC-Web and Connect: messages counted, status read.
//!
//! Enters: pieces of a message's content in order, and gaps; header fields. Leaves: counts, and a status.
//! Holds: nothing of a message is copied; any cutting of the bytes gives the same; what breaks the framing, or a gap that
//! is not inside a message, ends the counting, which says so.
//!
//! Sources: gRPC over HTTP/2 and gRPC-Web, in the documents `PROTOCOL-HTTP2.md` and `PROTOCOL-WEB.md` of grpc; the
//! Connect protocol's own specification.

use crate::transaction::Headers;
pub use crate::transaction::grpc::{Code, Counts, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Length of a message's prefix, in bytes: flags, and the length in 32 bits.
const PREFIX: usize = 5;
/// A message is compressed.
const COMPRESSED: u8 = 1;
/// gRPC-Web: the message is the trailer section.
const TRAILERS: u8 = 0x80;
/// Connect: the message ends the stream and says how (`EndStreamResponse`).
const END_STREAM: u8 = 2;
/// Longest trailer section of gRPC-Web, or end of a Connect stream, that is read, in bytes.
const TRAILERS_MAX: usize = 16 * 1024;

/// `package.Service/Method` of a request target; None where it has not that form.
pub fn method(target: &[u8]) -> Option<&[u8]> {
    let path = target.split(|b| *b == b'?').next()?;
    let name = path.strip_prefix(b"/")?;
    let slash = memchr::memrchr(b'/', name)?;
    (slash > 0 && slash + 1 < name.len()).then_some(name)
}

/// Counts the messages of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct Messages {
    kind: Kind,
    state: State,
    /// Characters of a group of base64.
    group: ([u8; 4], usize),
    /// Where the group begins.
    group_at: u64,
    counts: Counts,
    trailers: Vec<u8>,
    /// Bytes of the body so far, as sent.
    seen: u64,
    /// Where the trailer section begins.
    trailers_at: Option<u64>,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    Prefix([u8; PREFIX], usize),
    Message { flags: u8, len: u32, rest: u32 },
    Over,
}

impl Messages {
    pub fn new(kind: Kind) -> Self {
        Messages {
            kind,
            state: State::Prefix([0; PREFIX], 0),
            group: ([0; 4], 0),
            group_at: 0,
            counts: Counts::default(),
            trailers: Vec::new(),
            seen: 0,
            trailers_at: None,
        }
    }

    /// How the messages are framed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.kind == Kind::WebText {
            self.feed_text(bytes);
        } else {
            self.read(bytes);
        }
    }

    fn feed_text(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.seen = self.seen.saturating_add(1);
            if byte.is_ascii_whitespace() {
                continue;
            }
            let (group, len) = &mut self.group;
            if *len == 0 {
                self.group_at = self.seen - 1;
            }
            group[*len % 4] = *byte;
            *len = (*len + 1) % 4;
            if *len > 0 {
                continue;
            }
            let mut plain = [0; 3];
            match STANDARD.decode_slice(*group, &mut plain) {
                Ok(n) => self.read(plain.get(..n).unwrap_or_default()),
                Err(_) => self.break_off(),
            }
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        let all = bytes.len();
        while !bytes.is_empty() {
            match &mut self.state {
                State::Over => break,
                State::Prefix(prefix, len) => {
                    if *len == 0 && bytes[0] & self.kind.end_flag() != 0 {
                        let before = (all - bytes.len()) as u64;
                        self.trailers_at = Some(match self.kind {
                            Kind::WebText => self.group_at,
                            _ => self.seen.saturating_add(before),
                        });
                    }
                    let take = (PREFIX - *len).min(bytes.len());
                    let (head, rest) = bytes.split_at(take);
                    prefix[*len..*len + take].copy_from_slice(head);
                    *len += take;
                    bytes = rest;
                    if *len == PREFIX {
                        let [flags, a, b, c, d] = *prefix;
                        self.begin(flags, u32::from_be_bytes([a, b, c, d]));
                    }
                }
                State::Message { flags, rest, .. } => {
                    let most = usize::try_from(*rest).unwrap_or(usize::MAX);
                    let (message, after) = bytes.split_at(most.min(bytes.len()));
                    // It is not longer than `rest`.
                    *rest -= message.len() as u32;
                    if *flags & self.kind.end_flag() != 0 {
                        let room = TRAILERS_MAX.saturating_sub(self.trailers.len());
                        let take = room.min(message.len());
                        self.trailers.extend_from_slice(&message[..take]);
                    }
                    bytes = after;
                    self.end();
                }
            }
        }
        if self.kind != Kind::WebText {
            self.seen = self.seen.saturating_add(all as u64);
        }
    }

    fn begin(&mut self, flags: u8, len: u32) {
        if flags & !(COMPRESSED | self.kind.end_flag()) != 0 {
            return self.break_off();
        }
        self.state = State::Message {
            flags,
            len,
            rest: len,
        };
        self.end();
    }

    fn break_off(&mut self) {
        if !matches!(self.state, State::Over) {
            self.counts.malformed = true;
        }
        self.state = State::Over;
    }

    /// Goes on to the next message where this one is whole.
    fn end(&mut self) {
        let State::Message {
            flags,
            len,
            rest: 0,
        } = self.state
        else {
            return;
        };
        self.state = State::Prefix([0; PREFIX], 0);
        if flags & self.kind.end_flag() != 0 {
            // A compressed end can't be read here.
            if flags & COMPRESSED != 0 {
                self.trailers.clear();
            }
            // Nothing follows the trailers.
            self.state = State::Over;
            return;
        }
        let counts = &mut self.counts;
        counts.messages += 1;
        counts.compressed += u64::from(flags & COMPRESSED);
        counts.size = counts.size.saturating_add(len.into());
        counts.longest = counts.longest.max(len.into());
    }

    /// Steps over `len` bytes of the body that are not to be seen. A message that ends among them is counted: its prefix
    /// said how long it is.
    pub fn gap(&mut self, len: u64) {
        self.seen = self.seen.saturating_add(len);
        let inside = match &mut self.state {
            State::Over => return,
            State::Message { flags, rest, .. }
                if self.kind != Kind::WebText && *flags & self.kind.end_flag() == 0 =>
            {
                let inside = len.min(u64::from(*rest));
                // It is not longer than `rest`.
                *rest -= inside as u32;
                inside
            }
            _ => 0,
        };
        self.end();
        if inside < len {
            self.counts.gap = true;
            self.state = State::Over;
        }
    }

    /// An unknown number of bytes is missing here.
    pub fn lose(&mut self) {
        self.gap(u64::MAX);
    }

    /// Offset in the body, as sent, from which on it holds the trailer section, or the end of a Connect stream. In base64
    /// it is that of the group of four with the section's first byte.
    pub fn trailers_at(&self) -> Option<u64> {
        self.trailers_at
    }

    /// The last message of a Connect stream; None: there was none.
    pub fn connect_end(&self) -> Option<ConnectEnd> {
        #[derive(serde::Deserialize)]
        struct End {
            error: Option<Error>,
            #[serde(default)]
            metadata: BTreeMap<String, Vec<String>>,
        }
        #[derive(serde::Deserialize)]
        struct Error {
            code: String,
        }
        if self.kind != Kind::Connect || self.trailers_at.is_none() {
            return None;
        }
        let Ok(end) = serde_json::from_slice::<End>(&self.trailers) else {
            return Some(ConnectEnd::default());
        };
        let mut metadata = Headers::default();
        for (name, values) in &end.metadata {
            for value in values {
                metadata.push(name.as_bytes(), value.as_bytes());
            }
        }
        Some(ConnectEnd {
            code: match end.error {
                Some(error) => Code::of_connect(&error.code),
                None => Some(Code::OK),
            },
            is_plain: metadata.is_empty(),
            metadata,
        })
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.trailers.capacity()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            partial: match self.state {
                State::Prefix(_, len) => len > 0,
                State::Message { .. } => true,
                State::Over => false,
            } || self.group.1 > 0,
            ..self.counts
        }
    }

    /// The trailers of gRPC-Web, as far as they were read; empty: none.
    pub fn trailers(&self) -> Headers {
        let mut headers = Headers::default();
        if self.kind == Kind::Connect {
            return headers;
        }
        for line in self.trailers.split(|b| *b == b'\n') {
            if let Some(colon) = memchr::memchr(b':', line) {
                headers.push(line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            }
        }
        headers
    }
}

/// What the last message of a Connect stream says (`EndStreamResponse`). All empty: it can't be read.
#[derive(Default)]
pub struct ConnectEnd {
    pub code: Option<Code>,
    /// Trailing metadata: header fields, by name.
    pub metadata: Headers,
    /// It has no header fields.
    pub is_plain: bool,
}

/// One message of a body that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub compressed: bool,
    /// The trailer section of gRPC-Web, or the end of a Connect stream.
    pub trailers: bool,
    /// Its length by its prefix, in bytes.
    pub len: u32,
    /// Shorter than `len` where the body was cut.
    pub bytes: &'a [u8],
}

/// The messages of (the beginning of) a body of [`Kind::Grpc`], [`Kind::Web`] or [`Kind::Connect`]. Ends at what is not
/// one.
pub fn split(body: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let ([flags, a, b, c, d], after) = rest.split_first_chunk::<PREFIX>()?;
        if flags & !(COMPRESSED | TRAILERS | END_STREAM) != 0 {
            return None;
        }
        let len = u32::from_be_bytes([*a, *b, *c, *d]);
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        let (bytes, next) = after.split_at(most.min(after.len()));
        rest = next;
        Some(Part {
            compressed: flags & COMPRESSED != 0,
            trailers: flags & (TRAILERS | END_STREAM) != 0,
            len,
            bytes,
        })
    })
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// `grpc-status`.
    pub code: Code,
    /// `grpc-message`, percent-decoded; empty: none. It may hold what users said.
    pub message: String,
}

impl Status {
    /// Of the trailers, else of the headers: a response that is trailers only has them there. None: it names no status.
    pub fn of(headers: &Headers, trailers: &Headers) -> Option<Status> {
        let from = [trailers, headers]
            .into_iter()
            .find(|h| h.get(b"grpc-status").is_some())?;
        let code = std::str::from_utf8(from.get(b"grpc-status")?).ok()?;
        Some(Status {
            code: Code(code.trim().parse().ok()?),
            message: message(from.get(b"grpc-message").unwrap_or_default()),
        })
    }

    /// The value of `rpc.response.status_code`: the code's name, else its number.
    pub fn name(&self) -> Cow<'static, str> {
        self.code.name()
    }
}

/// `grpc-message` as it was meant.
pub fn message(field: &[u8]) -> String {
    let message = percent_encoding::percent_decode(field);
    message.decode_utf8_lossy().into_owned()
}

/// Says the code alone.
impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Status({})", self.name())
    }
}

/// `grpc-timeout` in nanoseconds: up to 8 digits and a unit.
pub fn timeout(field: &[u8]) -> Option<u64> {
    let (unit, digits) = field.trim_ascii().split_last()?;
    let unit: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    if digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(number.saturating_mul(unit))
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
