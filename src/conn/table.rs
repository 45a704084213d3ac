//! All connections and streams.

mod exits;

use super::finish::Finisher;
use super::pair::{Key, Pair};
use super::socket::{self, Socket};
use super::{ConnectionFate, Limits, Output};
use crate::event::{ConnEnd, ConnId, ConnOpen, Data, Dir, Event, KernelTime, Source, TlsId};
use crate::join::{ClientEnd, KEPT_MAX, Kept};
use crate::proto::Ending;
use crate::telemetry::ledger::Lost;
use crate::transaction::{ConnectionInfo, Schedule, TlsInfo};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

/// Of `total_memory`: what is left in use after giving up the streams that are idle longest, in eighths.
const KEEP_EIGHTHS: u64 = 7;
/// For how long it is remembered that the connection of a TLS session is over, where the session's end is not told, in
/// nanoseconds.
const OVER: u64 = 60_000_000_000;

/// All connections that are open, and what is read of them.
///
/// Feed it events in the order in which the rings are read (`docs/architecture.md`): what opens and binds before the
/// data, what closes after it.
pub struct Table {
    limits: Limits,
    sockets: IdMap<ConnId, Socket>,
    pairs: IdMap<Key, Pair>,
    /// Sockets of TLS sessions that gave no data yet.
    bindings: IdMap<TlsId, ConnId>,
    /// TLS sessions whose connection was taken back, and when: control events may overtake bytes from before.
    doubts: IdMap<TlsId, KernelTime>,
    /// TLS sessions that have not ended and whose connection has: a call that was in progress then may still bring bytes.
    over: IdMap<TlsId, Over>,
    /// Streams of each process.
    by_pid: IdMap<u32, usize>,
    /// Streams with a response that waits for its request.
    waiting: Vec<Key>,
    /// Streams of processes that have ended.
    orphans: Vec<exits::Orphan>,
    memory: u64,
    /// What others hold of the same limit.
    beside: u64,
    /// None: nobody wants to hear of transactions before they end.
    schedule: Option<Schedule>,
    /// Of connections that an agent before this one knew, and that did nothing since.
    kept: HashMap<Place, Kept>,
}

/// When a TLS session's connection was over, and which it was.
#[derive(Debug, Clone, Copy)]
struct Over {
    conn: ConnId,
    time: KernelTime,
}

/// Network namespace, both addresses, and the peer's initial sequence number: no two connections share all of them.
type Place = (u32, SocketAddr, SocketAddr, u32);

fn place(kept: &Kept) -> Place {
    (kept.netns, kept.local, kept.remote, kept.remote_isn)
}

impl Table {
    pub fn new(limits: Limits) -> Self {
        Table {
            limits,
            sockets: IdMap::default(),
            pairs: IdMap::default(),
            bindings: IdMap::default(),
            doubts: IdMap::default(),
            over: IdMap::default(),
            by_pid: IdMap::default(),
            waiting: Vec::new(),
            orphans: Vec::new(),
            memory: 0,
            beside: 0,
            schedule: None,
            kept: HashMap::new(),
        }
    }

    /// Takes what an agent before this one knew of connections that may still be open.
    pub fn remember(&mut self, kept: Vec<Kept>) {
        let places = kept.into_iter().take(KEPT_MAX).map(|k| (place(&k), k));
        self.kept.extend(places);
    }

    /// What the next agent has to know of connections: those in use first.
    pub fn keep(&self) -> Vec<Kept> {
        let known = self.sockets.values().filter_map(Socket::keep);
        known
            .chain(self.kept.values().copied())
            .take(KEPT_MAX)
            .collect()
    }

    /// Lets transactions that last longer than `period` report once in each.
    #[must_use]
    pub fn with_progress(mut self, period: Duration) -> Self {
        self.set_progress(period);
        self
    }

    /// Another period of reports; what reported before keeps its number.
    pub fn set_progress(&mut self, period: Duration) {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        match &mut self.schedule {
            Some(schedule) => schedule.set_period(period),
            None => self.schedule = Some(Schedule::new(period)),
        }
    }

