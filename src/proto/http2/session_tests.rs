use super::super::{GAIN_MAX, STREAMS_MAX};
use super::*;
use crate::transaction::Exchange;

#[derive(Default)]
struct Seen {
    exchanges: usize,
    evicted: u64,
    full: u64,
}

impl Sink for Seen {
    fn exchange(&mut self, _: Exchange, _: Dir, _: u64) {
        self.exchanges += 1;
    }

    fn lost(&mut self, reason: Lost, transactions: u64) {
        match reason {
            Lost::Evicted => self.evicted += transactions,
            Lost::StreamsFull => self.full += transactions,
            other => panic!("{other:?}"),
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

fn feed(session: &mut Session, dir: Dir, turn: u32, bytes: &[u8], seen: &mut Seen) {
    let stamp = Stamp {
        time: KernelTime(turn.into()),
        pid: 1,
        tid: 1,
        turn,
    };
    let piece = Piece {
        bytes,
        offset: None,
        op_start: true,
        stamp,
    };
    session.bytes(dir, piece, seen);
}

fn session() -> Session {
    let limits = BodyLimits {
        capture: true,
        max_bytes: 1000,
    };
    Session::new(limits, false)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Open streams, for requests that do not end.
const STREAMS: u32 = 900;

/// A header block that puts a field of 16,000 bytes into the table, behind a size update to 1 MiB.
fn long_field() -> Vec<u8> {
    // Integers of 5 and 7 bits (RFC 7541 §5.1).
    let size = [0x3f, 0xe1, 0xff, 0x3f];
    let length = [0x7f, 0x81, 0x7c];
    [&size[..], &[0x40, 1, b'x'], &length, &[b'v'; 16_000]].concat()
}

#[test]
fn an_event_of_small_blocks_that_stand_for_long_headers_gains_a_bounded_amount_of_memory() {
    let (mut session, mut seen) = (session(), Seen::default());
    let bytes = [PREFACE, &frame(1, 4, 1, &long_field())].concat();
    feed(&mut session, Dir::Write, 1, &bytes, &mut seen);
    let before = session.memory();
    let mut event = Vec::new();
    for number in 1..=STREAMS {
        // Method, path, scheme, and four times the long field, which is the newest of the table.
        event.extend(frame(
            1,
            4,
            1 + 2 * number,
            &[0x82, 0x84, 0x86, 0xbe, 0xbe, 0xbe, 0xbe],
        ));
    }
    feed(&mut session, Dir::Write, 2, &event, &mut seen);
    let gained = session.memory() - before;
    assert!(event.len() < 16_384, "{}", event.len());
    assert!(gained <= GAIN_MAX, "{gained}");
    assert!(gained > GAIN_MAX / 2, "the newest ones stay: {gained}");
    assert_eq!(session.in_progress() + seen.evicted, u64::from(STREAMS) + 1);
    assert!(
        seen.exchanges == 0 && seen.evicted > 700,
        "{}",
        seen.evicted
    );
}

#[test]
fn promised_streams_are_bounded_in_number() {
    let (mut session, mut seen) = (session(), Seen::default());
    feed(&mut session, Dir::Write, 1, PREFACE, &mut seen);
    let mut answers = b"\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 1..=3000u32 {
        let promised = (2 * number).to_be_bytes();
        answers.extend(frame(
            5,
            4,
            1,
            &[&promised[..], &[0x82, 0x84, 0x86]].concat(),
        ));
    }
    feed(&mut session, Dir::Read, 2, &answers, &mut seen);
    assert_eq!(session.in_progress(), STREAMS_MAX as u64);
    assert_eq!(seen.full, 3000 - STREAMS_MAX as u64);
}
