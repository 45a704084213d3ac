//! Scripted connections, and a dump of transactions (which have no `Debug`, since they hold secrets).

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod calls;
pub mod frames;

use plainspan::conn::{ConnectionFate, Limits, Output, Table};
use plainspan::event::build::EventBuilder;
use plainspan::event::{Dir, Role, decode};
use plainspan::redact::Raw;
use plainspan::telemetry::ledger::Lost;
use plainspan::transaction::websocket::Frames;
use plainspan::transaction::{Body, BodyLimits, Headers, Mark, Transaction};
use serde_json::{Value, json};

/// What happens on a connection, seen from the client.
#[derive(Debug, Clone)]
pub enum Step {
    Request(Vec<u8>),
    Response(Vec<u8>),
}

/// A connection with the number of transactions that it carries, all of them complete.
pub struct Fixture {
    pub name: &'static str,
    pub steps: Vec<Step>,
    pub transactions: usize,
}

fn q(text: &str) -> Step {
    Step::Request(text.replace('\n', "\r\n").into_bytes())
}

fn a(text: &str) -> Step {
    Step::Response(text.replace('\n', "\r\n").into_bytes())
}

fn fixture(name: &'static str, transactions: usize, steps: Vec<Step>) -> Fixture {
    Fixture {
        name,
        steps,
        transactions,
    }
}

fn big_body() -> String {
    (0..150_000)
        .map(|i| char::from(b'a' + (i % 23) as u8))
        .collect()
}

