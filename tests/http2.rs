//! HTTP/2 connections that break off, lose bytes, or are met late.

mod http_support;

use http_support::calls::{ANSWER, call, message};
use http_support::frames::{
    END_STREAM, Encoder, PREFACE, data, frame, goaway, request, rst, settings,
};
use http_support::{Seen, limits};
use plainspan::conn::{ConnectionFate, Limits, Output, Table};
use plainspan::event::build::EventBuilder;
use plainspan::event::layout::flag;
use plainspan::event::{Dir, KernelTime, Role, decode};
use plainspan::redact::Raw;
use plainspan::telemetry::ledger::Lost;
use plainspan::transaction::grpc::Counts;
use plainspan::transaction::{Mark, Progress, Transaction};
use std::time::Duration;

/// A client's connection over TLS, with the encoders of both ends.
struct Bench {
    builder: EventBuilder,
    table: Table,
    seen: Seen,
    client: Encoder,
    server: Encoder,
}

impl Bench {
    fn with(whole: bool, limits: Limits) -> Bench {
        let mut builder = EventBuilder::new(7, 1, Role::Client).over_tls(3);
        builder.whole = whole;
        Bench {
            builder,
            table: Table::new(limits),
            seen: Seen::default(),
            client: Encoder::default(),
            server: Encoder::default(),
        }
    }

    fn opened() -> Bench {
        Bench::opened_with(limits())
    }

    fn opened_with(limits: Limits) -> Bench {
        let mut bench = Bench::with(true, limits);
        let open = bench.builder.open();
        bench.feed(&open);
        bench.send(&[PREFACE.to_vec(), settings()].concat());
        bench.receive(&settings());
        bench
    }

    fn feed(&mut self, record: &[u8]) {
        let event = decode(record).expect("an event");
        self.table.handle(&event, &mut self.seen);
    }

    fn send(&mut self, bytes: &[u8]) {
        let record = self.builder.data(Dir::Write, bytes);
        self.feed(&record);
    }

    fn receive(&mut self, bytes: &[u8]) {
        let record = self.builder.data(Dir::Read, bytes);
        self.feed(&record);
    }

    /// Bytes that no event brings.
    fn lose(&mut self, dir: Dir, bytes: &[u8]) {
        self.builder.data(dir, bytes);
    }

    fn get(&mut self, stream: u32, path: &str) {
        let frame = self.client.get(stream, path);
        self.send(&frame);
    }

    fn ok(&mut self, stream: u32, flags: u8) {
        let frame = self.server.ok(stream, flags);
        self.receive(&frame);
    }

    fn close(&mut self) {
        let (end, close) = (self.builder.tls_end(), self.builder.close());
        self.feed(&end);
        self.feed(&close);
    }

    fn rows(&mut self) -> Vec<(String, u16, Vec<&'static str>)> {
        self.seen.transactions.drain(..).map(|t| row(&t)).collect()
    }
}

fn row(t: &Transaction) -> (String, u16, Vec<&'static str>) {
    let target = t.request.as_ref().map_or(String::from("-"), |r| {
        String::from_utf8_lossy(&r.target).into_owned()
    });
    let status = t.response.as_ref().map_or(0, |r| r.status);
    (target, status, t.marks.iter().map(Mark::name).collect())
}

fn want(target: &str, status: u16, marks: &[&'static str]) -> (String, u16, Vec<&'static str>) {
    (target.to_owned(), status, marks.to_vec())
}

#[test]
fn a_request_has_the_authority_as_its_host_and_keeps_its_stream() {
    let mut b = Bench::opened();
    b.get(1, "/a?b=c");
    b.ok(1, END_STREAM);
    let t = &b.seen.transactions[0];
    let request = t.request.as_ref().expect("a request");
    assert_eq!(request.headers.get(b"host"), Some(&b"example.org:8443"[..]));
    assert_eq!(
        (request.method.as_slice(), request.h2_stream),
        (&b"GET"[..], Some(1))
    );
    assert!(
        request
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with(b":"))
    );
    assert_eq!((t.role, t.protocol.version()), (Role::Client, "2"));
    let times = t.timing;
    assert!(times.start <= times.request_end && Some(times.request_end) < times.response_start);
    assert!(times.response_start <= Some(times.end));
    assert!(b.seen.fates.contains(&ConnectionFate::Captured));
}

