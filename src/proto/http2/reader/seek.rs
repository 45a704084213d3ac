//! How a boundary of frames is found in the middle of a connection.

use super::super::super::{Backlog, Held, Piece};
use super::super::frame::{HEADER, Header, kind};
use super::{PREFACE, Reader, State, Step};

impl Reader {
    /// Looks for a boundary in what came since the direction was lost.
    pub(super) fn seek<'a>(&mut self, piece: &mut Piece<'a>) -> Step<'a> {
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
            Held::Piece(piece) => {
                let fits = !piece.op_start || at == 0 || at == HEADER;
                at += piece.bytes.len();
                fits
            }
            Held::Gap(..) | Held::Skip(..) => false,
        })
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