    /// Others hold so many bytes of `total_memory`, until another number is said.
    pub fn leave(&mut self, bytes: u64) {
        self.beside = bytes;
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Other limits, from the next event on. What is being read goes on as it is.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        for pair in self.pairs.values_mut() {
            pair.set_limits(limits.body);
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: &Event<'_>, out: &mut impl Output) {
        match event {
            Event::Data(data) if data.source == Source::Hello => self.hello(data, out),
            Event::Data(data) => self.data(data, out),
            Event::ConnOpen(open) => self.conn_open(open, out),
            Event::ConnEof(end) => self.eof(end, out),
            Event::ConnClose(end) => self.close(end, out),
            Event::TlsBind(tls) => {
                self.over.remove(&tls.tls);
                if let Some(conn) = tls.conn {
                    self.socket(conn, tls.time, out);
                    self.doubts.remove(&tls.tls);
                    self.bind(tls.tls, conn);
                    self.tell(conn, tls.pid, out);
                } else {
                    self.doubt(tls.tls, tls.time);
                }
            }
            Event::TlsEnd(tls) => {
                if let Some([read, written]) = tls.moved {
                    self.with(Key::Tls(tls.tls), tls.time, out, |pair, sink| {
                        pair.ends_at(Dir::Read, read, tls.time, sink);
                        pair.ends_at(Dir::Write, written, tls.time, sink);
                        pair.turns(tls.turn);
                    });
                }
                self.end(Key::Tls(tls.tls), Ending::Closed, tls.time, out);
                self.unbind(tls.tls);
                self.over.remove(&tls.tls);
            }
            // The new program knows nothing of the old one's TLS sessions; sockets may live on.
            Event::Exec(exec) => self.end_sessions(exec.pid, exec.time, out),
            Event::Exit { time, pid } => self.exit(*pid, *time, out),
        }
    }

    /// Whether the connection was announced, or met already.
    pub fn knows(&self, conn: ConnId) -> bool {
        self.sockets.contains_key(&conn)
    }

    /// Time passes: what waits for other events is given up after a while. Call it a few times a second.
    pub fn tick(&mut self, now: KernelTime, out: &mut impl Output) {
        for key in std::mem::take(&mut self.waiting) {
            let Some(pair) = self.pairs.get_mut(&key) else {
                continue;
            };
            pair.listed = false;
            self.with(key, now, out, |pair, sink| pair.tick(now, sink));
        }
        self.end_orphans(now, out);
        let recent = |over: &Over| now.0.saturating_sub(over.time.0) < OVER;
        self.over.retain(|_, over| recent(over));
        self.report(now, out);
    }

    fn report(&mut self, now: KernelTime, out: &mut impl Output) {
        let Some(mut schedule) = self.schedule.take() else {
            return;
        };
        if schedule.tick(now) {
            for key in self.keys(|_, pair| pair.is_busy()) {
                self.with(key, now, out, |pair, sink| pair.report(&mut schedule, sink));
            }
        }
        self.schedule = Some(schedule);
    }

    /// The agent stops: what has not ended comes out marked as unfinished. The table is empty then.
    pub fn finish(&mut self, now: KernelTime, out: &mut impl Output) {
        for key in self.keys(|_, _| true) {
            self.end(key, Ending::Unfinished, now, out);
        }
        let schedule = self.schedule.take();
        *self = Table::new(self.limits);
        self.schedule = schedule;
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.sockets.len()
    }

    /// TLS sessions that gave bytes and are open.
    pub fn tls_sessions(&self) -> usize {
        self.pairs.keys().filter(|key| key.tls().is_some()).count()
    }

    /// Approximate memory that all of this holds, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    fn socket(&mut self, conn: ConnId, time: KernelTime, out: &mut impl Output) -> &mut Socket {
        let memory = &mut self.memory;
        let socket = self.sockets.entry(conn).or_insert_with(|| {
            out.connection(ConnectionFate::Seen);
            *memory += Socket::MEMORY as u64;
            Socket {
                since: time,
                ..Socket::default()
            }
        });
        socket.active = time;
        socket
    }

