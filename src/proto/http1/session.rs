//! Both directions of a connection that speaks HTTP/1.
//!
//! Here is how bytes go on; [`wait`] has how one direction waits for the other, [`ends`] how directions end, [`leave`]
//! how the connection leaves HTTP/1, [`refuse`] how a body stays away.

mod ends;
mod leave;
mod refuse;
mod wait;

pub use leave::Upgrade;

use super::super::backlog::Backlog;
use super::super::detect::Kind;
use super::super::{Ending, Piece, Sink, WAIT_NS, give, reason};
use super::reader::{Gap, Reader, Step};
use super::switch::{Socket, Switch};
use super::turns::Turns;
use super::{PIPELINE_MAX, framing};
use crate::event::{Dir, KernelTime};
use crate::telemetry::ledger::Lost;
use crate::transaction::pairing::Pairing;
use crate::transaction::{Asked, BodyLimits, Exchange, Lasting, Message, Request, Schedule, Stamp};
use wait::Waiting;

/// One direction.
struct Lane {
    reader: Reader,
    waiting: Waiting,
    /// Since when.
    since: KernelTime,
    backlog: Backlog,
    /// Nothing comes after the backlog.
    ended: bool,
    /// Bytes were lost before it was known what the direction carries.
    broken: bool,
}

impl Lane {
    fn new(limits: BodyLimits, late: bool) -> Self {
        Lane {
            reader: Reader::new(limits, late),
            waiting: Waiting::No,
            since: KernelTime(0),
            backlog: Backlog::default(),
            ended: false,
            broken: false,
        }
    }

    fn wait(&mut self, for_what: Waiting, since: KernelTime) {
        self.waiting = for_what;
        self.since = since;
    }
}

/// Reads both directions and pairs their messages.
pub struct Session {
    /// By [`Dir`].
    lanes: [Lane; 2],
    /// The direction of requests, once it is known.
    requests: Option<Dir>,
    pairing: Pairing,
    /// The request that HTTP/2 answers, and its interim responses.
    upgrade: Option<(Message, Vec<u16>, Option<Lasting>)>,
    limits: BodyLimits,
    /// What both directions are now.
    websocket: Option<Box<Socket>>,
    ordinal: u64,
    turns: Turns,
}

impl Session {
    /// Other limits of bodies, from the next byte on; a WebSocket keeps those that it began with.
    pub fn set_limits(&mut self, limits: BodyLimits) {
        self.limits = limits;
        for lane in &mut self.lanes {
            lane.reader.set_limits(limits);
        }
    }

    /// `late`: the stream was not seen from its beginning.
    pub fn new(limits: BodyLimits, late: bool) -> Self {
        Session {
            lanes: [Lane::new(limits, late), Lane::new(limits, late)],
            requests: None,
            pairing: match late {
                true => Pairing::late(),
                false => Pairing::default(),
            },
            upgrade: None,
            limits,
            websocket: None,
            ordinal: 0,
            turns: Turns::new(late),
        }
    }

    fn lane(&mut self, dir: Dir) -> &mut Lane {
        &mut self.lanes[dir as usize]
    }

    /// Some of what was before was left out because nobody wanted it: no turn of it is a loss.
    pub fn unwanted(&mut self) {
        self.turns.forget();
    }

    /// Counts what was lost behind the last exchange. `turn`: the connection's last one, where that is known.
    fn count_rest(&mut self, turn: u32, sink: &mut impl Sink) {
        let left = self.websocket.is_some() || self.lanes.iter().any(|l| l.reader.has_left_http());
        if self.requests.is_none() || left {
            return self.turns.forget();
        }
        let lost = self.turns.at_end(turn, self.pairing.is_pipelined());
        if lost > 0 {
            sink.lost(Lost::RingFull, lost);
        }
    }

    /// Bytes came.
    pub fn bytes(&mut self, dir: Dir, piece: Piece<'_>, sink: &mut impl Sink) {
        self.turns.saw(piece.stamp);
        if self.lane(dir).waiting == Waiting::No {
            self.run(dir, piece, sink);
        } else {
            self.lane(dir).backlog.push(piece);
            self.bound(dir, sink);
        }
        self.settle(sink);
    }

