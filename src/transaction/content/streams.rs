//! Brotli and Zstandard.

use super::{Output, Stop};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

/// The largest window of a content coding is 8 MiB (RFC 9659 §3).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes of a block's header (RFC 8878 §3.1.1.2).
const ZSTD_BLOCK_HEADER: usize = 3;

/// Undoes brotli.
pub(super) fn brotli(bytes: &[u8], out: &mut Output) -> Option<Stop> {
    let alloc = StandardAlloc::default;
    let mut state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc> =
        BrotliState::new_strict(alloc(), alloc(), alloc());
    let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
    loop {
        let (wrote, result) = out.write(|room| {
            let (mut free, mut written) = (room.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                bytes,
                &mut free,
                &mut written,
                room,
                &mut total,
                &mut state,
            );
            (written, (written > 0, result))
        });
        if out.overflows() {
            return Some(Stop::Limit);
        }
        match result {
            BrotliResult::ResultSuccess if left > 0 => return Some(Stop::Damaged),
            BrotliResult::ResultSuccess => return None,
            // It may hold back what had no room.
            BrotliResult::NeedsMoreInput if !wrote => return Some(Stop::InputEnds),
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Some(Stop::Damaged),
        }
    }
}

/// Undoes Zstandard: one frame or several in a row.
///
/// The decoder gets one block at a time: where a call finds damage, what it wrote before is lost.
pub(super) fn zstd(bytes: &[u8], out: &mut Output) -> Option<Stop> {
    let Ok(mut decoder) = Decoder::new() else {
        return Some(Stop::Damaged);
    };
    if decoder
        .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
        .is_err()
    {
        return Some(Stop::Damaged);
    }
    let (mut rest, mut want) = (bytes, 1);
    loop {
        let part = rest.get(..want).unwrap_or(rest);
        let mut input = InBuffer::around(part);
        let (written, full, hint) = out.write(|room| {
            let size = room.len();
            let mut output = OutBuffer::around(room);
            let hint = decoder.run(&mut input, &mut output);
            let written = output.pos();
            (written, (written, written == size, hint))
        });
        if out.overflows() {
            return Some(Stop::Limit);
        }
        let Ok(hint) = hint else {
            return Some(Stop::Damaged);
        };
        let taken = input.pos();
        rest = rest.get(taken..).unwrap_or_default();
        // A frame ended; another may follow.
        if hint == 0 && rest.is_empty() {
            return None;
        }
        if rest.is_empty() && taken == 0 && written == 0 {
            return Some(Stop::InputEnds);
        }
        want = match hint {
            // What it holds back comes out before the next block goes in.
            _ if full => 0,
            // It asks for the block and the next one's header.
            4.. => hint - ZSTD_BLOCK_HEADER,
            _ => hint.max(1),
        };
    }
}
