//! How streams begin, and what header blocks bring to them.

use super::super::super::Sink;
use super::super::super::detect::Kind;
use super::super::block::Block;
use super::super::head::Head;
use super::super::stream::Stream;
use super::super::{LOST_NS, STREAMS_MAX};
use super::{REFUSED, Session, after};
use crate::event::{Dir, KernelTime};
use crate::telemetry::ledger::Lost;
use crate::transaction::Stamp;

impl Session {
    /// Takes a header block that is over.
    pub(super) fn block(&mut self, dir: Dir, block: Block, stamp: Stamp, sink: &mut impl Sink) {
        self.learn(dir, &block);
        let Some(kind) = self.kind(dir) else {
            // Of the connection's life before the agent's, or of a direction that can't be told yet.
            return;
        };
        if let Some(promised) = block.promised {
            self.promise(promised, block, stamp, sink);
            return self.limit_gain(sink);
        }
        let id = block.stream;
        let begun = |s: &Stream| kind == Kind::Response || s.request.message.is_some();
        if !self.streams.get(id).is_some_and(begun) && !self.begins(id, kind, &block) {
            if block.end_stream {
                // Trailers.
                self.meet_late(id, kind, stamp, sink);
            }
            match self.streams.get(id) {
                None => return,
                Some(stream) if !begun(stream) => {
                    self.streams.touch(id, |s| s.missed(kind, block.end_stream));
                    return self.check(id, stamp, sink);
                }
                Some(_) => {}
            }
        }
        self.open(id, kind, sink);
        self.lost_before(dir, kind, &block);
        self.streams.touch(id, |s| {
            if !s.is_cut_before(stamp.time) {
                s.block(id, kind, block, stamp);
            }
        });
        if kind == Kind::Request && id > self.last_accepted && id % 2 == 1 {
            self.broken_off(dir.other(), id, REFUSED, stamp, sink);
        }
        self.check(id, stamp, sink);
        self.limit_gain(sink);
    }

    /// A request may be understood after what answered it: bytes that were lost since it was sent may be its response's.
    fn lost_before(&mut self, dir: Dir, kind: Kind, block: &Block) {
        let since = |until: &KernelTime| *until >= block.first.time;
        let Some(lost_until) = self.lane(dir.other()).lost_until.filter(since) else {
            return;
        };
        let id = block.stream;
        let is_head = |s: &Stream| kind == Kind::Request && s.request.message.is_none();
        if !self.streams.get(id).is_some_and(is_head) {
            return;
        }
        self.streams.touch(id, Stream::lost_response);
        let waits = |s: &Stream| !s.response.done && s.deadline.is_none();
        if self.streams.get(id).is_some_and(waits) {
            self.streams.wait(id, after(lost_until, LOST_NS));
        }
    }

    /// Learns from a block which direction carries requests.
    fn learn(&mut self, dir: Dir, block: &Block) {
        if self.requests.is_some() {
            return;
        }
        let head = block.head.as_ref();
        if block.promised.is_some() || head.is_some_and(|h| h.status.is_some()) {
            self.requests = Some(dir.other());
        } else if head.is_some_and(|h| h.is_request()) {
            self.requests = Some(dir);
        }
    }

    /// A block of a stream that is not known begins a message: it is no trailer section, and not of a stream that is over.
    fn begins(&self, id: u32, kind: Kind, block: &Block) -> bool {
        let head = block.head.as_ref();
        match kind {
            Kind::Request if id <= self.newest => false,
            Kind::Request => {
                // Without a request's fields it is one only where no stream was missed.
                let all_seen = !self.late && !self.lanes.iter().any(|l| l.lossy);
                all_seen || head.is_none_or(|h| h.is_request())
            }
            Kind::Response => {
                // A status from before the agent is unknown; trailers have none, and end the stream.
                let status =
                    |h: &Head| h.status.is_some() || self.late && h.unknown && !block.end_stream;
                head.is_some_and(status) && !self.streams.was_given_up(id)
            }
        }
    }

    /// Content or trailers of a message whose head was sent before the connection was met.
    pub(super) fn meet_late(&mut self, id: u32, kind: Kind, stamp: Stamp, sink: &mut impl Sink) {
        if !self.late || id == 0 || self.streams.was_given_up(id) {
            return;
        }
        // Of a stream that the client opened since, the head was seen or is lost.
        let old = kind == Kind::Response || id < self.oldest.unwrap_or(u32::MAX);
        if !old || self.streams.get(id).is_some_and(|s| s.has_begun(kind)) {
            return;
        }
        self.enter(id, sink);
        self.streams.touch(id, |s| s.begin_unseen(id, kind, stamp));
    }

    pub(super) fn open(&mut self, id: u32, kind: Kind, sink: &mut impl Sink) {
        if kind == Kind::Request && id % 2 == 1 {
            self.newest = self.newest.max(id);
            self.oldest.get_or_insert(id);
        }
        self.enter(id, sink);
    }

    /// Makes the stream where it is not known; one more than are followed gives up the oldest.
    fn enter(&mut self, id: u32, sink: &mut impl Sink) {
        self.streams.enter(id);
        if self.streams.len() > STREAMS_MAX {
            self.evict(Lost::StreamsFull, sink);
        }
    }

    /// A server push (RFC 9113 §8.4): the request comes from the server.
    fn promise(&mut self, id: u32, block: Block, stamp: Stamp, sink: &mut impl Sink) {
        let block = Block {
            promised: None,
            end_stream: true,
            ..block
        };
        self.open(id, Kind::Response, sink);
        self.streams
            .touch(id, |s| s.block(id, Kind::Request, block, stamp));
    }
}
