//! HTTP/2 connections: a small encoder of frames and header blocks, and fixtures.

use super::{Fixture, Step};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITY: u8 = 0x20;

/// A frame of any kind.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a small payload");
    let mut out = len.to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

pub fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100, 0, 5, 0, 0, 0x40, 0])
}

pub fn settings_ack() -> Vec<u8> {
    frame(4, 1, 0, &[])
}

pub fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(0, flags, stream, content)
}

pub fn rst(stream: u32, code: u32) -> Vec<u8> {
    frame(3, 0, stream, &code.to_be_bytes())
}

pub fn goaway(last: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend([0; 4]);
    frame(7, 0, 0, &payload)
}

/// Encodes header blocks without Huffman codes: known fields by index, `x-indexed-` fields into the dynamic table, and
/// others as literals.
#[derive(Default)]
pub struct Encoder {
    /// Newest first.
    table: Vec<(String, String)>,
}

const STATIC: [(&str, &str, u8); 8] = [
    (":method", "GET", 2),
    (":method", "POST", 3),
    (":path", "/", 4),
    (":scheme", "http", 6),
    (":scheme", "https", 7),
    (":status", "200", 8),
    (":status", "204", 9),
    (":status", "404", 13),
];

impl Encoder {
    pub fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in fields {
            self.field(name, value, &mut out);
        }
        out
    }

    fn field(&mut self, name: &str, value: &str, out: &mut Vec<u8>) {
        if let Some((_, _, index)) = STATIC.iter().find(|(n, v, _)| (*n, *v) == (name, value)) {
            out.push(0x80 | index);
            return;
        }
        let own = (name.to_owned(), value.to_owned());
        if let Some(at) = self.table.iter().position(|f| *f == own) {
            assert!(at < 60, "an index of one byte");
            out.push(0x80 | (62 + at as u8));
            return;
        }
        let insert = name.starts_with("x-indexed-") || name == ":authority";
        out.push(if insert { 0x40 } else { 0x00 });
        for text in [name, value] {
            let len = text.len();
            if len < 127 {
                out.push(len as u8);
            } else {
                out.push(127);
                let mut rest = len - 127;
                while rest >= 128 {
                    out.push(0x80 | (rest % 128) as u8);
                    rest /= 128;
                }
                out.push(rest as u8);
            }
            out.extend(text.as_bytes());
        }
        if insert {
            self.table.insert(0, own);
        }
    }

    /// A HEADERS frame with a whole block.
    pub fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
        frame(1, flags | END_HEADERS, stream, &self.block(fields))
    }

    pub fn get(&mut self, stream: u32, path: &str) -> Vec<u8> {
        self.headers(stream, END_STREAM, &request("GET", path))
    }

    pub fn ok(&mut self, stream: u32, flags: u8) -> Vec<u8> {
        let server = ("x-indexed-server", "fixture");
        self.headers(stream, flags, &[(":status", "200"), server])
    }
}

pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 6] {
    [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", "example.org:8443"),
        ("x-indexed-agent", "fixture/1"),
        ("x-path", path),
    ]
}

fn q(parts: &[Vec<u8>]) -> Step {
    Step::Request(parts.concat())
}

fn a(parts: &[Vec<u8>]) -> Step {
    Step::Response(parts.concat())
}

fn fixture(name: &'static str, transactions: usize, steps: Vec<Step>) -> Fixture {
    Fixture {
        name,
        steps,
        transactions,
    }
}

/// All fixtures of HTTP/2.
pub fn fixtures() -> Vec<Fixture> {
    vec![
        simple(),
        interleaved(),
        big(),
        shapes(),
        interim_and_trailers(),
        pushed(),
        tunnels(),
        upgraded(),
        no_error_reset(),
    ]
}

fn open() -> Vec<u8> {
    [PREFACE.to_vec(), settings(), frame(8, 0, 0, &[0, 1, 0, 0])].concat()
}

