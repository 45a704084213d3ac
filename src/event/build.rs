//! The encode side of the wire format: raw records from events, and whole connections from a script.
//!
//! For tests and fixtures: what the kernel programs would have written. [`super::decode`] is the inverse.

use super::layout::{self, flag, kind, size};
use super::{
    Bound, ConnEnd, ConnId, ConnOpen, Data, Dir, Event, Exec, KernelTime, Role, Source, Tls, TlsId,
    Verdict,
};
use std::net::{IpAddr, SocketAddr};

/// The raw record of an event. Texts longer than their field are cut.
pub fn encode(event: &Event<'_>) -> Vec<u8> {
    match event {
        Event::Data(d) => data(d),
        Event::ConnOpen(o) => conn_open(o),
        Event::ConnEof(e) => conn_end(kind::CONN_EOF, e),
        Event::ConnClose(e) => conn_end(kind::CONN_CLOSE, e),
        Event::TlsBind(t) => tls(kind::TLS_BIND, t),
        Event::TlsEnd(t) => tls(kind::TLS_END, t),
        Event::Exec(e) => exec(e),
        Event::Exit { time, pid } => Record::new(kind::EXIT, size::EXIT, *pid, *time).0,
    }
}

struct Record(Vec<u8>);

impl Record {
    fn new(kind: u16, size: usize, pid: u32, time: KernelTime) -> Self {
        let mut record = Record(vec![0; size]);
        record.put(0, &kind.to_le_bytes());
        record.put(2, &layout::VERSION.to_le_bytes());
        record.put(4, &pid.to_le_bytes());
        record.put(8, &time.0.to_le_bytes());
        record
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn text(&mut self, at: usize, field: usize, text: &[u8]) {
        self.put(at, &text[..text.len().min(field - 1)]);
    }
}

fn data(d: &Data<'_>) -> Vec<u8> {
    let mut r = Record::new(kind::DATA, size::DATA, d.pid, d.time);
    r.put(16, &d.entry.0.to_le_bytes());
    r.put(24, &d.conn.map_or(0, |c| c.0).to_le_bytes());
    r.put(32, &d.tls.map_or(0, |t| t.0).to_le_bytes());
    r.put(40, &d.offset.to_le_bytes());
    r.put(48, &d.op_len.to_le_bytes());
    r.put(52, &d.op_offset.to_le_bytes());
    r.put(56, &(d.bytes.len() as u32).to_le_bytes());
    r.put(60, &d.turn.to_le_bytes());
    r.put(64, &d.tid.to_le_bytes());
    let dir = match d.dir {
        Dir::Read => 0,
        Dir::Write => 1,
    };
    let source = match d.source {
        Source::Socket => 0,
        Source::Tls => 1,
        Source::Hello => 2,
    };
    r.put(68, &[dir, source, d.flags, bound(d.bound)]);
    r.0.extend_from_slice(d.bytes);
    r.0
}

fn bound(bound: Bound) -> u8 {
    match bound {
        Bound::None => 0,
        Bound::Next => 1,
        Bound::Prev => 2,
        Bound::Exact => 3,
        Bound::Hello => 4,
    }
}

fn conn_open(o: &ConnOpen) -> Vec<u8> {
    let mut r = Record::new(kind::CONN_OPEN, size::CONN_OPEN, o.pid, o.time);
    r.put(16, &o.conn.0.to_le_bytes());
    for (at, address) in [(24, o.local), (40, o.remote)] {
        match address.ip() {
            IpAddr::V4(ip) => r.put(at, &ip.octets()),
            IpAddr::V6(ip) => r.put(at, &ip.octets()),
        }
    }
    r.put(56, &o.local.port().to_le_bytes());
    r.put(58, &o.remote.port().to_le_bytes());
    let role = match o.role {
        None => 0,
        Some(Role::Client) => 1,
        Some(Role::Server) => 2,
    };
    let family = if o.local.is_ipv4() { 4 } else { 6 };
    let flags = if o.whole { layout::CONN_WHOLE } else { 0 };
    r.put(60, &[family, role, flags]);
    r.put(64, &o.netns.to_le_bytes());
    r.put(68, &o.local_isn.to_le_bytes());
    r.put(72, &o.remote_isn.to_le_bytes());
    r.0
}

fn conn_end(kind: u16, e: &ConnEnd) -> Vec<u8> {
    let mut r = Record::new(kind, size::CONN_END, 0, e.time);
    r.put(16, &e.conn.0.to_le_bytes());
    r.put(24, &e.sent.to_le_bytes());
    r.put(32, &e.received.to_le_bytes());
    let verdict = match e.verdict {
        Verdict::Unknown => 0,
        Verdict::Http1 => 1,
        Verdict::Http2 => 2,
        Verdict::Tls => 3,
        Verdict::Other => 4,
    };
    let reset = u8::from(e.reset) * layout::CONN_RESET;
    let unwanted = u8::from(e.unwanted) * layout::CONN_UNWANTED;
    r.put(40, &[verdict, reset | unwanted]);
    r.put(44, &e.turn.to_le_bytes());
    r.0
}

fn tls(kind: u16, t: &Tls) -> Vec<u8> {
    let size = match t.moved {
        Some(_) => size::TLS,
        None => size::TLS_SHORT,
    };
    let mut r = Record::new(kind, size, t.pid, t.time);
    r.put(16, &t.tls.0.to_le_bytes());
    r.put(24, &t.conn.map_or(0, |c| c.0).to_le_bytes());
    r.put(32, &[bound(t.bound)]);
    r.put(36, &t.turn.to_le_bytes());
    if let Some([read, written]) = t.moved {
        r.put(40, &read.to_le_bytes());
        r.put(48, &written.to_le_bytes());
    }
    r.0
}

fn exec(e: &Exec<'_>) -> Vec<u8> {
    let has_environ = e.environ.iter().any(|variable| !variable.is_empty());
    let size = match has_environ {
        true => size::EXEC_ENVIRON,
        false => size::EXEC,
    };
    let mut r = Record::new(kind::EXEC, size, e.pid, e.time);
    r.put(16, &e.start_boottime_ns.to_le_bytes());
    r.text(24, 16, e.comm);
    r.text(40, 256, e.path);
    if has_environ {
        let room = (size::EXEC_ENVIRON - size::EXEC) / e.environ.len();
        for (index, variable) in e.environ.iter().enumerate() {
            r.text(size::EXEC + index * room, room, variable);
        }
    }
    r.0
}

/// Writes the records of one connection, keeping its offsets, turns and times as the kernel programs do.
///
/// Each operation happens one microsecond after the one before it.
#[derive(Debug, Clone)]
pub struct EventBuilder {
    pub pid: u32,
    pub tid: u32,
    pub conn: ConnId,
    /// Some: data comes from this TLS session.
    pub tls: Option<TlsId>,
    pub role: Role,
    /// Offsets count from the stream's first byte.
    pub whole: bool,
    pub now: KernelTime,
    offsets: [u64; 2],
    hello_offsets: [u64; 2],
    turn: u32,
    last: Option<Dir>,
}

impl EventBuilder {
    /// A connection over a plain socket, seen from its first byte.
    pub fn new(pid: u32, conn: u64, role: Role) -> Self {
        EventBuilder {
            pid,
            tid: pid,
            conn: ConnId(conn),
            tls: None,
            role,
            whole: true,
            now: KernelTime(1_000_000),
            offsets: [0; 2],
            hello_offsets: [0; 2],
            turn: 0,
            last: None,
        }
    }

