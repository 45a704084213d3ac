//! Content codings (RFC 9110 §8.4.1) undone.
//!
//! Enters: the names of the codings and bytes of content, perhaps not all of them. Leaves: what the bytes stand for, as
//! far as it can be told, and where and why that ends.
//! Holds: no more than the limit comes out of any coding, windows are bounded, and any input is taken: what was decoded
//! before an end or a damage is kept.

mod gzip;
mod streams;
mod text;

pub use text::is_text;

use std::borrow::Cow;

/// Most codings of one content that are undone. More are a trick, not a use.
const CODINGS_MAX: usize = 4;

/// A coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952; `x-gzip` is the same (RFC 9110 §8.4.1.3).
    Gzip,
    /// zlib (RFC 1950), and also without its frame (RFC 1951), as some senders have it (RFC 9110 §8.4.1.2).
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, windows of at most 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn of(name: &[u8]) -> Option<Coding> {
        let is = |n: &str| name.eq_ignore_ascii_case(n.as_bytes());
        Some(match () {
            () if is("gzip") || is("x-gzip") => Coding::Gzip,
            () if is("deflate") => Coding::Deflate,
            () if is("br") => Coding::Brotli,
            () if is("zstd") => Coding::Zstd,
            () => return None,
        })
    }
}

/// Why decoding stopped before the content's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// More would come out than is kept.
    Limit,
    /// The coded bytes end before the coding does.
    InputEnds,
    /// The coded bytes break the coding, or something follows its end.
    Damaged,
    /// A coding that is not known here, or too many of them.
    Unknown,
}

impl Stop {
    /// The name that payloads carry.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Limit => "limit",
            Stop::InputEnds => "input_ends",
            Stop::Damaged => "damaged",
            Stop::Unknown => "unknown_coding",
        }
    }
}

/// Content as far as its codings could be undone.
#[derive(PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Not longer than the limit where any coding was undone.
    pub bytes: Cow<'a, [u8]>,
    /// What was undone, in the order in which it had been applied.
    pub undone: Vec<Coding>,
    /// None: this is all of it.
    pub stop: Option<Stop>,
}

impl Decoded<'_> {
    /// No coding is left: the bytes are (a prefix of) what the content type speaks of.
    pub fn is_plain(&self) -> bool {
        self.stop != Some(Stop::Unknown)
            && !(self.stop == Some(Stop::Damaged) && self.undone.is_empty())
    }
}

/// Undoes `codings`, which are in the order in which they were applied, as header fields have them; each item may be a
/// list. `identity`, empty items and the framing `chunked` count for nothing. At most `limit` bytes come out.
pub fn decode<'a, 'c>(
    codings: impl Iterator<Item = &'c [u8]>,
    content: &'a [u8],
    limit: usize,
) -> Decoded<'a> {
    let nothing = |name: &[u8]| {
        [&b""[..], b"identity", b"chunked"]
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n))
    };
    let items = codings
        .flat_map(|list| list.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !nothing(name));
    let mut left: Vec<Option<Coding>> = Vec::new();
    let mut too_many = false;
    for item in items {
        too_many |= left.len() == CODINGS_MAX;
        if too_many {
            break;
        }
        left.push(Coding::of(item));
    }
    let mut decoded = Decoded {
        bytes: Cow::Borrowed(content),
        undone: Vec::new(),
        stop: None,
    };
    // Without content there is nothing to undo (answers to HEAD, 304).
    if content.is_empty() {
        return decoded;
    }
    if too_many {
        decoded.stop = Some(Stop::Unknown);
        return decoded;
    }
    while let Some(coding) = left.pop() {
        let Some(coding) = coding else {
            decoded.stop = Some(Stop::Unknown);
            break;
        };
        let (bytes, stop) = undo(coding, &decoded.bytes, limit);
        if bytes.is_empty() && stop == Some(Stop::Damaged) {
            // The header is wrong: what is there stays.
            decoded.stop = stop;
            break;
        }
        decoded.bytes = Cow::Owned(bytes);
        decoded.undone.insert(0, coding);
        // The first reason is the cause of those that follow.
        decoded.stop = decoded.stop.or(stop);
    }
    decoded
}

fn undo(coding: Coding, bytes: &[u8], limit: usize) -> (Vec<u8>, Option<Stop>) {
    let mut out = Output::new(limit);
    let stop = match coding {
        Coding::Gzip => gzip::gzip(bytes, &mut out),
        Coding::Deflate => gzip::deflate(bytes, &mut out),
        Coding::Brotli => streams::brotli(bytes, &mut out),
        Coding::Zstd => streams::zstd(bytes, &mut out),
    };
    (out.bytes, stop)
}

/// Bytes that come out, within the limit.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

/// Room that is made at once, in bytes.
const STEP: usize = 16 * 1024;

impl Output {
    fn new(limit: usize) -> Self {
        Output {
            bytes: Vec::new(),
            limit,
        }
    }

    /// Gives `write` room for more bytes; it says how many it wrote. One byte of room is left beyond the limit, so that
    /// an exact fit is told from an overflow: [`Output::overflows`].
    fn write<T>(&mut self, write: impl FnOnce(&mut [u8]) -> (usize, T)) -> T {
        let len = self.bytes.len();
        let room = STEP
            .max(len)
            .min(self.limit.saturating_add(1).saturating_sub(len));
        self.bytes.resize(len + room, 0);
        let (written, result) = write(&mut self.bytes[len..]);
        self.bytes.truncate(len + written.min(room));
        result
    }

    /// There is more than the limit; the rest is cut off.
    fn overflows(&mut self) -> bool {
        let over = self.bytes.len() > self.limit;
        self.bytes.truncate(self.limit);
        over
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