fn simple() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    fixture(
        "h2_simple",
        4,
        vec![
            q(&[open(), c.get(1, "/1")]),
            a(&[settings(), settings_ack()]),
            a(&[s.ok(1, 0), data(1, END_STREAM, b"one")]),
            q(&[settings_ack(), c.get(3, "/3?q=1")]),
            a(&[
                s.ok(3, 0),
                data(3, 0, b"thr"),
                data(3, 0, b"ee"),
                data(3, END_STREAM, b""),
            ]),
            q(&[c.headers(5, 0, &request("POST", "/5"))]),
            q(&[data(5, END_STREAM, b"hello")]),
            a(&[s.headers(5, END_STREAM, &[(":status", "204")])]),
            q(&[frame(6, 0, 0, b"pingpong"), c.get(7, "/")]),
            a(&[frame(6, 1, 0, b"pingpong")]),
            a(&[s.headers(7, 0, &[(":status", "404"), ("content-type", "text/plain")])]),
            a(&[data(7, END_STREAM, b"none")]),
            q(&[goaway(0)]),
        ],
    )
}

fn interleaved() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let mut steps = vec![q(&[open()]), a(&[settings()])];
    let heads: Vec<_> = (0..6)
        .map(|n| c.headers(1 + 2 * n, 0, &request("POST", &format!("/{n}"))))
        .collect();
    steps.push(q(&heads));
    for part in 0..3 {
        let flags = if part == 2 { END_STREAM } else { 0 };
        let content = |n: u32| data(1 + 2 * n, flags, format!("[{n}.{part}]").as_bytes());
        steps.push(q(&(0..6).map(content).collect::<Vec<_>>()));
        if part == 1 {
            steps.push(a(&(0..6)
                .rev()
                .map(|n| s.ok(1 + 2 * n, 0))
                .collect::<Vec<_>>()));
        }
    }
    for part in 0..3 {
        let flags = if part == 2 { END_STREAM } else { 0 };
        let content = |n: u32| data(1 + 2 * n, flags, format!("<{n}.{part}>").as_bytes());
        steps.push(a(&(0..6).map(content).collect::<Vec<_>>()));
    }
    fixture("h2_interleaved", 6, steps)
}

fn big() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let body: Vec<u8> = (0..60_000).map(|i| b'a' + (i % 23) as u8).collect();
    let mut steps = vec![
        q(&[open(), c.get(1, "/big"), c.get(3, "/small")]),
        a(&[settings(), s.ok(1, 0)]),
    ];
    for (n, part) in body.chunks(16_384).enumerate() {
        steps.push(a(&[data(1, 0, part)]));
        if n == 1 {
            steps.push(a(&[s.ok(3, 0), data(3, END_STREAM, b"small")]));
        }
    }
    steps.push(a(&[data(1, END_STREAM, b"")]));
    fixture("big_body", 2, steps)
}

fn shapes() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let block = c.block(&request("POST", "/cut"));
    let mut padded = vec![3, 0, 0, 0, 0, 15];
    padded.extend(c.block(&request("GET", "/padded")));
    padded.extend([0; 3]);
    let long = "v".repeat(3000);
    let answer = s.block(&[(":status", "200"), ("x-long", &long)]);
    fixture(
        "h2_shapes",
        2,
        vec![
            q(&[
                open(),
                frame(
                    1,
                    PRIORITY,
                    1,
                    &[&[0, 0, 0, 0, 7][..], &block[..9]].concat(),
                ),
                frame(9, 0, 1, &block[9..20]),
                frame(9, END_HEADERS, 1, &block[20..]),
                data(1, PADDED, b"\x05hello\0\0\0\0\0"),
                data(1, PADDED, b"\x02\0\0"),
                data(1, PADDED | END_STREAM, b"\x00 world"),
            ]),
            a(&[
                settings(),
                frame(0xee, 0xff, 1, b"unknown"),
                frame(0x10, 0, 0, b"\0\0\0\x01u=1"),
            ]),
            q(&[frame(
                1,
                END_STREAM | END_HEADERS | PADDED | PRIORITY,
                3,
                &padded,
            )]),
            q(&[frame(2, 0, 3, &[0, 0, 0, 1, 9])]),
            a(&[
                frame(1, 0, 1, &answer[..100]),
                frame(9, 0, 1, &answer[100..2000]),
                frame(9, END_HEADERS, 1, &answer[2000..]),
                data(1, END_STREAM, b"done"),
                s.ok(3, END_STREAM),
            ]),
        ],
    )
}

