//! Content that nobody wants stays in the kernel, and everything else comes out.

use crate::support::*;
use plainspan::event::layout::flag;
use plainspan::event::{Data, Dir, Source, Want};
use plainspan::probe::kernel::KernelOptions;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ALL: usize = 1 << 30;

/// What one end sends in one step.
#[derive(Clone)]
struct Step {
    client: bool,
    writes: usize,
    reads: usize,
    parts: Vec<Part>,
}

#[derive(Clone)]
enum Part {
    /// Has to be copied.
    Bytes(Vec<u8>),
    /// Content: may be left out.
    Fill(usize),
    /// Content that looks like messages of gRPC, and has to be left out.
    Zeros(usize),
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::Fill(n) | Part::Zeros(n) => *n,
        }
    }
}

fn text(text: impl AsRef<[u8]>) -> Part {
    Part::Bytes(text.as_ref().to_vec())
}

fn client(parts: impl Into<Vec<Part>>) -> Step {
    Step {
        client: true,
        writes: ALL,
        reads: ALL,
        parts: parts.into(),
    }
}

fn server(parts: impl Into<Vec<Part>>) -> Step {
    Step {
        client: false,
        ..client(parts)
    }
}

impl Step {
    /// In writes and reads of so many bytes.
    fn cut(mut self, writes: usize, reads: usize) -> Step {
        (self.writes, self.reads) = (writes, reads);
        self
    }

    fn line(&self) -> String {
        let end = if self.client { "client" } else { "server" };
        let mut line = format!("{end} {} {}", self.writes, self.reads);
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => {
                    line.push_str(" hex:");
                    bytes
                        .iter()
                        .for_each(|b| write!(line, "{b:02x}").expect("written"));
                }
                Part::Fill(n) => write!(line, " fill:{n}").expect("written"),
                Part::Zeros(n) => write!(line, " zeros:{n}").expect("written"),
            }
        }
        line.push('\n');
        line
    }
}

/// `talk.py`, killed when it goes.
struct Talk {
    child: Child,
    tls: bool,
    steps: Vec<Step>,
    out: BufReader<std::process::ChildStdout>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().expect("kill it");
        self.child.wait().expect("reap it");
    }
}

impl Talk {
    fn start(certificate: Option<&Certificate>) -> Talk {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel/talk.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script);
        match certificate {
            Some(c) => command.arg("tls").arg(c.cert()).arg(c.key()),
            None => command.arg("plain"),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        Talk {
            child,
            tls: certificate.is_some(),
            steps: Vec::new(),
            out,
        }
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(line.as_bytes()).expect("told");
    }

    /// Lets the ends do these steps, and waits until they have.
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.tell(&step.line());
        }
        self.steps.extend_from_slice(steps);
        self.tell("pause\n");
        let mut line = String::new();
        self.out.read_line(&mut line).expect("an answer");
        assert_eq!(line, "paused\n");
        self.tell("\n");
    }

    /// Bytes that went in this direction as this end sees it, with `None` for content.
    fn truth(&self, of_client: bool, dir: Dir) -> Vec<Option<u8>> {
        let sender = of_client == (dir == Dir::Write);
        let mut truth = Vec::new();
        for step in self.steps.iter().filter(|s| s.client == sender) {
            for part in &step.parts {
                match part {
                    Part::Bytes(bytes) => truth.extend(bytes.iter().copied().map(Some)),
                    Part::Fill(n) | Part::Zeros(n) => truth.extend(std::iter::repeat_n(None, *n)),
                }
            }
        }
        truth
    }

    /// Checks that both ends came out in order, without a gap, and with every byte that is not content. Returns how many
    /// were copied and skipped in all.
    fn check(&self, capture: &mut Capture) -> (usize, usize) {
        let pid = self.child.id();
        let source = if self.tls {
            Source::Tls
        } else {
            Source::Socket
        };
        let whole = 2 * self.steps.iter().map(Step::len).sum::<usize>();
        let moved = |c: &Capture| {
            let data = c.data(pid, source);
            data.iter().map(|d| len(d) as usize).sum::<usize>()
        };
        capture.until("all bytes", |c| moved(c) >= whole);
        let data = capture.data(pid, source);
        let key = |d: &Data<'_>| (d.tls, d.conn.filter(|_| d.tls.is_none()));
        let of_client = key(data.iter().find(|d| d.dir == Dir::Write).expect("sent"));
        let (mut copied, mut skipped) = (0, 0);
        for at_client in [true, false] {
            for dir in [Dir::Read, Dir::Write] {
                let own = |d: &&Data<'_>| (key(d) == of_client) == at_client && d.dir == dir;
                let truth = self.truth(at_client, dir);
                let mut next = 0;
                for event in data.iter().filter(own) {
                    assert_eq!(event.offset, next as u64, "a gap");
                    let place = &truth[next..][..len(event) as usize];
                    if event.flags & flag::SKIPPED != 0 {
                        assert!(place.iter().all(Option::is_none), "skipped at {next}");
                        skipped += place.len();
                    } else {
                        let same = |(b, t): (&u8, &Option<u8>)| *b == t.unwrap_or(0xab);
                        assert!(event.bytes.iter().zip(place).all(same), "wrong at {next}");
                        copied += place.len();
                    }
                    next += len(event) as usize;
                }
                assert_eq!(next, truth.len(), "client {at_client} {dir:?}");
            }
        }
        let bytes = capture.counters().bytes;
        assert_eq!(bytes.lost, 0);
        (copied, skipped)
    }
}

