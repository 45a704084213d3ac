//! The two directions of one stream, and the protocol that they speak.

use super::assemble::Assembly;
use crate::event::layout::flag;
use crate::event::{ConnId, Data, Dir, KernelTime, TlsId};
use crate::proto::Piece;
use crate::proto::{Ending, Sink, http1, http2};
use crate::telemetry::ledger::Lost;
use crate::transaction::{BodyLimits, Schedule, Stamp};

/// Where the plaintext of a stream comes from: what tells one stream from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Tls(TlsId),
    Socket(ConnId),
}

impl Key {
    /// None: the event names no stream.
    pub fn of(data: &Data<'_>) -> Option<Key> {
        data.tls.map(Key::Tls).or(data.conn.map(Key::Socket))
    }

    pub fn tls(self) -> Option<TlsId> {
        match self {
            Key::Tls(tls) => Some(tls),
            Key::Socket(_) => None,
        }
    }
}

/// What a stream speaks.
enum Protocol {
    /// Not known yet: both look, and the first that is certain is right.
    Unknown(Box<http1::Session>, Box<http2::Session>),
    Http1(Box<http1::Session>),
    Http2(Box<http2::Session>),
}

impl Protocol {
    fn new(limits: BodyLimits, late: bool) -> Self {
        Protocol::Unknown(
            Box::new(http1::Session::new(limits, late)),
            Box::new(http2::Session::new(limits, late)),
        )
    }

    fn sessions(&mut self) -> (Option<&mut http1::Session>, Option<&mut http2::Session>) {
        match self {
            Protocol::Unknown(one, two) => (Some(one), Some(two)),
            Protocol::Http1(one) => (Some(one), None),
            Protocol::Http2(two) => (None, Some(two)),
        }
    }

    fn bytes(&mut self, dir: Dir, piece: Piece<'_>, sink: &mut impl Sink) {
        let (one, two) = self.sessions();
        if let Some(session) = two {
            session.bytes(dir, piece, sink);
        }
        if let Some(session) = one {
            session.bytes(dir, piece, sink);
        }
    }

    fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        let (one, two) = self.sessions();
        if let Some(session) = two {
            session.gap(dir, len, stamp, sink);
        }
        if let Some(session) = one {
            session.gap(dir, len, stamp, sink);
        }
    }

    /// Content that nobody wants was not copied.
    fn skip(&mut self, dir: Dir, len: u64, stamp: Stamp, sink: &mut impl Sink) {
        match self {
            Protocol::Http2(session) => session.skip(dir, len, stamp, sink),
            Protocol::Http1(session) => session.skip(dir, len, stamp, sink),
            // What is not known as either is out of step.
            Protocol::Unknown(..) => self.gap(dir, len, stamp, sink),
        }
    }

    /// Keeps the session that is certain, and goes from HTTP/1 to HTTP/2 where the connection does.
    fn settle(self, limits: BodyLimits, sink: &mut impl Sink) -> Self {
        let mut one = match self {
            Protocol::Unknown(_, two) if two.is_certain() => return Protocol::Http2(two),
            Protocol::Unknown(one, two) if !one.is_certain() => {
                return Protocol::Unknown(one, two);
            }
            Protocol::Unknown(one, _) | Protocol::Http1(one) => one,
            Protocol::Http2(two) => return Protocol::Http2(two),
        };
        let Some(upgrade) = one.take_upgrade() else {
            return Protocol::Http1(one);
        };
        let (mut two, lanes) = http2::Session::upgraded(limits, upgrade);
        for (dir, held) in [Dir::Read, Dir::Write].into_iter().zip(&lanes) {
            two.held(dir, held, sink);
        }
        Protocol::Http2(Box::new(two))
    }
}

/// Both directions of one stream.
pub struct Pair {
    assemblies: [Assembly; 2],
    protocol: Protocol,
    limits: BodyLimits,
    /// Offsets count from the stream's first byte.
    whole: bool,
    /// The socket below it, as far as known.
    pub conn: Option<ConnId>,
    /// Process of the last operation.
    pub pid: u32,
    pub active: KernelTime,
    /// What [`Pair::memory`] said last.
    pub counted: usize,
    /// It is on the list of those that wait.
    pub listed: bool,
    /// The request that a thread handles, or the one sent last that was told of.
    told: Option<Stamp>,
    /// Turn of its last operation; 0: not known.
    turn: u32,
}

