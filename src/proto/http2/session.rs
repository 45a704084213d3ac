//! Both directions of a connection that speaks HTTP/2.

use super::super::detect::Kind;
use super::super::http1::Upgrade;
use super::super::{Backlog, Ending, Held, Piece, Sink, WAIT_NS, other, reason};
use super::block::{Block, Blocks};
use super::frame::{Gap, Header, Reader, Step, flag, kind};
use super::head::Head;
use super::stream::{Reset, Stream};
use super::{GAIN_MAX, LOST_NS, RESET_KEPT, STREAMS_MAX};
use crate::event::{Dir, KernelTime};
use crate::telemetry::ledger::Lost;
use crate::transaction::{BodyLimits, Content, Message, Protocol, Schedule, Stamp};
use std::collections::{BTreeMap, VecDeque};

/// `CANCEL` (RFC 9113 §7): what a reset counts as whose code was not seen.
const CANCEL: u32 = 8;
/// `REFUSED_STREAM`.
const REFUSED: u32 = 7;
/// `SETTINGS_MAX_FRAME_SIZE`.
const MAX_FRAME_SIZE: u16 = 5;

/// One direction.
struct Lane {
    frames: Reader,
    blocks: Blocks,
    /// Its last operation.
    now: KernelTime,
    /// Bytes of it were lost.
    lossy: bool,
}

/// Reads both directions and joins what belongs to one stream.
pub struct Session {
    /// By [`Dir`].
    lanes: [Lane; 2],
    limits: BodyLimits,
    /// The direction of requests, once it is known.
    requests: Option<Dir>,
    streams: BTreeMap<u32, Stream>,
    /// Streams with a deadline.
    pending: Vec<u32>,
    /// It was not seen from its beginning.
    late: bool,
    /// The newest stream that the client opened; streams open in the order of their numbers.
    newest: u32,
    /// The first stream that the client was seen to open.
    oldest: Option<u32>,
    /// The last streams that were broken off.
    reset: VecDeque<u32>,
    /// Streams of the client above this one were refused.
    last_accepted: u32,
    ordinal: u64,
    /// Of streams.
    memory: usize,
    /// The same, when the caller came last.
    memory_before: usize,
}

impl Session {
    /// Other limits of bodies, from the next byte on.
    pub fn set_limits(&mut self, limits: BodyLimits) {
        self.limits = limits;
    }

    /// `late`: the stream was not seen from its beginning.
    pub fn new(limits: BodyLimits, late: bool) -> Self {
        let lane = || Lane {
            frames: Reader::new(late),
            blocks: Blocks::new(!late),
            now: KernelTime(0),
            lossy: false,
        };
        Session {
            lanes: [lane(), lane()],
            limits,
            requests: None,
            streams: BTreeMap::new(),
            pending: Vec::new(),
            late,
            newest: 0,
            oldest: None,
            reset: VecDeque::new(),
            last_accepted: u32::MAX,
            ordinal: 0,
            memory: 0,
            memory_before: 0,
        }
    }

    /// A connection that came from HTTP/1 by `Upgrade: h2c`: stream 1 answers its last request. Gives what to read first.
    pub fn upgraded(limits: BodyLimits, upgrade: Upgrade) -> (Self, [Backlog; 2]) {
        let mut session = Session::new(limits, false);
        session.requests = Some(upgrade.requests);
        session.ordinal = upgrade.ordinal;
        session.newest = 1;
        let mut request = upgrade.request;
        request.protocol = Protocol::Http2;
        if let Some(Content::Request(request)) = &mut request.content {
            request.h2_stream = Some(1);
        }
        let mut stream = Stream::after_upgrade(request, upgrade.interim, upgrade.lasting);
        stream.counted = stream.memory();
        session.memory += stream.counted;
        session.streams.insert(1, stream);
        (session, upgrade.lanes)
    }

    /// Frames were found: the stream is HTTP/2.
    pub fn is_certain(&self) -> bool {
        self.lanes.iter().any(|l| l.frames.is_known())
    }

    /// Bytes came.
    pub fn bytes(&mut self, dir: Dir, piece: Piece<'_>, sink: &mut impl Sink) {
        self.memory_before = self.memory;
        self.run(dir, piece, sink);
        self.settle(sink);
    }

