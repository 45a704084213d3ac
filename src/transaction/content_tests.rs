use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use std::io::Write;

const LIMIT: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ::brotli::CompressorWriter::new(&mut out, 4096, 4, 22);
    encoder.write_all(bytes).unwrap();
    drop(encoder);
    out
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).unwrap()
}

type Encode = fn(&[u8]) -> Vec<u8>;

/// Name in the header, the coding, and how it is made.
const ALL: [(&str, Coding, Encode); 6] = [
    ("gzip", Coding::Gzip, gzip),
    ("X-Gzip", Coding::Gzip, gzip),
    ("deflate", Coding::Deflate, zlib),
    ("deflate", Coding::Deflate, raw),
    ("br", Coding::Brotli, brotli),
    ("zstd", Coding::Zstd, zstd),
];

fn one<'a>(name: &str, bytes: &'a [u8], limit: usize) -> Decoded<'a> {
    decode([name.as_bytes()].into_iter(), bytes, limit)
}

fn text(len: usize) -> Vec<u8> {
    let words = [&b"alpha "[..], b"beta, ", b"gamma\n", b"{\"k\": 1} "];
    (0..)
        .flat_map(|i: usize| words[i * i % 7 % 4])
        .copied()
        .take(len)
        .collect()
}

#[test]
fn each_coding_is_undone() {
    for (name, coding, encode) in ALL {
        for len in [0, 1, 100, 70_000] {
            let coded = encode(&text(len));
            let decoded = one(name, &coded, LIMIT);
            assert!(decoded.bytes == text(len), "{name} {len}");
            assert_eq!(
                (decoded.undone, decoded.stop),
                (vec![coding], None),
                "{name} {len}"
            );
        }
    }
}

#[test]
fn stacked_codings_are_undone_from_the_last() {
    let coded = zstd(&brotli(&gzip(b"hello")));
    let lists = [&b"gzip, br"[..], b" ZSTD ,"];
    let decoded = decode(lists.into_iter(), &coded, LIMIT);
    assert_eq!(&decoded.bytes[..], b"hello");
    assert_eq!(decoded.undone, [Coding::Gzip, Coding::Brotli, Coding::Zstd]);
    assert_eq!(decoded.stop, None);
}

#[test]
fn content_without_a_coding_is_borrowed() {
    for header in ["", "identity", " , Identity", "chunked"] {
        let decoded = one(header, b"plain", 2);
        assert!(matches!(decoded.bytes, Cow::Borrowed(b"plain")));
        assert!(decoded.undone.is_empty() && decoded.stop.is_none() && decoded.is_plain());
    }
    // The answer to HEAD names the coding of content that it does not have.
    let decoded = one("gzip", b"", LIMIT);
    assert!(decoded.bytes.is_empty() && decoded.stop.is_none());
}

#[test]
fn an_unknown_coding_stops_there() {
    let coded = gzip(b"secret of aes");
    let decoded = one("aes, gzip", &coded, LIMIT);
    assert_eq!(&decoded.bytes[..], b"secret of aes");
    assert_eq!(decoded.undone, [Coding::Gzip]);
    assert_eq!(decoded.stop, Some(Stop::Unknown));
    assert!(!decoded.is_plain());
    assert!(one("gzip, aes", &coded, LIMIT).undone.is_empty());
    let many = ["gzip"; CODINGS_MAX + 1].join(",");
    assert_eq!(one(&many, &coded, LIMIT).stop, Some(Stop::Unknown));
}

#[test]
fn a_bomb_is_cut_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for (name, _, encode) in ALL {
        let coded = encode(&zeros);
        assert!(coded.len() < 100_000, "{name}: {}", coded.len());
        for limit in [0, 1, 1000, LIMIT] {
            let decoded = one(name, &coded, limit);
            assert_eq!(decoded.bytes.len(), limit, "{name}");
            assert_eq!(decoded.stop, Some(Stop::Limit), "{name}");
            if let Cow::Owned(bytes) = &decoded.bytes {
                assert!(bytes.capacity() <= 2 * limit + 2 * STEP, "{name}");
            }
        }
    }
}

#[test]
fn a_bomb_in_a_bomb_is_cut_too() {
    let coded = gzip(&gzip(&vec![0; 64 << 20]));
    let decoded = one("gzip, gzip", &coded, 1000);
    assert!(decoded.bytes.len() <= 1000);
    assert!(decoded.stop.is_some());
}

#[test]
fn content_of_the_limits_own_size_is_whole() {
    for (name, _, encode) in ALL {
        let coded = encode(&text(5000));
        assert_eq!(one(name, &coded, 5000).stop, None, "{name}");
        assert_eq!(one(name, &coded, 4999).stop, Some(Stop::Limit), "{name}");
    }
}

