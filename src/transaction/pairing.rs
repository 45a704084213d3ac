//! Pairing of requests with responses that come in the order of the requests (RFC 9112 §9.3.2).
//!
//! Enters: messages of both directions, whole or marked, in the order of each direction.
//! Leaves: exchanges in the order of the requests.
//! Holds: the two directions may arrive in any order against each other, since the kernel reports a write when the call
//! returns: a response is paired only with a request that began before it. Where lost bytes leave the pair in doubt,
//! it comes out marked. On a connection that is met in its middle, older requests may still wait for responses: pairs
//! are held until it is clear that none did, else they come out as two marked halves.

use super::exchange::{Asked, Exchange, INTERIM_MAX};
use super::{Lasting, Mark, Message, Protocol, Schedule, Stamp};
use crate::event::KernelTime;
use std::collections::VecDeque;

/// Pairs in doubt that are held at the most; more come out as halves.
const DOUBTFUL_MAX: usize = 32;

/// What a response belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// To the first exchange without a response, which may be one made for it because no request was seen.
    Found(Asked),
    /// Its request may still come.
    Wait,
}

/// The exchanges of one connection that have not ended.
#[derive(Default)]
pub struct Pairing {
    open: VecDeque<Exchange>,
    /// Turn of the last byte of the newest request.
    newest_turn: Option<u32>,
    /// A request was sent before the response to the one before it: after a loss, order alone proves nothing here.
    pipelined: bool,
    /// Requests were lost at some time. With pipelining nobody can tell any more which response is whose.
    lossy: bool,
    /// An unknown number of requests, or of responses, was lost since the last one that was seen.
    requests_lost: bool,
    responses_lost: bool,
    /// Requests that were not seen may wait for responses.
    doubt: bool,
    /// A request was sent when every one that was seen had its response: what was in doubt is proven, unless a response
    /// that came before it is still to be read.
    all_answered: bool,
    /// Last byte of the last response.
    answered: Option<KernelTime>,
}

impl Pairing {
    /// Of a connection that is met in its middle.
    pub fn late() -> Self {
        Pairing {
            doubt: true,
            ..Pairing::default()
        }
    }

    /// A request's head is known. `asked`: what its response's framing needs.
    pub fn request_begins(&mut self, first: Stamp, protocol: Protocol, asked: Asked) {
        self.pipelined |= self.newest_turn == Some(first.turn);
        self.newest_turn = Some(first.turn);
        self.all_answered = self.answered.is_some_and(|end| end < first.time)
            && self.open.iter().all(|e| e.response_done);
        let mut exchange = Exchange::begin(first, protocol, asked);
        if self.requests_lost || self.lossy && self.pipelined {
            exchange.marks.set(Mark::RequestGap);
        }
        self.lossy |= self.requests_lost;
        self.requests_lost = false;
        self.open.push_back(exchange);
    }

    /// A request ended, whole or not. Where no head was announced it becomes an exchange of its own.
    pub fn request_ends(&mut self, message: Message) {
        if !self.open.iter().any(|e| !e.request_done) {
            self.request_begins(message.first, message.protocol, Asked::default());
        }
        self.newest_turn = Some(message.last.turn);
        if let Some(exchange) = self.open.iter_mut().rev().find(|e| !e.request_done) {
            exchange.set_request(message);
        }
    }

    /// An unknown number of requests may have been lost.
    pub fn lose_requests(&mut self) {
        self.requests_lost = true;
    }

    /// An unknown number of responses may have been lost.
    pub fn lose_responses(&mut self) {
        self.responses_lost = true;
        self.disprove();
    }

    /// A request that asks to leave HTTP got its answer: these two belong together, and all before them.
    pub fn prove(&mut self) {
        self.doubt = false;
    }

    /// Pairs that are held belong to other requests or responses than they seemed to.
    fn disprove(&mut self) {
        self.all_answered = false;
        if self.doubt {
            self.open = self.open.drain(..).flat_map(Exchange::split).collect();
        }
    }

    /// Pairs are held until [`Pairing::settle`] or what comes next decides on them.
    pub fn is_held(&self) -> bool {
        self.doubt && self.open.iter().any(|e| e.response_done)
    }

