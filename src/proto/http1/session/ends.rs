//! How directions end, and the connection with them.

use super::super::super::{Backlog, Ending, Sink};
use super::{Session, Waiting};
use crate::event::Dir;

impl Session {
    /// Nothing more comes in this direction.
    pub fn end_of(&mut self, dir: Dir, sink: &mut impl Sink) {
        self.lane(dir).ended = true;
        self.end_lane(dir, sink);
        self.settle(sink);
    }

    /// The connection ends, or the agent does. `turn`: its last one, 0 where that is not known.
    pub fn end(&mut self, ending: Ending, turn: u32, sink: &mut impl Sink) {
        let requests = self.requests.unwrap_or(Dir::Write);
        // What is read here may be a tunnel's beginning, after which the directions have other parts: then twice.
        for dir in [requests, requests.other(), requests, requests.other()] {
            self.end_direction(dir, ending, sink);
            self.settle(sink);
        }
        let (unfinished, reset) = (ending == Ending::Unfinished, ending == Ending::Reset);
        while let Some(exchange) = self.pairing.pop_rest(unfinished, reset) {
            self.give_or_hold(exchange, sink);
        }
        let left = self.websocket.is_some();
        self.end_websocket(ending, sink);
        if !left {
            self.count_rest(turn, sink);
        }
    }

    fn end_direction(&mut self, dir: Dir, ending: Ending, sink: &mut impl Sink) {
        while self.lane(dir).waiting != Waiting::No {
            if self.lane(dir).waiting == Waiting::Request {
                self.match_response(dir, true);
            } else {
                if self.pairing.asked().connect {
                    // What was sent into a tunnel that nobody opened.
                    self.lane(dir).backlog = Backlog::default();
                }
                self.pairing.stay();
            }
            self.lane(dir).waiting = Waiting::No;
            self.drain(dir, sink);
        }
        self.end_message(dir, ending, sink);
    }

    /// What is left of the message that is being read.
    pub(super) fn end_message(&mut self, dir: Dir, ending: Ending, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            return;
        };
        match self.end_reader(dir, ending) {
            Some(message) if requests == dir => self.pairing.request_ends(message),
            Some(message) => self.response_ends(message, sink),
            None => {}
        }
    }

    /// Ends a direction, once its backlog is empty.
    pub(super) fn end_lane(&mut self, dir: Dir, sink: &mut impl Sink) {
        let lane = self.lane(dir);
        if lane.ended && lane.waiting == Waiting::No {
            self.end_message(dir, Ending::Closed, sink);
        }
    }
}
