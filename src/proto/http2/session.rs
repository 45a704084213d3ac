//! Both directions of a connection that speaks HTTP/2.
//!
//! Here is how bytes become messages of streams; [`begins`] has how streams begin, [`ends`] how they end, and the connection with
//! them.

mod begins;
mod ends;

use super::super::detect::Kind;
use super::super::http1::Upgrade;
use super::super::{Backlog, Held, Piece, Sink};
use super::LOST_NS;
use super::block::Blocks;
use super::frame::{Header, flag, kind};
use super::reader::{Gap, Reader, Step};
use super::stream::Stream;
use super::streams::Streams;
use crate::event::{Dir, KernelTime};
use crate::telemetry::ledger::Lost;
use crate::transaction::{BodyLimits, Content, Protocol, Stamp};

/// `CANCEL` (RFC 9113 §7): what a reset counts as whose code was not seen.
const CANCEL: u32 = 8;
/// `REFUSED_STREAM` (RFC 9113 §7).
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
    /// The next boundary of frames is looked for.
    seeking: bool,
    /// Until then bytes of it were lost, or were not understood because others were.
    lost_until: Option<KernelTime>,
}

/// Reads both directions and joins what belongs to one stream.
pub struct Session {
    /// By [`Dir`].
    lanes: [Lane; 2],
    limits: BodyLimits,
    /// The direction of requests, once it is known.
    requests: Option<Dir>,
    streams: Streams,
    /// It was not seen from its beginning.
    late: bool,
    /// The newest stream that the client opened; streams open in the order of their numbers.
    newest: u32,
    /// The first stream that the client was seen to open.
    oldest: Option<u32>,
    /// Streams of the client above this one were refused.
    last_accepted: u32,
    ordinal: u64,
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
            seeking: false,
            lost_until: None,
        };
        Session {
            lanes: [lane(), lane()],
            limits,
            requests: None,
            streams: Streams::default(),
            late,
            newest: 0,
            oldest: None,
            last_accepted: u32::MAX,
            ordinal: 0,
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
        let stream = Stream::after_upgrade(request, upgrade.interim, upgrade.lasting);
        session.streams.insert(1, stream);
        (session, upgrade.lanes)
    }

    /// Frames were found: the stream is HTTP/2.
    pub fn is_certain(&self) -> bool {
        self.lanes.iter().any(|l| l.frames.is_known())
    }

    /// Bytes came.
    pub fn bytes(&mut self, dir: Dir, piece: Piece<'_>, sink: &mut impl Sink) {
        self.streams.mark();
        self.run(dir, piece, sink);
        self.settle(sink);
    }

    /// Bytes and gaps came that were held.
    pub fn held(&mut self, dir: Dir, held: &Backlog, sink: &mut impl Sink) {
        self.streams.mark();
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
                self.run(dir, Piece::nothing(stamp), sink);
            }
            // Something before it was lost.
            Gap::Inside(..) | Gap::Lost => self.lose(dir, stamp, sink),
        }
        self.settle(sink);
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
        let lane = self.lane(dir);
        lane.now = stamp.time;
        if lane.seeking {
            lane.lost_until = Some(stamp.time);
        }
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
        self.lane(dir).seeking = false;
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
                    self.streams
                        .touch(header.stream, |s| s.missing(kind, missing));
                }
                self.run(dir, Piece::nothing(stamp), sink);
            }
            Gap::Lost => self.lose(dir, stamp, sink),
        }
    }

    /// The direction is out of step: any stream that has not ended in it may have lost something.
    fn lose(&mut self, dir: Dir, stamp: Stamp, sink: &mut impl Sink) {
        let lane = self.lane(dir);
        lane.lossy = true;
        lane.seeking = true;
        lane.lost_until = lane.lost_until.max(Some(stamp.time));
        let open = lane.blocks.lose();
        let Some(kind) = self.kind(dir) else { return };
        if let Some(block) = open {
            self.block(dir, block, stamp, sink);
        }
        self.streams.lose(kind, after(stamp.time, LOST_NS));
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
        self.streams.touch(header.stream, |s| {
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
        if !self.streams.contains(header.stream) {
            // Of a stream whose heads were lost both.
            let told = self.streams.was_given_up(header.stream) || !self.lane(dir).lossy;
            if end && kind == Kind::Response && !told {
                sink.lost(Lost::RingFull, 1);
            }
            return;
        }
        self.streams.touch(header.stream, |s| {
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
                    self.lane(dir.other()).frames.set_max(max);
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

    /// Transactions that have begun and not ended.
    pub fn in_progress(&self) -> u64 {
        self.streams.len() as u64
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let lane = |l: &Lane| l.frames.memory() + l.blocks.memory();
        size_of::<Self>() + lane(&self.lanes[0]) + lane(&self.lanes[1]) + self.streams.memory()
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
