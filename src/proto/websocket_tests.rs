use super::*;
use crate::event::KernelTime;
use proptest::prelude::*;

const LIMITS: BodyLimits = BodyLimits {
    capture: true,
    max_bytes: 10_000,
};

fn stamp(time: u64) -> Stamp {
    Stamp {
        time: KernelTime(time),
        pid: 1,
        tid: 1,
        turn: 0,
    }
}

fn frame(flags_and_opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![flags_and_opcode];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => out.push(bit | len as u8),
        len @ 126..65_536 => {
            out.push(bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
    let key = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]));
    out
}

const KEY: Option<[u8; 4]> = Some([1, 2, 3, 250]);

fn read(bytes: &[u8], sizes: &[usize], deflate: bool) -> (WebSocket, Vec<Mark>) {
    let mut reader = Reader::new(LIMITS, deflate);
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at((*size).max(1).min(rest.len()));
        reader.feed(From::Client, piece, stamp(7));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    reader.finish(true)
}

fn whole(bytes: &[u8]) -> (Frames, Vec<Mark>) {
    let (websocket, marks) = read(bytes, &[usize::MAX], false);
    (websocket.from_client, marks)
}

#[test]
fn frames_are_counted_and_messages_unmasked() {
    let bytes = [
        frame(0x81, KEY, b"hello"),
        frame(0x82, None, &[0xff; 300]),
        frame(0x89, KEY, b"are you there"),
        frame(0x8a, KEY, b""),
        frame(0x88, KEY, &[3, 232, b'b', b'y', b'e']),
    ]
    .concat();
    let (f, marks) = whole(&bytes);
    assert_eq!((f.text, f.binary, f.ping, f.pong, f.close), (1, 1, 1, 1, 1));
    assert_eq!(
        (f.messages, f.payload, f.wire_size),
        (2, 305, bytes.len() as u64)
    );
    assert_eq!(
        (f.close_code, marks.len(), f.left_out()),
        (Some(1000), 0, 0)
    );
    assert_eq!(f.kept[0].bytes, b"hello");
    assert!(f.kept[0].text && !f.kept[1].text && !f.kept[1].truncated());
    assert_eq!((f.kept[1].size, f.kept[1].time), (300, KernelTime(7)));
}

#[test]
fn fragments_are_one_message_with_control_frames_between() {
    let bytes = [
        frame(0x01, KEY, b"one "),
        frame(0x89, KEY, b"ping"),
        frame(0x00, KEY, b"two "),
        frame(0x80, KEY, b"three"),
    ]
    .concat();
    let (f, marks) = whole(&bytes);
    assert_eq!((f.text, f.continuation, f.ping, f.messages), (1, 2, 1, 1));
    assert_eq!(f.kept[0].bytes, b"one two three");
    assert!(marks.is_empty());
}

#[test]
fn lengths_of_all_three_forms_are_read() {
    for len in [0, 125, 126, 65_535, 65_536, 70_000] {
        let (f, marks) = whole(&frame(0x82, KEY, &vec![5; len]));
        assert_eq!(
            (f.messages, f.payload, marks.len()),
            (1, len as u64, 0),
            "{len}"
        );
    }
}

