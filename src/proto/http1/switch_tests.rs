use super::super::session::Session;
use super::*;
use crate::event::{Dir, KernelTime};
use crate::proto::Sink;
use crate::telemetry::ledger::Lost;
use crate::transaction::Stamp;
use crate::transaction::websocket::WebSocket;

#[derive(Default)]
struct Seen {
    exchanges: Vec<Exchange>,
    lost: u64,
}

impl Sink for Seen {
    fn exchange(&mut self, exchange: Exchange, _: Dir, ordinal: u64) {
        assert_eq!(ordinal, self.exchanges.len() as u64);
        self.exchanges.push(exchange);
    }

    fn lost(&mut self, _: Lost, transactions: u64) {
        self.lost += transactions;
    }
}

impl Seen {
    fn statuses(&self) -> Vec<Option<u16>> {
        self.exchanges.iter().map(Exchange::status).collect()
    }

    fn websocket(&self) -> &WebSocket {
        let last = self.exchanges.last().expect("an exchange");
        last.websocket.as_ref().expect("a WebSocket")
    }
}

/// A client's connection; each step is an operation, one time unit after the one before.
struct Line {
    session: Session,
    seen: Seen,
    time: u64,
}

impl Line {
    fn new() -> Self {
        let limits = BodyLimits {
            capture: true,
            max_bytes: 1000,
        };
        Line {
            session: Session::new(limits, false),
            seen: Seen::default(),
            time: 0,
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.time += 1;
        Stamp {
            time: KernelTime(self.time),
            pid: 1,
            tid: 1,
            turn: self.time as u32,
        }
    }

    fn step(&mut self, dir: Dir, bytes: &[u8]) {
        let stamp = self.stamp();
        let piece = Piece {
            bytes,
            offset: None,
            op_start: true,
            stamp,
        };
        self.session.bytes(dir, piece, &mut self.seen);
    }

    fn ask(&mut self, text: &str) {
        self.step(Dir::Write, text.replace('\n', "\r\n").as_bytes());
    }

    fn answer(&mut self, text: &str) {
        self.step(Dir::Read, text.replace('\n', "\r\n").as_bytes());
    }

    fn upgrade(&mut self, to: &str) {
        self.ask(&format!("GET / HTTP/1.1\nUpgrade: {to}\n\n"));
        self.answer(&format!(
            "HTTP/1.1 101 Switching Protocols\nUpgrade: {to}\n\n"
        ));
    }

    fn end(mut self, ending: Ending) -> Seen {
        self.session.end(ending, 0, &mut self.seen);
        self.seen
    }
}

const HELLO: &[u8] = b"\x81\x05hello";

#[test]
fn a_websocket_holds_its_transaction_until_the_connection_ends() {
    let mut line = Line::new();
    line.upgrade("websocket");
    line.step(Dir::Read, HELLO);
    assert!(line.seen.exchanges.is_empty());
    assert_eq!(line.session.in_progress(), 1);
    let seen = line.end(Ending::Closed);
    assert_eq!(seen.statuses(), [Some(101)]);
    assert_eq!(seen.websocket().from_server.messages, 1);
    let exchange = &seen.exchanges[0];
    assert!(exchange.marks.is_empty());
    let response = exchange.response.as_ref().expect("a response");
    assert_eq!(response.last.time, KernelTime(3));
}

#[test]
fn a_websocket_ends_when_both_sides_have_closed_it() {
    let mut line = Line::new();
    line.upgrade("websocket");
    line.step(Dir::Write, b"\x88\x02\x03\xe8");
    line.step(Dir::Read, b"\x88\x02\x03\xe8");
    assert_eq!(line.seen.statuses(), [Some(101)]);
    assert_eq!(line.seen.websocket().close_code(), Some(1000));
    assert_eq!(line.session.in_progress(), 0);
    line.step(Dir::Read, HELLO);
    assert_eq!(line.end(Ending::Reset).exchanges.len(), 1);
}

#[test]
fn how_a_websocket_breaks_off_is_marked() {
    for (ending, mark) in [
        (Ending::Reset, Mark::Reset),
        (Ending::Unfinished, Mark::Unfinished),
    ] {
        let mut line = Line::new();
        line.upgrade("websocket");
        let seen = line.end(ending);
        assert!(seen.exchanges[0].marks.has(mark), "{ending:?}");
    }
    let mut line = Line::new();
    line.upgrade("websocket");
    let stamp = line.stamp();
    line.session.gap(Dir::Write, 5, stamp, &mut line.seen);
    let seen = line.end(Ending::Closed);
    assert!(seen.exchanges[0].marks.has(Mark::RequestGap));
}

#[test]
fn frames_sent_before_the_101_is_seen_are_not_lost() {
    let mut line = Line::new();
    line.ask("GET / HTTP/1.1\nUpgrade: websocket\n\n");
    line.step(Dir::Write, HELLO);
    line.answer("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n");
    let seen = line.end(Ending::Closed);
    assert_eq!(seen.websocket().from_client.messages, 1);
}

#[test]
fn what_no_one_reads_gives_nothing_more() {
    let mut line = Line::new();
    line.upgrade("foo");
    line.ask("GET /not-http HTTP/1.1\n\n");
    line.answer("HTTP/1.1 200 OK\n\n");
    assert_eq!(line.end(Ending::Closed).statuses(), [Some(101)]);
}

#[test]
fn the_inside_of_a_tunnel_is_looked_at_again() {
    let mut line = Line::new();
    line.ask("CONNECT a:80 HTTP/1.1\n\n");
    // Sent before the answer is there: it goes into the tunnel.
    line.ask("GET /1 HTTP/1.1\n\n");
    line.answer("HTTP/1.1 200 OK\n\n");
    line.answer("HTTP/1.1 404 No\nContent-Length: 0\n\n");
    line.ask("CONNECT b:80 HTTP/1.1\n\n");
    line.answer("HTTP/1.1 200 OK\n\n");
    line.step(Dir::Write, b"\x16\x03\x01\x00\x05hello");
    line.step(Dir::Read, b"\x16\x03\x03\x00\x05hello");
    let seen = line.end(Ending::Closed);
    assert_eq!(seen.statuses(), [Some(200), Some(404), Some(200)]);
    assert!(seen.exchanges.iter().all(|e| e.marks.is_empty()) && seen.lost == 0);
}

#[test]
fn a_gap_at_the_beginning_of_a_tunnel_pairs_nothing_wrong() {
    let mut line = Line::new();
    line.ask("CONNECT a:80 HTTP/1.1\n\n");
    line.answer("HTTP/1.1 200 OK\n\n");
    let stamp = line.stamp();
    line.session.gap(Dir::Write, 30, stamp, &mut line.seen);
    line.answer("HTTP/1.1 404 No\nContent-Length: 0\n\n");
    let seen = line.end(Ending::Closed);
    assert_eq!(seen.statuses(), [Some(200), Some(404)]);
    assert!(seen.exchanges[1].marks.has(Mark::RequestMissing));
}

#[test]
fn permessage_deflate_is_recognised() {
    for (extensions, deflate) in [
        ("permessage-deflate; client_max_window_bits", true),
        ("x-a, Permessage-Deflate", true),
        ("x-a; permessage-deflate", false),
        ("", false),
    ] {
        let mut headers = Headers::default();
        headers.push(b"Upgrade", b"WebSocket");
        headers.push(b"Sec-WebSocket-Extensions", extensions.as_bytes());
        assert_eq!(Switch::upgrade(&headers), Switch::WebSocket { deflate });
    }
}
