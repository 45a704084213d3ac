use super::*;
use crate::event::build::{EventBuilder, encode};
use crate::event::layout::flag;
use crate::event::{Bound, Dir, Role, Tls, Verdict, decode};
use crate::redact::Raw;
use crate::telemetry::ledger::Uncaptured;
use crate::transaction::{BodyLimits, Mark, Transaction};
use Dir::{Read, Write};

#[path = "table_exits_tests.rs"]
mod exits;
#[path = "table_lost_tests.rs"]
mod lost;
#[path = "table_memory_tests.rs"]
mod memory;
#[path = "table_progress_tests.rs"]
mod progress;

#[derive(Default)]
struct Seen {
    transactions: Vec<Transaction>,
    lost: Vec<(Lost, u64)>,
    fates: Vec<ConnectionFate>,
}

impl Output for Seen {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        self.transactions.push(*transaction.0);
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        self.lost.push((reason, transactions));
    }

    fn connection(&mut self, fate: ConnectionFate) {
        self.fates.push(fate);
    }
}

fn limits() -> Limits {
    Limits {
        body: BodyLimits {
            capture: true,
            max_bytes: 1 << 20,
        },
        connection_memory: 4 << 20,
        total_memory: 64 << 20,
    }
}

struct Bench {
    table: Table,
    seen: Seen,
}

impl Bench {
    fn new() -> Self {
        Bench {
            table: Table::new(limits()),
            seen: Seen::default(),
        }
    }

    fn feed(&mut self, record: &[u8]) {
        let event = decode(record).expect("an event");
        self.table.handle(&event, &mut self.seen);
    }

    fn feed_all(&mut self, records: impl IntoIterator<Item = Vec<u8>>) -> &mut Self {
        records.into_iter().for_each(|r| self.feed(&r));
        self
    }

    /// What has come of one client's connection, from its beginning.
    fn of_client(
        mut b: EventBuilder,
        records: impl FnOnce(&mut EventBuilder) -> Vec<Vec<u8>>,
    ) -> Bench {
        let mut bench = Bench::new();
        bench.feed(&b.open());
        bench.feed_all(records(&mut b));
        bench
    }

    /// What came out since the last time: (method, status, marks).
    fn take(&mut self) -> Vec<(String, u16, String)> {
        let short = |t: &Transaction| {
            let method = t.request.as_ref().map_or(&b"-"[..], |r| &r.method[..]);
            let status = t.response.as_ref().map_or(0, |r| r.status);
            let marks: Vec<_> = t.marks.iter().map(Mark::name).collect();
            let method = String::from_utf8_lossy(method).into_owned();
            (method, status, marks.join(" "))
        };
        self.seen
            .transactions
            .drain(..)
            .map(|t| short(&t))
            .collect()
    }

    fn last(&self) -> &Transaction {
        self.seen.transactions.last().expect("a transaction")
    }
}

fn row(method: &str, status: u16, marks: &str) -> (String, u16, String) {
    (method.into(), status, marks.into())
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn client() -> EventBuilder {
    EventBuilder::new(7, 1, Role::Client)
}

#[test]
fn a_request_and_its_response_are_one_transaction() {
    let mut b = client();
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, OK)]);
    let t = bench.last();
    let (q, a) = (
        t.request.as_ref().expect("seen"),
        t.response.as_ref().expect("seen"),
    );
    assert_eq!(
        (t.role, t.pid, t.ordinal, t.complete()),
        (Role::Client, 7, 0, true)
    );
    assert_eq!(
        (&q.target[..], q.wire_size, q.offset),
        (&b"/a"[..], GET.len() as u64, Some(0))
    );
    assert_eq!((a.body.bytes(), a.wire_size), (&b"hi"[..], OK.len() as u64));
    assert_eq!(t.connection.remote.map(|r| r.port()), Some(80));
    assert!(t.connection.tls_info.is_none());
    assert!(t.timing.start < t.timing.end && t.timing.response_start == Some(t.timing.end));
    bench.feed(&b.close());
    let fates = [ConnectionFate::Seen, ConnectionFate::Captured];
    assert_eq!((&bench.seen.fates[..], bench.table.open()), (&fates[..], 0));
    assert_eq!((bench.table.memory(), bench.seen.lost.len()), (0, 0));
}

#[test]
fn a_server_reads_requests() {
    let mut b = EventBuilder::new(7, 1, Role::Server);
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Read, GET), b.data(Write, OK)]);
    assert_eq!(bench.last().role, Role::Server);
}

#[test]
fn a_response_that_is_seen_before_its_request_waits_for_it() {
    let mut b = client();
    let mut bench = Bench::new();
    let (open, q, a) = (b.open(), b.data(Write, GET), b.data(Read, OK));
    bench.feed_all([open, a]);
    assert_eq!(bench.take(), []);
    bench.feed(&q);
    assert_eq!(bench.take(), [row("GET", 200, "")]);
}