impl Step {
    fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }
}

/// Bytes that the event stands for.
fn len(event: &Data<'_>) -> u32 {
    match event.flags & flag::SKIPPED {
        0 => event.bytes.len() as u32,
        _ => event.op_len - event.op_offset,
    }
}

fn heads() -> KernelOptions {
    KernelOptions {
        want: Want::Heads,
        ..KernelOptions::default()
    }
}

/// The kernel programs, loaded once for many connections.
struct Bench {
    capture: Capture,
    certificate: Certificate,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            capture: Capture::start(&heads()).with_libssl(),
            certificate: Certificate::new(),
        }
    }

    /// The steps over TLS and over a plain socket: the most bytes copied and the fewest skipped.
    fn talk(&mut self, steps: &[Step]) -> (usize, usize) {
        let mut over = |certificate: Option<&Certificate>| {
            let mut talk = Talk::start(certificate);
            talk.steps(steps);
            talk.check(&mut self.capture)
        };
        let (tls, plain) = (over(Some(&self.certificate)), over(None));
        (tls.0.max(plain.0), tls.1.min(plain.1))
    }
}

fn talk(steps: &[Step]) -> (usize, usize) {
    Bench::new().talk(steps)
}

fn get() -> Step {
    client([text("GET /x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n")])
}

fn head(length: usize) -> Part {
    text(format!(
        "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: text/plain\r\nCONTENT-LENGTH: {length}\r\nConnection: keep-alive\r\n\r\n"
    ))
}

fn answer(length: usize) -> Step {
    server([head(length), Part::Fill(length)])
}

fn chunked(chunks: &[usize]) -> Step {
    let mut parts = vec![text(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
    )];
    for chunk in chunks {
        parts.push(text(format!("{chunk:x};a=b\r\n")));
        parts.push(Part::Fill(*chunk));
        parts.push(text("\r\n"));
    }
    parts.push(text("0\r\nx: y\r\n\r\n"));
    server(parts)
}

#[test]
pub fn content_of_known_length_is_left_out_and_what_follows_is_not() {
    let _alone = alone();
    let upload = client([
        text("POST /up HTTP/1.1\r\nContent-Length: 500000\r\n\r\n"),
        Part::Fill(500_000),
    ]);
    let steps = [
        get(),
        answer(3_000_000),
        upload.cut(10_000, 9_000),
        answer(10),
        get(),
        answer(100_000),
        get(),
        answer(0),
    ];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 5000, "{copied}");
    assert!(skipped > 7_000_000, "{skipped}");
}

#[test]
pub fn chunks_are_left_out_and_their_sizes_and_trailers_are_not() {
    let _alone = alone();
    let sizes: Vec<usize> = (0..200).map(|n| 5000 + 37 * n).collect();
    let steps = [
        get(),
        chunked(&sizes),
        get(),
        chunked(&[1, 2, 3, 700]).cut(3, 2),
        get(),
        chunked(&[100_000; 20]).cut(16_384, 16_384),
        get(),
        answer(20_000),
    ];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 60_000, "{copied}");
    assert!(skipped > 7_000_000, "{skipped}");
}

