//! What of a message is left where bytes are missing, or where its direction ends.

use super::super::chunked::Chunked;
use super::super::{Ending, head};
use super::{Reader, State, Step};
use crate::transaction::{Message, Stamp};

/// What a gap did.
pub enum Gap {
    /// The framing covers it.
    Covered,
    /// It ended the message; with `true` it went on behind it.
    Done(Message, bool),
    /// The direction is out of step; what was read of a message.
    Lost(Option<Message>),
}

impl Reader {
    /// Steps over `len` bytes that are not to be seen.
    pub fn gap(&mut self, len: u64) -> Gap {
        self.step_over(len, None)
    }

    /// Steps over `len` bytes of content that the operation of `stamp` moved and nobody wants. Where they can't be
    /// content, something before them was lost.
    pub fn skip(&mut self, len: u64, stamp: Stamp) -> Gap {
        let content = match self.state {
            State::Length(rest) | State::Chunked(Chunked::Data(rest)) => len <= rest,
            State::UntilClose => true,
            _ => false,
        };
        self.step_over(len, Some(stamp).filter(|_| content))
    }

    /// `skipped`: the bytes are content that was left out on purpose.
    fn step_over(&mut self, len: u64, skipped: Option<Stamp>) -> Gap {
        match self.state {
            State::Opaque => Gap::Covered,
            State::UntilClose => {
                self.pass(len, skipped);
                Gap::Covered
            }
            State::Length(rest) => {
                self.pass(len.min(rest), skipped);
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
                self.pass(len, skipped);
                self.state = State::Chunked(match rest - len {
                    0 => Chunked::DataEnd,
                    rest => Chunked::Data(rest),
                });
                Gap::Covered
            }
            _ => {
                let mut message = self.abandon();
                if let Some(message) = message.as_mut() {
                    message.lose();
                }
                Gap::Lost(message)
            }
        }
    }

    fn pass(&mut self, len: u64, skipped: Option<Stamp>) {
        let Some(message) = self.message.as_mut() else {
            return;
        };
        message.add_wire(len);
        match skipped {
            Some(stamp) => {
                message.last = stamp;
                message.skip_content(len, self.limits);
            }
            None => message.miss_content(len),
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

    /// Content is announced, and nothing of it came.
    pub fn is_unsent(&self) -> bool {
        let awaits = match self.state {
            State::Length(rest) => rest > 0,
            State::Chunked(Chunked::Size) => self.text.is_empty(),
            _ => false,
        };
        let none = |m: &Message| m.request().is_some_and(|r| r.body.size() == 0);
        awaits && self.message().is_some_and(none)
    }

    /// The content will not come: the message is whole as it is.
    pub fn end_unsent(&mut self) -> Option<Message> {
        match self.done() {
            Step::Done(message) => Some(message),
            _ => None,
        }
    }
}
