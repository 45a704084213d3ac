//! Frames of WebSocket: any cutting gives the same, memory is bounded, and messages that are written here come back.

use super::input::{Input, chosen, pieces};
use plainspan::event::KernelTime;
use plainspan::proto::websocket::{From, Reader};
use plainspan::transaction::websocket::{Frames, WebSocket, WebSocketMessage};
use plainspan::transaction::{BodyLimits, Mark, Stamp};

fn stamp(time: u64) -> Stamp {
    Stamp {
        time: KernelTime(time),
        pid: 1,
        tid: 1,
        turn: 0,
    }
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, cut) = (input.byte(), usize::from(input.byte()).max(1));
    let limits = BodyLimits {
        capture: choices & 1 == 0,
        max_bytes: if choices & 2 == 0 { 1 << 16 } else { 300 },
    };
    let deflate = choices & 4 != 0;
    if choices & 8 != 0 {
        return come_back(input, cut);
    }
    let ends = choices & 16 != 0;
    let whole = play(input, limits, deflate, usize::MAX).finish(ends);
    check(&whole, limits);
    if chosen(data) {
        let pieces = play(input, limits, deflate, cut).finish(ends);
        let marks = [&whole.1, &pieces.1];
        assert!(whole == pieces, "pieces of {cut}: {marks:?}");
    }
}

fn play(mut input: Input<'_>, limits: BodyLimits, deflate: bool, cut: usize) -> Reader {
    let mut reader = Reader::new(limits, deflate);
    let mut time = 0;
    while !input.is_empty() {
        let tag = input.byte();
        let from = if tag & 1 == 0 {
            From::Client
        } else {
            From::Server
        };
        time += 1;
        if tag & 0x0e == 0x0e {
            reader.gap(from, u64::from(input.byte()) + 1);
            continue;
        }
        let len = usize::from(tag >> 4) << 8 | usize::from(input.byte());
        for piece in pieces(input.take(len), cut) {
            reader.feed(from, piece, stamp(time));
        }
        let overhead = 2 * size_of::<WebSocketMessage>();
        assert!(reader.memory() <= 2 * limits.max_bytes + overhead);
    }
    reader
}

fn check((websocket, _): &(WebSocket, Vec<Mark>), limits: BodyLimits) {
    for frames in [&websocket.from_client, &websocket.from_server] {
        let data = frames.continuation + frames.text + frames.binary;
        assert!(frames.messages <= data, "a message has a frame");
        assert!(frames.payload <= frames.wire_size);
        assert!(frames.close <= 1, "nothing follows a close frame");
        let kept: usize = frames.kept.iter().map(|m| m.bytes.len()).sum();
        assert!(kept <= if limits.capture { limits.max_bytes } else { 0 });
        assert!(frames.kept.iter().all(|m| m.bytes.len() as u64 <= m.size));
    }
}

/// Messages of one side, fragmented, with control frames between.
fn come_back(mut input: Input<'_>, cut: usize) {
    let limits = BodyLimits {
        capture: true,
        max_bytes: 1 << 20,
    };
    let mut reader = Reader::new(limits, false);
    let mut want: Vec<(bool, Vec<u8>)> = Vec::new();
    let (mut sent, mut pings) = (Vec::new(), 0);
    while !input.is_empty() {
        let (choices, payload) = (input.byte(), input.text());
        let key = (choices & 1 != 0).then_some([choices, 7, 0, 255]);
        let text = choices & 2 != 0;
        let size = usize::from(choices >> 3) + 1;
        let mut parts: Vec<&[u8]> = payload.chunks(size).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let last = parts.len() - 1;
        for (number, part) in parts.into_iter().enumerate() {
            let opcode = match (number, text) {
                (1.., _) => 0,
                (0, true) => 1,
                (0, false) => 2,
            };
            let fin = if number == last { 0x80 } else { 0 };
            frame(fin | opcode, key, part, &mut sent);
            if choices & 4 != 0 {
                frame(0x89, key, b"ping", &mut sent);
                pings += 1;
            }
        }
        want.push((text, payload.to_vec()));
    }
    pieces(&sent, cut).for_each(|piece| reader.feed(From::Client, piece, stamp(1)));
    let (websocket, marks) = reader.finish(true);
    let Frames {
        kept,
        messages,
        ping,
        wire_size,
        ..
    } = websocket.from_client;
    assert!(marks.is_empty(), "{marks:?}");
    assert_eq!((messages, ping), (want.len() as u64, pings));
    assert_eq!(wire_size, sent.len() as u64);
    assert!(kept.into_iter().map(|m| (m.text, m.bytes)).eq(want));
}

fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    let bit = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => out.extend([first, bit | len as u8]),
        len => {
            out.extend([first, bit | 126]);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
}
