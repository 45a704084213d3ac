//! Content of a message: by its length, until its direction ends, or in the chunked coding with its trailer section.

use super::super::super::Piece;
use super::super::chunked::{self, Chunked};
use super::super::{HEAD_MAX, head};
use super::{Reader, State, Step};

/// A line of the chunked coding.
enum Line {
    Partial,
    Whole(Chunked),
    /// The body's end.
    End,
    Malformed,
}

impl Reader {
    /// Takes content of at most `most` bytes.
    fn content(&mut self, piece: &mut Piece<'_>, most: u64) -> u64 {
        let stamp = piece.stamp;
        let bytes = piece.take(usize::try_from(most).unwrap_or(usize::MAX));
        if let Some(message) = self.message.as_mut().filter(|_| !bytes.is_empty()) {
            message.last = stamp;
            message.add_wire(bytes.len() as u64);
            message.push_content(bytes, self.limits);
        }
        bytes.len() as u64
    }

    pub(super) fn length(&mut self, rest: u64, piece: &mut Piece<'_>) -> Step {
        let rest = rest - self.content(piece, rest);
        self.state = State::Length(rest);
        if rest > 0 { Step::More } else { self.done() }
    }

    pub(super) fn until_close(&mut self, piece: &mut Piece<'_>) -> Step {
        self.content(piece, u64::MAX);
        Step::More
    }

    pub(super) fn chunked(&mut self, mut at: Chunked, piece: &mut Piece<'_>) -> Step {
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
            return match self.is_trailer_too_long(at) {
                true => self.cut_trailers(),
                false if chunked::plausible(at, &self.text) => Line::Partial,
                false => Line::Malformed,
            };
        }
        let line = match at {
            Chunked::Size => chunked::after_size(&self.text).map_or(Line::Malformed, Line::Whole),
            Chunked::DataEnd if matches!(&self.text[..], b"\n" | b"\r\n") => {
                Line::Whole(Chunked::Size)
            }
            Chunked::DataEnd | Chunked::Data(_) => Line::Malformed,
            Chunked::Trailer => return self.trailer_line(),
        };
        self.text.clear();
        line
    }

    fn is_trailer_too_long(&self, at: Chunked) -> bool {
        at == Chunked::Trailer && self.text.len() > HEAD_MAX
    }

    /// The trailer section is longer than is read: what follows it can't be found.
    fn cut_trailers(&mut self) -> Line {
        if let Some(message) = self.message.as_mut() {
            message.headers_cut = true;
        }
        Line::Malformed
    }

    /// The line that ends at the end of `text` is one of the trailer section, which `text` holds from its beginning.
    fn trailer_line(&mut self) -> Line {
        let empty = self.text[self.searched..].trim_ascii().is_empty();
        if self.is_trailer_too_long(Chunked::Trailer) {
            return self.cut_trailers();
        }
        if !empty {
            self.searched = self.text.len();
            return Line::Whole(Chunked::Trailer);
        }
        if self.searched > 0 {
            let trailers = head::trailers(&self.text);
            if let Some(message) = self.message.as_mut() {
                message.malformed |= trailers.malformed;
                message.headers_cut |= trailers.cut;
                message.set_trailers(trailers.headers);
            }
        }
        Line::End
    }
}
