use super::*;
use crate::event::KernelTime;
use crate::proto::Held;

const STAMP: Stamp = Stamp {
    time: KernelTime(1),
    pid: 1,
    tid: 1,
    turn: 0,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

fn piece(bytes: &[u8], op_start: bool) -> Piece<'_> {
    Piece {
        bytes,
        offset: None,
        op_start,
        stamp: STAMP,
    }
}

/// Reads a piece; what came of it in words, content joined.
fn feed(reader: &mut Reader, mut piece: Piece<'_>, out: &mut Vec<String>) {
    loop {
        match reader.feed(&mut piece) {
            Step::More => return,
            Step::Preface => out.push("preface".into()),
            Step::Data(header, bytes) => {
                let name = format!("data {}: ", header.stream);
                let text = String::from_utf8_lossy(bytes);
                match out.last_mut().filter(|last| last.starts_with(&name)) {
                    Some(last) => last.push_str(&text),
                    None => out.push(name + &text),
                }
            }
            Step::DataEnd(header) => out.push(format!("end {}", header.stream)),
            Step::Frame(header) => {
                let payload = String::from_utf8_lossy(reader.payload());
                out.push(format!("{} on {}: {payload}", header.kind, header.stream));
            }
            Step::Skipped(header) => out.push(format!("skipped {}", header.kind)),
            Step::Found(held) => {
                out.push("found".into());
                for held in held.iter() {
                    if let Held::Piece(piece) = held {
                        feed(reader, piece, out);
                    }
                }
            }
            Step::Lost => out.push("lost".into()),
        }
    }
}

fn connection() -> Vec<u8> {
    [
        PREFACE.to_vec(),
        frame(kind::SETTINGS, 0, 0, b""),
        frame(kind::HEADERS, 5, 1, b"block"),
        frame(kind::DATA, 8, 1, b"\x03content\0\0\0"),
        frame(kind::DATA, 8, 1, b"\x02\0\0"),
        frame(0xbe, 0xff, 9, b"unknown"),
        frame(kind::DATA, 1, 1, b""),
        frame(kind::PING, 0, 0, b"12345678"),
    ]
    .concat()
}

const READ: [&str; 9] = [
    "preface",
    "4 on 0: ",
    "1 on 1: block",
    "data 1: content",
    "end 1",
    "end 1",
    "skipped 190",
    "end 1",
    "skipped 6",
];

#[test]
fn frames_are_the_same_wherever_they_are_cut() {
    let bytes = connection();
    for size in 1..bytes.len() + 1 {
        let (mut reader, mut out) = (Reader::new(false), Vec::new());
        for (number, part) in bytes.chunks(size).enumerate() {
            feed(&mut reader, piece(part, number == 0), &mut out);
        }
        assert_eq!(out, READ, "{size}");
    }
}

#[test]
fn a_gap_inside_a_payload_is_stepped_over_and_another_is_not() {
    let bytes = frame(kind::DATA, 0, 1, b"0123456789");
    for (from, len, want) in [
        (9, 10, Some(10)),
        (12, 3, Some(3)),
        (18, 1, Some(1)),
        (18, 2, None),
        (5, 2, None),
        (0, 30, None),
    ] {
        let mut reader = Reader::new(false);
        feed(&mut reader, piece(PREFACE, true), &mut Vec::new());
        feed(&mut reader, piece(&bytes[..from], true), &mut Vec::new());
        let got = match reader.gap(len) {
            Gap::Inside(header, missing) => {
                assert_eq!(header.stream, 1);
                Some(missing)
            }
            Gap::Lost => None,
        };
        assert_eq!(got, want, "{from} {len}");
    }
    let mut reader = Reader::new(false);
    feed(&mut reader, piece(PREFACE, true), &mut Vec::new());
    feed(
        &mut reader,
        piece(&frame(kind::HEADERS, 4, 3, b"block")[..11], true),
        &mut Vec::new(),
    );
    assert!(matches!(reader.gap(3), Gap::Inside(_, 0)));
    let mut out = Vec::new();
    feed(&mut reader, piece(&bytes, true), &mut out);
    assert_eq!(out, ["skipped 1", "data 1: 0123456789", "end 1"]);
}