#[test]
pub fn heads_that_come_in_pieces_of_any_size_are_understood() {
    let _alone = alone();
    let mut bench = Bench::new();
    for (writes, reads) in [(1, 1), (2, 3), (7, 5), (ALL, 1), (31, 64), (33, 32)] {
        let steps = [
            get().cut(writes, reads),
            server([head(50_000)]).cut(writes, reads),
            server([Part::Fill(50_000)]),
            get().cut(writes, reads),
            server([head(40_000)]).cut(writes, reads),
            server([Part::Fill(40_000)]),
        ];
        let (copied, skipped) = bench.talk(&steps);
        assert!(
            copied < 3000 && skipped > 150_000,
            "{writes} {reads}: {copied} {skipped}"
        );
    }
}

#[test]
fn content_in_tiny_pieces_is_copied_up_to_a_bound() {
    let _alone = alone();
    let steps = [get(), answer(600_000).cut(100, 100)];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 2 * (66 << 10), "{copied}");
    assert!(skipped > 1_000_000, "{skipped}");
}

#[test]
fn responses_without_content_are_known_by_their_request_and_status() {
    let _alone = alone();
    let empty = |status: &str| {
        server([text(format!(
            "HTTP/1.1 {status}\r\nContent-Length: 100000\r\n\r\n"
        ))])
    };
    let steps = [
        client([text("HEAD /x HTTP/1.1\r\n\r\n")]),
        empty("200 OK"),
        get(),
        empty("304 Not Modified"),
        get(),
        server([text("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")]),
        answer(50_000),
        // Two at once, and their answers at once.
        client([text("HEAD /x HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n")]),
        server([
            text("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
            head(60_000),
            Part::Fill(60_000),
        ]),
        get(),
        answer(50_000),
    ];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 8000 && skipped > 300_000, "{copied} {skipped}");
}

#[test]
pub fn content_that_one_operation_sends_is_left_out_however_long_it_is() {
    let _alone = alone();
    // More than what is copied of one operation.
    let steps = [get(), answer(6_000_000), get(), answer(10)];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 2000 && skipped > 11_900_000, "{copied} {skipped}");
}

#[test]
fn content_that_ends_with_the_connection_is_left_out() {
    let _alone = alone();
    let steps = [
        get(),
        server([text("HTTP/1.0 200 OK\r\n\r\n"), Part::Fill(300_000)]),
    ];
    let (copied, skipped) = talk(&steps);
    assert!(copied < 1000 && skipped > 590_000, "{copied} {skipped}");
}

/// A request with these fields before content of this length.
fn post(fields: &str, len: usize) -> Step {
    client([
        text(format!("POST /x HTTP/1.1\r\n{fields}\r\n\r\n")),
        Part::Fill(len),
    ])
}

fn switching(protocol: &str, len: usize) -> Vec<Step> {
    vec![
        client([text(format!(
            "GET /x HTTP/1.1\r\nUpgrade: {protocol}\r\n\r\n"
        ))]),
        server([
            text(format!(
                "HTTP/1.1 101 Switching\r\nUpgrade: {protocol}\r\n\r\n"
            )),
            Part::Fill(len),
        ]),
    ]
}

/// What the kernel programs do not follow.
fn odd(len: usize) -> Vec<Vec<Step>> {
    let tunnel = vec![
        client([text("CONNECT a:1 HTTP/1.1\r\n\r\n")]),
        server([text("HTTP/1.1 200 OK\r\n\r\n"), Part::Fill(len)]),
    ];
    let mut cases = vec![tunnel, switching("tcp", len)];
    for fields in [
        format!("Content-Length: {len}\r\nTransfer-Encoding: chunked"),
        format!("Content-Length: {len}\r\nContent-Length: {len}"),
        format!("Content-Length: {len}\r\n 5"),
        format!("Content-Length: 2 {len}"),
        format!("Content-Length: +{len}"),
        format!("Content-Length: {len}, {len}"),
        "Content-Length: 99999999999999999999".to_owned(),
        "Transfer-Encoding: gzip, chunked".to_owned(),
        "no field".to_owned(),
    ] {
        cases.push(vec![post(&fields, len)]);
    }
    cases
}

fn first(steps: &[Step]) -> String {
    match &steps[0].parts[0] {
        Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Part::Fill(_) | Part::Zeros(_) => String::new(),
    }
}

#[test]
fn little_of_what_is_odd_is_copied_whole() {
    let _alone = alone();
    let mut bench = Bench::new();
    let refused = vec![
        client([text(
            "POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 20000\r\n\r\n",
        )]),
        server([text("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")]),
        client([text("GET /after HTTP/1.1\r\n\r\n")]),
        answer(20_000),
    ];
    let no_http = vec![client([
        text("hello there, this is no HTTP"),
        Part::Fill(400),
    ])];
    for steps in odd(20_000).into_iter().chain([refused, no_http]) {
        let (_, skipped) = bench.talk(&steps);
        assert_eq!(skipped, 0, "{}", first(&steps));
    }
}