#[test]
fn a_response_older_than_the_next_request_has_lost_its_own() {
    let mut b = client();
    let mut bench = Bench::new();
    let first = (b.data(Write, GET), b.data(Read, OK));
    bench.feed_all([b.open(), first.1, b.data(Write, GET), b.data(Read, OK)]);
    assert_eq!(
        bench.take(),
        [
            row("-", 200, "request_missing"),
            row("GET", 200, "request_gap")
        ]
    );
}

#[test]
fn a_response_is_not_waited_for_forever() {
    let mut b = client();
    b.whole = false;
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Read, OK)]);
    bench.table.tick(b.now, &mut bench.seen);
    assert_eq!(bench.take(), []);
    b.wait(1_100_000_000);
    bench.table.tick(b.now, &mut bench.seen);
    assert_eq!(bench.take(), [row("-", 200, "request_missing")]);
}

#[test]
fn a_close_marks_what_did_not_end() {
    let cases: [(&[u8], &[u8], &str); 6] = [
        (GET, b"", "response_missing"),
        (
            GET,
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
            "response_cut",
        ),
        (GET, b"HTTP/1.1 200 OK\r\nX:", "response_cut"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi",
            b"",
            "request_cut response_missing",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi",
            OK,
            "request_cut",
        ),
        (GET, b"HTTP/1.1 200 OK\r\n\r\nto the end", ""),
    ];
    for (q, a, marks) in cases {
        let mut bench = Bench::of_client(client(), |b| {
            vec![b.data(Write, q), b.data(Read, a), b.close()]
        });
        let got = bench.take();
        assert_eq!(got.len(), 1, "{marks}");
        assert_eq!(got[0].2, marks);
    }
}

#[test]
fn a_reset_is_marked_and_so_is_the_agents_end() {
    let mut b = client();
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Write, GET), b.reset()]);
    assert_eq!(bench.take(), [row("GET", 0, "response_missing reset")]);
    let mut b = client();
    bench.feed_all([
        b.open(),
        b.data(Write, GET),
        b.data(Read, b"HTTP/1.1 200 OK\r\n\r\nx"),
    ]);
    bench.table.finish(b.now, &mut bench.seen);
    assert_eq!(bench.take(), [row("GET", 200, "unfinished")]);
    assert_eq!((bench.table.open(), bench.table.memory()), (0, 0));
}

#[test]
fn the_end_of_receiving_ends_a_response_on_a_plain_socket() {
    let mut b = client();
    let mut bench = Bench::new();
    let until_close = b"HTTP/1.0 200 OK\r\n\r\nbody";
    bench.feed_all([
        b.open(),
        b.data(Write, GET),
        b.data(Read, until_close),
        b.eof(),
    ]);
    assert_eq!(bench.take(), [row("GET", 200, "")]);
    let mut b = client().over_tls(5);
    bench.feed_all([
        b.open(),
        b.data(Write, GET),
        b.data(Read, until_close),
        b.eof(),
    ]);
    assert_eq!(bench.take(), []);
    bench.feed(&b.tls_end());
    assert_eq!(bench.take(), [row("GET", 200, "")]);
}

#[test]
fn the_last_bytes_of_a_tls_session_are_missed_where_it_ends_with_them() {
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nuntil";
    for whole in [true, false] {
        let mut b = client().over_tls(5);
        b.whole = whole;
        let mut bench = Bench::new();
        bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, until_close)]);
        b.data(Read, b" the end, which finds no room in the ring");
        bench.feed_all([b.tls_end(), b.close()]);
        let t = bench.last();
        assert!(t.marks.has(Mark::ResponseGap), "{:?}", t.marks);
        let body = &t.response.as_ref().expect("seen").body;
        assert_eq!((body.bytes(), body.size()), (&b"until"[..], 46));
    }
}

#[test]
fn bytes_that_are_not_seen_are_stepped_over_inside_a_body() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab";
    let mut bench = Bench::of_client(client(), |b| {
        vec![
            b.data(Write, GET),
            b.partial(Read, head, head.len() as u32 + 98, flag::NO_BYTES),
            b.data(Write, GET),
            b.data(Read, OK),
        ]
    });
    let body = &bench.seen.transactions[0]
        .response
        .as_ref()
        .expect("seen")
        .body;
    assert_eq!(
        (body.size(), body.missing(), body.bytes()),
        (100, 98, &b"ab"[..])
    );
    assert_eq!(
        bench.take(),
        [row("GET", 200, "response_gap"), row("GET", 200, "")]
    );
}