fn interim_and_trailers() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    fixture(
        "h2_interim_and_trailers",
        1,
        vec![
            q(&[open(), c.headers(1, 0, &request("POST", "/grpc"))]),
            a(&[settings(), s.headers(1, 0, &[(":status", "100")])]),
            a(&[s.headers(1, 0, &[(":status", "103"), ("link", "</a>")])]),
            q(&[
                data(1, 0, b"question"),
                c.headers(1, END_STREAM, &[("x-sum", "1")]),
            ]),
            a(&[s.ok(1, 0), data(1, 0, b"answer")]),
            a(&[s.headers(1, END_STREAM, &[("grpc-status", "0"), ("grpc-message", "")])]),
        ],
    )
}

fn pushed() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let promise = |stream: u32, block: Vec<u8>| {
        frame(
            5,
            END_HEADERS,
            1,
            &[&stream.to_be_bytes()[..], &block].concat(),
        )
    };
    let style = s.block(&request("GET", "/style.css"));
    fixture(
        "h2_push",
        2,
        vec![
            q(&[open(), c.get(1, "/page")]),
            a(&[
                settings(),
                promise(2, style),
                s.ok(1, 0),
                data(1, 0, b"page "),
            ]),
            a(&[
                s.ok(2, 0),
                data(2, END_STREAM, b"style"),
                data(1, END_STREAM, b"ends"),
            ]),
        ],
    )
}

fn tunnels() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let connect = [(":method", "CONNECT"), (":authority", "a:1")];
    let mut extended = request("CONNECT", "/chat").to_vec();
    extended.insert(1, (":protocol", "websocket"));
    fixture(
        "h2_tunnels",
        2,
        vec![
            q(&[
                open(),
                c.headers(1, 0, &connect),
                c.headers(3, 0, &extended),
            ]),
            a(&[settings(), s.ok(1, 0), s.ok(3, 0)]),
            q(&[data(1, 0, b"\x16\x03\x01tunnel"), data(3, 0, b"\x81\x02hi")]),
            a(&[
                data(3, END_STREAM, b"\x81\x02ho"),
                data(1, END_STREAM, b"tunnel"),
            ]),
            q(&[data(3, END_STREAM, b""), data(1, END_STREAM, b"")]),
        ],
    )
}

fn upgraded() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let upgrade = b"GET /h2c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    fixture(
        "h2_upgrade",
        2,
        vec![
            Step::Request(upgrade.to_vec()),
            a(&[switch.to_vec(), settings(), s.ok(1, 0)]),
            q(&[open()]),
            a(&[data(1, END_STREAM, b"upgraded")]),
            q(&[settings_ack(), c.get(3, "/3")]),
            a(&[s.ok(3, 0), data(3, END_STREAM, b"three")]),
        ],
    )
}

fn no_error_reset() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    fixture(
        "h2_no_error",
        2,
        vec![
            q(&[
                open(),
                c.headers(1, 0, &request("POST", "/early")),
                data(1, 0, b"part"),
            ]),
            a(&[
                settings(),
                s.ok(1, 0),
                data(1, END_STREAM, b"enough"),
                rst(1, 0),
            ]),
            q(&[c.get(3, "/next")]),
            a(&[s.ok(3, 0), data(3, END_STREAM, b"next")]),
        ],
    )
}