/// Of one end in one direction without a turn.
const BOUND: usize = 64 << 10;

#[test]
fn much_of_what_is_odd_is_copied_up_to_a_bound() {
    let _alone = alone();
    let mut bench = Bench::new();
    const LEN: usize = 300_000;
    for (n, steps) in odd(LEN).into_iter().enumerate() {
        let mut steps = steps;
        // However it is cut.
        if n % 2 == 0 {
            let last = steps.pop().expect("one");
            steps.push(last.cut(7000, 3000));
        }
        let before = bench.capture.counters().bytes.skipped;
        let (copied, skipped) = bench.talk(&steps);
        let after = bench.capture.counters().bytes.skipped;
        let name = first(&steps);
        assert!(copied <= 2 * (BOUND + 200), "{copied} of {name}");
        assert!(copied >= 2 * BOUND, "{copied} of {name}");
        assert!(skipped >= 2 * (LEN - BOUND - 200), "{skipped} of {name}");
        // Over TLS and plain.
        let counted = after.unfollowed - before.unfollowed;
        assert!(counted >= 2 * skipped as u64, "{counted} of {name}");
        assert_eq!(after.content, before.content, "{name}");
    }
}

#[test]
fn a_turn_gives_what_is_not_followed_its_bound_anew() {
    let _alone = alone();
    let mut bench = Bench::new();
    let unknown =
        |end: fn(Vec<Part>) -> Step| end(vec![text([0x84, 1, 2, 3]), Part::Fill(200_000)]);
    let turns = [
        unknown(client),
        unknown(server),
        unknown(client),
        unknown(server),
    ];
    let mut talk = Talk::start(Some(&bench.certificate));
    talk.steps(&turns);
    let (copied, skipped) = talk.check(&mut bench.capture);
    assert_eq!(copied, 2 * 4 * BOUND);
    assert_eq!(skipped, 2 * 4 * (200_004 - BOUND));
    // And HTTP/1 is found after a turn.
    talk.steps(&[get(), answer(500_000), get(), answer(500_000)]);
    let (copied, skipped) = talk.check(&mut bench.capture);
    assert!(copied < 2 * 4 * BOUND + 2000, "{copied}");
    assert_eq!(skipped, 2 * 4 * (200_004 - BOUND) + 2 * 1_000_000);
}

#[test]
fn what_user_space_needs_is_copied_whole() {
    let _alone = alone();
    let mut bench = Bench::new();
    const LEN: usize = 200_000;
    let grpc = ["application/grpc-web+proto", "application/connect+json"];
    let mut cases = grpc.map(|kind| {
        let fields = format!("Content-Type: {kind}\r\nContent-Length: {LEN}");
        vec![post(&fields, LEN)]
    });
    let mut cases = cases.iter_mut().map(std::mem::take).collect::<Vec<_>>();
    cases.extend([switching("WebSocket", LEN), switching("h2c", LEN)]);
    for steps in cases {
        let (copied, skipped) = bench.talk(&steps);
        assert_eq!(skipped, 0, "{}", first(&steps));
        assert!(copied > 2 * LEN);
    }
}

#[test]
fn http_2_that_began_before_the_agent_is_copied_whole() {
    let _alone = alone();
    let certificate = Certificate::new();
    for certificate in [Some(&certificate), None] {
        let mut talk = Talk::start(certificate);
        talk.steps(&[preface(), frames(16_384, 2)]);
        let mut capture = Capture::start(&heads()).with_libssl();
        let request = [frame(1, 5, 3, 3), vec![0x82, 0x86, 0x84]].concat();
        let before: usize = talk.steps.iter().map(Step::len).sum();
        talk.steps(&[client([text(request)]), frames(16_384, 30)]);
        let moved = 2 * (talk.steps.iter().map(Step::len).sum::<usize>() - before) as u64;
        capture.settle();
        let bytes = capture.counters().bytes;
        assert_eq!(
            (bytes.copied, bytes.skipped_on_purpose, bytes.lost),
            (moved, 0, 0)
        );
    }
}

