//! Transactions that last tell how far they have come.

use super::*;
use crate::transaction::Progress;

#[derive(Default)]
struct Reports {
    seen: Seen,
    reports: Vec<Transaction>,
}

impl Output for Reports {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        self.seen.transaction(transaction);
    }

    fn progress(&mut self, progress: Raw<Progress>) {
        self.reports.push(progress.0.into_transaction());
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        self.seen.lost(reason, transactions);
    }

    fn connection(&mut self, fate: ConnectionFate) {
        self.seen.connection(fate);
    }
}

const SECOND: u64 = 1_000_000_000;

/// A table whose transactions report every second.
struct Watch {
    table: Table,
    out: Reports,
}

impl Watch {
    fn new() -> Self {
        Watch {
            table: Table::new(limits()).with_progress(Duration::from_secs(1)),
            out: Reports::default(),
        }
    }

    fn feed(&mut self, record: &[u8]) {
        let event = decode(record).expect("an event");
        self.table.handle(&event, &mut self.out);
    }

    /// (target, status, bytes of request and response, report) of what was told by this tick.
    fn tick(&mut self, now: KernelTime) -> Vec<(String, u16, u64, u64, u64)> {
        self.table.tick(now, &mut self.out);
        let short = |t: Transaction| {
            let (q, a) = (t.request.as_ref(), t.response.as_ref());
            assert!(q.is_none_or(|q| q.body.bytes().is_empty()));
            assert!(a.is_none_or(|a| a.body.bytes().is_empty()));
            assert_eq!(t.timing.end, now);
            let target = q.map_or(&b"-"[..], |q| &q.target);
            (
                String::from_utf8_lossy(target).into_owned(),
                a.map_or(0, |a| a.status),
                q.map_or(0, |q| q.body.size()),
                a.map_or(0, |a| a.body.size()),
                t.lasting.expect("one that lasts").reports,
            )
        };
        self.out.reports.drain(..).map(short).collect()
    }
}

#[test]
fn a_response_that_lasts_reports_its_size_so_far_idle_or_not() {
    let mut b = client();
    let mut watch = Watch::new();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    watch.feed(&b.open());
    watch.feed(&b.data(Write, GET));
    assert_eq!(watch.tick(b.now), []);
    b.wait(SECOND);
    let row = |status, size, report| ("/a".to_owned(), status, 0, size, report);
    assert_eq!(watch.tick(b.now), [row(0, 0, 1)]);
    watch.feed(&b.data(Read, head));
    b.wait(SECOND);
    assert_eq!(watch.tick(b.now), [row(200, 5, 2)]);
    assert_eq!(watch.tick(b.now), []);
    b.wait(SECOND);
    assert_eq!(watch.tick(b.now), [row(200, 5, 3)]);
    watch.feed(&b.data(Read, b"3\r\nbye\r\n0\r\n\r\n"));
    let t = watch.out.seen.transactions.pop().expect("it has ended");
    assert!(t.complete());
    assert_eq!(t.response.expect("seen").body.bytes(), b"hellobye");
    assert_eq!(t.lasting.map(|l| (l.number, l.reports)), Some((1, 3)));
    b.wait(5 * SECOND);
    assert_eq!(watch.tick(b.now), []);
}

#[test]
fn an_upload_reports_before_any_response_and_pipelined_requests_each_for_themselves() {
    let mut b = client();
    let mut watch = Watch::new();
    watch.feed(&b.open());
    watch.feed(&b.data(Write, b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"));
    watch.feed(&b.data(
        Write,
        b"POST /second HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
    ));
    b.wait(SECOND);
    let row = |target: &str, sent, received, report| (target.to_owned(), 0, sent, received, report);
    let want = [row("/first", 0, 0, 1), row("/second", 3, 0, 1)];
    assert_eq!(watch.tick(b.now), want);
    watch.feed(&b.data(Write, b"defghij"));
    b.wait(SECOND);
    let want = [row("/first", 0, 0, 2), row("/second", 10, 0, 2)];
    assert_eq!(watch.tick(b.now), want);
    watch.feed(&b.data(Read, OK));
    watch.feed(&b.data(Read, OK));
    let numbers: Vec<_> = watch
        .out
        .seen
        .transactions
        .iter()
        .map(|t| t.lasting.map(|l| l.number))
        .collect();
    assert_eq!(numbers, [Some(1), Some(2)]);
}

#[test]
fn what_is_short_never_reports_and_has_no_number() {
    let mut b = client();
    let mut watch = Watch::new();
    watch.feed(&b.open());
    for _ in 0..5 {
        watch.feed(&b.data(Write, GET));
        watch.feed(&b.data(Read, OK));
        b.wait(SECOND);
        assert_eq!(watch.tick(b.now), []);
    }
    let numbered = |t: &Transaction| t.lasting.is_some();
    assert!(!watch.out.seen.transactions.iter().any(numbered));
}

#[test]
fn a_websocket_reports_its_counts_and_no_message() {
    let mut b = client();
    let mut watch = Watch::new();
    let ask = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let yes = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    watch.feed(&b.open());
    watch.feed(&b.data(Write, ask));
    watch.feed(&b.data(Read, yes));
    watch.feed(&b.data(Read, b"\x81\x02hi\x81\x02yo"));
    b.wait(SECOND);
    watch.table.tick(b.now, &mut watch.out);
    let t = watch.out.reports.pop().expect("a report");
    let frames = t.websocket.expect("counts").from_server;
    assert_eq!((frames.messages, frames.payload), (2, 4));
    assert!(frames.kept.is_empty());
    watch.table.finish(b.now, &mut watch.out);
    let t = watch.out.seen.transactions.pop().expect("marked");
    assert_eq!(t.websocket.expect("it had one").from_server.kept.len(), 2);
    assert_eq!(t.lasting.map(|l| l.number), Some(1));
}
