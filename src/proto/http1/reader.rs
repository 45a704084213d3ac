//! The messages of one direction.
//!
//! Here is how they begin, up to the end of a head; [`body`] reads content, [`loss`] has what is left of a message where
//! bytes are missing or the direction ends.

mod body;
mod loss;

pub use loss::Gap;

use super::super::Piece;
use super::super::detect::{self, Kind, Start};
use super::chunked::Chunked;
use super::framing::{self, Framing};
use super::{HEAD_MAX, head};
use crate::transaction::Asked;
use crate::transaction::{BodyLimits, Content, Message, Stamp};

/// Memory for heads that is kept from one message to the next, in bytes.
const TEXT_KEPT: usize = 4096;

/// What [`Reader::feed`] came to.
pub enum Step {
    /// The piece is used up.
    More,
    /// A message begins. The caller decides when to feed on.
    Started(Kind),
    /// Its head is known: [`Reader::message`].
    Head,
    /// The message is whole.
    Done(Message),
    /// The direction is out of step; what was read of a message.
    Lost(Option<Message>),
}

#[derive(Clone, Copy)]
enum State {
    /// At a message's start line.
    Between,
    /// Out of step: a start line at the beginning of an operation ends it.
    Seek,
    Head(Kind),
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    /// Where the message ends can't be told.
    Doubtful,
    /// No longer HTTP.
    Opaque,
}

/// Reads one direction.
pub struct Reader {
    state: State,
    limits: BodyLimits,
    /// The only kind of message that this direction may carry, once that is known.
    pub expect: Option<Kind>,
    /// A message was seen: what follows it must be one too.
    proven: bool,
    /// The method that this response answers is not known, so its end is a guess.
    unsure: bool,
    /// A line or head that is not whole yet.
    text: Vec<u8>,
    /// Of `text`: bytes that need not be looked at again.
    searched: usize,
    first: Option<Stamp>,
    offset: Option<u64>,
    message: Option<Message>,
}

impl Reader {
    /// Other limits of bodies, from the next byte on.
    pub fn set_limits(&mut self, limits: BodyLimits) {
        self.limits = limits;
    }

    /// A reader at the beginning of a stream, or, with `late`, somewhere in it.
    pub fn new(limits: BodyLimits, late: bool) -> Self {
        Reader {
            state: if late { State::Seek } else { State::Between },
            limits,
            expect: None,
            proven: false,
            unsure: false,
            text: Vec::new(),
            searched: 0,
            first: None,
            offset: None,
            message: None,
        }
    }

    /// Reads on. `asked`: the request that a response answers.
    pub fn feed(&mut self, piece: &mut Piece<'_>, asked: Asked) -> Step {
        if self.unsure && self.message.is_some() && self.answered_early(piece) {
            return self.broken_off();
        }
        match self.state {
            State::Between => self.between(piece),
            State::Seek => self.seek(piece),
            State::Head(kind) => self.head(kind, piece, asked),
            State::Length(rest) => self.length(rest, piece),
            State::Chunked(at) => self.chunked(at, piece),
            State::UntilClose => self.until_close(piece),
            State::Doubtful => self.lost(piece),
            State::Opaque => {
                piece.take_all();
                Step::More
            }
        }
    }

    fn judge(&self, bytes: &[u8]) -> Start {
        match detect::start(bytes) {
            Start::Line(kind) if self.expect.is_some_and(|e| e != kind) => Start::No,
            Start::Partial if bytes.len() > HEAD_MAX => Start::No,
            start => start,
        }
    }

    fn begin(&mut self, kind: Kind) -> Step {
        self.state = State::Head(kind);
        self.proven = true;
        self.searched = 0;
        Step::Started(kind)
    }

    fn mark_first(&mut self, piece: &Piece<'_>) {
        self.first = Some(piece.stamp);
        self.offset = piece.offset;
    }

