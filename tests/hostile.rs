//! Traffic that means harm, or is broken beyond use: a marked transaction or a counted loss, never a request that nobody
//! made, never memory without a bound, and nothing on another connection is touched.

mod http_support;

use http_support::frames::{END_HEADERS, END_STREAM, PREFACE, data, frame, rst, settings};
use http_support::{Seen, limits};
use plainspan::conn::{Limits, Table};
use plainspan::event::build::EventBuilder;
use plainspan::event::{Dir, KernelTime, Role, decode};
use plainspan::telemetry::ledger::Lost;
use plainspan::transaction::{Mark, Transaction};

const LINK: usize = 1 << 20;
const ALL: u64 = 4 << 20;

/// A server's connections in one table with small bounds.
struct Bench {
    table: Table,
    seen: Seen,
    peak: u64,
}

impl Bench {
    fn new() -> Bench {
        let small = Limits {
            connection_memory: LINK,
            total_memory: ALL,
            ..limits()
        };
        Bench {
            table: Table::new(small),
            seen: Seen::default(),
            peak: 0,
        }
    }

    fn feed(&mut self, record: &[u8]) {
        let event = decode(record).expect("an event");
        self.table.handle(&event, &mut self.seen);
        self.peak = self.peak.max(self.table.memory());
        assert!(self.table.memory() <= ALL, "memory has a bound");
    }

    fn open(&mut self, number: u64) -> EventBuilder {
        let mut builder = EventBuilder::new(7, number, Role::Server).over_tls(number + 1000);
        let open = builder.open();
        self.feed(&open);
        builder
    }

    /// Bytes as a ring brings them: in events of at most 16 KiB.
    fn pass(&mut self, builder: &mut EventBuilder, dir: Dir, bytes: &[u8]) {
        for piece in bytes.chunks(16 << 10) {
            let record = builder.data(dir, piece);
            self.feed(&record);
        }
    }

    fn close(&mut self, mut builder: EventBuilder) {
        let (end, close) = (builder.tls_end(), builder.close());
        self.feed(&end);
        self.feed(&close);
    }