fn frame(kind: u8, flags: u8, stream: u32, len: usize) -> Vec<u8> {
    let mut frame = (len as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame
}

/// A response of HTTP/2 with DATA frames of this length. Their first byte is none of a gRPC message.
fn frames(data: usize, count: usize) -> Step {
    let mut parts = vec![text(
        [frame(4, 0, 0, 0), frame(1, 4, 1, 1), vec![0x88]].concat(),
    )];
    for n in 0..count {
        let end = u8::from(n + 1 == count);
        parts.push(text(frame(0, end, 1, data)));
        parts.push(Part::Fill(data));
    }
    parts.push(text([frame(6, 0, 0, 8), vec![7; 8]].concat()));
    server(parts)
}

fn preface() -> Step {
    let request = [frame(4, 0, 0, 0), frame(1, 5, 1, 3), vec![0x82, 0x86, 0x84]].concat();
    client([text(
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), request].concat(),
    )])
}

#[test]
pub fn content_of_http_2_is_left_out_however_it_is_read() {
    let _alone = alone();
    let mut bench = Bench::new();
    for (writes, reads) in [(ALL, ALL), (16_384, 9), (5000, 3000), (10, 10)] {
        let count = if writes < 100 { 3 } else { 30 };
        let (copied, skipped) = bench.talk(&[preface(), frames(16_384, count).cut(writes, reads)]);
        assert!(copied < 2000, "{writes} {reads}: {copied}");
        assert!(skipped > 30_000 * count, "{writes} {reads}: {skipped}");
    }
}

#[test]
fn content_of_http_2_may_look_like_grpc_once_it_goes_on() {
    let _alone = alone();
    let mut bench = Bench::new();
    let data = |stream: u32, content: Part| [text(frame(0, 0, stream, content.len())), content];
    let mut parts = vec![text(
        [frame(4, 0, 0, 0), frame(1, 4, 1, 1), vec![0x88]].concat(),
    )];
    for stream in [1, 3, 5, 7] {
        parts.extend(data(stream, Part::Fill(8000)));
    }
    for _ in 0..10 {
        for stream in [7, 3, 1, 5] {
            parts.extend(data(stream, Part::Zeros(6000)));
            parts.extend(data(stream, Part::Fill(8000)));
        }
    }
    for (writes, reads) in [(ALL, ALL), (16_384, 9), (1009, 100), (8192, 11)] {
        let steps = [preface(), server(parts.clone()).cut(writes, reads)];
        let (copied, skipped) = bench.talk(&steps);
        assert!(copied < 3500, "{writes} {reads}: {copied}");
        assert!(skipped > 2 * 590_000, "{writes} {reads}: {skipped}");
    }
}

#[test]
fn padding_of_http_2_is_told_from_content() {
    let _alone = alone();
    let mut bench = Bench::new();
    let mut parts = vec![text(
        [frame(4, 0, 0, 0), frame(1, 4, 1, 1), vec![0x88]].concat(),
    )];
    for n in 0..20u8 {
        let padding = 13 * n;
        let len = 1 + 10_000 + usize::from(padding);
        parts.push(text([frame(0, 8, 1, len), vec![padding]].concat()));
        parts.push(Part::Fill(10_000));
        parts.push(text(vec![0; padding.into()]));
    }
    // Nothing but padding, and padding longer than the frame.
    parts.push(text([frame(0, 8, 1, 9), vec![8], vec![0; 8]].concat()));
    parts.push(text([frame(0, 8, 1, 9), vec![9], vec![0; 8]].concat()));
    for (writes, reads) in [(ALL, ALL), (16_384, 9), (777, 100)] {
        let steps = [preface(), server(parts.clone()).cut(writes, reads)];
        let (copied, skipped) = bench.talk(&steps);
        assert_eq!(skipped, 2 * 200_000, "{writes} {reads}");
        assert!(copied < 8000, "{writes} {reads}: {copied}");
    }
}

#[test]
pub fn a_session_that_carries_grpc_is_copied_whole_from_there_on() {
    let _alone = alone();
    let mut bench = Bench::new();
    let message = |len: usize| {
        let mut parts = vec![text(frame(0, 0, 1, len + 5))];
        parts.push(text(
            [vec![0], (len as u32).to_be_bytes().to_vec()].concat(),
        ));
        parts.push(Part::Fill(len));
        parts
    };
    let mut parts = vec![text(
        [frame(4, 0, 0, 0), frame(1, 4, 1, 1), vec![0x88]].concat(),
    )];
    parts.extend(message(3000));
    for _ in 0..20 {
        parts.extend([text(frame(0, 0, 1, 8000)), Part::Fill(8000)]);
    }
    for (writes, reads) in [(ALL, ALL), (1000, 70)] {
        let (_, skipped) = bench.talk(&[preface(), server(parts.clone()).cut(writes, reads)]);
        assert_eq!(skipped, 0);
    }
}