    /// Adds the piece to `text` up to the end of the line.
    fn take_line(&mut self, piece: &mut Piece<'_>) -> usize {
        let len = memchr::memchr(b'\n', piece.bytes).map_or(piece.bytes.len(), |at| at + 1);
        self.text.extend_from_slice(piece.take(len));
        len
    }

    fn between(&mut self, piece: &mut Piece<'_>) -> Step {
        let entry = *piece;
        if self.text.is_empty() {
            piece.take(blanks(piece.bytes));
            if piece.is_empty() {
                return Step::More;
            }
            self.mark_first(piece);
        } else {
            self.take_line(piece);
        }
        let start = match self.text.is_empty() {
            true => self.judge(piece.bytes),
            false => self.judge(&self.text),
        };
        match start {
            Start::Line(kind) => self.begin(kind),
            Start::Partial => {
                self.text.extend_from_slice(piece.take_all());
                Step::More
            }
            Start::No => self.garbage(piece, entry),
        }
    }

    /// Something else stands where a message should begin.
    fn garbage<'a>(&mut self, piece: &mut Piece<'a>, entry: Piece<'a>) -> Step {
        self.text.clear();
        self.state = State::Seek;
        if !self.proven {
            *piece = entry;
            // The other direction speaks HTTP: what stands here may have held messages.
            return match self.expect {
                Some(_) => Step::Lost(None),
                None => self.seek(piece),
            };
        }
        piece.take_all();
        Step::Lost(self.first.map(|first| Message {
            malformed: true,
            last: entry.stamp,
            ..Message::begin(first)
        }))
    }

    fn seek(&mut self, piece: &mut Piece<'_>) -> Step {
        if piece.is_empty() {
            return Step::More;
        }
        let op_start = piece.op_start;
        if op_start && self.text.is_empty() {
            piece.take(blanks(piece.bytes));
        }
        // Bytes may be missing in front, and the rest of a method looks like another one: only a common one is believed.
        let alone = match op_start && detect::may_be_common(piece.bytes) {
            true => self.judge(piece.bytes),
            false => Start::No,
        };
        if !self.text.is_empty() {
            let entry = *piece;
            self.take_line(piece);
            let common = detect::may_be_common(&self.text);
            match self.judge(&self.text) {
                Start::Line(kind) if common => return self.begin(kind),
                Start::Partial if common && !matches!(alone, Start::Line(_)) => return Step::More,
                _ => *piece = entry,
            }
            self.text.clear();
        }
        self.mark_first(piece);
        match alone {
            Start::Line(kind) => return self.begin(kind),
            Start::Partial => self.text.extend_from_slice(piece.bytes),
            Start::No => {}
        }
        piece.take_all();
        Step::More
    }

    fn head(&mut self, kind: Kind, piece: &mut Piece<'_>, asked: Asked) -> Step {
        let stamp = piece.stamp;
        if self.text.is_empty()
            && let Some(end) = head::end(piece.bytes, 0).filter(|end| *end <= HEAD_MAX)
        {
            let bytes = piece.take(end);
            return self.open(head::parse(kind, bytes), end, stamp, asked);
        }
        let before = self.text.len();
        let room = HEAD_MAX.saturating_sub(before).min(piece.bytes.len());
        self.text.extend_from_slice(&piece.bytes[..room]);
        match head::end(&self.text, self.searched) {
            Some(end) => {
                piece.take(end.saturating_sub(before));
                let parsed = head::parse(kind, &self.text[..end]);
                self.forget_text();
                self.open(parsed, end, stamp, asked)
            }
            None => {
                piece.take(room);
                self.searched = self.text.len();
                if self.text.len() < HEAD_MAX {
                    return Step::More;
                }
                self.too_long(kind, piece, asked)
            }
        }
    }

    fn too_long(&mut self, kind: Kind, piece: &mut Piece<'_>, asked: Asked) -> Step {
        let Some(parsed) = head::partial(kind, &self.text) else {
            return self.lost(piece);
        };
        let stamp = piece.stamp;
        self.forget_text();
        let malformed = head::Head {
            malformed: true,
            cut: true,
            ..parsed
        };
        self.open(malformed, HEAD_MAX, stamp, asked)
    }

    /// The head is there: decides how the body is read.
    fn open(&mut self, parsed: head::Head, len: usize, stamp: Stamp, asked: Asked) -> Step {
        let framing = match parsed.malformed {
            true => Framing::Doubtful,
            false => framing::of(&parsed.content, parsed.protocol, asked),
        };
        self.state = match framing {
            Framing::Length(n) => State::Length(n),
            Framing::Chunked => State::Chunked(Chunked::Size),
            Framing::UntilClose => State::UntilClose,
            Framing::Doubtful => State::Doubtful,
        };
        self.unsure = matches!(parsed.content, Content::Response(_)) && !asked.known;
        let mut message = self.head_message(parsed, stamp);
        message.malformed |= framing == Framing::Doubtful;
        message.add_wire(len as u64);
        self.message = Some(message);
        Step::Head
    }

    fn head_message(&self, mut parsed: head::Head, stamp: Stamp) -> Message {
        if let Content::Request(request) = &mut parsed.content {
            request.offset = self.offset;
        }
        let mut message = Message {
            protocol: parsed.protocol,
            malformed: parsed.malformed,
            headers_cut: parsed.cut,
            last: stamp,
            ..Message::begin(self.first.unwrap_or(stamp))
        };
        message.set_head(parsed.content);
        message
    }

    /// The message whose head was read last, until it ends.
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    fn done(&mut self) -> Step {
        self.state = State::Between;
        self.forget_text();
        match self.message.take() {
            Some(message) => Step::Done(message),
            None => Step::More,
        }
    }

    fn lost(&mut self, piece: &mut Piece<'_>) -> Step {
        piece.take_all();
        self.state = State::Seek;
        self.forget_text();
        Step::Lost(self.message.take())
    }

    fn forget_text(&mut self) {
        self.text.clear();
        self.text.shrink_to(TEXT_KEPT);
        self.searched = 0;
    }

    /// An operation that begins like a status line inside the guessed body of a response.
    fn answered_early(&self, piece: &Piece<'_>) -> bool {
        let body = matches!(
            self.state,
            State::Length(1..) | State::Chunked(_) | State::UntilClose
        );
        body && piece.op_start && detect::may_be_status_line(piece.bytes)
    }

    /// The guess was wrong: the message ended before.
    fn broken_off(&mut self) -> Step {
        if let Some(message) = self.message.as_mut() {
            message.lose();
        }
        self.done()
    }

    /// The direction is no longer HTTP.
    pub fn leave_http(&mut self) {
        self.state = State::Opaque;
        self.forget_text();
    }

    /// Whether it was told so.
    pub fn has_left_http(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    /// Bytes are missing here: the next message begins at a start line at the beginning of an operation.
    pub fn lose_step(&mut self) {
        if matches!(self.state, State::Between) {
            self.state = State::Seek;
            self.forget_text();
        }
    }

    /// The next byte is the first of a message.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between) && self.text.is_empty()
    }

    /// First byte of the message that began last.
    pub fn first(&self) -> Option<Stamp> {
        self.first
    }

    /// First byte of a message whose head is not whole yet.
    pub fn coming(&self) -> Option<Stamp> {
        let coming = match self.state {
            State::Head(_) => true,
            State::Between => !self.text.is_empty(),
            _ => false,
        };
        self.first.filter(|_| coming)
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.message.as_ref().map_or(0, Message::memory)
    }
}

/// Bytes of empty lines in front of a message: they are passed over (RFC 9112 §2.2).
fn blanks(bytes: &[u8]) -> usize {
    let blank = |b: &u8| matches!(b, b'\r' | b'\n');
    bytes.iter().take_while(|b| blank(b)).count()
}