/// A frame of RFC 6455; the key is what the client's frames are masked with.
fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let bit = if key.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match u8::try_from(payload.len()) {
        Ok(len @ 0..126) => out.push(bit | len),
        _ => {
            out.push(bit | 126);
            out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    out.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    out
}

/// Frames follow the handshake at once; the server's first text comes with its response.
fn websocket() -> Vec<Step> {
    let key = Some([9, 8, 7, 6]);
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n";
    vec![
        q("GET /1 HTTP/1.1\nHost: x\n\n"),
        a("HTTP/1.1 200 OK\nContent-Length: 1\n\n1"),
        q("GET /ws HTTP/1.1\nHost: x\nUpgrade: websocket\nConnection: upgrade\n\n"),
        Step::Response([head.as_bytes(), &frame(0x81, None, b"welcome")].concat()),
        Step::Request(frame(0x01, key, b"hel")),
        Step::Request([frame(0x89, key, b"ping"), frame(0x80, key, b"lo")].concat()),
        Step::Response([frame(0x8a, None, b"ping"), frame(0x82, None, &[7; 400])].concat()),
        Step::Request(frame(0x88, key, &[3, 232])),
        Step::Response(frame(0x88, None, &[3, 232])),
    ]
}

/// All fixtures.
pub fn fixtures() -> Vec<Fixture> {
    let mut all = simple();
    all.extend(framing());
    all.extend(unusual());
    all.extend(frames::fixtures());
    all.extend(calls::fixtures());
    all
}

fn simple() -> Vec<Fixture> {
    let big = big_body();
    let big_len = big.len();
    vec![
        fixture(
            "keep_alive",
            3,
            vec![
                q(
                    "GET /1 HTTP/1.1\nHost: x\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\n",
                ),
                a("HTTP/1.1 200 OK\nContent-Length: 3\nX-Id: 1\n\none"),
                q("POST /2 HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello"),
                a("HTTP/1.1 201 Created\nContent-Length: 0\nX-Id: 2\n\n"),
                q("GET /3 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 404 Not Found\nContent-Length: 5\nX-Id: 3\n\nthree"),
            ],
        ),
        fixture(
            "pipelining",
            5,
            vec![
                q(
                    "GET /1 HTTP/1.1\n\nGET /2 HTTP/1.1\n\nPOST /3 HTTP/1.1\nContent-Length: 3\n\nabc",
                ),
                a(
                    "HTTP/1.1 200 OK\nContent-Length: 1\n\n1HTTP/1.1 200 OK\nContent-Length: 1\n\n2HTTP/1.1 200 OK\nContent-Length: 1\n\n3",
                ),
                q("GET /4 HTTP/1.1\n\nGET /5 HTTP/1.1\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n4"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n5"),
            ],
        ),
        fixture(
            "big_body",
            2,
            vec![
                q("GET /big HTTP/1.1\nHost: x\n\n"),
                a(&format!(
                    "HTTP/1.1 200 OK\nContent-Length: {big_len}\n\n{big}"
                )),
                q("GET /small HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 5\n\nsmall"),
            ],
        ),
        fixture(
            "http_10",
            1,
            vec![
                q("GET /old HTTP/1.0\nUser-Agent: ab\n\n"),
                a("HTTP/1.0 200 OK\nServer: old\n\nuntil the end"),
            ],
        ),
        fixture(
            "close_delimited",
            2,
            vec![
                q("GET /1 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n1"),
                q("GET /2 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nConnection: close\n\nHTTP/1.1 as content\n\nuntil the end"),
            ],
        ),
    ]
}

fn framing() -> Vec<Fixture> {
    vec![
        fixture(
            "chunked_with_trailers",
            3,
            vec![
                q(
                    "POST /1 HTTP/1.1\nTransfer-Encoding: chunked\n\n5;a=b\nhello\n6 ; c\n world\n0\nX-Sum: 1\nX-More: 2\n\n",
                ),
                a(
                    "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-End\n\n3\nabc\n1A\nabcdefghijklmnopqrstuvwxyz\n000\nX-End: yes\n\n",
                ),
                q("GET /2 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n2\nzz\n0\n\n"),
                q("GET /3 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 204 No Content\n\n"),
            ],
        ),
        fixture(
            "head_and_not_modified",
            4,
            vec![
                q("HEAD /1 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1000\n\n"),
                q("GET /2 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 304 Not Modified\nContent-Length: 500\nETag: e\n\n"),
                q("HEAD /3 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n"),
                q("GET /4 HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
            ],
        ),
        fixture(
            "expect_continue",
            2,
            vec![
                q("PUT /1 HTTP/1.1\nExpect: 100-continue\nContent-Length: 10\n\n"),
                a("HTTP/1.1 100 Continue\n\n"),
                q("0123456789"),
                a("HTTP/1.1 103 Early Hints\nLink: </a>\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 4\n\ndone"),
                q("GET /2 HTTP/1.1\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n2"),
            ],
        ),
        fixture(
            "early_response",
            1,
            vec![
                q("POST /early HTTP/1.1\nContent-Length: 20\n\n0123456789"),
                a("HTTP/1.1 413 Too Large\nConnection: close\nContent-Length: 0\n\n"),
                q("0123456789"),
            ],
        ),
        fixture(
            "bare_line_feeds",
            2,
            vec![
                Step::Request(b"\n\r\nGET /1 HTTP/1.1\nHost: x\n\n".to_vec()),
                Step::Response(
                    b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n".to_vec(),
                ),
                Step::Request(b"\r\nGET /2 HTTP/1.1\r\nHost: x\n\r\n".to_vec()),
                Step::Response(b"HTTP/1.1 200\nContent-Length: 1\n\n2".to_vec()),
            ],
        ),
    ]
}

fn unusual() -> Vec<Fixture> {
    vec![
        fixture(
            "upgrade",
            2,
            vec![
                q("GET /1 HTTP/1.1\nUpgrade: h2c\nConnection: upgrade\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n1"),
                q("GET /foo HTTP/1.1\nUpgrade: foo\nConnection: upgrade\n\n"),
                a("HTTP/1.1 101 Switching Protocols\nUpgrade: foo\nConnection: upgrade\n\n"),
                q("GET /not-http HTTP/1.1\n\n"),
                a("HTTP/1.1 200 OK\n\n"),
            ],
        ),
        fixture("websocket", 2, websocket()),
        fixture(
            "connect_with_http_inside",
            4,
            vec![
                q("GET http://p/before HTTP/1.1\nHost: p\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n1"),
                q("CONNECT a:80 HTTP/1.1\nHost: a:80\n\n"),
                a("HTTP/1.1 200 Connection established\n\n"),
                q("GET /inside/1 HTTP/1.1\nHost: a\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 2\n\n21"),
                q("POST /inside/2 HTTP/1.1\nHost: a\nContent-Length: 2\n\nab"),
                a("HTTP/1.1 204 No Content\n\n"),
            ],
        ),
        fixture(
            "connect",
            2,
            vec![
                q("CONNECT a:1 HTTP/1.1\nHost: a:1\n\n"),
                a("HTTP/1.1 407 Proxy Authentication Required\nContent-Length: 2\n\nno"),
                q("CONNECT a:1 HTTP/1.1\nHost: a:1\nProxy-Authorization: x\n\n"),
                a("HTTP/1.1 200 Connection established\n\n"),
                q("\u{16}\u{3}\u{1}tunnel"),
                a("tunnel"),
            ],
        ),
        fixture(
            "methods_and_targets",
            4,
            vec![
                q("OPTIONS * HTTP/1.1\nHost: x\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
                q("GET http://example.org/abs?q=1 HTTP/1.1\nHost: example.org\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\na"),
                q("M-SEARCH /custom HTTP/1.1\nHost: x\nX-Folded: a\n b\n\n"),
                a("HTTP/1.1 200 OK\nX-Folded: a\n\tb\nContent-Length: 1\n\nb"),
                q("DELETE /x HTTP/1.1\nHost: x\nX-Empty:\n\n"),
                a("HTTP/1.1 299 Odd reason: yes\nContent-Length: 1, 1\nContent-Length: 1\n\nc"),
            ],
        ),
        fixture(
            "many_fields",
            2,
            vec![
                q(&format!("GET /1 HTTP/1.1\n{}\n", fields())),
                a(&format!(
                    "HTTP/1.1 200 OK\nContent-Length: 1\n{}\n1",
                    fields()
                )),
                q("GET /2 HTTP/1.1\n\n"),
                a("HTTP/1.1 200 OK\nContent-Length: 1\n\n2"),
            ],
        ),
    ]
}

fn fields() -> String {
    (0..60)
        .map(|i| format!("X-Field-{i}: value {i}\n"))
        .collect()
}

/// How a fixture is seen.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub role: Role,
    pub tls: bool,
}

/// How bytes fall into operations and events: sizes, used over and over again.
#[derive(Debug, Clone)]
pub struct Cutting {
    pub operations: Vec<usize>,
    pub events: Vec<usize>,
}

impl Cutting {
    /// Each step is one operation in one event.
    pub fn none() -> Self {
        Cutting {
            operations: vec![usize::MAX],
            events: vec![usize::MAX],
        }
    }
}

/// The records of a connection.
pub struct Recording {
    pub before: Vec<Vec<u8>>,
    /// In true order, with their direction.
    pub data: Vec<(Dir, Vec<u8>)>,
    pub after: Vec<Vec<u8>>,
}

const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x00\x3f\x01\x00\x00\x3b\x03\x03cccccccccccccccccccccccccccccccc\
    \x00\x00\x02\x13\x01\x01\x00\x00\x10\x00\x00\x00\x0c\x00\x0a\x00\x00\x07foo.org";
const SERVER_HELLO: &[u8] =
    b"\x16\x03\x03\x00\x32\x02\x00\x00\x2e\x03\x03ssssssssssssssssssssssssssssssss\
    \x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04";

/// Lets a fixture happen.
pub fn record(fixture: &Fixture, view: View, cutting: &Cutting) -> Recording {
    let mut b = EventBuilder::new(42, 1, view.role);
    if view.tls {
        b = b.over_tls(77);
    }
    let (requests, responses) = match view.role {
        Role::Client => (Dir::Write, Dir::Read),
        Role::Server => (Dir::Read, Dir::Write),
    };
    let mut before = vec![b.open()];
    if view.tls {
        before.push(b.hello(requests, CLIENT_HELLO));
        before.push(b.hello(responses, SERVER_HELLO));
    }
    let mut data = Vec::new();
    let mut operations = cutting.operations.iter().copied().cycle();
    let mut events = cutting.events.iter().copied().cycle();
    for step in &fixture.steps {
        let (dir, mut bytes) = match step {
            Step::Request(bytes) => (requests, &bytes[..]),
            Step::Response(bytes) => (responses, &bytes[..]),
        };
        while !bytes.is_empty() {
            let len = operations.next().unwrap_or(1).min(bytes.len());
            let (operation, rest) = bytes.split_at(len);
            let cuts = cuts(len, &mut events);
            data.extend(
                b.operation(dir, operation, &cuts)
                    .into_iter()
                    .map(|r| (dir, r)),
            );
            bytes = rest;
        }
    }
    let mut after = Vec::new();
    if view.tls {
        after.push(b.tls_end());
    } else {
        after.push(b.eof());
    }
    after.push(b.close());
    Recording {
        before,
        data,
        after,
    }
}

fn cuts(len: usize, sizes: &mut impl Iterator<Item = usize>) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut at = 0usize;
    for size in sizes {
        at = at.saturating_add(size);
        if at >= len {
            break;
        }
        cuts.push(at);
    }
    cuts
}

/// What came out of a table.
#[derive(Default)]
pub struct Seen {
    pub transactions: Vec<Transaction>,
    pub lost: Vec<(Lost, u64)>,
    pub fates: Vec<ConnectionFate>,
}

impl Output for Seen {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        self.transactions.push(*transaction.expose());
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        self.lost.push((reason, transactions));
    }

    fn connection(&mut self, fate: ConnectionFate) {
        self.fates.push(fate);
    }
}

pub fn limits() -> Limits {
    Limits {
        body: BodyLimits {
            capture: true,
            max_bytes: 1 << 20,
        },
        connection_memory: 8 << 20,
        total_memory: 64 << 20,
    }
}

/// Feeds records to a table.
pub fn feed<'a>(records: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Seen {
    let mut table = Table::new(limits);
    let mut seen = Seen::default();
    for record in records {
        let event = decode(record).expect("an event");
        table.handle(&event, &mut seen);
        assert!(table.memory() <= limits.total_memory, "memory is bounded");
    }
    seen
}