#[test]
fn lengths_that_contradict_each_other_are_marked_and_the_next_bytes_not_misread() {
    let smuggled =
        b"POST / HTTP/1.1\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
        GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut bench = Bench::of_client(client(), |b| {
        vec![
            b.data(Write, smuggled),
            b.data(Read, OK),
            b.data(Write, GET),
            b.data(Read, OK),
            b.close(),
        ]
    });
    let got = bench.take();
    assert_eq!(got[0], row("POST", 200, "request_malformed"));
    assert_eq!(got[1..], [row("GET", 200, "request_gap")]);
}

#[test]
fn a_bad_chunk_size_is_marked() {
    let bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
    let mut bench = Bench::of_client(client(), |b| vec![b.data(Write, GET), b.data(Read, bad)]);
    assert_eq!(bench.take(), [row("GET", 200, "response_malformed")]);
}

#[test]
fn what_follows_an_upgrade_to_something_unknown_is_not_read() {
    let upgrade = b"GET /x HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    let mut bench = Bench::of_client(client(), |b| {
        vec![
            b.data(Write, upgrade),
            b.data(Read, switched),
            b.data(Write, GET),
            b.data(Read, OK),
            b.close(),
        ]
    });
    assert_eq!(bench.take(), [row("GET", 101, "")]);
    assert!(bench.seen.lost.is_empty());
}

#[test]
fn what_is_no_websocket_behind_an_upgrade_to_one_marks_it() {
    let upgrade = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let mut bench = Bench::of_client(client(), |b| {
        vec![
            b.data(Write, upgrade),
            b.data(Read, switched),
            b.data(Write, GET),
            b.close(),
        ]
    });
    assert_eq!(bench.take(), [row("GET", 101, "request_malformed")]);
    assert!(bench.seen.lost.is_empty());
}

#[test]
fn an_upgrade_that_is_declined_goes_on_as_http() {
    let upgrade = b"GET /a HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n";
    let mut b = client();
    let mut bench = Bench::new();
    let (q1, a1, q2, a2) = (
        b.data(Write, upgrade),
        b.data(Read, OK),
        b.data(Write, GET),
        b.data(Read, OK),
    );
    bench.feed_all([b.open(), q1, q2, a1, a2]);
    assert_eq!(bench.take(), [row("GET", 200, ""), row("GET", 200, "")]);
}

#[test]
fn http_in_a_tunnel_and_after_a_refused_one_is_read() {
    let connect = b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n";
    for (answer, want) in [
        (
            &b"HTTP/1.1 200 Connected\r\n\r\n"[..],
            vec![row("CONNECT", 200, ""), row("GET", 200, "")],
        ),
        (
            b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
            vec![row("CONNECT", 407, ""), row("GET", 200, "")],
        ),
    ] {
        let mut bench = Bench::of_client(client(), |b| {
            vec![
                b.data(Write, connect),
                b.data(Read, answer),
                b.data(Write, GET),
                b.data(Read, OK),
                b.close(),
            ]
        });
        assert_eq!(bench.take(), want);
    }
}