    /// A connection of somebody else: its request is told right.
    fn assert_others_are_right(&mut self) {
        let before = self.seen.transactions.len();
        let mut other = self.open(99);
        self.pass(
            &mut other,
            Dir::Read,
            b"GET /right HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        self.pass(&mut other, Dir::Write, b"HTTP/1.1 204 No Content\r\n\r\n");
        self.close(other);
        let told: Vec<_> = self.seen.transactions[before..].iter().map(row).collect();
        assert_eq!(told, [("/right".to_owned(), 204, vec![])]);
    }

    fn lost(&self, reason: Lost) -> u64 {
        let of = self.seen.lost.iter().filter(|(why, _)| *why == reason);
        of.map(|(_, count)| count).sum()
    }
}

fn row(t: &Transaction) -> (String, u16, Vec<&'static str>) {
    let target = |r: &plainspan::transaction::Request| {
        let text = String::from_utf8_lossy(&r.target);
        text.chars().take(40).collect()
    };
    let status = t.response.as_ref().map_or(0, |r| r.status);
    let marks = t.marks.iter().map(Mark::name).collect();
    (t.request.as_ref().map_or("-".into(), target), status, marks)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Heads with their bodies; behind each stands a request that a second reader may see, or may not.
#[rustfmt::skip]
const SMUGGLING: &[(&str, &str)] = &[
    ("both lengths", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("both lengths, the other way", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("two lengths", "Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd"),
    ("a list of lengths", "Content-Length: 4, 40\r\n\r\nabcd"),
    ("a signed length", "Content-Length: +4\r\n\r\nabcd"),
    ("a length in hex", "Content-Length: 0x4\r\n\r\nabcd"),
    ("a length with a space in it", "Content-Length: 4 0\r\n\r\nabcd"),
    ("a length beyond 64 bits", "Content-Length: 18446744073709551620\r\n\r\nabcd"),
    ("space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a coding that is none", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked is not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a vertical tab in front", "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("a fold that hides", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("NUL in a name", "Content-Length\0: 4\r\n\r\nabcd"),
    ("CR in a value", "X: a\rContent-Length: 4\r\n\r\nabcd"),
    ("a chunk size with a prefix", "Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n"),
    ("a negative chunk size", "Transfer-Encoding: chunked\r\n\r\n-4\r\nabcd\r\n0\r\n\r\n"),
    ("a chunk size beyond 64 bits", "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nabcd\r\n0\r\n\r\n"),
    ("a chunk longer than it says", "Transfer-Encoding: chunked\r\n\r\n4\r\nabcdef\r\n0\r\n\r\n"),
    ("no chunk size", "Transfer-Encoding: chunked\r\n\r\n;a\r\nabcd\r\n0\r\n\r\n"),
    ("a colon missing in a trailer", "Transfer-Encoding: chunked\r\n\r\n0\r\nGET /trailer HTTP/1.1\r\n\r\n"),
];

#[test]
fn requests_that_two_readers_read_in_two_ways_are_marked_and_hide_no_whole_request() {
    for (name, rest) in SMUGGLING {
        for at_once in [true, false] {
            let mut bench = Bench::new();
            let mut link = bench.open(1);
            let odd = format!("POST /odd HTTP/1.1\r\nHost: a\r\n{rest}");
            let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
            if at_once {
                bench.pass(&mut link, Dir::Read, format!("{odd}{hidden}").as_bytes());
            } else {
                odd.bytes()
                    .for_each(|b| bench.pass(&mut link, Dir::Read, &[b]));
                bench.pass(&mut link, Dir::Read, hidden.as_bytes());
            }
            bench.pass(&mut link, Dir::Write, OK);
            bench.pass(&mut link, Dir::Write, OK);
            bench.close(link);
            let told: Vec<_> = bench.seen.transactions.iter().map(row).collect();
            let odd = told.iter().find(|row| row.0 == "/odd");
            let odd = odd.unwrap_or_else(|| panic!("{name}: {told:?}"));
            assert!(odd.2.contains(&"request_malformed"), "{name}: {told:?}");
            let doubtful = |row: &&(String, u16, Vec<&str>)| row.0 != "/odd" && row.2.is_empty();
            // Behind a message that has an end for every reader the next one is one.
            let plain = *name == "a colon missing in a trailer";
            if !plain {
                assert_eq!(told.iter().find(doubtful), None, "{name}: {told:?}");
            }
            bench.assert_others_are_right();
        }
    }
}

#[test]
fn header_sections_beyond_the_bounds_are_marked_and_cost_no_memory() {
    let long = format!("X: {}\r\n", "a".repeat(2 << 20));
    let many = "a: b\r\n".repeat(5000);
    let endless = format!("/{}", "a".repeat(1 << 20));
    for head in [
        format!("GET /long HTTP/1.1\r\n{long}\r\n"),
        format!("GET /many HTTP/1.1\r\n{many}\r\n"),
        format!("GET {endless} HTTP/1.1\r\n\r\n"),
    ] {
        let mut bench = Bench::new();
        let mut link = bench.open(1);
        bench.pass(&mut link, Dir::Read, head.as_bytes());
        bench.pass(&mut link, Dir::Write, OK);
        bench.close(link);
        assert!(bench.peak < 300 << 10, "{}", bench.peak);
        let marked = |t: &Transaction| t.marks.has(Mark::HeadersCut);
        // A start line without an end is no HTTP to anybody.
        let (told, start_line) = (&bench.seen.transactions, !head.starts_with("GET /a"));
        assert_eq!(told.iter().any(marked), start_line, "{:.20}", head);
        assert!(told.iter().all(|t| !t.complete()), "{:.20}", head);
        bench.assert_others_are_right();
    }
}

#[test]
fn chunk_extensions_and_trailers_without_end_are_marked_and_cost_no_memory() {
    let start = "POST /odd HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (more, cut) in [
        (format!("5;{}", "a".repeat(2 << 20)), false),
        (format!("0\r\n{}", "a: b\r\n".repeat(400_000)), true),
    ] {
        let mut bench = Bench::new();
        let mut link = bench.open(1);
        bench.pass(&mut link, Dir::Read, format!("{start}{more}").as_bytes());
        bench.pass(&mut link, Dir::Write, OK);
        bench.close(link);
        assert!(bench.peak < 300 << 10, "{}", bench.peak);
        let t = &bench.seen.transactions[0];
        assert!(t.marks.has(Mark::RequestMalformed));
        assert_eq!(t.marks.has(Mark::HeadersCut), cut);
        bench.assert_others_are_right();
    }
}

#[test]
fn requests_without_responses_are_given_up_under_their_own_reason() {
    let mut bench = Bench::new();
    let mut link = bench.open(1);
    for _ in 0..2000 {
        bench.pass(&mut link, Dir::Read, b"GET /x HTTP/1.1\r\n\r\n");
    }
    assert_eq!(bench.lost(Lost::PipelineFull), 1025);
    assert_eq!(bench.lost(Lost::Evicted), 0);
    bench.close(link);
    let told = bench.seen.transactions.len() as u64;
    assert_eq!(told + bench.lost(Lost::PipelineFull), 2000);
    bench.assert_others_are_right();
}

#[test]
fn interim_responses_without_end_are_counted_to_a_bound() {
    let mut bench = Bench::new();
    let mut link = bench.open(1);
    bench.pass(&mut link, Dir::Read, b"GET /x HTTP/1.1\r\n\r\n");
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000);
    bench.pass(&mut link, Dir::Write, flood.as_bytes());
    bench.pass(&mut link, Dir::Write, OK);
    assert!(bench.peak < 64 << 10, "{}", bench.peak);
    let t = &bench.seen.transactions[0];
    assert!(t.complete());
    assert_eq!(t.response.as_ref().map(|r| r.interim.len()), Some(32));
}

#[test]
fn a_body_without_end_is_kept_to_its_bound() {
    let mut bench = Bench::new();
    let mut link = bench.open(1);
    bench.pass(&mut link, Dir::Read, b"GET /x HTTP/1.1\r\n\r\n");
    bench.pass(&mut link, Dir::Write, b"HTTP/1.1 200 OK\r\n\r\n");
    for _ in 0..64 {
        bench.pass(&mut link, Dir::Write, &[b'x'; 64 << 10]);
    }
    // The bounds of bodies alone are above that of the connection here: the connection's own bound holds.
    assert!(bench.lost(Lost::Evicted) == 1 && bench.seen.transactions.is_empty());
    assert!(bench.peak < 3 * LINK as u64, "{}", bench.peak);
    bench.assert_others_are_right();
}

/// A connection of HTTP/2 that has begun.
fn http2(bench: &mut Bench) -> EventBuilder {
    let mut link = bench.open(1);
    bench.pass(&mut link, Dir::Read, &[PREFACE, &settings()].concat());
    bench.pass(&mut link, Dir::Write, &settings());
    link
}

/// GET, https, `/`.
const GET: &[u8] = &[0x82, 0x87, 0x84];
const STATUS_200: &[u8] = &[0x88];

fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let (mut rest, limit) = (text.len(), 127);
        if rest < limit {
            out.push(rest as u8);
        } else {
            out.push(127);
            rest -= limit;
            while rest >= 128 {
                out.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
        out.extend_from_slice(text);
    }
    out
}

#[test]
fn a_flood_of_continuations_is_one_marked_request() {
    for empty in [true, false] {
        let mut bench = Bench::new();
        let mut link = http2(&mut bench);
        bench.pass(&mut link, Dir::Read, &frame(1, END_STREAM, 1, GET));
        let field = literal(b"x-flood", &[b'a'; 8000]);
        let more = frame(9, 0, 1, if empty { &[] } else { &field });
        for _ in 0..if empty { 100_000 } else { 500 } {
            bench.pass(&mut link, Dir::Read, &more);
        }
        bench.pass(&mut link, Dir::Read, &frame(9, END_HEADERS, 1, &[]));
        assert!(bench.peak < 300 << 10, "{}", bench.peak);
        bench.pass(&mut link, Dir::Write, &frame(1, 5, 1, STATUS_200));
        bench.pass(&mut link, Dir::Read, &frame(1, 5, 3, GET));
        bench.pass(&mut link, Dir::Write, &frame(1, 5, 3, STATUS_200));
        let told: Vec<_> = bench.seen.transactions.iter().map(row).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].2.contains(&"headers_cut"), !empty, "{told:?}");
        assert_eq!(told[1], ("/".to_owned(), 200, vec![]));
        bench.assert_others_are_right();
    }
}

#[test]
fn an_hpack_bomb_is_cut_and_what_it_leaves_unknown_is_named() {
    let mut bench = Bench::new();
    let mut link = http2(&mut bench);
    // An entry of 4000 bytes, named over and over: 40 MB of fields from 10 KB.
    let mut bomb = literal(b"x-bomb", &[b'a'; 4000]);
    bomb[0] = 0x40;
    let block = [GET, &bomb, &[0xbe; 10_000]].concat();
    bench.pass(&mut link, Dir::Read, &frame(1, 5, 1, &block));
    bench.pass(&mut link, Dir::Write, &frame(1, 5, 1, STATUS_200));
    assert!(bench.peak < 300 << 10, "{}", bench.peak);
    // The entry is behind the cut: it is not guessed.
    bench.pass(
        &mut link,
        Dir::Read,
        &frame(1, 5, 3, &[GET, &[0xbe]].concat()),
    );
    bench.pass(&mut link, Dir::Write, &frame(1, 5, 3, STATUS_200));
    let told: Vec<_> = bench.seen.transactions.iter().map(row).collect();
    let cut = vec!["request_malformed", "headers_cut"];
    assert_eq!(told[0], ("/".to_owned(), 200, cut));
    assert_eq!(told[1], ("/".to_owned(), 200, vec!["headers_unknown"]));
    bench.assert_others_are_right();
}

#[test]
fn long_strings_and_huge_tables_are_marked_and_cost_no_memory() {
    let string = literal(b"x-long", &[b'a'; 17 << 10]);
    // Table size updates of 2^27 bytes, and of 1 GiB in an integer that is too long.
    let table = [&[0x3f, 0xe1, 0xff, 0xff, 0x3f], GET].concat();
    let integer = [&[0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], GET].concat();
    for (block, cut) in [
        ([GET, &string].concat(), true),
        (table, false),
        (integer, false),
    ] {
        let mut bench = Bench::new();
        let mut link = http2(&mut bench);
        let (first, rest) = block.split_at(block.len().min(16_000));
        bench.pass(&mut link, Dir::Read, &frame(1, END_STREAM, 1, first));
        bench.pass(&mut link, Dir::Read, &frame(9, END_HEADERS, 1, rest));
        bench.pass(&mut link, Dir::Write, &frame(1, 5, 1, STATUS_200));
        let t = bench.seen.transactions.first().expect("a transaction");
        assert!(t.marks.has(Mark::RequestMalformed), "{:?}", t.marks);
        assert_eq!(t.marks.has(Mark::HeadersCut), cut, "{:?}", t.marks);
        assert!(bench.peak < 300 << 10, "{}", bench.peak);
        bench.assert_others_are_right();
    }
}

#[test]
fn a_table_filled_to_its_largest_size_counts_as_memory() {
    let mut bench = Bench::new();
    let mut link = http2(&mut bench);
    // The update to 1 MiB, then small entries without end.
    bench.pass(
        &mut link,
        Dir::Read,
        &frame(1, 5, 1, &[&[0x3f, 0xe1, 0xff, 0x3f], GET].concat()),
    );
    let entries = [0x40, 1, b'a', 1, b'b'].repeat(500);
    for n in 1..200 {
        let block = [GET, &entries].concat();
        bench.pass(&mut link, Dir::Read, &frame(1, 5, 1 + 2 * n, &block));
    }
    assert!(bench.peak > 200 << 10, "it is not counted: {}", bench.peak);
    assert!(bench.peak < 3 * LINK as u64, "{}", bench.peak);
    bench.assert_others_are_right();
}

#[test]
fn streams_opened_and_reset_without_end_stay_within_bounds_and_are_all_counted() {
    let mut bench = Bench::new();
    let mut link = http2(&mut bench);
    for n in 0..5000 {
        let stream = 1 + 2 * n;
        let both = [frame(1, 5, stream, GET), rst(stream, 8)].concat();
        bench.pass(&mut link, Dir::Read, &both);
    }
    assert!(bench.peak < 2 * LINK as u64, "{}", bench.peak);
    bench.table.tick(KernelTime(u64::MAX), &mut bench.seen);
    bench.close(link);
    let told = bench.seen.transactions.len() as u64;
    let lost = bench.lost(Lost::StreamsFull) + bench.lost(Lost::Evicted);
    assert_eq!(told + lost, 5000);
    assert!(bench.seen.transactions.iter().all(|t| !t.complete()));
    bench.assert_others_are_right();
}

#[test]
fn floods_of_control_frames_cost_nothing() {
    let mut bench = Bench::new();
    let mut link = http2(&mut bench);
    let window = frame(8, 0, 0, &[0, 0, 0, 1]);
    let priority = frame(2, 0, 7, &[0, 0, 0, 3, 16]);
    let ping = frame(6, 0, 0, &[0; 8]);
    let unknown = frame(0xfa, 0xff, 9, &[1; 4000]);
    let empty = data(1, 0, &[]);
    let flood = [settings(), window, priority, ping, unknown, empty].concat();
    for _ in 0..5000 {
        bench.pass(&mut link, Dir::Read, &flood);
    }
    assert!(bench.peak < 64 << 10, "{}", bench.peak);
    bench.pass(&mut link, Dir::Read, &frame(1, 5, 1, GET));
    bench.pass(&mut link, Dir::Write, &frame(1, 5, 1, STATUS_200));
    let told: Vec<_> = bench.seen.transactions.iter().map(row).collect();
    assert_eq!(told, [("/".to_owned(), 200, vec![])]);
}
