//! How streams end: as their messages do, broken off, given up, or with the connection.

use super::super::super::detect::Kind;
use super::super::super::{Ending, Sink, WAIT_NS, give};
use super::super::GAIN_MAX;
use super::super::stream::Reset;
use super::{REFUSED, Session, after};
use crate::event::{Dir, KernelTime};
use crate::telemetry::ledger::Lost;
use crate::transaction::{Schedule, Stamp};

impl Session {
    /// Time passes: streams are given up whose other half does not come.
    pub fn tick(&mut self, now: KernelTime, sink: &mut impl Sink) {
        let mut at = 0;
        while let Some(id) = self.streams.pending(at) {
            let stream = self.streams.get(id);
            match stream.is_some_and(|s| s.deadline.is_some_and(|d| now > d)) {
                true => self.finish(id, None, sink),
                false => at += 1,
            }
        }
    }

    /// Tells of the transactions that are to report now.
    pub fn report(&mut self, schedule: &mut Schedule, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            return;
        };
        for stream in self.streams.iter_mut() {
            if let Some(first) = stream.first()
                && schedule.due(first.time, &mut stream.lasting)
                && let Some(exchange) = stream.so_far()
            {
                sink.progress(exchange, requests, self.ordinal);
            }
        }
    }

    /// The connection ends, or the agent does.
    pub fn end(&mut self, ending: Ending, sink: &mut impl Sink) {
        for dir in [Dir::Read, Dir::Write] {
            if let Some(held) = self.lane(dir).frames.flush() {
                self.found(dir, &held, sink);
            }
        }
        self.settle(sink);
        while let Some(id) = self.streams.oldest() {
            self.finish(id, Some(ending), sink);
        }
    }

    pub(super) fn broken_off(
        &mut self,
        dir: Dir,
        id: u32,
        code: u32,
        stamp: Stamp,
        sink: &mut impl Sink,
    ) {
        let Some(by) = self.kind(dir) else { return };
        if !self.streams.contains(id) {
            // A server's reset may be seen before the request; all else is of streams that are over.
            if by == Kind::Request || id <= self.newest || id.is_multiple_of(2) {
                return;
            }
            self.open(id, Kind::Response, sink);
        }
        let reset = Reset {
            time: stamp.time,
            by,
            code,
        };
        let until = after(stamp.time, WAIT_NS);
        self.streams.touch(id, |s| {
            s.reset.get_or_insert(reset);
        });
        self.streams.wait(id, until);
        self.check(id, stamp, sink);
    }

    pub(super) fn go_away(&mut self, dir: Dir, last: u32, stamp: Stamp, sink: &mut impl Sink) {
        if self.kind(dir) != Some(Kind::Response) {
            return;
        }
        self.last_accepted = self.last_accepted.min(last);
        for id in self.streams.of_client_above(last) {
            self.broken_off(dir, id, REFUSED, stamp, sink);
        }
    }

    /// Ends the stream if nothing more can come of it, else sees to it that it is waited for not too long.
    pub(super) fn check(&mut self, id: u32, stamp: Stamp, sink: &mut impl Sink) {
        if self.is_over(id) {
            self.finish(id, None, sink);
        } else if let Some(stream) = self.streams.get(id)
            && stream.response.done
            && stream.request.message.is_none()
            && stream.deadline.is_none()
        {
            self.streams.wait(id, after(stamp.time, WAIT_NS));
        }
    }

    fn is_over(&self, id: u32) -> bool {
        let (Some(s), Some(requests)) = (self.streams.get(id), self.requests) else {
            return false;
        };
        if s.request.done && s.response.done {
            return true;
        }
        if let Some(reset) = s.reset {
            let (rest, dir) = match reset.by {
                Kind::Request => (&s.response, requests.other()),
                Kind::Response => (&s.request, requests),
            };
            return rest.done || self.lanes[dir as usize].now > reset.time;
        }
        // The request, or its end, was lost.
        let passed = id.is_multiple_of(2) || id < self.newest;
        s.response.done && (s.request.lost || passed && s.request.message.is_none())
    }

    fn finish(&mut self, id: u32, ending: Option<Ending>, sink: &mut impl Sink) {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        let gap = stream.request.lost || stream.response.lost;
        if let (Some(requests), Some(exchange)) = (self.requests, stream.finish(ending)) {
            give(exchange, requests, &mut self.ordinal, gap, sink);
        }
    }

    /// Ends the streams that waited for the other direction, as far as that came.
    pub(super) fn settle(&mut self, sink: &mut impl Sink) {
        let mut at = 0;
        while let Some(id) = self.streams.pending(at) {
            match self.is_over(id) {
                true => self.finish(id, None, sink),
                false => at += 1,
            }
        }
    }

    /// Gives up the oldest streams where the bytes of one event have become too much.
    pub(super) fn limit_gain(&mut self, sink: &mut impl Sink) {
        while self.streams.gain() > GAIN_MAX && !self.streams.is_empty() {
            self.evict(Lost::Evicted, sink);
        }
    }

    /// Gives up the oldest stream.
    pub(super) fn evict(&mut self, reason: Lost, sink: &mut impl Sink) {
        if let Some(id) = self.streams.oldest() {
            self.streams.remove(id);
            sink.lost(reason, 1);
        }
    }

    /// Streams wait for the other direction: [`Session::tick`] is needed.
    pub fn is_waiting(&self) -> bool {
        self.streams.pending(0).is_some()
    }

    /// Gives up the oldest streams until it holds at most `memory` bytes. False: there is more without any stream.
    pub fn shrink(&mut self, memory: usize, sink: &mut impl Sink) -> bool {
        while self.memory() > memory {
            if self.streams.is_empty() {
                return false;
            }
            self.evict(Lost::Evicted, sink);
        }
        true
    }
}
