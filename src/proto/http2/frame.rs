//! The frames of one direction (RFC 9113 §4).

use super::super::{Backlog, Piece};
use super::{BLOCK_MAX, FRAME_MAX};
use crate::transaction::Stamp;

/// Bytes of a frame header.
pub const HEADER: usize = 9;
/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_MAX_FRAME_SIZE` before any setting (RFC 9113 §6.5.2).
const DEFAULT_MAX: u32 = 1 << 14;
/// Stream identifiers from here on are not believed where a boundary is looked for.
const STREAM_PLAUSIBLE: u32 = 1 << 24;

/// Frame types (RFC 9113 §6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    /// RFC 9218 §7.1.
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags of frames.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Bytes of payload.
    pub len: u32,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

impl Header {
    fn parse(bytes: [u8; HEADER]) -> (Header, bool) {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        let header = Header {
            len: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        };
        (header, s0 & 0x80 != 0)
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Bytes on the wire.
    pub fn wire(self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }

    /// Its length and stream are such as its type allows (RFC 9113 §6).
    fn is_valid(self) -> bool {
        let padding = u32::from(self.has(flag::PADDED));
        let priority = if self.has(flag::PRIORITY) { 5 } else { 0 };
        let on_stream = self.stream != 0;
        match self.kind {
            kind::DATA => on_stream && self.len >= padding,
            kind::HEADERS => on_stream && self.len >= padding + priority,
            kind::PRIORITY => on_stream && self.len == 5,
            kind::RST_STREAM => on_stream && self.len == 4,
            kind::SETTINGS => {
                !on_stream && self.len.is_multiple_of(6) && !(self.has(flag::ACK) && self.len > 0)
            }
            kind::PUSH_PROMISE => on_stream && self.len >= 4 + padding,
            kind::PING => !on_stream && self.len == 8,
            kind::GOAWAY => !on_stream && self.len >= 8,
            kind::WINDOW_UPDATE => self.len == 4,
            kind::CONTINUATION => on_stream,
            _ => true,
        }
    }

    /// A frame as peers send them: what a boundary is recognised by.
    fn is_plausible(self, max: u32) -> bool {
        let defined = match self.kind {
            kind::DATA => flag::END_STREAM | flag::PADDED,
            kind::HEADERS => flag::END_STREAM | flag::END_HEADERS | flag::PADDED | flag::PRIORITY,
            kind::SETTINGS | kind::PING => flag::ACK,
            kind::PUSH_PROMISE => flag::END_HEADERS | flag::PADDED,
            kind::CONTINUATION => flag::END_HEADERS,
            kind::PRIORITY..=kind::WINDOW_UPDATE | kind::PRIORITY_UPDATE => 0,
            _ => return false,
        };
        self.flags & !defined == 0
            && self.len <= max
            && self.stream < STREAM_PLAUSIBLE
            && self.is_valid()
    }

    fn is_kept(self) -> bool {
        let len = self.len as usize;
        match self.kind {
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => len <= BLOCK_MAX,
            kind::RST_STREAM | kind::SETTINGS | kind::GOAWAY => len <= FRAME_MAX,
            _ => false,
        }
    }
}

/// What [`Reader::feed`] came to.
pub enum Step<'a> {
    /// The piece is used up.
    More,
    /// The client's connection preface.
    Preface,
    /// Content of a DATA frame.
    Data(Header, &'a [u8]),
    /// A DATA frame is over.
    DataEnd(Header),
    /// Another frame; its payload is [`Reader::payload`].
    Frame(Header),
    /// A frame whose payload was not kept: of no use, too long, or not all seen.
    Skipped(Header),
    /// A boundary was found: read this first.
    Found(Backlog),
    /// These are no frames; the direction is out of step.
    Lost,
}

/// What a gap did.
#[derive(Debug, PartialEq, Eq)]
pub enum Gap {
    /// It lies in the payload of a frame; of the content of DATA this many bytes are missing.
    Inside(Header, u64),
    /// The direction is out of step.
    Lost,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// At the connection's first byte: the preface, or the server's settings.
    Start,
    /// So many bytes of the preface were seen.
    Preface(usize),
    /// Out of step, or never in it.
    Seek,
    Header,
    PadLength,
    Data {
        rest: u32,
        pad: u32,
    },
    Payload {
        rest: u32,
    },
    Skip {
        rest: u32,
    },
}

/// Reads one direction.
pub struct Reader {
    state: State,
    head: [u8; HEADER],
    head_len: usize,
    header: Header,
    payload: Vec<u8>,
    first: Option<Stamp>,
    held: Backlog,
    max: u32,
    known: bool,
}

impl Reader {
    /// A reader at the beginning of a connection, or, with `late`, somewhere in it.
    pub fn new(late: bool) -> Self {
        Reader {
            state: if late { State::Seek } else { State::Start },
            head: [0; HEADER],
            head_len: 0,
            header: Header::default(),
            payload: Vec::new(),
            first: None,
            held: Backlog::default(),
            max: DEFAULT_MAX,
            known: false,
        }
    }

    /// Frames were found.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Payload of the frame that was read last.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// First byte of the frame that is being read, or was read last.
    pub fn first(&self) -> Option<Stamp> {
        self.first
    }

    /// The receiver takes frames of `max` bytes.
    pub fn set_max(&mut self, max: u32) {
        self.max = max.clamp(DEFAULT_MAX, (1 << 24) - 1);
    }

    /// Reads on.
    pub fn feed<'a>(&mut self, piece: &mut Piece<'a>) -> Step<'a> {
        loop {
            let step = match self.state {
                State::Start => self.start(piece),
                State::Preface(seen) => self.preface(seen, piece),
                State::Seek => Some(self.seek(piece)),
                State::Header => self.header(piece),
                State::PadLength => self.pad_length(piece),
                State::Data { rest, pad } => Some(self.data(rest, pad, piece)),
                State::Payload { rest } => Some(self.kept(rest, piece)),
                State::Skip { rest } => Some(self.skip(rest, piece)),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn start<'a>(&mut self, piece: &mut Piece<'a>) -> Option<Step<'a>> {
        if piece.is_empty() {
            return Some(Step::More);
        }
        if self.head_len == 0 && piece.bytes.first() == Some(&b'P') {
            self.state = State::Preface(0);
            return None;
        }
        let header = match self.take_header(piece) {
            Some((header, false)) => header,
            Some((_, true)) => return Some(self.not_http2(piece)),
            None if self.head[..self.head_len].first() != Some(&0) => {
                return Some(self.not_http2(piece));
            }
            None => return Some(Step::More),
        };
        let settings = header.kind == kind::SETTINGS && header.is_plausible(DEFAULT_MAX);
        if !settings || header.flags != 0 {
            return Some(self.not_http2(piece));
        }
        self.known = true;
        self.open(header)
    }

    fn not_http2<'a>(&mut self, piece: &mut Piece<'a>) -> Step<'a> {
        self.lose();
        piece.take_all();
        Step::More
    }

    fn preface<'a>(&mut self, seen: usize, piece: &mut Piece<'a>) -> Option<Step<'a>> {
        if piece.is_empty() {
            return Some(Step::More);
        }
        let rest = PREFACE.get(seen..).unwrap_or(&[]);
        let taken = piece.take(rest.len());
        if !rest.starts_with(taken) {
            return Some(self.not_http2(piece));
        }
        if taken.len() < rest.len() {
            self.state = State::Preface(seen + taken.len());
            return Some(Step::More);
        }
        self.state = State::Header;
        self.known = true;
        Some(Step::Preface)
    }

    /// Adds to the header; true with one whose reserved bit is set.
    fn take_header(&mut self, piece: &mut Piece<'_>) -> Option<(Header, bool)> {
        if self.head_len == 0 && !piece.is_empty() {
            self.first = Some(piece.stamp);
        }
        let taken = piece.take(HEADER - self.head_len);
        self.head[self.head_len..][..taken.len()].copy_from_slice(taken);
        self.head_len += taken.len();
        if self.head_len < HEADER {
            return None;
        }
        self.head_len = 0;
        Some(Header::parse(self.head))
    }

    fn header<'a>(&mut self, piece: &mut Piece<'a>) -> Option<Step<'a>> {
        match self.take_header(piece) {
            Some((header, _)) => self.open(header),
            None => Some(Step::More),
        }
    }

    fn open<'a>(&mut self, header: Header) -> Option<Step<'a>> {
        self.header = header;
        self.payload.clear();
        if !header.is_valid() {
            self.lose();
            return Some(Step::Lost);
        }
        let rest = header.len;
        self.state = match header.kind {
            kind::DATA if header.has(flag::PADDED) => State::PadLength,
            kind::DATA => State::Data { rest, pad: 0 },
            _ if header.is_kept() => State::Payload { rest },
            _ => State::Skip { rest },
        };
        None
    }

    fn pad_length<'a>(&mut self, piece: &mut Piece<'a>) -> Option<Step<'a>> {
        let Some(pad) = piece.take(1).first().map(|b| u32::from(*b)) else {
            return Some(Step::More);
        };
        let rest = self.header.len.saturating_sub(1);
        if pad > rest {
            self.lose();
            return Some(Step::Lost);
        }
        self.state = State::Data { rest, pad };
        None
    }

    fn data<'a>(&mut self, rest: u32, pad: u32, piece: &mut Piece<'a>) -> Step<'a> {
        let content = rest.saturating_sub(pad);
        let bytes = piece.take(content as usize);
        let rest = rest - bytes.len() as u32;
        self.state = State::Data { rest, pad };
        if !bytes.is_empty() {
            return Step::Data(self.header, bytes);
        }
        let padding = if content == 0 { rest } else { 0 };
        let rest = rest - piece.take(padding as usize).len() as u32;
        self.state = State::Data {
            rest,
            pad: pad.min(rest),
        };
        if rest > 0 {
            return Step::More;
        }
        self.state = State::Header;
        Step::DataEnd(self.header)
    }

    fn kept<'a>(&mut self, rest: u32, piece: &mut Piece<'a>) -> Step<'a> {
        let bytes = piece.take(rest as usize);
        self.payload.extend_from_slice(bytes);
        let rest = rest - bytes.len() as u32;
        self.state = State::Payload { rest };
        if rest > 0 {
            return Step::More;
        }
        self.state = State::Header;
        Step::Frame(self.header)
    }

    fn skip<'a>(&mut self, rest: u32, piece: &mut Piece<'a>) -> Step<'a> {
        let rest = rest - piece.take(rest as usize).len() as u32;
        self.state = State::Skip { rest };
        if rest > 0 {
            return Step::More;
        }
        self.state = State::Header;
        Step::Skipped(self.header)
    }

    fn lose(&mut self) {
        self.state = State::Seek;
        self.head_len = 0;
        self.payload.clear();
        self.held = Backlog::default();
    }

    /// Steps over `len` bytes that are not to be seen. Feed on afterwards, also with nothing: the frame may be over.
    pub fn gap(&mut self, len: u64) -> Gap {
        let within = |rest: u32| u32::try_from(len).ok().filter(|len| *len <= rest);
        match self.state {
            State::Data { rest, pad } => {
                if let Some(len) = within(rest) {
                    let rest_after = rest - len;
                    let missing = len.min(rest.saturating_sub(pad));
                    self.state = State::Data {
                        rest: rest_after,
                        pad: pad.min(rest_after),
                    };
                    return Gap::Inside(self.header, missing.into());
                }
            }
            State::PadLength => {
                if let Some(len) = within(self.header.len).filter(|len| *len > 0) {
                    // How much of the rest is padding can't be told.
                    self.state = State::Data {
                        rest: self.header.len - len,
                        pad: 0,
                    };
                    return Gap::Inside(self.header, u64::from(len) - 1);
                }
            }
            State::Payload { rest } | State::Skip { rest } => {
                if let Some(len) = within(rest) {
                    self.state = State::Skip { rest: rest - len };
                    return Gap::Inside(self.header, 0);
                }
            }
            State::Start | State::Preface(_) | State::Seek | State::Header => {}
        }
        self.lose();
        Gap::Lost
    }

    fn seek<'a>(&mut self, piece: &mut Piece<'a>) -> Step<'a> {
        if piece.is_empty() || self.held.is_empty() && !piece.op_start {
            piece.take_all();
            return Step::More;
        }
        if piece.op_start && self.judge() == Judged::Ends {
            return Step::Found(self.found());
        }
        self.held.push(*piece);
        let mut judged = self.judge();
        if judged == Judged::No && piece.op_start && self.held.bytes().len() > piece.bytes.len() {
            self.held = Backlog::default();
            self.held.push(*piece);
            judged = self.judge();
        }
        piece.take_all();
        match judged {
            Judged::Yes => return Step::Found(self.found()),
            // A request often comes alone, and its answer before the next operation of its direction.
            Judged::Ends if self.held.bytes().get(3) != Some(&kind::DATA) => {
                return Step::Found(self.found());
            }
            Judged::No => self.held = Backlog::default(),
            Judged::Ends | Judged::Unclear if self.held.is_full() => self.held = Backlog::default(),
            Judged::Ends | Judged::Unclear => {}
        }
        Step::More
    }

    fn found(&mut self) -> Backlog {
        let preface = self.held.bytes().first() == Some(&b'P');
        self.state = if preface {
            State::Preface(0)
        } else {
            State::Header
        };
        self.known = true;
        std::mem::take(&mut self.held)
    }

    /// Nothing more comes: what was held back, where that is a whole frame.
    pub fn flush(&mut self) -> Option<Backlog> {
        (self.judge() == Judged::Ends).then(|| self.found())
    }

    fn judge(&self) -> Judged {
        let bytes = self.held.bytes();
        let preface = &PREFACE[..bytes.len().min(PREFACE.len())];
        if bytes.starts_with(preface) {
            return if preface.len() == PREFACE.len() {
                Judged::Yes
            } else {
                Judged::Unclear
            };
        }
        let Some(first) = plausible_at(bytes, 0, self.max) else {
            return if bytes.len() < HEADER && bytes[0] == 0 {
                Judged::Unclear
            } else {
                Judged::No
            };
        };
        let end = HEADER + first.len as usize;
        if bytes.len() >= end + HEADER {
            let second = plausible_at(bytes, end, self.max);
            return if second.is_some() {
                Judged::Yes
            } else {
                Judged::No
            };
        }
        if bytes.len() == end && first.len > 0 && self.held_in_one() {
            Judged::Ends
        } else {
            Judged::Unclear
        }
    }

    /// What is held was moved by one operation, or by one for the header and one for the payload.
    fn held_in_one(&self) -> bool {
        let mut at = 0;
        self.held.iter().all(|held| match held {
            super::super::Held::Piece(piece) => {
                let fits = !piece.op_start || at == 0 || at == HEADER;
                at += piece.bytes.len();
                fits
            }
            super::super::Held::Gap(..) | super::super::Held::Skip(..) => false,
        })
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        self.payload.capacity() + self.held.memory()
    }
}

/// What bytes are that may begin with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Two frame headers chain, or the preface is there.
    Yes,
    No,
    /// One whole frame, and the operation ends where it does.
    Ends,
    Unclear,
}

fn plausible_at(bytes: &[u8], at: usize, max: u32) -> Option<Header> {
    let bytes = bytes.get(at..at + HEADER)?;
    let (header, reserved) = Header::parse(bytes.try_into().ok()?);
    (!reserved && header.is_plausible(max)).then_some(header)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