    /// The same, with the plaintext from TLS session `tls`.
    pub fn over_tls(mut self, tls: u64) -> Self {
        self.tls = Some(TlsId(tls));
        self
    }

    /// Lets `ns` nanoseconds pass.
    pub fn wait(&mut self, ns: u64) {
        self.now.0 += ns;
    }

    fn step(&mut self) -> KernelTime {
        self.now.0 += 1_000;
        self.now
    }

    /// The announcement of the connection: 10.0.0.1:40000 to 10.0.0.2:443 (80 without TLS).
    pub fn open(&mut self) -> Vec<u8> {
        let port = if self.tls.is_some() { 443 } else { 80 };
        let client = SocketAddr::from(([10, 0, 0, 1], 40_000));
        let server = SocketAddr::from(([10, 0, 0, 2], port));
        let ((local, remote), (local_isn, remote_isn)) = match self.role {
            Role::Client => ((client, server), (1, 2)),
            Role::Server => ((server, client), (2, 1)),
        };
        encode(&Event::ConnOpen(ConnOpen {
            time: self.step(),
            pid: self.pid,
            conn: self.conn,
            local,
            remote,
            role: self.whole.then_some(self.role),
            whole: self.whole,
            netns: 4_026_531_840,
            local_isn,
            remote_isn,
        }))
    }