impl Pair {
    /// A stream whose first event is `data`. `late`: its connection is older than the agent.
    pub fn new(data: &Data<'_>, late: bool, limits: BodyLimits) -> Self {
        let whole = data.flags & flag::WHOLE != 0;
        let late = late || !whole;
        Pair {
            assemblies: [Assembly::new(late), Assembly::new(late)],
            protocol: Protocol::new(limits, late),
            limits,
            whole,
            conn: data.conn,
            pid: data.pid,
            active: data.time,
            counted: 0,
            listed: false,
            told: None,
            turn: 0,
        }
    }

    /// Other limits of bodies, from the next byte on.
    pub fn set_limits(&mut self, limits: BodyLimits) {
        self.limits = limits;
        let (one, two) = self.protocol.sessions();
        if let Some(session) = one {
            session.set_limits(limits);
        }
        if let Some(session) = two {
            session.set_limits(limits);
        }
    }

    /// Takes bytes.
    pub fn data(&mut self, data: &Data<'_>, sink: &mut impl Sink) {
        self.active = data.time;
        self.pid = data.pid;
        if self.whole && data.flags & flag::WHOLE == 0 {
            self.unwanted();
        }
        let Some(ordered) = self.assemblies[data.dir as usize].place(data) else {
            return;
        };
        let stamp = ordered.piece.stamp;
        if let Some((len, last)) = ordered.before {
            self.protocol.gap(data.dir, len, last, sink);
        }
        if !ordered.piece.is_empty() {
            self.protocol.bytes(data.dir, ordered.piece, sink);
        }
        match ordered.after {
            0 => {}
            len if ordered.skipped => self.protocol.skip(data.dir, len, stamp, sink),
            len => self.protocol.gap(data.dir, len, stamp, sink),
        }
        self.settle(sink);
        self.tell(data, sink);
    }

    /// Tells when a thread begins to handle a request that it has waited for, when it answers, and of the calls that it
    /// makes meanwhile.
    fn tell(&mut self, data: &Data<'_>, sink: &mut impl Sink) {
        let Protocol::Http1(session) = &self.protocol else {
            return;
        };
        let begins = |told: Option<Stamp>| {
            let (first, request) = session.begun()?;
            let is_new = told.is_none_or(|told| told.time != first.time);
            (is_new && first.tid == data.tid && first.pid == data.pid).then_some((first, request))
        };
        match (session.requests(), data.dir) {
            (Some(Dir::Read), Dir::Write) => self.untold(Some(data.tid), sink),
            (Some(Dir::Read), Dir::Read) => {
                if self.told.is_some_and(|told| told.tid != data.tid) {
                    // Another thread reads on: the request is nobody's own.
                    return self.untold(Some(data.tid), sink);
                }
                if data.flags & flag::WAITED == 0 {
                    return;
                }
                if let Some((first, request)) = begins(self.told) {
                    if let Some(before) = self.told.replace(first) {
                        sink.answers(before, None);
                    }
                    sink.begins(first, Dir::Read, request);
                }
            }
            (Some(Dir::Write), Dir::Write) => {
                if sink.is_handling(data.pid, data.tid)
                    && let Some((first, request)) = begins(self.told)
                {
                    self.told = Some(first);
                    sink.begins(first, Dir::Write, request);
                }
            }
            _ => {}
        }
    }

    /// The request that was told of is over, for those who handle it.
    fn untold(&mut self, by: Option<u32>, sink: &mut impl Sink) {
        let is_server = match &self.protocol {
            Protocol::Http1(session) => session.requests() == Some(Dir::Read),
            Protocol::Unknown(..) | Protocol::Http2(_) => true,
        };
        if let Some(told) = self.told.take().filter(|_| is_server) {
            sink.answers(told, by);
        }
    }

    fn settle(&mut self, sink: &mut impl Sink) {
        let changes = match &self.protocol {
            Protocol::Unknown(one, two) => one.is_certain() || two.is_certain(),
            Protocol::Http1(session) => session.has_upgrade(),
            Protocol::Http2(_) => false,
        };
        if !changes {
            return;
        }
        // Stands in for the moment.
        let late = Protocol::new(self.limits, true);
        let protocol = std::mem::replace(&mut self.protocol, late);
        self.protocol = protocol.settle(self.limits, sink);
    }

