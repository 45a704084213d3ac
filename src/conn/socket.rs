//! What is known of a connection below its plaintext.

use super::hello::Hellos;
use crate::event::{ConnEnd, ConnId, ConnOpen, Dir, KernelTime, Role, TlsId, Verdict};
use crate::join::{Kept, Key, Known};
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
    /// It sent a request in the clear.
    pub asked: bool,
    /// First event.
    pub since: KernelTime,
    /// Last event.
    pub active: KernelTime,
    /// What an agent before this one knew of it.
    pub kept: Option<Box<Kept>>,
    /// It was told as a client's end, by this key.
    pub told: Option<Box<Key>>,
}

impl Socket {
    /// Memory of one socket without hellos, in bytes.
    pub const MEMORY: usize = size_of::<Self>() + size_of::<ConnId>();

    pub fn memory(&self) -> usize {
        let hellos = self.hellos.as_ref();
        Self::MEMORY
            + hellos.map_or(0, |h| size_of::<Hellos>() + h.memory())
            + self.kept.as_ref().map_or(0, |_| size_of::<Kept>())
            + self.told.as_ref().map_or(0, |_| size_of::<Key>())
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

    /// The key of what `tls` says on it, or of its own bytes; `requests`: the direction that carries them. None: not
    /// known, or not certain that it is this session's.
    pub fn known(&self, tls: Option<TlsId>, requests: Dir) -> Option<Known> {
        let (key, counted) = match tls {
            Some(tls) if self.sessions == [tls] => self.tls_key()?,
            Some(_) => return None,
            None => (self.tcp_key(requests)?, true),
        };
        let since = self.since;
        Some(Known {
            key,
            counted,
            since,
        })
    }

    /// The key of TLS, and whether plaintext is counted alike at both ends.
    fn tls_key(&self) -> Option<(Key, bool)> {
        let hellos = self.hellos.as_ref();
        let seen = hellos.and_then(|h| Some((h.key()?, h.no_early_data())));
        seen.or_else(|| self.kept.as_ref().map(|kept| (kept.key, false)))
    }

    fn tcp_key(&self, requests: Dir) -> Option<Key> {
        let open = self.open?;
        let local = match (open.role, requests) {
            // The kernel programs took it for the end that connected, whose SYN counts.
            (None, Dir::Read) => open.local_isn.wrapping_sub(1),
            _ => open.local_isn,
        };
        let (client, server) = match requests {
            Dir::Write => (local, open.remote_isn),
            Dir::Read => (open.remote_isn, local),
        };
        Some(Key::Tcp { client, server })
    }

    /// The key of a client's end whose requests are seen in the clear: a relay has none.
    pub fn client_key(&self) -> Option<Key> {
        let kept = self.kept.as_ref().is_some_and(|kept| kept.client);
        let hellos = self.hellos.as_ref();
        if !self.sessions.is_empty() {
            let is_client = hellos.map_or(kept, |h| h.is_client());
            let (key, _) = self.tls_key().filter(|_| is_client)?;
            return Some(key);
        }
        // What is in TLS that nobody looks into is a relay's, or of a library without probes.
        let plain = !self.had_tls && hellos.is_none();
        let connected = self.open.is_some_and(|o| o.role == Some(Role::Client));
        (plain && (connected || self.asked)).then(|| self.tcp_key(Dir::Write))?
    }

    /// What the next agent has to know of it. None: nothing, or the kernel tells it.
    pub fn keep(&self) -> Option<Kept> {
        // Offsets of HTTP/1 are not counted while no agent runs.
        let open = self.open.filter(|_| self.had_http2 && self.had_tls)?;
        let (key, _) = self.tls_key()?;
        Some(Kept {
            local: open.local,
            remote: open.remote,
            netns: open.netns,
            local_isn: open.local_isn,
            remote_isn: open.remote_isn,
            client: match (&self.hellos, &self.kept) {
                (Some(hellos), _) => hellos.is_client(),
                (None, Some(kept)) => kept.client,
                (None, None) => return None,
            },
            key,
        })
    }

    /// Why it gave no transaction; None where it did.
    pub fn uncaptured(&self, end: &ConnEnd) -> Option<Uncaptured> {
        if self.captured {
            return None;
        }
        let verdict = end.verdict;
        let whole = self.open.is_some_and(|o| o.whole);
        let tls = self.had_tls || verdict == Verdict::Tls;
        Some(if end.unwanted && verdict != Verdict::Other {
            Uncaptured::LevelNone
        } else if self.had_http2 || verdict == Verdict::Http2 {
            Uncaptured::Http2
        } else if tls && !whole {
            Uncaptured::AttachedLate
        } else if tls && !self.had_tls {
            Uncaptured::UnknownStack
        } else {
            Uncaptured::NotHttp
        })
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
        turn: 0,
    }
}

/// Facts of a connection as a transaction tells them. `requests`: the direction that carries its requests.
pub fn info(
    socket: Option<&Socket>,
    conn: Option<ConnId>,
    tls: Option<TlsId>,
    requests: Dir,
) -> ConnectionInfo {
    let open = socket.and_then(|s| s.open);
    let hellos = || socket.and_then(|s| s.hellos.as_ref());
    ConnectionInfo {
        conn,
        tls,
        local: open.map(|o| o.local),
        remote: open.map(|o| o.remote),
        netns: open.map_or(0, |o| o.netns),
        tls_info: tls.map(|_| hellos().map_or_else(TlsInfo::default, |h| h.info().clone())),
        join: socket.and_then(|s| s.known(tls, requests)),
    }
}
