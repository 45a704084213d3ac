//! A session of HTTP/2: by a script of bytes, frames, gaps and time; or a connection that is written here, which must
//! come out as it was meant.

use super::input::{Input, pieces};
use super::session::{self, Out, Session};
use plainspan::event::{Dir, KernelTime};
use plainspan::proto::{Ending, Piece, http2};
use plainspan::transaction::{BodyLimits, Content, Headers, Message, Stamp};

/// Memory that a session may hold, in bytes, and what it may hold without any stream.
const LIMIT: usize = 1 << 20;
const WITHOUT_STREAMS: usize = 3 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

impl Session for http2::Session {
    fn new(limits: BodyLimits, late: bool) -> Self {
        http2::Session::new(limits, late)
    }

    fn bytes(&mut self, dir: Dir, piece: Piece<'_>, out: &mut Out) {
        self.bytes(dir, piece, out);
    }

    fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, out: &mut Out) {
        self.gap(dir, len, stamp, out);
    }

    fn end_of(&mut self, _: Dir, _: &mut Out) {}

    fn tick(&mut self, now: KernelTime, out: &mut Out) {
        self.tick(now, out);
    }

    fn end(&mut self, ending: Ending, out: &mut Out) {
        self.end(ending, out);
    }

    fn in_progress(&self) -> u64 {
        self.in_progress()
    }

    fn bound(&mut self, _: usize, out: &mut Out) {
        if self.memory() > LIMIT {
            out.shrunk = true;
            if !self.shrink(LIMIT / 4 * 3, out) {
                let memory = self.memory();
                assert!(memory <= WITHOUT_STREAMS, "{memory} bytes and no stream");
            }
        }
    }

    /// A frame with its right length.
    fn special(input: &mut Input<'_>) -> Vec<u8> {
        let [kind, flags, stream] = [input.byte(), input.byte(), input.byte()];
        frame(kind % 18, flags, stream.into(), input.text())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.byte() & 0x80 == 0 {
        session::run::<http2::Session>(data);
    } else {
        come_back(input);
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A request and its response, which come back from the frames that carry them.
fn come_back(mut input: Input<'_>) {
    let cut = usize::from(input.byte()).max(1);
    let [request, response] = [Side::read(&mut input), Side::read(&mut input)];
    let method: &[(&[u8], &[u8])] = &[
        (b":method", b"PUT"),
        (b":path", b"/x"),
        (b":scheme", b"http"),
    ];
    let streams = [
        [PREFACE, SETTINGS, &request.frames(method)].concat(),
        [SETTINGS, &response.frames(&[(b":status", b"299")])].concat(),
    ];
    let mut out = Out::default();
    let limits = BodyLimits {
        capture: true,
        max_bytes: 1 << 20,
    };
    let mut session = http2::Session::new(limits, false);
    for (number, bytes) in streams.iter().enumerate() {
        let dir = [Dir::Write, Dir::Read][number];
        let stamp = Stamp {
            time: KernelTime(number as u64),
            pid: 1,
            tid: 1,
            turn: number as u32,
        };
        for bytes in pieces(bytes, cut) {
            let piece = Piece {
                bytes,
                offset: None,
                op_start: false,
                stamp,
            };
            session.bytes(dir, piece, &mut out);
        }
    }
    assert!(
        out.lost.is_empty() && out.exchanges.len() == 1,
        "one exchange"
    );
    let (exchange, requests) = &out.exchanges[0];
    assert_eq!(*requests, Dir::Write);
    assert!(exchange.marks.is_empty(), "{:?}", exchange.marks);
    request.check(exchange.request.as_ref());
    response.check(exchange.response.as_ref());
    assert_eq!(session.in_progress(), 0);
}

/// One message, and how it is cut into frames.
struct Side {
    fields: Fields,
    trailers: Option<Fields>,
    content: Vec<u8>,
    block: usize,
    data: usize,
    padding: u8,
    /// How literals are written: into the table, not, never.
    literal: u8,
}

impl Side {
    fn read(input: &mut Input<'_>) -> Side {
        let choices = input.byte();
        let [block, data, padding] = [input.byte(), input.byte(), input.byte()];
        Side {
            fields: fields(input, choices & 15),
            trailers: (choices & 16 != 0).then(|| fields(input, choices >> 5)),
            content: input.text().to_vec(),
            block: usize::from(block) + 1,
            data: usize::from(data) + 1,
            padding,
            literal: [0x40, 0x00, 0x10][usize::from(choices >> 6) % 3],
        }
    }

    fn frames(&self, pseudo: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut head = Vec::new();
        for (name, value) in pseudo {
            self.field(name, value, &mut head);
        }
        self.block(&self.fields, &mut head);
        let mut out = self.headers(0, &head);
        let padded = usize::from(self.padding);
        let mut parts: Vec<&[u8]> = self.content.chunks(self.data).collect();
        parts.push(&[]);
        let last = parts.len() - 1;
        for (number, part) in parts.into_iter().enumerate() {
            let ends = number == last && self.trailers.is_none();
            let flags = if ends { END_STREAM } else { 0 };
            if number % 2 == 0 {
                out.extend(frame(0, flags, 1, part));
            } else {
                let payload = [&[self.padding], part, &vec![0; padded]].concat();
                out.extend(frame(0, flags | PADDED, 1, &payload));
            }
        }
        if let Some(trailers) = &self.trailers {
            let mut section = Vec::new();
            self.block(trailers, &mut section);
            out.extend(self.headers(END_STREAM, &section));
        }
        out
    }

    /// HEADERS and CONTINUATION.
    fn headers(&self, flags: u8, block: &[u8]) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = block.chunks(self.block).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len() - 1;
        let frames = parts.iter().enumerate().map(|(number, part)| {
            let end = if number == last { END_HEADERS } else { 0 };
            match number {
                0 => frame(1, flags | end, 1, part),
                _ => frame(9, end, 1, part),
            }
        });
        frames.collect::<Vec<_>>().concat()
    }

    fn block(&self, fields: &Fields, out: &mut Vec<u8>) {
        for (name, value) in fields {
            self.field(name, value, out);
        }
    }

    fn field(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        out.push(self.literal);
        for text in [name, value] {
            out.push(text.len() as u8);
            out.extend_from_slice(text);
        }
    }

    fn check(&self, message: Option<&Message>) {
        let (headers, trailers, body) = match message.and_then(|m| m.content.as_ref()) {
            Some(Content::Request(r)) => (&r.headers, &r.trailers, &r.body),
            Some(Content::Response(r)) => (&r.headers, &r.trailers, &r.body),
            None => panic!("no message"),
        };
        assert!(body.bytes() == self.content && body.size() == self.content.len() as u64);
        same(headers, &self.fields);
        same(trailers, self.trailers.as_ref().unwrap_or(&Vec::new()));
    }
}

/// Fields with names that have no meaning, and values of visible characters.
fn fields(input: &mut Input<'_>, count: u8) -> Fields {
    let field = |n| {
        let value = input.text().iter().map(|b| b'!' + b % 90).take(120);
        (format!("x-{n}").into_bytes(), value.collect())
    };
    (0..count).map(field).collect()
}

fn same(headers: &Headers, fields: &Fields) {
    let want = fields.iter().map(|(n, v)| (&n[..], &v[..]));
    assert!(headers.iter().eq(want), "fields differ");
}