    /// Bytes and gaps came that were held.
    pub fn held(&mut self, dir: Dir, held: &Backlog, sink: &mut impl Sink) {
        self.memory_before = self.memory;
        self.replay(dir, held, sink);
        self.settle(sink);
    }

    /// `len` bytes are missing here. `stamp`: the last operation before them.
    pub fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.step_over(dir, len, stamp, sink);
        self.settle(sink);
    }

    /// `len` bytes of content were left out on purpose.
    pub fn skip(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.lane(dir).now = stamp.time;
        match self.lane(dir).frames.gap(len) {
            Gap::Inside(header, content) if header.kind == kind::DATA => {
                self.content(dir, header, stamp, sink, |s, kind, limits| {
                    s.skipped(kind, content, stamp, limits);
                });
                let nothing = Piece {
                    bytes: &[],
                    offset: None,
                    op_start: false,
                    stamp,
                };
                self.run(dir, nothing, sink);
            }
            // Something before it was lost.
            Gap::Inside(..) | Gap::Lost => self.lose(dir, stamp, sink),
        }
        self.settle(sink);
    }

    /// Time passes: streams are given up whose other half does not come.
    pub fn tick(&mut self, now: KernelTime, sink: &mut impl Sink) {
        let overdue = |s: &Stream| s.deadline.is_some_and(|d| now > d);
        for id in self.pending.clone() {
            if self.streams.get(&id).is_some_and(overdue) {
                self.finish(id, None, sink);
            }
        }
    }

    /// Tells of the transactions that are to report now.
    pub fn report(&mut self, schedule: &mut Schedule, sink: &mut impl Sink) {
        let Some(requests) = self.requests else {
            return;
        };
        for stream in self.streams.values_mut() {
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
        while let Some((id, _)) = self.streams.first_key_value() {
            self.finish(*id, Some(ending), sink);
        }
    }

    fn lane(&mut self, dir: Dir) -> &mut Lane {
        &mut self.lanes[dir as usize]
    }

    /// What a direction carries.
    fn kind(&self, dir: Dir) -> Option<Kind> {
        let requests = self.requests?;
        Some(if requests == dir {
            Kind::Request
        } else {
            Kind::Response
        })
    }

    fn run(&mut self, dir: Dir, mut piece: Piece<'_>, sink: &mut impl Sink) {
        let stamp = piece.stamp;
        self.lane(dir).now = stamp.time;
        loop {
            match self.lane(dir).frames.feed(&mut piece) {
                Step::More => return,
                Step::Preface => {
                    self.requests = Some(dir);
                    self.lane(dir).blocks = Blocks::new(true);
                }
                Step::Data(header, bytes) => self.data(dir, header, bytes, stamp, sink),
                Step::DataEnd(header) => self.data_end(dir, header, stamp, sink),
                Step::Frame(header) => self.frame(dir, header, true, stamp, sink),
                Step::Skipped(header) => self.frame(dir, header, false, stamp, sink),
                Step::Found(held) => self.found(dir, &held, sink),
                Step::Lost => self.lose(dir, stamp, sink),
            }
        }
    }

    /// A boundary of frames: what was sent before it is not known.
    fn found(&mut self, dir: Dir, held: &Backlog, sink: &mut impl Sink) {
        if self.lane(dir).blocks.lose().is_some() {
            sink.lost(Lost::Unparsable, 1);
        }
        self.replay(dir, held, sink);
    }

    fn replay(&mut self, dir: Dir, held: &Backlog, sink: &mut impl Sink) {
        for held in held.iter() {
            match held {
                Held::Piece(piece) => self.run(dir, piece, sink),
                // What was left out as content of HTTP/1 is none.
                Held::Gap(len, stamp) | Held::Skip(len, stamp) => {
                    self.step_over(dir, len, stamp, sink);
                }
            }
        }
    }

    fn step_over(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        self.lane(dir).lossy = true;
        match self.lane(dir).frames.gap(len) {
            Gap::Inside(header, missing) => {
                if let Some(kind) = self.kind(dir).filter(|_| header.kind == kind::DATA) {
                    self.touch(header.stream, |s| s.missing(kind, missing));
                }
                let nothing = Piece {
                    bytes: &[],
                    offset: None,
                    op_start: false,
                    stamp,
                };
                self.run(dir, nothing, sink);
            }
            Gap::Lost => self.lose(dir, stamp, sink),
        }
    }

    /// The direction is out of step: any stream that has not ended in it may have lost something.
    fn lose(&mut self, dir: Dir, stamp: Stamp, sink: &mut impl Sink) {
        self.lane(dir).lossy = true;
        let open = self.lane(dir).blocks.lose();
        let Some(kind) = self.kind(dir) else { return };
        if let Some(block) = open {
            self.block(dir, block, stamp, sink);
        }
        for (id, stream) in &mut self.streams {
            if stream.lose(kind) && stream.deadline.is_none() {
                stream.deadline = Some(after(stamp.time, LOST_NS));
                self.pending.push(*id);
            }
        }
    }

    /// Lets a stream work, and counts its memory.
    fn touch(&mut self, id: u32, work: impl FnOnce(&mut Stream)) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        work(stream);
        let after = stream.memory();
        let before = std::mem::replace(&mut stream.counted, after);
        self.memory = (self.memory + after).saturating_sub(before);
    }

    fn data(&mut self, dir: Dir, header: Header, bytes: &[u8], stamp: Stamp, sink: &mut impl Sink) {
        self.content(dir, header, stamp, sink, |s, kind, limits| {
            s.data(kind, bytes, stamp, limits);
        });
    }

    fn content(
        &mut self,
        dir: Dir,
        header: Header,
        stamp: Stamp,
        sink: &mut impl Sink,
        take: impl FnOnce(&mut Stream, Kind, BodyLimits),
    ) {
        let Some(kind) = self.kind(dir) else { return };
        self.meet_late(header.stream, kind, stamp, sink);
        let limits = self.limits;
        self.touch(header.stream, |s| {
            if s.is_cut_before(stamp.time) {
                return;
            }
            if s.side(kind).lost {
                s.deadline = s.deadline.map(|_| after(stamp.time, LOST_NS));
            }
            take(s, kind, limits);
        });
    }

    fn data_end(&mut self, dir: Dir, header: Header, stamp: Stamp, sink: &mut impl Sink) {
        let Some(kind) = self.kind(dir) else { return };
        let end = header.has(flag::END_STREAM);
        self.meet_late(header.stream, kind, stamp, sink);
        if !self.streams.contains_key(&header.stream) {
            // Of a stream whose heads were lost both.
            let told = self.reset.contains(&header.stream) || !self.lane(dir).lossy;
            if end && kind == Kind::Response && !told {
                sink.lost(Lost::RingFull, 1);
            }
            return;
        }
        self.touch(header.stream, |s| {
            if !s.is_cut_before(stamp.time) {
                s.data_end(kind, header.wire(), end, stamp);
            }
        });
        if end {
            self.check(header.stream, stamp, sink);
        }
    }

    fn frame(&mut self, dir: Dir, header: Header, kept: bool, stamp: Stamp, sink: &mut impl Sink) {
        if self.lane(dir).blocks.is_open()
            && header.kind != kind::CONTINUATION
            && let Some(block) = self.lane(dir).blocks.lose()
        {
            // Nothing may stand between the frames of a block (RFC 9113 §6.2).
            self.block(dir, block, stamp, sink);
        }
        let lane = &mut self.lanes[dir as usize];
        let payload = lane.frames.payload();
        match header.kind {
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                let first = lane.frames.first().unwrap_or(stamp);
                let block = lane.blocks.frame(header, kept.then_some(payload), first);
                if let Some(block) = block {
                    self.block(dir, block, stamp, sink);
                }
            }
            kind::RST_STREAM => {
                let code = payload.first_chunk().filter(|_| kept);
                let code = code.map_or(CANCEL, |code| u32::from_be_bytes(*code));
                self.broken_off(dir, header.stream, code, stamp, sink);
            }
            kind::SETTINGS if kept => {
                let max = max_frame_size(payload);
                if let Some(max) = max {
                    self.lane(other(dir)).frames.set_max(max);
                }
            }
            kind::GOAWAY if kept => {
                if let Some(last) = payload.first_chunk() {
                    let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
                    self.go_away(dir, last, stamp, sink);
                }
            }
            _ => {}
        }
    }

    fn block(&mut self, dir: Dir, block: Block, stamp: Stamp, sink: &mut impl Sink) {
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
        if !self.streams.get(&id).is_some_and(begun) && !self.begins(id, kind, &block) {
            if block.end_stream {
                // Trailers.
                self.meet_late(id, kind, stamp, sink);
            }
            match self.streams.get(&id) {
                None => return,
                Some(stream) if !begun(stream) => {
                    self.touch(id, |s| s.missed(kind, block.end_stream));
                    return self.check(id, stamp, sink);
                }
                Some(_) => {}
            }
        }
        self.open(id, kind, sink);
        self.touch(id, |s| {
            if !s.is_cut_before(stamp.time) {
                s.block(id, kind, block, stamp);
            }
        });
        if kind == Kind::Request && id > self.last_accepted && id % 2 == 1 {
            self.broken_off(other(dir), id, REFUSED, stamp, sink);
        }
        self.check(id, stamp, sink);
        self.limit_gain(sink);
    }

    /// Gives up the oldest streams where the bytes of one event have become too much.
    fn limit_gain(&mut self, sink: &mut impl Sink) {
        while self.memory.saturating_sub(self.memory_before) > GAIN_MAX && !self.streams.is_empty()
        {
            self.evict(Lost::Evicted, sink);
        }
    }

    /// Learns from a block which direction carries requests.
    fn learn(&mut self, dir: Dir, block: &Block) {
        if self.requests.is_some() {
            return;
        }
        let head = block.head.as_ref();
        if block.promised.is_some() || head.is_some_and(|h| h.status.is_some()) {
            self.requests = Some(other(dir));
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
                head.is_some_and(status) && !self.reset.contains(&id)
            }
        }
    }

    /// Content or trailers of a message whose head was sent before the connection was met.
    fn meet_late(&mut self, id: u32, kind: Kind, stamp: Stamp, sink: &mut impl Sink) {
        if !self.late || id == 0 || self.reset.contains(&id) {
            return;
        }
        // Of a stream that the client opened since, the head was seen or is lost.
        let old = kind == Kind::Response || id < self.oldest.unwrap_or(u32::MAX);
        let known = self.streams.get_mut(&id);
        if !old || known.is_some_and(|s| s.side(kind).message.is_some() || s.side(kind).done) {
            return;
        }
        self.streams.entry(id).or_default();
        self.touch(id, |s| s.begin_unseen(id, kind, stamp));
        if self.streams.len() > STREAMS_MAX {
            self.evict(Lost::StreamsFull, sink);
        }
    }

    fn open(&mut self, id: u32, kind: Kind, sink: &mut impl Sink) {
        if kind == Kind::Request && id % 2 == 1 {
            self.newest = self.newest.max(id);
            self.oldest.get_or_insert(id);
        }
        self.streams.entry(id).or_default();
        if self.streams.len() > STREAMS_MAX {
            self.evict(Lost::StreamsFull, sink);
        }
    }

    /// Gives up the oldest stream.
    fn evict(&mut self, reason: Lost, sink: &mut impl Sink) {
        if let Some((id, stream)) = self.streams.pop_first() {
            self.forget(id, &stream);
            sink.lost(reason, 1);
        }
    }

    fn forget(&mut self, id: u32, stream: &Stream) {
        self.memory = self.memory.saturating_sub(stream.counted);
        if stream.deadline.is_some() {
            self.pending.retain(|pending| *pending != id);
        }
        let over = stream.request.done && stream.response.done;
        if !over {
            if self.reset.len() >= RESET_KEPT {
                self.reset.pop_front();
            }
            self.reset.push_back(id);
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
        self.touch(id, |s| s.block(id, Kind::Request, block, stamp));
    }

    fn broken_off(&mut self, dir: Dir, id: u32, code: u32, stamp: Stamp, sink: &mut impl Sink) {
        let Some(by) = self.kind(dir) else { return };
        if !self.streams.contains_key(&id) {
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
        self.touch(id, |s| {
            s.reset.get_or_insert(reset);
        });
        self.wait(id, until);
        self.check(id, stamp, sink);
    }

    fn wait(&mut self, id: u32, until: KernelTime) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.deadline.replace(until).is_none()
        {
            self.pending.push(id);
        }
    }

    fn go_away(&mut self, dir: Dir, last: u32, stamp: Stamp, sink: &mut impl Sink) {
        if self.kind(dir) != Some(Kind::Response) {
            return;
        }
        self.last_accepted = self.last_accepted.min(last);
        let above = self.streams.range(last.saturating_add(1)..);
        let refused: Vec<u32> = above.map(|(id, _)| *id).filter(|id| id % 2 == 1).collect();
        for id in refused {
            self.broken_off(dir, id, REFUSED, stamp, sink);
        }
    }

    /// Ends the stream if nothing more can come of it, else sees to it that it is waited for not too long.
    fn check(&mut self, id: u32, stamp: Stamp, sink: &mut impl Sink) {
        if self.is_over(id) {
            self.finish(id, None, sink);
        } else if self
            .streams
            .get(&id)
            .is_some_and(|s| s.response.done && s.request.message.is_none() && s.deadline.is_none())
        {
            self.wait(id, after(stamp.time, WAIT_NS));
        }
    }

    fn is_over(&self, id: u32) -> bool {
        let (Some(s), Some(requests)) = (self.streams.get(&id), self.requests) else {
            return false;
        };
        if s.request.done && s.response.done {
            return true;
        }
        if let Some(reset) = s.reset {
            let (rest, dir) = match reset.by {
                Kind::Request => (&s.response, other(requests)),
                Kind::Response => (&s.request, requests),
            };
            return rest.done || self.lanes[dir as usize].now > reset.time;
        }
        // The request, or its end, was lost.
        let passed = id.is_multiple_of(2) || id < self.newest;
        s.response.done && (s.request.lost || passed && s.request.message.is_none())
    }

    fn finish(&mut self, id: u32, ending: Option<Ending>, sink: &mut impl Sink) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        self.forget(id, &stream);
        let lost = stream.request.lost || stream.response.lost;
        let (Some(requests), Some(exchange)) = (self.requests, stream.finish(ending)) else {
            return;
        };
        let gap = |m: &Option<Message>| m.as_ref().is_some_and(|m| m.gap);
        if exchange.is_empty() {
            sink.lost(
                reason(lost || gap(&exchange.request) || gap(&exchange.response)),
                1,
            );
            return;
        }
        sink.exchange(exchange, requests, self.ordinal);
        self.ordinal += 1;
    }

    /// Ends the streams that waited for the other direction, as far as that came.
    fn settle(&mut self, sink: &mut impl Sink) {
        if self.pending.is_empty() {
            return;
        }
        for id in self.pending.clone() {
            if self.is_over(id) {
                self.finish(id, None, sink);
            }
        }
    }

    /// Streams wait for the other direction: [`Session::tick`] is needed.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Transactions that have begun and not ended.
    pub fn in_progress(&self) -> u64 {
        self.streams.len() as u64
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

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let lane = |l: &Lane| l.frames.memory() + l.blocks.memory();
        size_of::<Self>()
            + lane(&self.lanes[0])
            + lane(&self.lanes[1])
            + (self.pending.capacity() + self.reset.capacity()) * size_of::<u32>()
            + self.memory
    }
}

fn after(time: KernelTime, ns: u64) -> KernelTime {
    KernelTime(time.0.saturating_add(ns))
}

/// The value that a SETTINGS frame gives `SETTINGS_MAX_FRAME_SIZE`.
fn max_frame_size(payload: &[u8]) -> Option<u32> {
    let (settings, _) = payload.as_chunks::<6>();
    let of = |[a, b, value @ ..]: &[u8; 6]| {
        (u16::from_be_bytes([*a, *b]) == MAX_FRAME_SIZE).then(|| u32::from_be_bytes(*value))
    };
    settings.iter().rev().find_map(of)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
