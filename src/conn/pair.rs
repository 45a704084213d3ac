//! The two directions of one stream, and the protocol that they speak.

use super::assemble::Assembly;
use crate::event::layout::flag;
use crate::event::{ConnId, Data, Dir, KernelTime, TlsId};
use crate::proto::http1::{Ending, Session, Sink};
use crate::transaction::{BodyLimits, Stamp};

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
    /// HTTP/1, or nothing that is known yet.
    Http1(Box<Session>),
    /// Seen by its preface, and not read.
    Http2,
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
}

impl Pair {
    /// A stream whose first event is `data`.
    pub fn new(data: &Data<'_>, limits: BodyLimits) -> Self {
        let late = data.flags & flag::WHOLE == 0;
        Pair {
            assemblies: Default::default(),
            protocol: Protocol::Http1(Box::new(Session::new(limits, late))),
            limits,
            whole: !late,
            conn: data.conn,
            pid: data.pid,
            active: data.time,
            counted: 0,
            listed: false,
        }
    }

    /// Takes bytes.
    pub fn data(&mut self, data: &Data<'_>, sink: &mut impl Sink) {
        self.active = data.time;
        self.pid = data.pid;
        let Protocol::Http1(session) = &mut self.protocol else {
            return;
        };
        let Some(ordered) = self.assemblies[data.dir as usize].place(data) else {
            return;
        };
        let stamp = ordered.piece.stamp;
        if let Some((len, last)) = ordered.before {
            session.gap(data.dir, len, last, sink);
        }
        if !ordered.piece.is_empty() {
            session.bytes(data.dir, ordered.piece, sink);
        }
        if ordered.after > 0 {
            session.gap(data.dir, ordered.after, stamp, sink);
        }
        if session.is_http2() {
            self.protocol = Protocol::Http2;
        }
    }

    /// A direction of a plain socket ends after `total` bytes: what was not seen of them is a gap.
    pub fn ends_at(&mut self, dir: Dir, total: u64, time: KernelTime, sink: &mut impl Sink) {
        let Protocol::Http1(session) = &mut self.protocol else {
            return;
        };
        if !self.whole {
            return;
        }
        if let Some((len, last)) = self.assemblies[dir as usize].end_at(total) {
            let unknown = Stamp {
                time,
                pid: self.pid,
                tid: self.pid,
                turn: 0,
            };
            session.gap(dir, len, last.unwrap_or(unknown), sink);
        }
    }

    /// The session, while the stream may be HTTP/1.
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.protocol {
            Protocol::Http1(session) => Some(session),
            Protocol::Http2 => None,
        }
    }

    pub fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2)
    }

    /// The stream ends, or the agent does.
    pub fn end(&mut self, ending: Ending, sink: &mut impl Sink) {
        if let Some(session) = self.session() {
            session.end(ending, sink);
        }
    }

    /// Forgets what was read: the stream goes on as one that is met late. Transactions that were in progress.
    pub fn give_up(&mut self) -> u64 {
        let in_progress = self.session().map_or(0, |s| s.in_progress());
        if !self.is_http2() {
            self.protocol = Protocol::Http1(Box::new(Session::new(self.limits, true)));
        }
        in_progress
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> usize {
        let protocol = match &self.protocol {
            Protocol::Http1(session) => session.memory(),
            Protocol::Http2 => 0,
        };
        size_of::<Self>() + size_of::<Key>() + protocol
    }
}
