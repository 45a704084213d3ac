//! How one direction waits for the other: its bytes are kept until it is known how to read them.

use super::super::super::backlog::Held;
use super::super::super::{Sink, WAIT_NS};
use super::Session;
use crate::event::{Dir, KernelTime};
use crate::transaction::Stamp;
use crate::transaction::pairing::Match;

/// What a direction waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    No,
    /// A response, for its request.
    Request,
    /// Bytes after a request that asks to leave HTTP, for its response.
    Switch,
    /// A request where a body should begin, for the response that may have refused the body.
    Refusal,
    /// Bytes of HTTP/2, for [`Session::take_upgrade`].
    Upgrade,
}

impl Session {
    /// A response whose request does not come is read without it.
    pub(super) fn give_up_waiting(&mut self, now: KernelTime, sink: &mut impl Sink) {
        let Some(responses) = self.requests.map(Dir::other) else {
            return;
        };
        let lane = self.lane(responses);
        let overdue = lane.waiting == Waiting::Request && now.since(lane.since) > WAIT_NS;
        if overdue && self.coming().is_none() {
            self.match_response(responses, true);
            self.drain(responses, sink);
        }
    }

    /// Whether this direction can't be read on before the other one is.
    pub(super) fn must_wait(&mut self, dir: Dir, stamp: Stamp, nothing_left: bool) -> bool {
        let may_switch = self.requests == Some(dir) && self.pairing.may_switch();
        let lane = self.lane(dir);
        if may_switch && !nothing_left && lane.waiting == Waiting::No && lane.reader.is_between() {
            lane.wait(Waiting::Switch, stamp.time);
        }
        lane.waiting != Waiting::No
    }

    /// Looks for the request of the response that begins in `dir`.
    pub(super) fn match_response(&mut self, dir: Dir, now_or_never: bool) {
        let coming = self.coming();
        if let Some(first) = self.lane(dir).reader.first()
            && let Match::Found(_) = self.pairing.response_begins(first, coming, now_or_never)
        {
            self.lane(dir).waiting = Waiting::No;
        }
    }

    /// When the request began whose head is being read.
    pub(super) fn coming(&self) -> Option<KernelTime> {
        let requests = self.requests?;
        let first = self.lanes[requests as usize].reader.coming()?;
        Some(first.time)
    }

    /// True: the direction had to wait and no longer has to.
    pub(super) fn go_on(&mut self, dir: Dir, sink: &mut impl Sink) -> bool {
        let may_switch = self.pairing.may_switch();
        let waiting = self.lane(dir).waiting;
        match waiting {
            Waiting::No | Waiting::Upgrade => return false,
            Waiting::Request => self.match_response(dir, false),
            Waiting::Switch if may_switch => {}
            Waiting::Refusal if !self.knows_refusal() => {}
            Waiting::Switch | Waiting::Refusal => self.lane(dir).waiting = Waiting::No,
        }
        let free = self.lane(dir).waiting == Waiting::No;
        if free {
            self.drain(dir, sink);
        }
        free
    }

    /// Reads what was kept while the direction waited.
    pub(super) fn drain(&mut self, dir: Dir, sink: &mut impl Sink) {
        if self.lane(dir).waiting != Waiting::No {
            return;
        }
        let backlog = std::mem::take(&mut self.lane(dir).backlog);
        for held in backlog.iter() {
            match held {
                Held::Piece(piece) => self.run(dir, piece, sink),
                Held::Gap(len, stamp) => self.run_gap(dir, len, stamp, sink),
                Held::Skip(len, stamp) => self.run_skip(dir, len, stamp, sink),
            }
        }
        self.end_lane(dir, sink);
    }

    /// Stops waiting where the backlog is as long as it may be.
    pub(super) fn bound(&mut self, dir: Dir, sink: &mut impl Sink) {
        if !self.lane(dir).backlog.is_full() {
            return;
        }
        match self.lane(dir).waiting {
            Waiting::No | Waiting::Upgrade => {}
            Waiting::Request => self.match_response(dir, true),
            Waiting::Switch | Waiting::Refusal => {
                self.pairing.stay();
                self.lane(dir).waiting = Waiting::No;
            }
        }
        self.drain(dir, sink);
    }
}