#[test]
fn what_breaks_the_rules_ends_its_direction_marked() {
    let good = frame(0x81, None, b"x");
    for bad in [
        frame(0x83, KEY, b"reserved opcode"),
        frame(0x8b, KEY, b"reserved control"),
        frame(0xc1, KEY, b"rsv1 without deflate"),
        frame(0xa1, KEY, b"rsv2"),
        frame(0x09, KEY, b"fragmented ping"),
        frame(0x89, KEY, &[0; 126]),
        frame(0x80, KEY, b"continues nothing"),
        [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0].to_vec(),
        [frame(0x01, KEY, b"begun"), frame(0x81, KEY, b"another")].concat(),
    ] {
        let (f, marks) = whole(&[&good[..], &bad, &good].concat());
        assert_eq!(marks, [Mark::RequestMalformed], "{bad:?}");
        assert_eq!(f.messages, 1);
    }
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_cut() {
    let bytes = frame(0x81, KEY, b"hello");
    for cut in 1..bytes.len() {
        assert_eq!(whole(&bytes[..cut]).1, [Mark::RequestCut], "{cut}");
    }
    assert!(whole(b"").1.is_empty());
    let (f, _) = whole(&bytes[..9]);
    assert_eq!(
        (&f.kept[0].bytes[..], f.kept[0].truncated()),
        (&b"hel"[..], true)
    );
}

#[test]
fn compressed_messages_are_kept_as_sent_where_agreed() {
    let (w, marks) = read(
        &frame(0xc1, KEY, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
        &[3],
        true,
    );
    assert!(marks.is_empty() && w.deflate && w.from_client.kept[0].compressed);
    assert_eq!(w.from_client.kept[0].bytes, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
}

#[test]
fn a_gap_inside_a_payload_is_stepped_over_and_another_ends_the_direction() {
    let (one, two) = (frame(0x82, KEY, &[1; 500]), frame(0x81, KEY, b"next"));
    let mut reader = Reader::new(LIMITS, false);
    reader.feed(From::Server, &one[..100], stamp(1));
    reader.gap(From::Server, 300);
    reader.feed(From::Server, &one[400..], stamp(2));
    reader.feed(From::Server, &two, stamp(3));
    let (w, marks) = reader.finish(true);
    assert_eq!(marks, [Mark::ResponseGap]);
    assert_eq!(w.from_server.messages, 2);
    let kept = &w.from_server.kept;
    assert_eq!((kept[0].bytes.len(), kept[0].size), (92, 500));
    assert!(kept[0].truncated() && kept[1].bytes == b"next");

    let mut reader = Reader::new(LIMITS, false);
    reader.gap(From::Client, 3);
    reader.feed(From::Client, &two, stamp(1));
    let (w, marks) = reader.finish(true);
    assert_eq!((marks, w.from_client.messages), (vec![Mark::RequestGap], 0));
}

#[test]
fn what_is_kept_is_bounded_and_all_is_counted() {
    let bytes = frame(0x81, KEY, &[b'a'; 900]).repeat(500);
    let mut reader = Reader::new(LIMITS, false);
    reader.feed(From::Client, &bytes, stamp(1));
    assert!(reader.memory() <= LIMITS.max_bytes);
    let (w, _) = reader.finish(false);
    let f = w.from_client;
    assert_eq!((f.messages, f.payload), (500, 450_000));
    assert!(f.kept.len() >= 9 && f.left_out() == 500 - f.kept.len() as u64);
    let (f, _) = whole(&frame(0x82, KEY, &[7; 50_000]));
    assert!(f.kept[0].truncated() && f.kept[0].bytes.len() > 9_000);
    let (f, _) = whole(&frame(0x81, None, b"").repeat(5000));
    assert!(f.kept.len() * size_of::<WebSocketMessage>() <= LIMITS.max_bytes);
}

#[test]
fn both_close_frames_end_it() {
    let mut reader = Reader::new(LIMITS, false);
    reader.feed(From::Client, &frame(0x88, KEY, &[3, 233]), stamp(1));
    assert!(!reader.is_closed());
    reader.feed(From::Server, &frame(0x88, None, b""), stamp(2));
    assert!(reader.is_closed());
    let (w, marks) = reader.finish(true);
    assert_eq!((w.close_code(), marks.len()), (Some(1001), 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_cutting_gives_the_same(
        frames in prop::collection::vec((0u8..16, any::<bool>(), any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..200)), 0..8),
        sizes in prop::collection::vec(1usize..50, 1..10),
    ) {
        let opcodes = [0x81, 0x82, 0x01, 0x80, 0x00, 0x89, 0x8a, 0x88, 0xc1];
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, masked, key, payload)| {
                let opcode = opcodes[usize::from(*kind) % opcodes.len()];
                let payload = &payload[..payload.len().min(if opcode & 8 != 0 { 125 } else { 200 })];
                frame(opcode, masked.then_some(*key), payload)
            })
            .collect();
        let a = read(&bytes, &[usize::MAX], true);
        let b = read(&bytes, &sizes, true);
        prop_assert!(a == b);
    }

    #[test]
    fn any_bytes_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        sizes in prop::collection::vec(1usize..50, 1..10),
        gaps in prop::collection::vec(any::<u64>(), 0..4),
    ) {
        let mut reader = Reader::new(BodyLimits { capture: true, max_bytes: 300 }, true);
        let (mut rest, mut gaps) = (&bytes[..], gaps.into_iter());
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            reader.feed(From::Server, piece, stamp(1));
            if let Some(len) = gaps.next() {
                reader.gap(From::Server, len);
            }
            prop_assert!(reader.memory() <= 300);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let (w, _) = reader.finish(true);
        prop_assert!(w.from_server.kept.iter().map(|m| m.bytes.len()).sum::<usize>() <= 300);
    }
}

#[test]
fn what_follows_a_close_frame_counts_for_nothing() {
    let close = frame(0x88, KEY, &[3, 232]);
    let bytes = [&close[..], b"more"].concat();
    for sizes in [&[usize::MAX][..], &[close.len(), 1], &[1]] {
        let (websocket, marks) = read(&bytes, sizes, false);
        let frames = websocket.from_client;
        assert_eq!((frames.close, marks.len()), (1, 0));
        assert_eq!(frames.wire_size, close.len() as u64, "{sizes:?}");
    }
}