#[test]
fn of_what_nobody_wants_nothing_is_copied_and_all_is_counted() {
    let _alone = alone();
    let certificate = Certificate::new();
    for certificate in [Some(&certificate), None] {
        let options = KernelOptions {
            want: Want::Nothing,
            ..KernelOptions::default()
        };
        let mut capture = Capture::start(&options).with_libssl();
        let mut talk = Talk::start(certificate);
        talk.steps(&[get(), answer(1_000_000), get(), answer(10)]);
        capture.settle();
        let pid = talk.child.id();
        let data = [Source::Tls, Source::Socket, Source::Hello].map(|s| capture.data(pid, s).len());
        assert_eq!(data, [0, 0, 0]);
        assert_eq!(capture.opens(pid).len(), 2);
        let bytes = capture.counters().bytes;
        let moved = 2 * talk.steps.iter().map(Step::len).sum::<usize>() as u64;
        assert_eq!((bytes.seen, bytes.copied, bytes.lost), (moved, 0, 0));
        assert_eq!(
            (bytes.skipped_on_purpose, bytes.skipped.level_none),
            (moved, moved)
        );
    }
}

#[test]
pub fn what_is_wanted_may_change_while_a_connection_is_open() {
    let _alone = alone();
    let certificate = Certificate::new();
    for certificate in [Some(&certificate), None] {
        let mut capture = Capture::start(&heads()).with_libssl();
        let mut talk = Talk::start(certificate);
        let skipped = |c: &Capture| c.counters().bytes.skipped_on_purpose;
        let exchange = [get(), answer(100_000)];
        talk.steps(&exchange);
        let first = skipped(&capture);
        assert_eq!(first, 200_000);
        capture.kernel.want(Want::All).expect("told");
        talk.steps(&exchange);
        assert_eq!(skipped(&capture), first);
        capture.kernel.want(Want::Heads).expect("told");
        talk.steps(&exchange);
        assert_eq!(skipped(&capture), 2 * first);
        // And for this process, and for one end of the connection, alone.
        capture.kernel.want(Want::All).expect("told");
        let pid = talk.child.id();
        capture
            .kernel
            .want_of_process(pid, Want::Heads)
            .expect("told");
        talk.steps(&exchange);
        assert_eq!(skipped(&capture), 3 * first);
        capture
            .kernel
            .want_of_process(pid, Want::All)
            .expect("told");
        capture.read();
        let conn = capture.opens(pid)[0].conn;
        capture
            .kernel
            .want_of_connection(conn, Want::Heads)
            .expect("told");
        talk.steps(&exchange);
        assert_eq!(skipped(&capture), 3 * first + first / 2);
        capture
            .kernel
            .want_of_connection(conn, Want::All)
            .expect("told");
        talk.steps(&exchange);
        assert_eq!(skipped(&capture), 3 * first + first / 2);
        talk.check(&mut capture);
    }
}

#[test]
pub fn what_is_lost_while_content_is_left_out_is_a_gap_of_known_size() {
    let _alone = alone();
    let options = KernelOptions {
        ring_bytes: 64 << 10,
        ..heads()
    };
    let mut capture = Capture::start(&options);
    let mut talk = Talk::start(None);
    // More events than the ring holds, read by nobody meanwhile.
    talk.steps(&[get(), chunked(&[600; 3000]), get(), answer(5)]);
    capture.settle();
    let bytes = capture.counters().bytes;
    let moved = 2 * talk.steps.iter().map(Step::len).sum::<usize>() as u64;
    assert!(bytes.lost > 0);
    assert_eq!(bytes.seen, moved);
    assert_eq!(bytes.copied + bytes.skipped_on_purpose + bytes.lost, moved);
    // What came out is in its place, and what comes now is whole.
    talk.steps(&[get(), answer(70_000)]);
    capture.settle();
    let data = capture.data(talk.child.id(), Source::Socket);
    let last = data
        .iter()
        .rfind(|d| d.flags & flag::SKIPPED != 0)
        .expect("one");
    assert_eq!(len(last) + last.op_offset, last.op_len);
    let heads = data
        .iter()
        .filter(|d| d.bytes.starts_with(b"HTTP/1.1 200 OK"));
    assert!(heads.count() >= 2);
}