#[test]
fn a_boundary_is_found_where_two_headers_chain_or_a_frame_fills_an_operation() {
    let head = frame(kind::HEADERS, 4, 5, b"block");
    let data = frame(kind::DATA, 1, 5, b"content");
    let read = |parts: &[(&[u8], bool)]| {
        let (mut reader, mut out) = (Reader::new(true), Vec::new());
        for (bytes, op_start) in parts {
            feed(&mut reader, piece(bytes, *op_start), &mut out);
        }
        out
    };
    let all = ["found", "1 on 5: block", "data 5: content", "end 5"];
    let both = [&head[..], &data[..]].concat();
    assert_eq!(read(&[(&both, true)]), all);
    // In the middle of an operation nothing is believed.
    assert!(read(&[(&both, false)]).is_empty());
    assert!(read(&[(b"\0\0\x05 middle of content", true), (&both, false)]).is_empty());
    // Go's reads: the header alone, then the payload.
    assert_eq!(
        read(&[(&head[..9], true), (&head[9..], true), (&data, true)]),
        all
    );
    assert_eq!(read(&[(&head, true), (&data, true)]), all);
    assert_eq!(read(&[(&head, true)]), all[..2]);
    assert!(read(&[(&data, true)]).is_empty(), "content alone waits");
    // A frame that does not fill its operations may be none.
    assert!(read(&[(&head[..4], true), (&head[4..], true), (b"x", true)]).is_empty());
    let late = [&PREFACE[..], &frame(kind::SETTINGS, 0, 0, b"")].concat();
    assert_eq!(
        read(&[(&late[..3], true), (&late[3..], false)]),
        ["found", "preface", "4 on 0: "]
    );
}

#[test]
fn what_is_held_back_at_the_end_is_a_whole_frame_or_nothing() {
    let content = frame(kind::DATA, 1, 5, b"content");
    let mut reader = Reader::new(true);
    feed(&mut reader, piece(&content, true), &mut Vec::new());
    assert!(reader.flush().is_some_and(|held| held.bytes() == content));
    let mut reader = Reader::new(true);
    feed(&mut reader, piece(&content[..10], true), &mut Vec::new());
    assert!(reader.flush().is_none());
}

#[test]
fn frames_that_no_peer_may_send_end_the_reading() {
    for bad in [
        frame(kind::DATA, 0, 0, b"x"),
        frame(kind::SETTINGS, 0, 1, b""),
        frame(kind::SETTINGS, 0, 0, b"12345"),
        frame(kind::RST_STREAM, 0, 1, b"123"),
        frame(kind::PING, 0, 0, b"1"),
        frame(kind::HEADERS, flag::PRIORITY, 1, b"1234"),
        frame(kind::DATA, flag::PADDED, 1, b"\x09x"),
    ] {
        let (mut reader, mut out) = (Reader::new(false), Vec::new());
        let bytes = [&PREFACE[..], &bad].concat();
        feed(&mut reader, piece(&bytes, true), &mut out);
        assert_eq!(out, ["preface", "lost"], "{bad:?}");
    }
}

#[test]
fn a_frame_that_is_too_long_is_passed_over_and_memory_stays_bounded() {
    let mut reader = Reader::new(false);
    let mut out = Vec::new();
    feed(&mut reader, piece(PREFACE, true), &mut out);
    let long = frame(kind::HEADERS, 4, 1, &vec![0; 1 << 20]);
    for part in long.chunks(4000) {
        feed(&mut reader, piece(part, true), &mut out);
        assert!(reader.memory() < 100);
    }
    feed(
        &mut reader,
        piece(&frame(kind::RST_STREAM, 0, 1, b"code"), true),
        &mut out,
    );
    assert_eq!(out, ["preface", "skipped 1", "3 on 1: code"]);
}

#[test]
fn other_first_bytes_are_not_http_2() {
    for bytes in [
        &b"PRIVMSG x\r\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
        b"\0\0\0\x01\0\0\0\0\x01",
    ] {
        for size in [1, 100] {
            let mut reader = Reader::new(false);
            for part in bytes.chunks(size) {
                feed(&mut reader, piece(part, true), &mut Vec::new());
            }
            assert!(!reader.is_known(), "{bytes:?}");
        }
    }
}
