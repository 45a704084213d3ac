//! gRPC over any body, and gRPC-Web: messages counted, status read.
//!
//! Enters: pieces of a message's content in order, and gaps; header fields. Leaves: counts, and a status.
//! Holds: nothing of a message is copied; any cutting of the bytes gives the same; what breaks the framing, or a gap that
//! is not inside a message, ends the counting, which says so.
//!
//! Sources: gRPC over HTTP/2 and gRPC-Web, in the documents `PROTOCOL-HTTP2.md` and `PROTOCOL-WEB.md` of grpc.

use crate::transaction::Headers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Length of a message's prefix, in bytes: flags, and the length in 32 bits.
const PREFIX: usize = 5;
/// A message is compressed.
const COMPRESSED: u8 = 1;
/// gRPC-Web: the message is the trailer section.
const TRAILERS: u8 = 0x80;
/// Longest trailer section of gRPC-Web that is read, in bytes.
const TRAILERS_MAX: usize = 16 * 1024;

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Grpc,
    /// The trailers are the last message of the body.
    Web,
    /// The same in base64.
    WebText,
}

impl Kind {
    /// By the content type: `application/grpc`, `application/grpc-web+proto` and so on. None: not gRPC.
    pub fn of(content_type: &[u8]) -> Option<Kind> {
        let media = content_type.split(|b| *b == b';').next()?.trim_ascii();
        let base = media.split(|b| *b == b'+').next()?.to_ascii_lowercase();
        match &base[..] {
            b"application/grpc" => Some(Kind::Grpc),
            b"application/grpc-web" => Some(Kind::Web),
            b"application/grpc-web-text" => Some(Kind::WebText),
            _ => None,
        }
    }
}

/// `package.Service/Method` of a request target; None where it has not that form.
pub fn method(target: &[u8]) -> Option<&[u8]> {
    let path = target.split(|b| *b == b'?').next()?;
    let name = path.strip_prefix(b"/")?;
    let slash = memchr::memrchr(b'/', name)?;
    (slash > 0 && slash + 1 < name.len()).then_some(name)
}

/// Counts the messages of one direction.
pub struct Messages {
    kind: Kind,
    state: State,
    /// Characters of a group of base64.
    group: ([u8; 4], usize),
    counts: Counts,
    trailers: Vec<u8>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Whole messages.
    pub messages: u64,
    /// Of these: compressed ones.
    pub compressed: u64,
    /// Length of the whole messages as sent, without prefixes, in bytes.
    pub size: u64,
    /// Length of the longest.
    pub longest: u64,
    /// A message breaks off at the end.
    pub partial: bool,
    /// The framing breaks the rules: there may be more messages.
    pub malformed: bool,
    /// Bytes were lost where they matter: there may be more messages.
    pub gap: bool,
}

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
            counts: Counts::default(),
            trailers: Vec::new(),
        }
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.kind != Kind::WebText {
            return self.read(bytes);
        }
        for byte in bytes.iter().filter(|b| !b.is_ascii_whitespace()) {
            let (group, len) = &mut self.group;
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
        while !bytes.is_empty() {
            match &mut self.state {
                State::Over => return,
                State::Prefix(prefix, len) => {
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
                    if *flags & TRAILERS != 0 {
                        let room = TRAILERS_MAX.saturating_sub(self.trailers.len());
                        let take = room.min(message.len());
                        self.trailers.extend_from_slice(&message[..take]);
                    }
                    bytes = after;
                    self.end();
                }
            }
        }
    }

    fn begin(&mut self, flags: u8, len: u32) {
        let known = match self.kind {
            Kind::Grpc => COMPRESSED,
            Kind::Web | Kind::WebText => COMPRESSED | TRAILERS,
        };
        if flags & !known != 0 {
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
        if flags & TRAILERS != 0 {
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
        let inside = match &mut self.state {
            State::Over => return,
            State::Message { flags, rest, .. }
                if self.kind != Kind::WebText && *flags & TRAILERS == 0 =>
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
        for line in self.trailers.split(|b| *b == b'\n') {
            if let Some(colon) = memchr::memchr(b':', line) {
                headers.push(line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            }
        }
        headers
    }
}

/// One message of a body that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    pub compressed: bool,
    /// The trailer section of gRPC-Web.
    pub trailers: bool,
    /// Its length by its prefix, in bytes.
    pub len: u32,
    /// Shorter than `len` where the body was cut.
    pub bytes: &'a [u8],
}

/// The messages of (the beginning of) a body of [`Kind::Grpc`] or [`Kind::Web`]. Ends at what is not one.
pub fn split(body: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let ([flags, a, b, c, d], after) = rest.split_first_chunk::<PREFIX>()?;
        if flags & !(COMPRESSED | TRAILERS) != 0 {
            return None;
        }
        let len = u32::from_be_bytes([*a, *b, *c, *d]);
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        let (bytes, next) = after.split_at(most.min(after.len()));
        rest = next;
        Some(Part {
            compressed: flags & COMPRESSED != 0,
            trailers: flags & TRAILERS != 0,
            len,
            bytes,
        })
    })
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// `grpc-status`.
    pub code: u32,
    /// `grpc-message`, percent-decoded; empty: none. It may hold what users said.
    pub message: String,
}

/// Names of the status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Status {
    /// Of the trailers, else of the headers: a response that is trailers only has them there. None: it names no status.
    pub fn of(headers: &Headers, trailers: &Headers) -> Option<Status> {
        let from = [trailers, headers]
            .into_iter()
            .find(|h| h.get(b"grpc-status").is_some())?;
        let code = std::str::from_utf8(from.get(b"grpc-status")?).ok()?;
        let message = from.get(b"grpc-message").unwrap_or_default();
        let message = percent_encoding::percent_decode(message);
        Some(Status {
            code: code.trim().parse().ok()?,
            message: message.decode_utf8_lossy().into_owned(),
        })
    }

    /// The value of `rpc.response.status_code`: the code's name, else its number.
    pub fn name(&self) -> Cow<'static, str> {
        let known = usize::try_from(self.code).ok().and_then(|c| CODES.get(c));
        known.map_or_else(|| self.code.to_string().into(), |name| (*name).into())
    }
}

/// Says the code alone.
impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Status({})", self.name())
    }
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