#[test]
fn http_2_is_counted() {
    for tls in [false, true] {
        let mut b = client();
        if tls {
            b = b.over_tls(3);
        }
        let mut bench = Bench::new();
        bench.feed_all([
            b.open(),
            b.data(Write, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"),
        ]);
        bench.feed_all([
            b.data(Read, b"\0\0\0\x04\0\0\0\0\0"),
            b.tls_end_if_any(),
            b.close(),
        ]);
        let want = ConnectionFate::Uncaptured(Uncaptured::Http2);
        assert_eq!(bench.seen.fates, [ConnectionFate::Seen, want]);
    }
}

impl EventBuilder {
    fn tls_end_if_any(&mut self) -> Vec<u8> {
        match self.tls {
            Some(_) => self.tls_end(),
            None => self.data(Write, b""),
        }
    }
}

#[test]
fn a_connection_without_a_transaction_says_why() {
    let fate = |whole: bool, bound: bool, verdict: Verdict| {
        let mut b = client();
        b.whole = whole;
        let mut bench = Bench::new();
        bench.feed(&b.open());
        if bound {
            let mut tls = b.clone().over_tls(4);
            bench.feed(&tls.data(Write, b"\x01\x02\x03"));
        }
        bench.feed(&encode(&Event::ConnClose(ConnEnd {
            verdict,
            ..socket::given_up(b.conn, b.now)
        })));
        match bench.seen.fates[..] {
            [ConnectionFate::Seen, ConnectionFate::Uncaptured(why)] => why,
            _ => panic!("{:?}", bench.seen.fates),
        }
    };
    assert_eq!(fate(true, false, Verdict::Tls), Uncaptured::UnknownStack);
    assert_eq!(fate(false, false, Verdict::Tls), Uncaptured::AttachedLate);
    assert_eq!(fate(true, true, Verdict::Tls), Uncaptured::NotHttp);
    assert_eq!(fate(true, false, Verdict::Other), Uncaptured::NotHttp);
    assert_eq!(fate(true, false, Verdict::Http2), Uncaptured::Http2);
}

#[test]
fn a_tls_session_may_be_bound_late_and_anew() {
    let mut b = client().over_tls(9);
    let mut bench = Bench::new();
    let unbound = |record: Vec<u8>| {
        let Ok(Event::Data(data)) = decode(&record) else {
            panic!("not data")
        };
        encode(&Event::Data(Data { conn: None, ..data }))
    };
    let bind = |conn: u64| {
        encode(&Event::TlsBind(Tls {
            moved: None,
            turn: 0,
            time: KernelTime(1),
            pid: 7,
            tls: TlsId(9),
            conn: Some(ConnId(conn)),
            bound: Bound::Exact,
        }))
    };
    let (q, a) = (unbound(b.data(Write, GET)), unbound(b.data(Read, OK)));
    bench.feed_all([q.clone(), a.clone()]);
    assert_eq!(bench.last().connection.conn, None);
    let (q, a) = (unbound(b.data(Write, GET)), unbound(b.data(Read, OK)));
    bench.feed_all([b.open(), bind(2), q, bind(1), a]);
    assert_eq!(bench.last().connection.conn, Some(ConnId(1)));
    assert_eq!(bench.last().connection.remote.map(|r| r.port()), Some(443));
    assert!(bench.last().connection.tls_info.is_some());
    // Bound before its first bytes.
    let mut bench = Bench::new();
    let mut b = client().over_tls(9);
    bench.feed_all([b.open(), bind(1), unbound(b.data(Write, GET)), b.close()]);
    assert_eq!(bench.take(), [row("GET", 0, "response_missing")]);
}

#[test]
fn a_tls_session_whose_connection_is_taken_back_tells_no_peer_until_it_is_told_again() {
    let mut b = client().over_tls(9);
    let mut bench = Bench::new();
    let told = |conn: Option<u64>, time: u64| {
        encode(&Event::TlsBind(Tls {
            moved: None,
            turn: 0,
            time: KernelTime(time),
            pid: 7,
            tls: TlsId(9),
            conn: conn.map(ConnId),
            bound: Bound::Prev,
        }))
    };
    bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, OK)]);
    assert_eq!(bench.last().connection.conn, Some(ConnId(1)));
    // The bytes are from before, and come after it through the other ring.
    let (q, a) = (b.data(Write, GET), b.data(Read, OK));
    bench.feed_all([told(None, b.now.0), q, a]);
    let connection = &bench.last().connection;
    assert_eq!(
        (connection.conn, connection.remote, connection.join),
        (None, None, None)
    );
    bench.feed_all([told(Some(1), b.now.0), b.data(Write, GET), b.data(Read, OK)]);
    assert_eq!(bench.last().connection.conn, Some(ConnId(1)));
}

#[test]
fn a_connection_met_late_is_read_from_the_next_start_line() {
    let mut b = client();
    b.whole = false;
    let mut bench = Bench::new();
    bench.feed_all([
        b.open(),
        b.data(Read, b"the rest of some body"),
        b.data(Read, b"GET this is not a start line"),
        b.data(Write, GET),
        b.data(Read, OK),
    ]);
    assert!(bench.take().is_empty(), "held until no other answer came");
    bench.table.tick(KernelTime(u64::MAX), &mut bench.seen);
    let offset = bench.last().request.as_ref().and_then(|r| r.offset);
    assert_eq!(offset, Some(0), "sequence numbers tell it at any time");
    assert_eq!(bench.take(), [row("GET", 200, "")]);
}

#[test]
fn bytes_that_are_no_http_after_http_are_counted_once() {
    let mut b = client();
    let mut bench = Bench::new();
    bench.feed_all([b.open(), b.data(Write, GET), b.data(Read, OK)]);
    bench.feed_all([
        b.data(Read, b"\x01\x02junk"),
        b.data(Read, b"more junk"),
        b.close(),
    ]);
    assert_eq!(bench.take(), [row("GET", 200, "")]);
    assert_eq!(bench.seen.lost, [(Lost::Unparsable, 1)]);
}

#[test]
fn interim_responses_are_listed() {
    let bench = Bench::of_client(client(), |b| {
        vec![
            b.data(
                Write,
                b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            ),
            b.data(Read, b"HTTP/1.1 100 Continue\r\n\r\n"),
            b.data(Write, b"ab"),
            b.data(Read, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"),
            b.data(Read, OK),
        ]
    });
    let a = bench.last().response.as_ref().expect("seen");
    assert_eq!((&a.interim[..], a.status), (&[100, 103][..], 200));
}