    fn conn_open(&mut self, open: &ConnOpen, out: &mut impl Output) {
        let kept = (!open.whole).then(|| self.known_before(open)).flatten();
        let socket = self.socket(open.conn, open.time, out);
        let before = socket.memory();
        socket.open = Some(*open);
        socket.kept = kept.map(Box::new);
        let after = socket.memory();
        self.recount(before, after);
        self.bound(open.time, out);
    }

    /// What an agent before this one knew of a connection that is met late.
    fn known_before(&mut self, open: &ConnOpen) -> Option<Kept> {
        let place = (open.netns, open.local, open.remote, open.remote_isn);
        let kept = self.kept.remove(&place)?;
        // Of an end whose role is not known it may be one too high.
        let apart = kept.local_isn.wrapping_sub(open.local_isn);
        matches!(apart, 0 | 1 | u32::MAX).then_some(kept)
    }

    /// Tells of a client's end when its key is known, and again where TLS begins on it.
    fn tell(&mut self, conn: ConnId, pid: u32, out: &mut impl Output) {
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        let Some(key) = socket.client_key() else {
            return;
        };
        if socket.told.as_deref() == Some(&key) {
            return;
        }
        let before = socket.memory();
        if let Some(old) = socket.told.replace(Box::new(key)) {
            out.client_gone(&old, socket.active);
        }
        let after = socket.memory();
        let tls = socket.sessions.first().copied();
        let connection = ConnectionInfo {
            tls_info: tls.map(|_| TlsInfo::default()),
            ..socket::info(Some(socket), Some(conn), tls, Dir::Write)
        };
        let time = socket.active;
        out.client_end(ClientEnd {
            key,
            pid,
            time,
            connection,
        });
        self.recount(before, after);
    }

    fn hello(&mut self, data: &Data<'_>, out: &mut impl Output) {
        let Some(conn) = data.conn else {
            return out.lost(Lost::Unparsable, 1);
        };
        let socket = self.socket(conn, data.time, out);
        let before = socket.memory();
        socket.hellos.get_or_insert_default().push(data);
        let after = socket.memory();
        self.recount(before, after);
        self.tell(conn, data.pid, out);
        self.bound(data.time, out);
    }

    fn data(&mut self, data: &Data<'_>, out: &mut impl Output) {
        let Some(key) = Key::of(data) else {
            return out.lost(Lost::Unparsable, 1);
        };
        if self.is_over(data) {
            // Of a transaction that has left with its connection, marked.
            return;
        }
        let mut late = false;
        let mut untold = false;
        let doubt = data.tls.and_then(|tls| self.doubts.get(&tls));
        let overtaken = doubt.is_some_and(|time| data.time <= *time);
        let data = &Data {
            conn: data.conn.filter(|_| !overtaken),
            ..*data
        };
        if let Some(conn) = data.conn {
            let socket = self.socket(conn, data.time, out);
            late = socket.open.is_some_and(|open| !open.whole);
            untold = data.dir == Dir::Write && socket.told.is_none();
        }
        let pair = self.pairs.entry(key).or_insert_with(|| {
            *self.by_pid.entry(data.pid).or_default() += 1;
            let learnt = key.tls().and_then(|tls| self.bindings.remove(&tls));
            let late = late && key.tls().is_none();
            let mut pair = Pair::new(data, late, self.limits.body);
            pair.conn = pair.conn.or(learnt);
            pair
        });
        if pair.pid != data.pid {
            let old = std::mem::replace(&mut pair.pid, data.pid);
            *self.by_pid.entry(data.pid).or_default() += 1;
            self.forget_pid(old);
        }
        if let (Key::Tls(tls), Some(conn)) = (key, data.conn) {
            self.bind(tls, conn);
        }
        if let Some(conn) = data.conn.filter(|_| untold) {
            self.tell(conn, data.pid, out);
        }
        self.with(key, data.time, out, |pair, sink| pair.data(data, sink));
        self.bound(data.time, out);
    }

