//! The messages of one direction.

use super::super::Piece;
use super::super::detect::{self, Kind, Start};
use super::chunked::{self, Chunked};
use super::framing::{self, Framing};
use super::{Ending, HEAD_MAX, head};
use crate::transaction::pairing::Asked;
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

/// What a gap did.
pub enum Gap {
    /// The framing covers it.
    Covered,
    /// It ended the message; with `true` it went on behind it.
    Done(Message, bool),
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
    /// No longer HTTP: counted only.
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
    opaque: u64,
}

impl Reader {
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
            opaque: 0,
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
                self.opaque += piece.take_all().len() as u64;
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
            return self.seek(piece);
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
        Message {
            protocol: parsed.protocol,
            malformed: parsed.malformed,
            content: Some(parsed.content),
            last: stamp,
            ..Message::begin(self.first.unwrap_or(stamp))
        }
    }

    /// The message whose head was read last, until it ends.
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// Takes content of at most `most` bytes.
    fn content(&mut self, piece: &mut Piece<'_>, most: u64) -> u64 {
        let stamp = piece.stamp;
        let bytes = piece.take(usize::try_from(most).unwrap_or(usize::MAX));
        if let Some(message) = self.message.as_mut().filter(|_| !bytes.is_empty()) {
            message.last = stamp;
            message.add_wire(bytes.len() as u64);
            if let Some(body) = message.body_mut() {
                body.push(bytes, self.limits);
            }
        }
        bytes.len() as u64
    }

    fn length(&mut self, rest: u64, piece: &mut Piece<'_>) -> Step {
        let rest = rest - self.content(piece, rest);
        self.state = State::Length(rest);
        if rest > 0 { Step::More } else { self.done() }
    }

    fn until_close(&mut self, piece: &mut Piece<'_>) -> Step {
        self.content(piece, u64::MAX);
        Step::More
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

    fn chunked(&mut self, mut at: Chunked, piece: &mut Piece<'_>) -> Step {
        while !piece.is_empty() {
            if let Chunked::Data(rest) = at {
                let rest = rest - self.content(piece, rest);
                at = match rest {
                    0 => Chunked::DataEnd,
                    rest => Chunked::Data(rest),
                };
            } else {
                match self.coding_line(at, piece) {
                    Line::Partial => {}
                    Line::Whole(next) => at = next,
                    Line::End => return self.done(),
                    Line::Malformed => return self.malformed(piece),
                }
            }
            self.state = State::Chunked(at);
        }
        Step::More
    }

    fn malformed(&mut self, piece: &mut Piece<'_>) -> Step {
        if let Some(message) = self.message.as_mut() {
            message.malformed = true;
        }
        self.lost(piece)
    }

    /// Reads a line of the chunked coding.
    fn coding_line(&mut self, at: Chunked, piece: &mut Piece<'_>) -> Line {
        let stamp = piece.stamp;
        let taken = self.take_line(piece);
        if let Some(message) = self.message.as_mut() {
            message.last = stamp;
            message.add_wire(taken as u64);
        }
        if self.text.last() != Some(&b'\n') {
            let fits = chunked::plausible(at, &self.text) && self.text.len() <= HEAD_MAX;
            return if fits { Line::Partial } else { Line::Malformed };
        }
        let line = match at {
            Chunked::Size => chunked::after_size(&self.text).map_or(Line::Malformed, Line::Whole),
            Chunked::DataEnd if self.text.trim_ascii().is_empty() => Line::Whole(Chunked::Size),
            Chunked::DataEnd | Chunked::Data(_) => Line::Malformed,
            Chunked::Trailer => return self.trailer_line(),
        };
        self.text.clear();
        line
    }

    /// The line that ends at the end of `text` is one of the trailer section, which `text` holds from its beginning.
    fn trailer_line(&mut self) -> Line {
        let empty = self.text[self.searched..].trim_ascii().is_empty();
        if self.text.len() > HEAD_MAX {
            return Line::Malformed;
        }
        if !empty {
            self.searched = self.text.len();
            return Line::Whole(Chunked::Trailer);
        }
        if self.searched > 0 {
            let (trailers, malformed) = head::trailers(&self.text);
            if let Some(message) = self.message.as_mut() {
                message.malformed |= malformed;
                message.set_trailers(trailers);
            }
        }
        Line::End
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
            message.gap = true;
        }
        self.done()
    }

    /// Steps over `len` bytes that are not to be seen.
    pub fn gap(&mut self, len: u64) -> Gap {
        match self.state {
            State::Opaque => {
                self.opaque = self.opaque.saturating_add(len);
                Gap::Covered
            }
            State::UntilClose => {
                self.missing(len);
                Gap::Covered
            }
            State::Length(rest) => {
                self.missing(len.min(rest));
                self.state = State::Length(rest - len.min(rest));
                if len < rest {
                    return Gap::Covered;
                }
                let Step::Done(message) = self.done() else {
                    return Gap::Lost(None);
                };
                if len > rest {
                    self.state = State::Seek;
                }
                Gap::Done(message, len > rest)
            }
            State::Chunked(Chunked::Data(rest)) if len <= rest => {
                self.missing(len);
                self.state = State::Chunked(match rest - len {
                    0 => Chunked::DataEnd,
                    rest => Chunked::Data(rest),
                });
                Gap::Covered
            }
            _ => Gap::Lost(self.abandon().map(|m| Message { gap: true, ..m })),
        }
    }

    fn missing(&mut self, len: u64) {
        if let Some(message) = self.message.as_mut() {
            message.gap = true;
            message.add_wire(len);
            if let Some(body) = message.body_mut() {
                body.push_missing(len);
            }
        }
    }

    /// Gives up the message that is being read: what there is of it. The direction is out of step then.
    fn abandon(&mut self) -> Option<Message> {
        let partial = match (self.state, self.first) {
            (State::Head(kind), Some(first)) => Some(match head::partial(kind, &self.text) {
                Some(parsed) => {
                    let mut message = self.head_message(parsed, first);
                    message.add_wire(self.text.len() as u64);
                    message
                }
                None => Message::begin(first),
            }),
            (State::Between, Some(first)) if self.proven && !self.text.is_empty() => {
                Some(Message::begin(first))
            }
            _ => self.message.take(),
        };
        self.state = State::Seek;
        self.forget_text();
        partial
    }

    /// The direction ends: the message that was being read. Only a body that ends with its direction is whole then.
    pub fn end(&mut self, ending: Ending) -> Option<Message> {
        let whole = matches!(self.state, State::UntilClose) && ending == Ending::Closed;
        let message = self.abandon()?;
        Some(Message {
            cut: !whole && ending != Ending::Unfinished,
            reset: ending == Ending::Reset,
            unfinished: ending == Ending::Unfinished,
            ..message
        })
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

/// A line of the chunked coding.
enum Line {
    Partial,
    Whole(Chunked),
    /// The body's end.
    End,
    Malformed,
}