#[test]
fn a_stream_that_is_broken_off_is_marked_by_what_is_missing() {
    let mut b = Bench::opened();
    b.get(1, "/cancelled");
    b.get(3, "/half");
    b.ok(3, 0);
    b.receive(&data(3, 0, b"half"));
    let post = b.client.headers(5, 0, &request("POST", "/upload"));
    b.send(&[post, data(5, 0, b"part")].concat());
    b.receive(&[rst(1, 7), rst(3, 2), rst(5, 8)].concat());
    b.send(&frame(6, 0, 0, b"pingpong"));
    let got = b.rows();
    assert_eq!(
        got[0],
        want("/cancelled", 0, &["response_missing", "stream_reset"])
    );
    assert_eq!(
        got[1],
        want("/half", 200, &["response_cut", "stream_reset"])
    );
    assert_eq!(
        got[2],
        want(
            "/upload",
            0,
            &["request_cut", "response_missing", "stream_reset"]
        )
    );
}

#[test]
fn a_client_that_cancels_a_response_marks_it_and_what_still_comes_is_ignored() {
    let mut b = Bench::opened();
    b.get(1, "/long");
    b.ok(1, 0);
    b.receive(&data(1, 0, b"one"));
    b.send(&rst(1, 8));
    b.receive(&data(1, END_STREAM, b"two"));
    b.get(3, "/next");
    b.ok(3, END_STREAM);
    let sizes = b
        .seen
        .transactions
        .iter()
        .map(|t| t.response.as_ref().map(|r| r.body.size()));
    assert_eq!(sizes.collect::<Vec<_>>(), [Some(3), Some(0)]);
    assert_eq!(
        b.rows()[0],
        want("/long", 200, &["response_cut", "stream_reset"])
    );
    b.close();
    assert!(b.rows().is_empty() && b.seen.lost.is_empty());
}

#[test]
fn streams_above_the_last_one_of_goaway_are_refused() {
    let mut b = Bench::opened();
    b.get(1, "/1");
    b.get(3, "/3");
    b.receive(&goaway(1));
    b.get(5, "/5");
    b.ok(1, END_STREAM);
    b.close();
    let mut got = b.rows();
    got.sort();
    let refused = ["response_missing", "stream_reset"];
    assert_eq!(
        got,
        [
            want("/1", 200, &[]),
            want("/3", 0, &refused),
            want("/5", 0, &refused)
        ]
    );
}

#[test]
fn the_end_of_the_connection_marks_what_is_open() {
    let mut b = Bench::opened();
    b.get(1, "/1");
    b.ok(1, 0);
    b.get(3, "/3");
    b.close();
    assert_eq!(
        b.rows(),
        [
            want("/1", 200, &["response_cut"]),
            want("/3", 0, &["response_missing"])
        ]
    );
}

#[test]
fn a_gap_in_content_marks_its_stream_alone() {
    let mut b = Bench::opened();
    b.get(1, "/1");
    b.get(3, "/3");
    b.ok(1, 0);
    b.ok(3, 0);
    let long = data(1, 0, &[b'x'; 500]);
    b.receive(&long[..100]);
    b.lose(Dir::Read, &long[100..300]);
    b.receive(&long[300..]);
    b.receive(&[data(3, END_STREAM, b"three"), data(1, END_STREAM, b"")].concat());
    let missing = b
        .seen
        .transactions
        .iter()
        .filter_map(|t| t.response.as_ref());
    let missing: Vec<_> = missing
        .into_iter()
        .map(|r| (r.body.size(), r.body.missing()))
        .collect();
    assert_eq!(missing, [(5, 0), (500, 200)]);
    assert_eq!(
        b.rows(),
        [want("/3", 200, &[]), want("/1", 200, &["response_gap"])]
    );
}