    /// One operation in one event.
    pub fn data(&mut self, dir: Dir, bytes: &[u8]) -> Vec<u8> {
        self.operation(dir, bytes, &[]).swap_remove(0)
    }

    /// One operation, cut into events at the offsets `cuts` (rising, inside the operation).
    pub fn operation(&mut self, dir: Dir, bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let template = self.template(dir, bytes.len() as u32);
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let mut records = Vec::with_capacity(cuts.len() + 1);
        let mut start = 0;
        for end in ends {
            let last = if end == bytes.len() { flag::LAST } else { 0 };
            records.push(encode(&Event::Data(Data {
                offset: template.offset + start as u64,
                op_offset: start as u32,
                flags: template.flags | last,
                bytes: &bytes[start..end],
                ..template
            })));
            start = end;
        }
        records
    }

    /// One operation of `len` bytes of which only the first `seen` were copied. `why`: `CUT`, `FAULT` or `NO_BYTES`.
    pub fn partial(&mut self, dir: Dir, seen: &[u8], len: u32, why: u8) -> Vec<u8> {
        let template = self.template(dir, len);
        encode(&Event::Data(Data {
            flags: template.flags | flag::LAST | why,
            bytes: seen,
            ..template
        }))
    }

    /// Raw TLS records on the socket, one operation.
    pub fn hello(&mut self, dir: Dir, bytes: &[u8]) -> Vec<u8> {
        let time = self.step();
        let offset = self.hello_offsets[dir as usize];
        self.hello_offsets[dir as usize] += bytes.len() as u64;
        encode(&Event::Data(Data {
            time,
            entry: time,
            pid: self.pid,
            tid: self.tid,
            conn: Some(self.conn),
            tls: None,
            offset,
            op_len: bytes.len() as u32,
            op_offset: 0,
            turn: 0,
            dir,
            source: Source::Hello,
            bound: Bound::None,
            flags: flag::LAST | flag::WHOLE,
            bytes,
        }))
    }

    /// The first event of an operation, and the state after the operation.
    fn template(&mut self, dir: Dir, op_len: u32) -> Data<'static> {
        let time = self.step();
        if self.last.is_some_and(|last| last != dir) {
            self.turn += 1;
        }
        self.last = Some(dir);
        let offset = self.offsets[dir as usize];
        self.offsets[dir as usize] += u64::from(op_len);
        Data {
            time,
            entry: time,
            pid: self.pid,
            tid: self.tid,
            conn: Some(self.conn),
            tls: self.tls,
            offset,
            op_len,
            op_offset: 0,
            turn: self.turn,
            dir,
            source: match self.tls {
                Some(_) => Source::Tls,
                None => Source::Socket,
            },
            bound: match self.tls {
                Some(_) => Bound::Exact,
                None => Bound::None,
            },
            flags: if self.whole { flag::WHOLE } else { 0 },
            bytes: &[],
        }
    }

    /// A receive returned 0.
    pub fn eof(&mut self) -> Vec<u8> {
        let end = self.end(false);
        encode(&Event::ConnEof(end))
    }

    /// The socket is closed.
    pub fn close(&mut self) -> Vec<u8> {
        let end = self.end(false);
        encode(&Event::ConnClose(end))
    }