    /// Whether it is of a TLS session whose connection is over.
    fn is_over(&self, data: &Data<'_>) -> bool {
        let over = data.tls.and_then(|tls| self.over.get(&tls));
        over.is_some_and(|over| data.conn.is_none_or(|conn| conn == over.conn))
    }

    /// Binds a TLS session to a connection, instead of the one it was bound to.
    fn bind(&mut self, tls: TlsId, conn: ConnId) {
        let before = match self.pairs.get_mut(&Key::Tls(tls)) {
            Some(pair) => pair.conn.replace(conn),
            None => self.bindings.insert(tls, conn),
        };
        if let Some(old) = before.filter(|old| *old != conn)
            && let Some(socket) = self.sockets.get_mut(&old)
        {
            socket.unbind(tls);
        }
        if let Some(socket) = self.sockets.get_mut(&conn) {
            let memory = socket.memory();
            socket.bind(tls);
            let after = socket.memory();
            self.recount(memory, after);
        }
    }

    /// Which connection a TLS session uses is not known any more.
    fn doubt(&mut self, tls: TlsId, time: KernelTime) {
        if let Some(pair) = self.pairs.get_mut(&Key::Tls(tls))
            && let Some(conn) = pair.conn.take()
            && let Some(socket) = self.sockets.get_mut(&conn)
        {
            socket.unbind(tls);
        }
        self.unbind(tls);
        self.doubts.insert(tls, time);
    }

    /// A TLS session that gave no data is gone.
    fn unbind(&mut self, tls: TlsId) {
        self.doubts.remove(&tls);
        if let Some(conn) = self.bindings.remove(&tls)
            && let Some(socket) = self.sockets.get_mut(&conn)
        {
            socket.unbind(tls);
        }
    }

