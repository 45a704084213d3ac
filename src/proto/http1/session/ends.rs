//! How directions end, and the connection with them.

use super::super::super::{Backlog, Ending, Sink, other};
use super::{Session, Waiting};
use crate::event::Dir;

impl Session {
    /// Nothing more comes in this direction.
    pub fn end_of(&mut self, dir: Dir, sink: &mut impl Sink) {
        self.lane(dir).ending = Some(Ending::Closed);
        self.end_lane(dir, sink);
        self.settle(sink);
    }

    /// The connection ends, or the agent does.
    pub fn end(&mut self, ending: Ending, sink: &mut impl Sink) {
        if let Some(requests) = self.requests {
            self.end_requests(requests, ending, sink);
            self.settle(sink);
            self.end_responses(other(requests), ending, sink);
        }
        let (unfinished, reset) = (ending == Ending::Unfinished, ending == Ending::Reset);
        while let Some(exchange) = self.pairing.pop_rest(unfinished, reset) {
            self.give_or_hold(exchange, sink);
        }
        self.end_websocket(ending, sink);
    }

    fn end_requests(&mut self, dir: Dir, ending: Ending, sink: &mut impl Sink) {
        while self.lane(dir).waiting != Waiting::No {
            if self.pairing.asked().connect {
                // What was sent into a tunnel that nobody opened.
                self.lane(dir).backlog = Backlog::default();
            }
            self.pairing.stay();
            self.lane(dir).waiting = Waiting::No;
            self.drain(dir, sink);
        }
        if let Some(message) = self.end_reader(dir, ending) {
            self.pairing.request_ends(message);
        }
    }

    fn end_responses(&mut self, dir: Dir, ending: Ending, sink: &mut impl Sink) {
        while self.lane(dir).waiting != Waiting::No {
            self.match_response(dir, true);
            self.drain(dir, sink);
        }
        if let Some(message) = self.end_reader(dir, ending) {
            self.response_ends(message, sink);
        }
    }

    /// Ends a direction, once its backlog is empty.
    pub(super) fn end_lane(&mut self, dir: Dir, sink: &mut impl Sink) {
        let requests = self.requests == Some(dir);
        let lane = self.lane(dir);
        let Some(ending) = lane.ending.filter(|_| lane.waiting == Waiting::No) else {
            return;
        };
        match self.end_reader(dir, ending) {
            Some(message) if requests => self.pairing.request_ends(message),
            Some(message) => self.response_ends(message, sink),
            None => {}
        }
    }
}
