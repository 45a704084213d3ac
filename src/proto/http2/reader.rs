//! The frames of one direction (RFC 9113 §4).
//!
//! Here is how frames are read; [`seek`] finds their boundary where the direction is out of step, or never was in it.

mod seek;

use super::super::{Backlog, Piece};
use super::frame::{HEADER, Header, flag, kind};
use crate::transaction::Stamp;

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `SETTINGS_MAX_FRAME_SIZE` before any setting (RFC 9113 §6.5.2).
const DEFAULT_MAX: u32 = 1 << 14;

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

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        self.payload.capacity() + self.held.memory()
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
