//! What is known of a connection below its plaintext.

use super::ConnectionFate;
use super::hello::Hellos;
use crate::event::{ConnEnd, ConnId, ConnOpen, KernelTime, TlsId, Verdict};
use crate::telemetry::ledger::Uncaptured;
use crate::transaction::{ConnectionInfo, TlsInfo};

/// One socket.
#[derive(Default)]
pub struct Socket {
    /// None: it was not announced.
    pub open: Option<ConnOpen>,
    pub hellos: Option<Box<Hellos>>,
    /// TLS sessions that are bound to it now.
    pub sessions: Vec<TlsId>,
    /// A TLS session was bound to it once.
    pub had_tls: bool,
    pub had_http2: bool,
    pub captured: bool,
    /// Last event.
    pub active: KernelTime,
}

impl Socket {
    /// Memory of one socket without hellos, in bytes.
    pub const MEMORY: usize = size_of::<Self>() + size_of::<ConnId>();

    pub fn memory(&self) -> usize {
        let hellos = self.hellos.as_ref();
        Self::MEMORY
            + hellos.map_or(0, |h| size_of::<Hellos>() + h.memory())
            + self.sessions.capacity() * size_of::<TlsId>()
    }

    pub fn bind(&mut self, tls: TlsId) {
        self.had_tls = true;
        if !self.sessions.contains(&tls) {
            self.sessions.push(tls);
        }
    }

    pub fn unbind(&mut self, tls: TlsId) {
        self.sessions.retain(|t| *t != tls);
    }

    /// Why it gave no transaction; None where it did.
    pub fn fate(&self, end: &ConnEnd) -> Option<ConnectionFate> {
        if self.captured {
            return None;
        }
        let verdict = end.verdict;
        let whole = self.open.is_some_and(|o| o.whole);
        let tls = self.had_tls || verdict == Verdict::Tls;
        let reason = if end.unwanted && verdict != Verdict::Other {
            Uncaptured::LevelNone
        } else if self.had_http2 || verdict == Verdict::Http2 {
            Uncaptured::Http2
        } else if tls && !whole {
            Uncaptured::AttachedLate
        } else if tls && !self.had_tls {
            Uncaptured::UnknownStack
        } else {
            Uncaptured::NotHttp
        };
        Some(ConnectionFate::Uncaptured(reason))
    }
}

/// A connection's end as a socket that is given up has it.
pub fn given_up(conn: ConnId, time: KernelTime) -> ConnEnd {
    ConnEnd {
        time,
        conn,
        sent: 0,
        received: 0,
        verdict: Verdict::Unknown,
        reset: false,
        unwanted: false,
    }
}

/// Facts of a connection as a transaction tells them.
pub fn info(socket: Option<&Socket>, conn: Option<ConnId>, tls: Option<TlsId>) -> ConnectionInfo {
    let open = socket.and_then(|s| s.open);
    let hellos = || socket.and_then(|s| s.hellos.as_ref());
    ConnectionInfo {
        conn,
        tls,
        local: open.map(|o| o.local),
        remote: open.map(|o| o.remote),
        netns: open.map_or(0, |o| o.netns),
        tls_info: tls.map(|_| hellos().map_or_else(TlsInfo::default, |h| h.info().clone())),
    }
}