    /// `len` bytes are missing here. `stamp`: the last operation before them.
    pub fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.turns.gap(len);
        if self.lane(dir).waiting == Waiting::No {
            self.run_gap(dir, len, stamp, sink);
        } else {
            self.lane(dir).backlog.push_gap(len, stamp);
            self.bound(dir, sink);
        }
        self.settle(sink);
    }

    /// `len` bytes of content were left out here on purpose, by the operation of `stamp`.
    pub fn skip(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.turns.saw(stamp);
        if self.lane(dir).waiting == Waiting::No {
            self.run_skip(dir, len, stamp, sink);
        } else {
            self.lane(dir).backlog.push_skip(len, stamp);
            self.bound(dir, sink);
        }
        self.settle(sink);
    }

    /// Time passes: a response whose request does not come is given up waiting for, and pairs are no longer held.
    pub fn tick(&mut self, now: KernelTime, sink: &mut impl Sink) {
        self.give_up_waiting(now, sink);
        self.pairing.settle(now, WAIT_NS);
        self.settle(sink);
    }

    /// Tells of the transactions that are to report now.
    pub fn report(&mut self, schedule: &mut Schedule, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            return;
        };
        let reading = |dir: Dir| self.lanes[dir as usize].reader.message();
        let (request, response) = (reading(requests), reading(requests.other()));
        let ordinal = self.ordinal;
        let mut give = |exchange| sink.progress(exchange, requests, ordinal);
        self.pairing.report(schedule, request, response, &mut give);
        if let Some(exchange) = self.websocket.as_mut().and_then(|w| w.report(schedule)) {
            give(exchange);
        }
    }

    fn run(&mut self, dir: Dir, mut piece: Piece<'_>, sink: &mut impl Sink) {
        loop {
            if self.waits_for_refusal(dir, &piece)
                || self.must_wait(dir, piece.stamp, piece.is_empty())
            {
                self.lane(dir).backlog.push(piece);
                return;
            }
            if self.lane(dir).reader.has_left_http() {
                return self.follow(dir, piece);
            }
            let asked = match self.requests {
                Some(requests) if requests != dir => self.pairing.asked(),
                _ => Asked::default(),
            };
            match self.lane(dir).reader.feed(&mut piece, asked) {
                Step::More => return,
                Step::Started(kind) => self.started(dir, kind),
                Step::Head => self.head(dir),
                Step::Done(message) => self.done(dir, message, sink),
                Step::Lost(message) => self.lost(dir, message, sink),
            }
        }
    }

    fn run_gap(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        if self.must_wait(dir, stamp, false) {
            self.lane(dir).backlog.push_gap(len, stamp);
            return;
        }
        if self.lane(dir).reader.has_left_http() {
            return self.follow_gap(dir, len);
        }
        let gap = self.lane(dir).reader.gap(len);
        self.step_over(dir, gap, sink);
    }

    fn run_skip(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        if self.must_wait(dir, stamp, false) {
            self.lane(dir).backlog.push_skip(len, stamp);
            return;
        }
        if self.lane(dir).reader.has_left_http() {
            return self.follow_gap(dir, len);
        }
        let gap = self.lane(dir).reader.skip(len, stamp);
        self.step_over(dir, gap, sink);
    }

    /// Goes on behind bytes that were not there.
    fn step_over(&mut self, dir: Dir, gap: Gap, sink: &mut impl Sink) {
        match gap {
            Gap::Covered => {}
            Gap::Done(message, beyond) => {
                self.done(dir, message, sink);
                if self.lane(dir).reader.has_left_http() {
                    self.follow_gap(dir, u64::from(beyond));
                } else if beyond {
                    self.lane(dir).reader.lose_step();
                    self.lost(dir, None, sink);
                }
            }
            Gap::Lost(message) => self.lost(dir, message, sink),
        }
    }

    fn started(&mut self, dir: Dir, kind: Kind) {
        if self.requests.is_none() {
            let requests = if kind == Kind::Request {
                dir
            } else {
                dir.other()
            };
            self.requests = Some(requests);
            self.lane(requests).reader.expect = Some(Kind::Request);
            self.lane(requests.other()).reader.expect = Some(Kind::Response);
            if self.lane(requests).broken {
                self.pairing.lose_requests();
            }
            if self.lane(requests.other()).broken {
                self.pairing.lose_responses();
            }
        }
        if kind == Kind::Response {
            let lane = self.lane(dir);
            let since = lane.reader.first().map_or(KernelTime(0), |s| s.time);
            lane.wait(Waiting::Request, since);
            self.match_response(dir, false);
        }
    }

    fn head(&mut self, dir: Dir) {
        if self.requests != Some(dir) {
            return;
        }
        if let Some(message) = self.lanes[dir as usize].reader.message()
            && let Some(request) = message.request()
        {
            let asked = framing::asked(request);
            self.pairing
                .request_begins(message.first, message.protocol, asked);
        }
    }

    fn done(&mut self, dir: Dir, message: Message, sink: &mut impl Sink) {
        let Some(status) = message.status() else {
            self.pairing.request_ends(message);
            return;
        };
        if message.is_interim() {
            self.pairing.interim(status);
            return;
        }
        if status == 101 && self.pairing.asked().switches {
            self.pairing.prove();
            self.give_ended(sink);
        }
        if status == 101 && framing::switches_to_http2(&message) && self.upgrade(status) {
            return;
        }
        let asked = self.pairing.asked();
        let switch = Switch::of(&message, asked.connect);
        let guessed = message.gap && !asked.known;
        self.response_ends(message, sink);
        if guessed && self.pairing.waiting() > 1 {
            // What was taken for its content may have held responses to these.
            self.pairing.lose_responses();
        }
        match switch {
            Switch::No => return,
            Switch::Unknown => return self.look_again(sink),
            Switch::WebSocket { deflate } => {
                self.websocket = Some(Box::new(Socket::new(self.limits, deflate)));
            }
            Switch::Opaque => {}
        }
        self.lane(dir).reader.leave_http();
        self.lane(dir.other()).reader.leave_http();
    }

    fn response_ends(&mut self, message: Message, sink: &mut impl Sink) {
        let gap = message.gap;
        // A message without a head was not matched when it began.
        let matched = message.content.is_some() || self.pairing.waits_since(message.first.time);
        if !matched || !self.pairing.response_ends(message) {
            match reason(gap) {
                Lost::RingFull => self.turns.lost(),
                reason => sink.lost(reason, 1),
            }
        }
    }

    fn lost(&mut self, dir: Dir, message: Option<Message>, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            self.lane(dir).broken = true;
            return;
        };
        if requests == dir {
            if let Some(message) = message {
                self.pairing.request_ends(message);
            }
            self.pairing.lose_requests();
        } else {
            if let Some(message) = message {
                self.response_ends(message, sink);
            }
            self.pairing.lose_responses();
        }
    }

    /// Reads on what no longer has to wait, and gives the exchanges that ended.
    fn settle(&mut self, sink: &mut impl Sink) {
        while self.go_on(Dir::Read, sink) || self.go_on(Dir::Write, sink) {}
        self.give_ended(sink);
        if self.websocket.as_ref().is_some_and(|w| w.is_closed()) {
            self.end_websocket(Ending::Closed, sink);
        }
    }

    fn give_ended(&mut self, sink: &mut impl Sink) {
        while let Some(exchange) = self.pairing.pop_ended() {
            self.give_or_hold(exchange, sink);
        }
    }

    fn give(&mut self, exchange: Exchange, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            return;
        };
        if exchange.is_empty() && exchange.has_gap() {
            return self.turns.lost();
        }
        let lost = self.turns.before(&exchange, self.pairing.is_pipelined());
        if lost > 0 {
            sink.lost(Lost::RingFull, lost);
        }
        give(exchange, requests, &mut self.ordinal, false, sink);
    }

    /// A message was seen: the stream is HTTP/1.
    pub fn is_certain(&self) -> bool {
        self.requests.is_some()
    }

    /// The direction of requests, once it is known.
    pub fn requests(&self) -> Option<Dir> {
        self.requests
    }

    /// The only request that is open, when its head is read and its response has not begun.
    pub fn begun(&self) -> Option<(Stamp, &Request)> {
        let requests = self.requests?;
        let answer = &self.lanes[requests.other() as usize].reader;
        let answered = answer.message().is_some() || answer.coming().is_some();
        if answered || self.coming().is_some() {
            return None;
        }
        let coming = self.lanes[requests as usize].reader.message();
        let (first, message) = self.pairing.only(coming)?;
        Some((first, message.request()?))
    }

    /// A response waits for its request, or pairs are held: [`Session::tick`] is needed.
    pub fn is_waiting(&self) -> bool {
        self.pairing.is_held() || self.lanes.iter().any(|l| l.waiting == Waiting::Request)
    }

    /// More requests wait for their responses than are kept.
    pub fn is_over(&self) -> bool {
        self.pairing.len() > PIPELINE_MAX
    }

    /// Transactions that have begun and not ended, as far as their requests were seen.
    pub fn in_progress(&self) -> u64 {
        let websocket = self.websocket.as_ref().is_some_and(|w| w.is_open());
        self.pairing.len() as u64 + u64::from(self.coming().is_some()) + u64::from(websocket)
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let lane = |l: &Lane| l.reader.memory() + l.backlog.memory();
        let websocket = self.websocket.as_ref().map_or(0, |w| w.memory());
        let lanes = lane(&self.lanes[0]) + lane(&self.lanes[1]);
        size_of::<Self>() + lanes + self.pairing.memory() + websocket
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