    /// A direction of a plain socket ends after `total` bytes, counted from its first one.
    pub fn socket_ends_at(&mut self, dir: Dir, total: u64, time: KernelTime, sink: &mut impl Sink) {
        if self.whole {
            self.ends_at(dir, total, time, sink);
        }
    }

    /// A direction ends at the offset `total`: what was not seen before that is a gap.
    pub fn ends_at(&mut self, dir: Dir, total: u64, time: KernelTime, sink: &mut impl Sink) {
        if let Some((len, last)) = self.assemblies[dir as usize].end_at(total) {
            let unknown = Stamp {
                time,
                pid: self.pid,
                tid: self.pid,
                turn: 0,
            };
            self.protocol.gap(dir, len, last.unwrap_or(unknown), sink);
        }
    }

    /// Nothing more comes in this direction.
    pub fn end_of(&mut self, dir: Dir, sink: &mut impl Sink) {
        // A stream of HTTP/2 says itself where it ends.
        if let (Some(session), _) = self.protocol.sessions() {
            session.end_of(dir, sink);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: KernelTime, sink: &mut impl Sink) {
        match &mut self.protocol {
            Protocol::Unknown(..) => {}
            Protocol::Http1(session) => session.tick(now, sink),
            Protocol::Http2(session) => session.tick(now, sink),
        }
    }

    /// Tells of the transactions that are to report now.
    pub fn report(&mut self, schedule: &mut Schedule, sink: &mut impl Sink) {
        match &mut self.protocol {
            Protocol::Unknown(..) => {}
            Protocol::Http1(session) => session.report(schedule, sink),
            Protocol::Http2(session) => session.report(schedule, sink),
        }
    }

    /// Transactions are in progress.
    pub fn is_busy(&self) -> bool {
        match &self.protocol {
            Protocol::Unknown(..) => false,
            Protocol::Http1(session) => session.in_progress() > 0,
            Protocol::Http2(session) => session.in_progress() > 0,
        }
    }

    /// Something waits for the other direction: [`Pair::tick`] is needed.
    pub fn is_waiting(&self) -> bool {
        match &self.protocol {
            Protocol::Unknown(..) => false,
            Protocol::Http1(session) => session.is_waiting(),
            Protocol::Http2(session) => session.is_waiting(),
        }
    }

    /// Frames of HTTP/2 were found.
    pub fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2(_))
    }

    /// Nobody wanted some of what was before.
    fn unwanted(&mut self) {
        self.whole = false;
        if let (Some(session), _) = self.protocol.sessions() {
            session.unwanted();
        }
    }

    /// Turn of its last operation, as the kernel programs say at its end; what is 0 says nothing.
    pub fn turns(&mut self, turn: u32) {
        self.turn = turn;
    }

    /// The stream ends, or the agent does.
    pub fn end(&mut self, ending: Ending, sink: &mut impl Sink) {
        self.untold(None, sink);
        let (one, two) = self.protocol.sessions();
        if let Some(session) = two {
            session.end(ending, sink);
        }
        if let Some(session) = one {
            session.end(ending, self.turn, sink);
        }
    }

    /// Keeps within its bounds, at the cost of transactions that are in progress.
    pub fn bound(&mut self, memory: usize, sink: &mut impl Sink) {
        let over = match &self.protocol {
            Protocol::Http1(session) => session.is_over(),
            Protocol::Unknown(..) | Protocol::Http2(_) => false,
        };
        if !over && self.memory() <= memory {
            return;
        }
        if let Protocol::Http2(session) = &mut self.protocol
            && session.shrink(memory / 4 * 3, sink)
        {
            return;
        }
        let reason = if over {
            Lost::PipelineFull
        } else {
            Lost::Evicted
        };
        let lost = self.give_up();
        if lost > 0 {
            sink.lost(reason, lost);
        }
    }

    /// Forgets what was read: the stream goes on as one that is met late. Transactions that were in progress.
    pub fn give_up(&mut self) -> u64 {
        let late = Protocol::new(self.limits, true);
        match std::mem::replace(&mut self.protocol, late) {
            Protocol::Unknown(session, _) | Protocol::Http1(session) => session.in_progress(),
            Protocol::Http2(session) => session.in_progress(),
        }
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let protocol = match &self.protocol {
            Protocol::Unknown(one, two) => one.memory() + two.memory(),
            Protocol::Http1(session) => session.memory(),
            Protocol::Http2(session) => session.memory(),
        };
        size_of::<Self>() + size_of::<Key>() + protocol
    }
}
