//! A request that announces a body, expects 100 (Continue) and gets a final response instead: the body may never come
//! (RFC 9110 §10.1.1). The request is whole without it, and on a connection that goes on the next one may follow at once.

use super::super::super::detect::{self, Kind, Start};
use super::super::super::{Ending, Piece};
use super::{Session, Waiting};
use crate::event::Dir;
use crate::transaction::Message;

impl Session {
    /// Whether the server refused the body that the newest request waits to send. None: it has not said yet.
    fn refusal(&self) -> Option<bool> {
        if let Some(known) = self.pairing.refused() {
            return Some(known);
        }
        let responses = self.requests.map(Dir::other)?;
        let coming = self.lanes[responses as usize].reader.message();
        let is_final = coming.and_then(Message::status).is_some_and(|s| s >= 200);
        (is_final && self.pairing.waiting() == 1).then_some(true)
    }

    /// The newest request waits for leave to send its body, and nothing of that came.
    fn holds_body_back(&self, dir: Dir) -> bool {
        self.requests == Some(dir)
            && self.pairing.may_refuse()
            && self.lanes[dir as usize].reader.is_unsent()
    }

    /// A request stands where a body should begin, after the server spoke: it is no body if that was a refusal.
    /// True: that has to be waited for. Ends the request in front where it is known.
    pub(super) fn waits_for_refusal(&mut self, dir: Dir, piece: &Piece<'_>) -> bool {
        if !piece.op_start || !self.holds_body_back(dir) {
            return false;
        }
        let reader = &self.lanes[dir as usize].reader;
        let answered = reader
            .message()
            .is_some_and(|m| piece.stamp.turn.wrapping_sub(m.last.turn) > 1);
        if !answered || !begins_request(piece.bytes) {
            return false;
        }
        match self.refusal() {
            Some(true) => {
                if let Some(mut message) = self.lane(dir).reader.end_unsent() {
                    if detect::start(piece.bytes) == Start::Partial {
                        // A body may begin like the part of a request line that is there.
                        message.lose();
                    }
                    self.pairing.request_ends(message);
                }
                false
            }
            Some(false) => false,
            None => {
                let since = piece.stamp.time;
                self.lane(dir).wait(Waiting::Refusal, since);
                true
            }
        }
    }

    /// The answer that a direction waits for is known.
    pub(super) fn knows_refusal(&self) -> bool {
        self.refusal().is_some()
    }

    /// What is left of a message where its direction ends.
    pub(super) fn end_reader(&mut self, dir: Dir, ending: Ending) -> Option<Message> {
        if self.holds_body_back(dir) && self.refusal() == Some(true) {
            return self.lane(dir).reader.end_unsent();
        }
        self.lane(dir).reader.end(ending)
    }
}

/// A request line, or what of a common one is there so far.
fn begins_request(bytes: &[u8]) -> bool {
    match detect::start(bytes) {
        Start::Line(kind) => kind == Kind::Request,
        Start::Partial => detect::may_be_common(bytes),
        Start::No => false,
    }
}

#[cfg(test)]
#[path = "refuse_tests.rs"]
mod tests;