#[test]
fn after_lost_frames_the_next_operation_is_read_again() {
    let mut b = Bench::opened();
    b.get(1, "/before");
    b.ok(1, 0);
    b.lose(Dir::Read, &data(1, 0, b"lost"));
    let rest = [data(1, 0, b"seen"), data(1, END_STREAM, b"end")].concat();
    b.receive(&rest);
    b.get(3, "/after");
    let mut head = b
        .server
        .headers(3, 0, &[(":status", "200"), ("x-indexed-server", "fixture")]);
    head.extend(data(3, END_STREAM, b"ok"));
    b.receive(&head);
    b.close();
    // The server's name was sent before the loss, so the second answer's is unknown.
    assert_eq!(
        b.rows(),
        [
            want("/before", 200, &["response_gap"]),
            want("/after", 200, &["headers_unknown"])
        ]
    );
    assert!(b.seen.lost.is_empty());
}

#[test]
fn a_connection_that_is_met_late_is_read_and_says_which_fields_are_unknown() {
    let mut b = Bench::with(false, limits());
    // Before the agent: both tables get their entries.
    b.client.get(1, "/unseen");
    b.server.ok(1, END_STREAM);
    b.ok(3, 0);
    b.receive(&[data(3, 0, b"of before"), data(3, END_STREAM, b".")].concat());
    for stream in [5, 7] {
        b.get(stream, &format!("/{stream}"));
        b.ok(stream, 0);
        b.receive(&data(stream, END_STREAM, b"seen"));
    }
    b.close();
    let got = b.rows();
    let late = got
        .iter()
        .filter(|r| r.0 != "-")
        .cloned()
        .collect::<Vec<_>>();
    assert_eq!(
        late,
        [
            want("/5", 200, &["headers_unknown"]),
            want("/7", 200, &["headers_unknown"])
        ]
    );
    assert!(got.iter().all(|r| !r.2.is_empty()));
}

#[test]
fn a_response_whose_request_does_not_come_is_half_a_transaction() {
    let mut b = Bench::opened();
    let lost = b.client.get(1, "/lost");
    b.lose(Dir::Write, &lost);
    b.ok(1, END_STREAM);
    b.table.tick(KernelTime(u64::MAX), &mut b.seen);
    assert_eq!(b.rows(), [want("-", 200, &["request_missing"])]);
}

#[test]
fn the_oldest_streams_are_given_up_where_there_are_too_many() {
    let mut b = Bench::opened();
    for n in 0..2000 {
        b.get(1 + 2 * n, "/x");
    }
    let given_up: u64 = b.seen.lost.iter().map(|(_, n)| n).sum();
    assert_eq!(given_up, 2000 - 1024);
    let reason = |(why, _): &(Lost, u64)| *why == Lost::StreamsFull;
    assert!(b.seen.lost.iter().all(reason));
    b.close();
    assert_eq!(b.rows().len(), 1024);
    assert_eq!(b.table.memory(), 0);
}

#[test]
fn memory_is_bounded_at_the_cost_of_the_oldest_streams() {
    let small = Limits {
        connection_memory: 256 << 10,
        ..limits()
    };
    let mut b = Bench::opened_with(small);
    for n in 0..40 {
        let stream = 1 + 2 * n;
        b.get(stream, "/big");
        b.ok(stream, 0);
        for _ in 0..4 {
            b.receive(&data(stream, 0, &[b'x'; 8000]));
        }
        assert!(b.table.memory() < 300 << 10, "{}", b.table.memory());
    }
    assert!(b.seen.lost.iter().all(|(why, _)| *why == Lost::Evicted));
    b.receive(&data(79, END_STREAM, b"end"));
    assert_eq!(b.rows(), [want("/big", 200, &[])]);
}

