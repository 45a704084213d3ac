//! A connection that leaves HTTP/1: to HTTP/2, to a WebSocket, into a tunnel.

use super::super::super::websocket::From;
use super::super::super::{Backlog, Ending, Piece, Sink};
use super::super::reader::Reader;
use super::{Session, Waiting};
use crate::event::Dir;
use crate::transaction::pairing::Pairing;
use crate::transaction::{Exchange, Lasting, Message};

/// What a connection goes on with in HTTP/2 (RFC 7540 §3.2).
pub struct Upgrade {
    pub requests: Dir,
    /// The request that stream 1 answers.
    pub request: Message,
    pub interim: Vec<u16>,
    /// It reported progress.
    pub lasting: Option<Lasting>,
    /// Number of the next transaction on the connection.
    pub ordinal: u64,
    /// What came after HTTP/1, by [`Dir`].
    pub lanes: [Backlog; 2],
}

impl Session {
    /// Both directions begin anew.
    pub(super) fn look_again(&mut self, sink: &mut impl Sink) {
        // A request may be on its way still, where nobody asked for the switch.
        if let Some(requests) = self.requests {
            self.end_message(requests, Ending::Closed, sink);
        }
        self.give_ended(sink);
        while let Some(exchange) = self.pairing.pop_rest(false, false) {
            self.give(exchange, sink);
        }
        self.pairing = Pairing::default();
        self.turns.forget();
        self.requests = None;
        for lane in &mut self.lanes {
            lane.reader = Reader::new(self.limits, false);
            lane.broken = false;
        }
    }

    /// Who sends in this direction.
    fn from(&self, dir: Dir) -> From {
        match self.requests == Some(dir) {
            true => From::Client,
            false => From::Server,
        }
    }

    /// Takes bytes behind HTTP.
    pub(super) fn follow(&mut self, dir: Dir, piece: Piece<'_>) {
        let from = self.from(dir);
        if let Some(websocket) = &mut self.websocket {
            websocket.feed(from, piece);
        }
    }

    pub(super) fn follow_gap(&mut self, dir: Dir, len: u64) {
        let from = self.from(dir);
        if let Some(websocket) = self.websocket.as_mut().filter(|_| len > 0) {
            websocket.gap(from, len);
        }
    }

    pub(super) fn end_websocket(&mut self, ending: Ending, sink: &mut impl Sink) {
        if let Some(exchange) = self.websocket.take().and_then(|w| w.finish(ending)) {
            self.give(exchange, sink);
        }
    }

    /// Both directions go on in HTTP/2. False: nothing was asked that HTTP/2 could answer.
    pub(super) fn upgrade(&mut self, status: u16) -> bool {
        let Some((request, mut interim, lasting)) = self.pairing.hand_over() else {
            return false;
        };
        interim.push(status);
        self.upgrade = Some((request, interim, lasting));
        for lane in &mut self.lanes {
            lane.waiting = Waiting::Upgrade;
        }
        true
    }

    /// The server has switched to HTTP/2.
    pub fn has_upgrade(&self) -> bool {
        self.upgrade.is_some()
    }

    /// What HTTP/2 goes on with, once the server has switched to it. The session has nothing left then.
    pub fn take_upgrade(&mut self) -> Option<Upgrade> {
        let (request, interim, lasting) = self.upgrade.take()?;
        Some(Upgrade {
            requests: self.requests?,
            request,
            interim,
            lasting,
            ordinal: self.ordinal,
            lanes: self
                .lanes
                .each_mut()
                .map(|l| std::mem::take(&mut l.backlog)),
        })
    }

    /// The exchange that began a WebSocket ends with that.
    pub(super) fn give_or_hold(&mut self, exchange: Exchange, sink: &mut impl Sink) {
        let rest = match &mut self.websocket {
            Some(websocket) if exchange.status() == Some(101) => websocket.hold(exchange),
            _ => Some(exchange),
        };
        if let Some(exchange) = rest {
            self.give(exchange, sink);
        }
    }
}
