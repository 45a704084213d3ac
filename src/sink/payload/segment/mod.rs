//! Segments: many documents in one object (`docs/payload-format.md`).
//!
//! Enters: captures, one after another. Leaves: for each the bytes of the object that hold its document, known at once;
//! at the end the object, with an index of all.
//! Holds: pure; each document is a zstd frame of its own, so that one ranged read gives it; a body that stands in a
//! segment already is not written again; no byte that was given out moves.

mod index;
mod read;
mod write;

pub use index::Entry;
#[cfg(test)]
pub use read::listed;
pub use read::{MAX_DOCUMENT, ReadError, Tail, document, entries, resolve, tail, verify};
pub use write::{AddError, Added, Segment, assemble};

/// Version of the format. Grows when an older reader could no longer read it.
pub const FORMAT: u32 = 1;
/// Names of segments end so.
pub const SUFFIX: &str = ".ndjson.zst";
/// The first bytes of every segment: a frame of zstd (RFC 8878 §3.1.1).
pub(super) const ZSTD: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Bodies from this size on are written once in a segment, in bytes.
pub const SHARED_FROM: usize = 1024;
/// Of zstd. A document is small, and a higher level costs a third more for a hundredth of its size.
const LEVEL: i32 = 1;
/// The last bytes of every segment of this version.
const MAGIC: [u8; 8] = *b"PSPNSEG1";
/// Magic number of a skippable frame (RFC 8878 §3.1.2): decoders of zstd pass over it.
const SKIPPABLE: u32 = 0x184D_2A5A;
/// Magic number and length.
const SKIPPABLE_HEAD: usize = 8;
/// Where the index begins, and [`MAGIC`].
const FOOTER: usize = 16;

/// The name of a segment: `20261123T034512123Z-9f3c52d1a07be446.ndjson.zst`.
pub(super) fn is_name(name: &[u8]) -> bool {
    let Some(stem) = name.strip_suffix(SUFFIX.as_bytes()) else {
        return false;
    };
    let stands = |(place, byte): (usize, &u8)| match place {
        8 => *byte == b'T',
        18 => *byte == b'Z',
        19 => *byte == b'-',
        20.. => byte.is_ascii_hexdigit(),
        _ => byte.is_ascii_digit(),
    };
    stem.len() == 36 && stem.iter().enumerate().all(stands)
}

#[cfg(test)]
mod tests;