/// Feeds a recording in its true order.
pub fn play(recording: &Recording) -> Seen {
    let data = recording.data.iter().map(|(_, r)| &r[..]);
    let before = recording.before.iter().map(|r| &r[..]);
    let after = recording.after.iter().map(|r| &r[..]);
    feed(before.chain(data).chain(after), limits())
}

/// Everything of a transaction; times and ordinal only on demand.
pub fn dump(t: &Transaction, times: bool) -> Value {
    let info = &t.connection;
    let mut out = json!({
        "role": format!("{:?}", t.role),
        "protocol": t.protocol.version(),
        "pid": t.pid,
        "connection": {
            "conn": info.conn.map(|c| c.0),
            "tls": info.tls.map(|c| c.0),
            "local": info.local.map(|l| l.to_string()),
            "remote": info.remote.map(|l| l.to_string()),
            "netns": info.netns,
            "tls_info": info.tls_info.as_ref().map(|i| format!("{i:?}")),
        },
        "request": t.request.as_ref().map(|r| json!({
            "method": text(&r.method),
            "target": text(&r.target),
            "headers": headers(&r.headers),
            "trailers": headers(&r.trailers),
            "body": body(&r.body),
            "wire_size": r.wire_size,
            "offset": r.offset,
        })),
        "response": t.response.as_ref().map(|r| json!({
            "status": r.status,
            "reason": text(&r.reason),
            "headers": headers(&r.headers),
            "trailers": headers(&r.trailers),
            "body": body(&r.body),
            "wire_size": r.wire_size,
            "interim": r.interim,
        })),
        "marks": t.marks.iter().map(Mark::name).collect::<Vec<_>>(),
        "context": t.context.as_ref().map(|c| format!("{c:?}")),
    });
    if let Some(w) = &t.websocket {
        let frames = |f: &Frames| {
            json!({
                "continuation": f.continuation, "text": f.text, "binary": f.binary,
                "close": f.close, "ping": f.ping, "pong": f.pong, "messages": f.messages,
                "payload": f.payload, "wire_size": f.wire_size, "close_code": f.close_code,
                "kept": f.kept.iter().map(|m| text(&m.bytes)).collect::<Vec<_>>(),
            })
        };
        out["websocket"] = json!({
            "client": frames(&w.from_client),
            "server": frames(&w.from_server),
        });
    }
    if let Some(g) = &t.grpc {
        out["grpc"] = json!({
            "kind": g.kind.name(),
            "method": t.rpc_method().map(text),
            "client": g.from_client.map(|c| format!("{c:?}")),
            "server": g.from_server.map(|c| format!("{c:?}")),
            "status": g.code.map(|c| c.name().into_owned()),
            "inferred": g.inferred,
        });
    }
    if let Some(stream) = t.request.as_ref().and_then(|r| r.h2_stream) {
        out["request"]["h2_stream"] = json!(stream);
    }
    if times {
        out["ordinal"] = json!(t.ordinal);
        out["tid"] = json!(t.tid);
        out["timing"] = json!({
            "start": t.timing.start.0,
            "request_end": t.timing.request_end.0,
            "response_start": t.timing.response_start.map(|t| t.0),
            "end": t.timing.end.0,
        });
    }
    out
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn headers(headers: &Headers) -> Vec<[String; 2]> {
    headers.iter().map(|(n, v)| [text(n), text(v)]).collect()
}

fn body(body: &Body) -> Value {
    json!({
        "bytes": text(body.bytes()),
        "size": body.size(),
        "missing": body.missing(),
        "truncated": body.truncated(),
    })
}