    /// No response came any more that would show the pairs to be wrong. `now`: the time, as far as the stream knows it.
    pub fn settle(&mut self, now: KernelTime, wait_ns: u64) {
        let quiet = self.answered.is_some_and(|end| now.since(end) > wait_ns);
        if quiet && self.open.iter().all(|e| e.response_done) {
            self.doubt = false;
        }
    }

    /// The first exchange without a whole response: what the next response belongs to.
    fn unanswered(&self) -> Option<&Exchange> {
        self.open.iter().find(|e| !e.response_done)
    }

    /// Finds the request of a response that begins at `first`. `coming`: when a request began whose head is not read yet.
    /// With `now_or_never` it does not wait.
    pub fn response_begins(
        &mut self,
        first: Stamp,
        coming: Option<KernelTime>,
        now_or_never: bool,
    ) -> Match {
        if self.responses_lost && !self.pass_over_lost(first, now_or_never) {
            return Match::Wait;
        }
        match self.unanswered() {
            Some(e) if e.first.time <= first.time => Match::Found(e.asked),
            None if !now_or_never && coming.is_none_or(|t| t <= first.time) => Match::Wait,
            _ => Match::Found(self.orphan(first)),
        }
    }

    /// Makes an exchange for a response without a request.
    fn orphan(&mut self, first: Stamp) -> Asked {
        self.disprove();
        let mut exchange = Exchange::begin(first, Protocol::Http11, Asked::default());
        exchange.request_done = true;
        exchange.marks.set(Mark::RequestMissing);
        if self.responses_lost {
            exchange.marks.set(Mark::ResponseGap);
        }
        let at = self.open.iter().position(|e| !e.response_done);
        self.open.insert(at.unwrap_or(self.open.len()), exchange);
        Asked::default()
    }

    /// After lost responses: a response that comes one turn after the newest request answers it, where nothing is
    /// pipelined, and the requests in front of that have lost their responses. Else nothing is sure, and all requests
    /// before the response are given up. False: a request that explains the response may still come.
    fn pass_over_lost(&mut self, first: Stamp, now_or_never: bool) -> bool {
        let waiting = |e: &Exchange| !e.response_done && e.first.time <= first.time;
        let Some(newest) = self.open.iter().rposition(waiting) else {
            return true;
        };
        let sure = !self.pipelined && self.open[newest].is_answered_in(first.turn);
        if !sure && !self.pipelined && !now_or_never {
            return false;
        }
        for (i, exchange) in self.open.iter_mut().enumerate() {
            if !waiting(exchange) {
                continue;
            }
            exchange.marks.set(Mark::ResponseGap);
            if i < newest || !sure {
                exchange.marks.set(Mark::ResponseMissing);
                exchange.response_done = true;
            }
        }
        // An exchange found for sure ends the doubt.
        self.responses_lost = !sure;
        true
    }

    /// What is known of the request of the response that is being read.
    pub fn asked(&self) -> Asked {
        self.unanswered().map_or(Asked::default(), |e| e.asked)
    }

    /// An interim response (1xx) was read.
    pub fn interim(&mut self, status: u16) {
        let next = self.open.iter_mut().find(|e| !e.response_done);
        if let Some(exchange) = next.filter(|e| e.interim.len() < INTERIM_MAX) {
            exchange.interim.push(status);
        }
    }

    /// The response that was being read ended, whole or not. False: there is no exchange for it.
    #[must_use]
    pub fn response_ends(&mut self, message: Message) -> bool {
        let end = message.last.time;
        self.answered = Some(end);
        let mut waiting = self.open.iter_mut().filter(|e| !e.response_done);
        let Some(exchange) = waiting.next() else {
            return false;
        };
        exchange.set_response(message);
        // A request that began before this response ended was pipelined.
        self.pipelined |= waiting.any(|e| e.first.time < end);
        if self.open.iter().filter(|e| e.response_done).count() > DOUBTFUL_MAX {
            self.disprove();
        }
        true
    }