    /// Lets a stream work within its bounds, and does the accounting of it.
    fn with<O: Output>(
        &mut self,
        key: Key,
        now: KernelTime,
        out: &mut O,
        work: impl FnOnce(&mut Pair, &mut Finisher<'_, O>),
    ) {
        let Some(pair) = self.pairs.get_mut(&key) else {
            return;
        };
        let mut finisher = Finisher {
            socket: pair.conn.and_then(|conn| self.sockets.get(&conn)),
            conn: pair.conn,
            tls: key.tls(),
            now,
            given: 0,
            asked: false,
            out,
        };
        work(pair, &mut finisher);
        pair.bound(self.limits.connection_memory, &mut finisher);
        let (given, asked) = (finisher.given, finisher.asked);
        let (conn, pid) = (pair.conn, pair.pid);
        if !pair.listed && pair.is_waiting() {
            pair.listed = true;
            self.waiting.push(key);
        }
        if let Some(socket) = pair.conn.and_then(|conn| self.sockets.get_mut(&conn)) {
            socket.had_http2 |= pair.is_http2();
            socket.asked |= asked && key.tls().is_none();
            if given > 0 && !socket.captured {
                socket.captured = true;
                out.connection(ConnectionFate::Captured);
            }
        }
        let memory = pair.memory();
        let before = std::mem::replace(&mut pair.counted, memory);
        self.recount(before, memory);
        if let Some(conn) = conn.filter(|_| asked) {
            self.tell(conn, pid, out);
        }
    }

    fn recount(&mut self, before: usize, after: usize) {
        self.memory = (self.memory + after as u64).saturating_sub(before as u64);
    }

    fn eof(&mut self, end: &ConnEnd, out: &mut impl Output) {
        // Over TLS the application may not have read yet what came before.
        self.with(Key::Socket(end.conn), end.time, out, |pair, sink| {
            pair.socket_ends_at(Dir::Read, end.received, end.time, sink);
            pair.end_of(Dir::Read, sink);
        });
    }

    fn close(&mut self, end: &ConnEnd, out: &mut impl Output) {
        let ending = if end.reset {
            Ending::Reset
        } else {
            Ending::Closed
        };
        let sessions = self
            .sockets
            .get_mut(&end.conn)
            .map(|s| s.sessions.clone())
            .unwrap_or_default();
        self.with(Key::Socket(end.conn), end.time, out, |pair, sink| {
            pair.socket_ends_at(Dir::Read, end.received, end.time, sink);
            pair.socket_ends_at(Dir::Write, end.sent, end.time, sink);
            pair.turns(end.turn);
        });
        self.end(Key::Socket(end.conn), ending, end.time, out);
        for tls in sessions {
            self.end(Key::Tls(tls), ending, end.time, out);
            self.bindings.remove(&tls);
            let over = Over {
                conn: end.conn,
                time: end.time,
            };
            self.over.insert(tls, over);
        }
        if let Some(socket) = self.sockets.remove(&end.conn) {
            self.recount(socket.memory(), 0);
            if let Some(key) = &socket.told {
                out.client_gone(key, end.time);
            }
            if let Some(reason) = socket.uncaptured(end) {
                out.uncaptured(reason, socket.open.as_ref());
            }
        }
    }

    /// Ends a stream.
    fn end(&mut self, key: Key, ending: Ending, time: KernelTime, out: &mut impl Output) {
        self.with(key, time, out, |pair, sink| pair.end(ending, sink));
        self.remove(key);
    }

    fn remove(&mut self, key: Key) -> Option<Pair> {
        let pair = self.pairs.remove(&key)?;
        self.recount(pair.counted, 0);
        self.forget_pid(pair.pid);
        if let Some(tls) = key.tls() {
            self.doubts.remove(&tls);
        }
        if let (Key::Tls(tls), Some(conn)) = (key, pair.conn)
            && let Some(socket) = self.sockets.get_mut(&conn)
        {
            socket.unbind(tls);
        }
        Some(pair)
    }

    fn forget_pid(&mut self, pid: u32) {
        if let Some(count) = self.by_pid.get_mut(&pid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_pid.remove(&pid);
            }
        }
    }

    /// Keys of the streams for which `which` is true, in a fixed order.
    fn keys(&self, which: impl Fn(Key, &Pair) -> bool) -> Vec<Key> {
        let chosen = self.pairs.iter().filter(|(key, pair)| which(**key, pair));
        let mut keys: Vec<Key> = chosen.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Gives up what is idle longest where all together holds more than it may.
    fn bound(&mut self, now: KernelTime, out: &mut impl Output) {
        let total = self.limits.total_memory;
        // Half is for connections, whatever others hold.
        let total = total - self.beside.min(total / 2);
        if self.memory <= total {
            return;
        }
        let goal = total / 8 * KEEP_EIGHTHS;
        let pairs = self.pairs.iter().map(|(key, p)| (p.active, *key));
        let mut idle: Vec<(KernelTime, Key)> = pairs.collect();
        idle.sort_unstable();
        for (_, key) in idle {
            if self.memory <= goal {
                return;
            }
            let lost = self.remove(key).map_or(0, |mut pair| pair.give_up());
            if lost > 0 {
                out.lost(Lost::Evicted, lost);
            }
        }
        let sockets = self.sockets.iter().map(|(conn, s)| (s.active, *conn));
        let mut idle: Vec<(KernelTime, ConnId)> = sockets.collect();
        idle.sort_unstable();
        for (_, conn) in idle {
            if self.memory <= goal {
                return;
            }
            self.close(&socket::given_up(conn, now), out);
        }
    }
}

type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Hashes ids that the kernel programs count: nobody outside can choose them.
#[derive(Default)]
struct IdHasher(u64);

impl IdHasher {
    fn mix(&mut self, n: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(ODD);
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // The map takes low bits, and multiplying mixes upwards.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.mix(u64::from(*b)));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_isize(&mut self, n: isize) {
        self.mix(n as u64);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
