//! Content codings undone: the limit holds, less input or a lower limit gives a prefix, and what is coded here comes
//! back.

use super::input::{Input, chosen};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use plainspan::transaction::content::{Decoded, Stop, decode, is_text};
use std::io::Write;

const NAMES: [&[u8]; 8] = [
    b"gzip",
    b"deflate",
    b"br",
    b"zstd",
    b"x-gzip",
    b"identity",
    b"compress",
    b"chunked, GZIP",
];

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (choices, limit) = (input.byte(), usize::from(input.byte()) << 6);
    if choices & 0x80 != 0 {
        return come_back(input.0, choices, limit);
    }
    let names = [choices & 7, choices >> 3 & 7].map(|n| NAMES[usize::from(n)]);
    let used = if choices & 0x40 == 0 { 1 } else { 2 };
    let codings = &names[..used];
    let whole = undo(codings, input.0, limit);
    if used == 1 && !whole.undone.is_empty() && chosen(data) {
        // One of both, which takes half the time.
        let part = match input.0.len() % 2 {
            0 => undo(codings, input.0, limit / 2),
            _ => undo(codings, &input.0[..input.0.len() / 2], limit),
        };
        if !part.undone.is_empty() {
            prefix(&part, &whole);
        }
    }
    is_text(&String::from_utf8_lossy(&input.0[..input.0.len().min(40)]));
}

fn undo<'a>(codings: &[&[u8]], content: &'a [u8], limit: usize) -> Decoded<'a> {
    let decoded = decode(codings.iter().copied(), content, limit);
    let coded = decoded.undone.is_empty();
    assert!(coded || decoded.bytes.len() <= limit, "the limit");
    assert!(!coded || *decoded.bytes == *content, "nothing was undone");
    if decoded.stop == Some(Stop::Limit) && decoded.undone.len() == 1 {
        assert_eq!(decoded.bytes.len(), limit);
    }
    decoded
}

fn prefix(part: &Decoded<'_>, whole: &Decoded<'_>) {
    let same = part.undone == whole.undone && whole.bytes.starts_with(&part.bytes);
    assert!(same, "{:?} is no prefix of {:?}", part.stop, whole.stop);
}

fn come_back(content: &[u8], choices: u8, limit: usize) {
    let all = "a vector takes all";
    let level = Compression::new(u32::from(choices >> 2 & 1) * 5);
    let name: &[u8] = [&b"gzip"[..], b"deflate", b"deflate", b"zstd"][usize::from(choices & 3)];
    let coded = match choices & 3 {
        0 => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(content).expect(all);
            encoder.finish().expect(all)
        }
        1 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(content).expect(all);
            encoder.finish().expect(all)
        }
        2 => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(content).expect(all);
            encoder.finish().expect(all)
        }
        _ => zstd::bulk::compress(content, 1).expect(all),
    };
    let decoded = undo(&[name], &coded, limit);
    let fits = content.len() <= limit;
    assert_eq!(decoded.stop, (!fits).then_some(Stop::Limit));
    assert!(*decoded.bytes == content[..content.len().min(limit)]);
}