#[test]
fn a_block_that_breaks_the_rules_is_a_marked_message_and_the_next_stream_is_right() {
    let mut b = Bench::opened();
    let twice = [
        (":method", "GET"),
        (":method", "POST"),
        (":path", "/twice"),
        (":scheme", "https"),
    ];
    let bad = b.client.headers(1, END_STREAM, &twice);
    b.send(&bad);
    b.ok(1, END_STREAM);
    // A Huffman code that ends in no symbol.
    b.send(&frame(
        1,
        0x5,
        3,
        &[0x82, 0x00, 0x84, 0xff, 0xff, 0xff, 0xff],
    ));
    b.ok(3, END_STREAM);
    b.get(5, "/good");
    b.ok(5, END_STREAM);
    let got = b.rows();
    assert_eq!(got[0], want("/twice", 200, &["request_malformed"]));
    assert!(got[1].2.contains(&"request_malformed"));
    assert_eq!((got[2].0.as_str(), got[2].1), ("/good", 200));
}

#[test]
fn a_call_that_is_broken_off_has_the_code_that_this_means() {
    let mut b = Bench::opened();
    for (stream, timeout) in [(1, "1n"), (3, "1H"), (5, "1H"), (7, "1H")] {
        let head = b.client.headers(stream, 0, &call("/a.B/C", timeout));
        b.send(&[head, data(stream, 0, &message(0, b"asked"))].concat());
    }
    let begun = b.server.headers(5, 0, &ANSWER);
    b.receive(&[begun, data(5, 0, &message(0, b"cut off")[..8])].concat());
    b.send(&[rst(1, 8), rst(3, 8)].concat());
    b.receive(&[rst(5, 11), rst(7, 7), frame(6, 0, 0, b"pingpong")].concat());
    b.close();
    let got: Vec<_> = b
        .seen
        .transactions
        .iter()
        .map(|t| {
            let grpc = t.grpc.as_ref().expect("a call");
            let code = grpc.code.map(|c| c.name().into_owned());
            let answered = grpc.from_server.map(|c| (c.messages, c.partial));
            (code.unwrap_or_default(), grpc.inferred, answered)
        })
        .collect();
    let want = [
        ("DEADLINE_EXCEEDED", None),
        ("CANCELLED", None),
        ("RESOURCE_EXHAUSTED", Some((0, true))),
        ("UNAVAILABLE", None),
    ]
    .map(|(code, answered)| (code.to_owned(), true, answered));
    assert_eq!(got, want);
}

#[test]
fn a_call_on_a_connection_that_is_met_late_is_known_by_the_fields_that_are() {
    let mut b = Bench::with(false, limits());
    let open = b.builder.open();
    b.feed(&open);
    // What these put into the tables is not known.
    let (get, ok) = (b.client.get(1, "/before"), b.server.ok(1, END_STREAM));
    b.lose(Dir::Write, &get);
    b.lose(Dir::Read, &ok);
    for (stream, status) in [(3, "grpc-status"), (5, "x-status")] {
        let head = b.client.headers(stream, 0, &request("POST", "/a.B/C"));
        b.send(&[head, data(stream, END_STREAM, &message(0, b"asked"))].concat());
        b.ok(stream, 0);
        let answers = [message(0, b"one"), message(0, b"two")].concat();
        let trailers = b.server.headers(stream, END_STREAM, &[(status, "5")]);
        b.receive(&[data(stream, 0, &answers), trailers].concat());
    }
    let calls: Vec<_> = b.seen.transactions.iter().map(|t| t.grpc.clone()).collect();
    assert_eq!(calls.len(), 2);
    let call = calls[0].as_ref().expect("a call");
    let counted = |c: Option<Counts>| c.map(|c| (c.messages, c.size));
    let got = (counted(call.from_client), counted(call.from_server));
    assert_eq!(got, (Some((1, 5)), Some((2, 6))));
    assert_eq!(call.code.map(|c| c.0), Some(5));
    assert!(calls[1].is_none());
}