    /// The socket is closed after a reset.
    pub fn reset(&mut self) -> Vec<u8> {
        let end = self.end(true);
        encode(&Event::ConnClose(end))
    }

    fn end(&mut self, reset: bool) -> ConnEnd {
        ConnEnd {
            time: self.step(),
            conn: self.conn,
            sent: self.offsets[Dir::Write as usize],
            received: self.offsets[Dir::Read as usize],
            verdict: match self.tls {
                Some(_) => Verdict::Tls,
                None => Verdict::Http1,
            },
            reset,
            unwanted: false,
            turn: self.turn,
        }
    }

    /// The TLS session was freed. Without a session: session 0, which no reader takes.
    pub fn tls_end(&mut self) -> Vec<u8> {
        encode(&Event::TlsEnd(Tls {
            time: self.step(),
            pid: self.pid,
            tls: self.tls.unwrap_or(TlsId(0)),
            conn: Some(self.conn),
            bound: Bound::Exact,
            moved: Some(self.offsets),
            turn: self.turn,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::decode;

    #[test]
    fn decoding_gives_back_what_was_encoded() {
        let time = KernelTime(7);
        let end = ConnEnd {
            time,
            conn: ConnId(3),
            sent: 4,
            received: 5,
            verdict: Verdict::Tls,
            reset: true,
            unwanted: false,
            turn: 11,
        };
        let tls = Tls {
            time,
            pid: 9,
            tls: TlsId(6),
            conn: None,
            bound: Bound::Prev,
            moved: Some([8, 1 << 40]),
            turn: 12,
        };
        let short = Tls { moved: None, ..tls };
        let events = [
            Event::ConnEof(end),
            Event::ConnClose(end),
            Event::TlsBind(tls),
            Event::TlsEnd(tls),
            Event::TlsEnd(short),
            Event::Exit { time, pid: 9 },
            Event::Exec(Exec {
                time,
                pid: 9,
                start_boottime_ns: 11,
                comm: b"curl",
                path: b"/usr/bin/curl",
                environ: [&[]; 4],
            }),
            Event::Exec(Exec {
                time,
                pid: 9,
                start_boottime_ns: 11,
                comm: b"curl",
                path: b"/usr/bin/curl",
                environ: [b"OTEL_SERVICE_NAME=a", b"", b"", b"QPOINT_TAGS=b:c"],
            }),
            Event::ConnOpen(ConnOpen {
                time,
                pid: 9,
                conn: ConnId(3),
                local: "[2001:db8::1]:443".parse().expect("an address"),
                remote: "[2001:db8::2]:50000".parse().expect("an address"),
                role: Some(Role::Server),
                whole: true,
                netns: 1,
                local_isn: 2,
                remote_isn: 3,
            }),
            Event::Data(Data {
                time,
                entry: KernelTime(6),
                pid: 9,
                tid: 10,
                conn: Some(ConnId(3)),
                tls: Some(TlsId(6)),
                offset: 1 << 40,
                op_len: 100,
                op_offset: 10,
                turn: 3,
                dir: Dir::Write,
                source: Source::Tls,
                bound: Bound::Exact,
                flags: flag::LAST | flag::WHOLE,
                bytes: b"abc",
            }),
        ];
        for event in events {
            let record = encode(&event);
            assert_eq!(decode(&record), Ok(event));
        }
    }

    #[test]
    fn a_builder_counts_offsets_and_turns() {
        let mut b = EventBuilder::new(1, 2, Role::Client);
        let records = [
            b.data(Dir::Write, b"abc"),
            b.data(Dir::Read, b"de"),
            b.data(Dir::Write, b"f"),
        ];
        let seen: Vec<_> = records
            .iter()
            .map(|r| match decode(r) {
                Ok(Event::Data(d)) => (d.offset, d.turn),
                other => panic!("not data: {other:?}"),
            })
            .collect();
        assert_eq!(seen, [(0, 0), (0, 1), (3, 2)]);
    }
}
