//! Runs a session of HTTP by a script, and checks what every session promises.

use super::input::{Input, chosen, pieces};
use plainspan::event::{Dir, KernelTime};
use plainspan::proto::{Ending, Piece, Sink};
use plainspan::telemetry::ledger::Lost;
use plainspan::transaction::Exchange;
use plainspan::transaction::{Body, BodyLimits, Content, Message, Protocol, Stamp};

/// What both sessions can do.
pub trait Session {
    fn new(limits: BodyLimits, late: bool) -> Self;
    fn bytes(&mut self, dir: Dir, piece: Piece<'_>, out: &mut Out);
    fn gap(&mut self, dir: Dir, len: u64, stamp: Stamp, out: &mut Out);
    fn end_of(&mut self, dir: Dir, out: &mut Out);
    fn tick(&mut self, now: KernelTime, out: &mut Out);
    fn end(&mut self, ending: Ending, out: &mut Out);
    fn in_progress(&self) -> u64;
    /// Checks the bound of memory after `fed` bytes; keeps to it where the caller has to see to that.
    fn bound(&mut self, fed: usize, out: &mut Out);
    /// Writes what the choice `kind` means beyond plain bytes.
    fn special(input: &mut Input<'_>) -> Vec<u8>;
}

/// What a session gave.
#[derive(Default)]
pub struct Out {
    pub exchanges: Vec<(Exchange, Dir)>,
    pub lost: Vec<(Lost, u64)>,
    /// Streams were given up for the bound of memory: when, depends on the cutting.
    pub shrunk: bool,
}

impl Sink for Out {
    fn exchange(&mut self, exchange: Exchange, requests: Dir, ordinal: u64) {
        assert_eq!(ordinal, self.exchanges.len() as u64, "numbers count up");
        self.exchanges.push((exchange, requests));
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        assert!(transactions > 0, "a loss of nothing");
        self.lost.push((reason, transactions));
    }
}

impl Out {
    fn check(&self, limits: BodyLimits) {
        for (exchange, _) in &self.exchanges {
            let [request, response] = [&exchange.request, &exchange.response];
            for message in [request, response].into_iter().flatten() {
                check_message(message, limits);
            }
            if exchange.marks.is_empty() {
                let is = |m: &Option<Message>| m.as_ref().is_some_and(|m| m.content.is_some());
                assert!(
                    is(request) && is(response),
                    "half, and not marked:\n{}",
                    self.text()
                );
            }
        }
    }

    /// There is something, and nothing of it is marked or lost.
    fn is_clean(&self) -> bool {
        !self.exchanges.is_empty()
            && self.lost.is_empty()
            && self.exchanges.iter().all(|(e, _)| e.marks.is_empty())
    }

    /// The same exchanges in the same order, and the same losses.
    fn is_same(&self, other: &Out) -> bool {
        let own = self.exchanges.iter().map(parts);
        own.eq(other.exchanges.iter().map(parts)) && self.lost == other.lost
    }

    /// Both may be told: where both say of one request that they are sure, they say the same.
    fn agrees(&self, other: &Out) -> bool {
        let sure = |(e, _): &&(Exchange, Dir)| e.marks.is_empty();
        self.exchanges.iter().filter(sure).all(|own| {
            let same = |other: &&(Exchange, Dir)| key(own) == key(other);
            let mut others = other.exchanges.iter().filter(sure).filter(same);
            others.all(|other| parts(own) == parts(other))
        })
    }

    fn text(&self) -> String {
        let all: Vec<String> = self.exchanges.iter().map(text).collect();
        format!("{}\n{:?}\n", all.join("\n"), self.lost)
    }
}

/// What tells a request from others of its connection.
fn key((e, requests): &(Exchange, Dir)) -> impl PartialEq {
    let request = match e.request.as_ref().and_then(|m| m.content.as_ref()) {
        Some(Content::Request(r)) => Some((r.offset, r.h2_stream)),
        _ => None,
    };
    (*requests, request)
}

fn parts((e, requests): &(Exchange, Dir)) -> impl PartialEq + '_ {
    let messages = (&e.request, &e.response, &e.interim);
    (messages, e.marks, &e.websocket, e.first(), *requests)
}

/// What can be said of an exchange.
pub fn text((e, requests): &(Exchange, Dir)) -> String {
    let message = |m: &Option<Message>| {
        m.as_ref().map(|m| {
            let content = match &m.content {
                None => "nothing".to_owned(),
                Some(Content::Request(r)) => format!(
                    "{} {} {:?} {:?} wire {} at {:?}",
                    r.method.escape_ascii(),
                    r.target.escape_ascii(),
                    r.headers,
                    r.body,
                    r.wire_size,
                    r.offset
                ),
                Some(Content::Response(r)) => {
                    format!(
                        "{} {:?} {:?} wire {}",
                        r.status, r.headers, r.body, r.wire_size
                    )
                }
            };
            let times = (m.first.time.0, m.last.time.0);
            format!("{content} {times:?}")
        })
    };
    let (request, response) = (message(&e.request), message(&e.response));
    format!(
        "{requests:?} {request:?} {response:?} {:?} {:?}",
        e.interim, e.marks
    )
}

fn check_message(message: &Message, limits: BodyLimits) {
    let (body, wire): (&Body, u64) = match &message.content {
        Some(Content::Request(r)) => (&r.body, r.wire_size),
        Some(Content::Response(r)) => (&r.body, r.wire_size),
        None => return,
    };
    let kept = body.bytes().len();
    assert!(kept <= limits.max_bytes, "more kept than allowed");
    assert!(kept as u64 + body.missing() <= body.size());
    // Of a tunnel nothing is kept.
    let whole = kept == 0 || kept as u64 == body.size();
    assert!(whole || body.truncated(), "cut and not marked");
    assert!(body.missing() == 0 || message.gap, "missing and not marked");
    // HTTP/2 counts frames when they are over.
    let framed = message.protocol == Protocol::Http2;
    assert!(framed || wire >= body.size(), "wire {wire}: {body:?}");
}

/// The choices at an input's beginning.
#[derive(Clone, Copy)]
struct Setup {
    late: bool,
    limits: BodyLimits,
    ending: Ending,
    /// Bytes of the pieces of the second run.
    cut: usize,
}

impl Setup {
    fn read(input: &mut Input<'_>) -> Setup {
        let (choices, cut) = (input.byte(), input.byte());
        Setup {
            late: choices & 1 != 0,
            limits: BodyLimits {
                capture: choices & 2 == 0,
                max_bytes: if choices & 4 == 0 { 1 << 16 } else { 20 },
            },
            ending: match choices >> 3 & 3 {
                0 | 1 => Ending::Closed,
                2 => Ending::Reset,
                _ => Ending::Unfinished,
            },
            // A backlog holds a bounded number of pieces.
            cut: (usize::from(cut) & 63).max(if input.0.len() > 2048 { 2 } else { 1 }),
        }
    }
}

/// Runs the script once with whole operations and once with each cut into pieces. Where something is missing or broken,
/// the pieces may decide how much of it is marked; but never are two different things said and neither marked.
pub fn run<S: Session>(data: &[u8]) {
    let mut input = Input(data);
    let setup = Setup::read(&mut input);
    let whole = play::<S>(input, setup, usize::MAX);
    whole.check(setup.limits);
    if !chosen(data) {
        return;
    }
    let cut = play::<S>(input, setup, setup.cut);
    if whole.shrunk || cut.shrunk {
        return;
    }
    let clean = whole.is_clean() && cut.is_clean();
    if !(whole.is_same(&cut) || !clean && whole.agrees(&cut)) {
        let texts = [whole, cut].map(|out| out.text());
        panic!("pieces of {} bytes: {}\n{}", setup.cut, texts[0], texts[1]);
    }
}

fn play<S: Session>(mut input: Input<'_>, setup: Setup, cut: usize) -> Out {
    let mut out = Out::default();
    let mut at = Place::default();
    let mut session = S::new(setup.limits, setup.late);
    let mut fed = 0;
    while !input.is_empty() {
        let tag = input.byte();
        let dir = if tag & 1 == 0 { Dir::Write } else { Dir::Read };
        match tag >> 1 & 7 {
            high @ 0..=3 => {
                let len = usize::from(high) << 8 | usize::from(input.byte());
                let bytes = input.take(len);
                fed += bytes.len();
                at.operation(dir, tag & 16 == 0);
                at.feed(&mut session, dir, bytes, cut, &mut out);
            }
            4 => {
                let bytes = S::special(&mut input);
                fed += bytes.len();
                at.operation(dir, tag & 16 == 0);
                at.feed(&mut session, dir, &bytes, cut, &mut out);
            }
            5 => {
                let len = u64::from(input.byte()) << (tag >> 4 & 8);
                if at.ended[dir as usize] {
                    continue;
                }
                session.gap(dir, len.max(1), at.stamp, &mut out);
                at.offsets[dir as usize] += len.max(1);
            }
            6 => {
                at.stamp.time.0 += u64::from(input.byte()) << 26;
                session.tick(at.stamp.time, &mut out);
            }
            _ => {
                at.ended[dir as usize] = true;
                session.end_of(dir, &mut out);
            }
        }
        session.bound(fed, &mut out);
    }
    session.end(setup.ending, &mut out);
    assert_eq!(session.in_progress(), 0, "the end leaves nothing");
    out
}

/// Where a script is.
struct Place {
    stamp: Stamp,
    offsets: [u64; 2],
    op_start: bool,
    last: Option<Dir>,
    /// Nothing comes any more.
    ended: [bool; 2],
}

impl Default for Place {
    fn default() -> Self {
        Place {
            stamp: Stamp {
                time: KernelTime(1),
                pid: 1,
                tid: 1,
                turn: 0,
            },
            offsets: [0; 2],
            op_start: true,
            last: None,
            ended: [false; 2],
        }
    }
}

impl Place {
    /// The next bytes begin an operation, or are more of the last one.
    fn operation(&mut self, dir: Dir, new: bool) {
        self.op_start = new || self.last != Some(dir);
        if self.op_start {
            self.stamp.time.0 += 1000;
            self.stamp.turn += u32::from(self.last.is_some_and(|last| last != dir));
        }
        self.last = Some(dir);
    }

    fn feed<S: Session>(
        &mut self,
        session: &mut S,
        dir: Dir,
        bytes: &[u8],
        cut: usize,
        out: &mut Out,
    ) {
        if self.ended[dir as usize] {
            return;
        }
        for bytes in pieces(bytes, cut) {
            let offset = &mut self.offsets[dir as usize];
            let piece = Piece {
                bytes,
                offset: Some(*offset),
                op_start: self.op_start,
                stamp: self.stamp,
            };
            *offset += bytes.len() as u64;
            self.op_start = false;
            session.bytes(dir, piece, out);
        }
    }
}

/// The script of a connection: each step is an operation.
pub fn script<'a>(steps: impl Iterator<Item = (Dir, &'a [u8])>) -> Vec<u8> {
    let mut out = vec![0, 6];
    for (dir, bytes) in steps {
        for (number, part) in bytes.chunks(1023).enumerate() {
            let more = if number > 0 { 16 } else { 0 };
            let side = u8::from(dir == Dir::Read);
            let high = (part.len() >> 8) as u8;
            out.push(more | (high << 1) | side);
            out.push(part.len() as u8);
            out.extend_from_slice(part);
        }
    }
    out
}