/// Takes reports alone.
#[derive(Default)]
struct Reports(Vec<Transaction>);

impl Output for Reports {
    fn transaction(&mut self, _: Raw<Box<Transaction>>) {}
    fn progress(&mut self, progress: Raw<Progress>) {
        self.0.push(progress.expose().into_transaction());
    }
    fn lost(&mut self, _: Lost, _: u64) {}
    fn connection(&mut self, _: ConnectionFate) {}
}

#[test]
fn streams_that_last_report_each_for_itself() {
    let mut b = Bench::opened();
    let table = std::mem::replace(&mut b.table, Table::new(limits()));
    b.table = table.with_progress(Duration::from_secs(1));
    b.get(1, "/a");
    b.get(3, "/b");
    b.ok(1, 0);
    b.receive(&data(1, 0, b"hello"));
    b.builder.wait(1_000_000_000);
    let mut reports = Reports::default();
    b.table.tick(b.builder.now, &mut reports);
    let told: Vec<_> = reports.0.iter().map(row).collect();
    assert_eq!(told, [want("/a", 200, &[]), want("/b", 0, &[])]);
    let body = &reports.0[0].response.as_ref().expect("seen").body;
    assert_eq!((body.size(), body.bytes()), (5, &b""[..]));
    b.receive(&data(1, END_STREAM, b"!"));
    let t = b.seen.transactions.pop().expect("it has ended");
    assert_eq!(t.response.expect("seen").body.bytes(), b"hello!");
    let number = |t: &Transaction| t.lasting.map(|l| l.number);
    assert_eq!(t.lasting.map(|l| l.number), number(&reports.0[0]));
    assert_ne!(number(&reports.0[0]), number(&reports.0[1]));
}

#[test]
fn a_call_that_lasts_reports_its_messages_so_far_and_no_code() {
    let mut b = Bench::opened();
    let table = std::mem::replace(&mut b.table, Table::new(limits()));
    b.table = table.with_progress(Duration::from_secs(1));
    let head = b.client.headers(1, 0, &call("/a.B/C", "1H"));
    b.send(&[head, data(1, 0, &message(0, b"asked"))].concat());
    let begun = b.server.headers(1, 0, &ANSWER);
    b.receive(&begun);
    let answers = [message(0, b"one"), message(0, b"three")].concat();
    b.receive(&data(1, 0, &answers));
    b.builder.wait(1_000_000_000);
    let mut reports = Reports::default();
    b.table.tick(b.builder.now, &mut reports);
    let call = reports.0[0].grpc.as_ref().expect("a call");
    let counted = |c: Option<Counts>| c.map(|c| (c.messages, c.size));
    let got = (counted(call.from_client), counted(call.from_server));
    assert_eq!(got, (Some((1, 5)), Some((2, 8))));
    assert_eq!(call.code, None);
}

#[test]
fn content_that_was_left_out_on_purpose_counts_and_is_no_gap() {
    let mut bench = Bench::opened();
    let get = bench.client.headers(1, END_STREAM, &request("GET", "/1"));
    bench.send(&get);
    let head = bench.server.ok(1, 0);
    let content = data(1, END_STREAM, &[b'x'; 3000]);
    bench.receive(&[head, content[..9].to_vec()].concat());
    // In two operations, as a reader with a small buffer has it.
    for len in [1000, 2000] {
        let skipped = bench.builder.partial(Dir::Read, &[], len, flag::SKIPPED);
        bench.feed(&skipped);
    }
    assert_eq!(bench.seen.transactions.len(), 1);
    let seen = &bench.seen.transactions[0];
    assert!(seen.complete(), "{:?}", seen.marks);
    let body = &seen.response.as_ref().expect("a response").body;
    assert_eq!((body.size(), body.missing()), (3000, 0));
}