    /// The newest request asks to leave HTTP, and its response is not known.
    pub fn may_switch(&self) -> bool {
        self.open
            .back()
            .is_some_and(|e| e.asked.switches && e.request_done && !e.response_done)
    }

    /// The newest request is not believed to leave HTTP, or to keep its body back.
    pub fn stay(&mut self) {
        if let Some(exchange) = self.open.back_mut() {
            exchange.asked.switches = false;
            exchange.asked.expects = false;
        }
    }

    /// The newest request is not whole, and waits for 100 (Continue).
    pub fn may_refuse(&self) -> bool {
        self.open
            .back()
            .is_some_and(|e| e.asked.expects && !e.request_done)
    }

    /// The final response to the newest request came without 100 (Continue) before it; false: 100 came. None: neither.
    pub fn refused(&self) -> Option<bool> {
        let newest = self.open.back()?;
        let continued = newest.interim.contains(&100);
        (continued || newest.response_done).then_some(!continued)
    }

    /// The only exchange that is open, and its request, which is `coming` where it is not whole.
    pub fn only<'a>(&'a self, coming: Option<&'a Message>) -> Option<(Stamp, &'a Message)> {
        let exchange = self
            .open
            .front()
            .filter(|e| self.open.len() == 1 && !e.response_done)?;
        let request = exchange.request.as_ref().or(coming)?;
        Some((exchange.first, request))
    }

    /// A request was sent before the response to the one before it.
    pub fn is_pipelined(&self) -> bool {
        self.pipelined
    }

    /// Requests without a whole response.
    pub fn waiting(&self) -> usize {
        self.open.iter().filter(|e| !e.response_done).count()
    }

    /// Takes the newest request out, with its interim responses, because another protocol answers it. None: it is not
    /// whole, or others wait too.
    pub fn hand_over(&mut self) -> Option<(Message, Vec<u16>, Option<Lasting>)> {
        if self.open.len() != 1 || !self.may_switch() {
            return None;
        }
        let exchange = self.open.pop_back()?;
        Some((exchange.request?, exchange.interim, exchange.lasting))
    }

    /// A request that began before `time` has no response yet.
    pub fn waits_since(&self, time: KernelTime) -> bool {
        self.unanswered().is_some_and(|e| e.first.time <= time)
    }

    /// The next exchange that has ended.
    pub fn pop_ended(&mut self) -> Option<Exchange> {
        self.doubt &= !self.all_answered;
        let front = self.open.front()?;
        let held = self.doubt && front.request.is_some() && front.response.is_some();
        (front.request_done && front.response_done && !held)
            .then(|| self.open.pop_front())
            .flatten()
    }

    /// The next exchange of a connection that has ended, marked where it has not. `unfinished`: the agent ends,
    /// not the connection.
    pub fn pop_rest(&mut self, unfinished: bool, reset: bool) -> Option<Exchange> {
        let mut exchange = self.open.pop_front()?;
        if exchange.request_done && exchange.response_done {
            return Some(exchange);
        }
        if unfinished {
            exchange.marks.set(Mark::Unfinished);
        } else if !exchange.response_done {
            exchange.marks.set(Mark::ResponseMissing);
        }
        if reset {
            exchange.marks.set(Mark::Reset);
        }
        Some(exchange)
    }

    /// Gives what is known of each exchange that is to report now. `request`, `response`: those that are being read.
    pub fn report(
        &mut self,
        schedule: &mut Schedule,
        request: Option<&Message>,
        response: Option<&Message>,
        mut give: impl FnMut(Exchange),
    ) {
        let asking = self.open.iter().rposition(|e| !e.request_done);
        let answered = self.open.iter().position(|e| !e.response_done);
        let response = response.filter(|m| !m.is_interim());
        for (i, exchange) in self.open.iter_mut().enumerate() {
            if schedule.due(exchange.first.time, &mut exchange.lasting) {
                let request = request.filter(|_| asking == Some(i));
                let response = response.filter(|_| answered == Some(i));
                give(exchange.so_far(request, response));
            }
        }
    }

    /// Exchanges that have not ended.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Approximate memory that this holds, in bytes.
    pub fn memory(&self) -> usize {
        self.open.iter().map(Exchange::memory).sum()
    }
}