#[test]
fn of_a_truncated_input_the_beginning_is_kept() {
    // Noise in hex: coded it has half the size, and several blocks.
    let mut seed = 7u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"0123456789abcdef"[(seed >> 24) as usize & 15]
    })
    .take(600_000)
    .collect();
    for (name, _, encode) in ALL {
        let coded = encode(&noise);
        let decoded = one(name, &coded[..coded.len() / 2], LIMIT);
        assert!(noise.starts_with(&decoded.bytes), "{name}");
        assert!(
            decoded.bytes.len() > 100_000,
            "{name}: {}",
            decoded.bytes.len()
        );
        assert_eq!(decoded.stop, Some(Stop::InputEnds), "{name}");
    }
}

#[test]
fn what_is_not_in_its_coding_stays_as_sent() {
    for (name, ..) in ALL.into_iter().filter(|(name, ..)| *name != "deflate") {
        let decoded = one(name, b"\xff\xfe plain text", LIMIT);
        assert_eq!(&decoded.bytes[..], b"\xff\xfe plain text", "{name}");
        assert_eq!(decoded.stop, Some(Stop::Damaged), "{name}");
        assert!(decoded.undone.is_empty() && !decoded.is_plain(), "{name}");
    }
}

#[test]
fn members_and_frames_in_a_row_are_one_content() {
    let double = |encode: Encode| [encode(b"one "), encode(b"two")].concat();
    for (name, encode) in [("gzip", gzip as Encode), ("zstd", zstd)] {
        let coded = double(encode);
        let decoded = one(name, &coded, LIMIT);
        assert_eq!(
            (&decoded.bytes[..], decoded.stop),
            (&b"one two"[..], None),
            "{name}"
        );
    }
}

#[test]
fn what_comes_before_damage_in_zstandard_is_kept() {
    let damaged = |mut coded: Vec<u8>, place: usize| {
        coded[place..place + 3].fill(0xff);
        coded
    };
    // The second of two frames.
    let frames = [zstd(b"whole"), damaged(zstd(&text(2000)), 6)].concat();
    let decoded = one("zstd", &frames, LIMIT);
    let kept = (&decoded.bytes[..], decoded.stop);
    assert_eq!(kept, (&b"whole"[..], Some(Stop::Damaged)));
    // The second of two blocks, which hold what can't be coded shorter; its header follows the first one's 128 KiB.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(200_000)
    .collect();
    let coded = zstd(&noise);
    let place = coded.len() - (noise.len() - (128 << 10)) - 3;
    let blocks = damaged(coded, place);
    let decoded = one("zstd", &blocks, LIMIT);
    assert_eq!(decoded.stop, Some(Stop::Damaged));
    assert!(*decoded.bytes == noise[..128 << 10]);
}

#[test]
fn a_gzip_header_may_have_all_fields() {
    let mut encoder = flate2::GzBuilder::new()
        .filename("a.txt")
        .comment("why")
        .extra(b"xyz".to_vec())
        .write(Vec::new(), Compression::default());
    encoder.write_all(b"hello").unwrap();
    let mut coded = encoder.finish().unwrap();
    assert_eq!(&one("gzip", &coded, LIMIT).bytes[..], b"hello");
    coded.extend_from_slice(&[0; 40]);
    assert_eq!(one("gzip", &coded, LIMIT).stop, None);
    let crc = coded.len() - 48;
    coded[crc] ^= 1;
    let decoded = one("gzip", &coded, LIMIT);
    assert_eq!(
        (&decoded.bytes[..], decoded.stop),
        (&b"hello"[..], Some(Stop::Damaged))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn any_bytes_do_no_harm_and_limits_hold(
        which in 0..ALL.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        limit in 0usize..3000,
    ) {
        let decoded = one(ALL[which].0, &bytes, limit);
        prop_assert!(decoded.bytes.len() <= limit || decoded.undone.is_empty());
    }

    #[test]
    fn damage_and_cuts_do_no_harm(
        which in 0..ALL.len(),
        len in 0usize..3000,
        at in any::<prop::sample::Index>(),
        flip in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        limit in 0usize..4000,
    ) {
        let (name, _, encode) = ALL[which];
        let content = text(len);
        let mut coded = encode(&content);
        let whole = one(name, &coded, limit);
        prop_assert_eq!(&whole.bytes[..], &content[..len.min(limit)]);
        prop_assert_eq!(whole.stop, (len > limit).then_some(Stop::Limit));
        let part = &coded[..cut.index(coded.len())];
        let decoded = one(name, part, limit);
        prop_assert!(content.starts_with(&decoded.bytes) || decoded.undone.is_empty());
        let at = at.index(coded.len());
        coded[at] ^= flip;
        let decoded = one(name, &coded, limit);
        prop_assert!(decoded.bytes.len() <= limit || decoded.undone.is_empty());
    }
}
