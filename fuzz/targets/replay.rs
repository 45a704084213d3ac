//! Events from the ring to transactions: connections, sessions and processes in any order, within small bounds.

use super::input::Input;
use plainspan::conn::{ConnectionFate, Limits, Output, Table};
use plainspan::event::layout::flag;
use plainspan::event::{
    Bound, ConnEnd, ConnId, ConnOpen, Data, Dir, Event, Exec, KernelTime, Role, Source, Tls, TlsId,
    Verdict, decode,
};
use plainspan::redact::Raw;
use plainspan::telemetry::ledger::Lost;
use plainspan::transaction::{BodyLimits, Transaction};
use std::net::SocketAddr;

/// Small, so that few bytes reach them.
const LIMITS: Limits = Limits {
    body: BodyLimits {
        capture: true,
        max_bytes: 4096,
    },
    connection_memory: 48 << 10,
    total_memory: 100 << 10,
};

#[derive(Default)]
struct Seen {
    transactions: u64,
    seen: u64,
    settled: u64,
}

impl Output for Seen {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        let t = transaction.expose();
        self.transactions += 1;
        assert!(
            t.memory() <= 16 * LIMITS.connection_memory,
            "{}",
            t.memory()
        );
        assert!(!t.complete() || t.request.is_some() && t.response.is_some());
        assert!(t.timing.start <= t.timing.end || t.response.is_some());
    }

    fn lost(&mut self, _: Lost, transactions: u64) {
        assert!(transactions > 0);
    }

    fn connection(&mut self, fate: ConnectionFate) {
        match fate {
            ConnectionFate::Seen => self.seen += 1,
            ConnectionFate::Captured | ConnectionFate::Uncaptured(_) => self.settled += 1,
        }
        assert!(self.settled <= self.seen);
    }
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut table = Table::new(LIMITS);
    let mut seen = Seen::default();
    let mut writer = Script::default();
    let raw = input.byte() & 1 != 0;
    while !input.is_empty() {
        if raw {
            let len = usize::from(input.byte()) | usize::from(input.byte()) << 8;
            if let Ok(event) = decode(input.take(len)) {
                table.handle(&event, &mut seen);
            }
        } else {
            match writer.event(&mut input) {
                Some(event) => table.handle(&event, &mut seen),
                None => table.tick(writer.now, &mut seen),
            }
        }
        assert!(table.memory() <= LIMITS.total_memory);
    }
    table.tick(KernelTime(u64::MAX), &mut seen);
    table.finish(KernelTime(u64::MAX), &mut seen);
    assert_eq!((table.memory(), table.open()), (0, 0));
}

/// Turns choices into events that the kernel could have sent: offsets go on, with gaps and repetitions.
#[derive(Default)]
struct Script {
    now: KernelTime,
    /// Of each of eight streams, by direction.
    offsets: [[u64; 2]; 8],
    turn: u32,
}

impl Script {
    /// None: time passes.
    fn event<'a>(&mut self, input: &mut Input<'a>) -> Option<Event<'a>> {
        let tag = input.byte();
        self.now.0 += 1_000_000;
        let (time, pid) = (self.now, 1 + u32::from(tag >> 7));
        let conn = ConnId(1 + u64::from(tag >> 4 & 3));
        let tls = TlsId(conn.0 + 10);
        Some(match tag & 15 {
            0..=7 => Event::Data(self.data(tag, input)),
            8 => Event::ConnOpen(open(time, pid, conn, tag)),
            9 => Event::ConnEof(self.end(conn, tag)),
            10 => Event::ConnClose(self.end(conn, tag)),
            11 => Event::TlsBind(bind(time, pid, tls, input.byte())),
            12 => Event::TlsEnd(bind(time, pid, tls, 0)),
            13 => Event::Exec(Exec {
                time,
                pid,
                start_boottime_ns: 0,
                comm: b"x",
                path: b"/x",
                environ: [&[]; 4],
            }),
            14 => Event::Exit { time, pid },
            _ => {
                self.now.0 += u64::from(input.byte()) << 26;
                return None;
            }
        })
    }

    /// `tag`: direction, TLS, odd choices.
    fn data<'a>(&mut self, tag: u8, input: &mut Input<'a>) -> Data<'a> {
        let dir = if tag & 1 == 0 { Dir::Write } else { Dir::Read };
        let over_tls = tag & 2 != 0;
        let conn = usize::from(tag >> 4 & 3);
        let odd = if tag & 4 != 0 { input.byte() } else { 0 };
        let bytes = input.text();
        let next = &mut self.offsets[conn << 1 | usize::from(over_tls)][dir as usize];
        match odd & 3 {
            1 => *next += u64::from(odd) << 3,
            2 => *next = next.saturating_sub(u64::from(odd)),
            _ => {}
        }
        let offset = *next;
        let beyond = if odd & 4 != 0 { u32::from(odd) << 5 } else { 0 };
        *next += bytes.len() as u64 + u64::from(beyond);
        let hello = odd & 0xc0 == 0xc0;
        let cut = if beyond > 0 { flag::CUT } else { 0 };
        let whole = if odd & 8 == 0 { flag::WHOLE } else { 0 };
        self.turn += 1;
        Data {
            time: self.now,
            entry: KernelTime(self.now.0 - 10),
            pid: 1 + u32::from(tag >> 7),
            tid: 1,
            conn: Some(ConnId(1 + conn as u64)).filter(|_| odd & 16 == 0),
            tls: Some(TlsId(11 + conn as u64)).filter(|_| over_tls && !hello),
            offset,
            op_len: bytes.len() as u32 + beyond,
            op_offset: 0,
            turn: self.turn,
            dir,
            source: match (hello, over_tls) {
                (true, _) => Source::Hello,
                (_, true) => Source::Tls,
                (_, false) => Source::Socket,
            },
            bound: Bound::Exact,
            flags: flag::LAST | whole | cut,
            bytes,
        }
    }

    fn end(&self, conn: ConnId, tag: u8) -> ConnEnd {
        let [sent, received] = [Dir::Write, Dir::Read]
            .map(|dir| self.offsets[(conn.0 as usize - 1) << 1][dir as usize]);
        ConnEnd {
            time: self.now,
            conn,
            sent,
            received,
            verdict: Verdict::Unknown,
            reset: tag & 64 != 0,
            unwanted: false,
            turn: self.turn,
        }
    }
}

fn open(time: KernelTime, pid: u32, conn: ConnId, tag: u8) -> ConnOpen {
    let [local, remote] = [40_000, 443].map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
    ConnOpen {
        time,
        pid,
        conn,
        local,
        remote,
        role: (tag & 64 != 0).then_some(Role::Client),
        whole: tag & 64 != 0,
        netns: 1,
        local_isn: 1,
        remote_isn: 2,
    }
}

fn bind(time: KernelTime, pid: u32, tls: TlsId, conn: u8) -> Tls {
    Tls {
        time,
        pid,
        tls,
        conn: Some(ConnId(u64::from(conn & 7))).filter(|c| c.0 > 0),
        bound: Bound::Exact,
        moved: None,
        turn: 0,
    }
}
