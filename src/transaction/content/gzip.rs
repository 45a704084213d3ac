//! The codings made of deflate (RFC 1951).

use super::{Output, Stop};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Undoes gzip: one member or several in a row (RFC 1952 §2.2).
pub(super) fn gzip(mut bytes: &[u8], out: &mut Output) -> Option<Stop> {
    loop {
        let rest = match header(bytes) {
            Ok(rest) => rest,
            Err(stop) => return Some(stop),
        };
        let begin = out.bytes.len();
        let used = match inflate(&mut Decompress::new(false), rest, out) {
            Ok(used) => used,
            Err(stop) => return Some(stop),
        };
        let rest = rest.get(used..).unwrap_or_default();
        let Some((trailer, next)) = rest.split_first_chunk::<8>() else {
            return Some(Stop::InputEnds);
        };
        let mut crc = Crc::new();
        crc.update(out.bytes.get(begin..).unwrap_or_default());
        let [a, b, c, d, e, f, g, h] = *trailer;
        let sums = (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        );
        if sums != (crc.sum(), crc.amount()) {
            return Some(Stop::Damaged);
        }
        // Some senders fill up with zeros.
        if next.iter().all(|b| *b == 0) {
            return None;
        }
        bytes = next;
    }
}

/// What follows a member's header (RFC 1952 §2.3).
fn header(bytes: &[u8]) -> Result<&[u8], Stop> {
    const HCRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
    let begins = bytes.len().min(MAGIC.len());
    if bytes[..begins] != MAGIC[..begins] {
        return Err(Stop::Damaged);
    }
    let (fixed, mut rest) = bytes.split_first_chunk::<10>().ok_or(Stop::InputEnds)?;
    let flags = fixed[3];
    if flags & EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or(Stop::InputEnds)?;
        let len = usize::from(u16::from_le_bytes(*len));
        rest = after.get(len..).ok_or(Stop::InputEnds)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest).ok_or(Stop::InputEnds)?;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    match flags & HCRC {
        0 => Ok(rest),
        _ => rest.get(2..).ok_or(Stop::InputEnds),
    }
}

/// Undoes deflate, in the frame of zlib or bare.
pub(super) fn deflate(bytes: &[u8], out: &mut Output) -> Option<Stop> {
    let framed = match bytes {
        // RFC 1950 §2.2: the method is 8, and the two bytes are a multiple of 31.
        [a, b, ..] => a & 15 == 8 && (usize::from(*a) << 8 | usize::from(*b)).is_multiple_of(31),
        _ => true,
    };
    let first = whole(Decompress::new(framed), bytes, out);
    if framed && first == Some(Stop::Damaged) && out.bytes.is_empty() {
        return whole(Decompress::new(false), bytes, out);
    }
    first
}

fn whole(mut state: Decompress, bytes: &[u8], out: &mut Output) -> Option<Stop> {
    match inflate(&mut state, bytes, out) {
        Ok(used) if used < bytes.len() => Some(Stop::Damaged),
        Ok(_) => None,
        Err(stop) => Some(stop),
    }
}

/// Inflates one stream; returns how many bytes it had.
fn inflate(state: &mut Decompress, bytes: &[u8], out: &mut Output) -> Result<usize, Stop> {
    loop {
        let used = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(used..).unwrap_or_default();
        let before = (state.total_in(), state.total_out());
        let status = out.write(|room| {
            let status = state.decompress(rest, room, FlushDecompress::None);
            let written = state.total_out() - before.1;
            (usize::try_from(written).unwrap_or(usize::MAX), status)
        });
        if out.overflows() {
            return Err(Stop::Limit);
        }
        match status {
            Ok(Status::StreamEnd) => {
                return Ok(usize::try_from(state.total_in()).unwrap_or(usize::MAX));
            }
            Ok(_) if (state.total_in(), state.total_out()) == before => {
                return Err(Stop::InputEnds);
            }
            Ok(_) => {}
            Err(_) => return Err(Stop::Damaged),
        }
    }
}
