//! `encrypted_payload_len`: functions that add a constant to their second argument, and do nothing else.

use crate::probe::elf::ScanError;
use crate::probe::elf::bytes::ReadAt;
use crate::probe::elf::image::{Image, Use};
use crate::probe::target::RustlsSuite;
use memchr::memmem;
use std::collections::HashMap;

/// `lea rax, [rsi + …]`, with a distance of one byte.
const ADD: [u8; 3] = [0x48, 0x8d, 0x46];
/// `push rbp; mov rbp, rsp`
const FRAME: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// `endbr64`
const BRANCH_TARGET: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// What stands before the addition at the most, bytes.
const BEFORE: usize = FRAME.len() + BRANCH_TARGET.len();
/// From the addition to the function's end, bytes: the constant, `pop rbp`, `ret`.
const AFTER: usize = ADD.len() + 3;

/// Such functions that are remembered. A program has some dozens.
const MAX: usize = 4096;

/// By address, the suite whose constant it is. Bytes that look like one may be none: all of it is a hint.
pub type Leaves = HashMap<u64, RustlsSuite>;

pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Leaves, ScanError> {
    let mut leaves = Leaves::new();
    let add = memmem::Finder::new(&ADD);
    for region in image.loaded(Use::Code) {
        let overlap = (BEFORE + AFTER) as u64;
        region
            .part("code")
            .large_strings(image.bytes(), overlap, |from, piece| {
                for at in add.find_iter(piece) {
                    let Some((suite, before)) = leaf(piece, at) else {
                        continue;
                    };
                    let start = region.address.checked_add(from);
                    if let Some(address) = start.and_then(|s| s.checked_add((at - before) as u64)) {
                        leaves.insert(address, suite);
                    }
                    if leaves.len() > MAX {
                        return Err(ScanError::TooLarge);
                    }
                }
                Ok(())
            })?;
    }
    Ok(leaves)
}

/// The suite of the function with its addition at `at`, and the bytes from its entry to there.
fn leaf(piece: &[u8], at: usize) -> Option<(RustlsSuite, usize)> {
    let mut rest = piece.get(at + ADD.len()..)?.iter();
    let suite = suite(*rest.next()?)?;
    let mut before = piece.get(..at)?;
    match rest.next()? {
        0xc3 => {}
        0x5d if *rest.next()? == 0xc3 => before = before.strip_suffix(&FRAME)?,
        _ => return None,
    }
    let before = before.strip_suffix(&BRANCH_TARGET).unwrap_or(before);
    Some((suite, at - before.len()))
}

/// What a record is longer than its content, after its header: a tag of 16 bytes; and in TLS 1.3 the type; and in
/// TLS 1.2 with GCM the nonce.
fn suite(more: u8) -> Option<RustlsSuite> {
    match more {
        0x11 => Some(RustlsSuite::Tls13),
        0x18 => Some(RustlsSuite::Tls12Gcm),
        0x10 => Some(RustlsSuite::Tls12ChaCha),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_alone_is_a_leaf_with_or_without_a_frame() {
        let plain = [&ADD[..], &[0x11, 0xc3, 0xcc]].concat();
        assert_eq!(leaf(&plain, 0), Some((RustlsSuite::Tls13, 0)));
        let marked = [&BRANCH_TARGET[..], &ADD, &[0x18, 0xc3]].concat();
        assert_eq!(leaf(&marked, 4), Some((RustlsSuite::Tls12Gcm, 4)));
        let framed = [&FRAME[..], &ADD, &[0x10, 0x5d, 0xc3]].concat();
        assert_eq!(leaf(&framed, 4), Some((RustlsSuite::Tls12ChaCha, 4)));
    }

    #[test]
    fn what_does_more_or_adds_something_else_is_none() {
        for rest in [
            &[0x12, 0xc3][..],
            &[0x11, 0x90, 0xc3],
            &[0x11, 0x5d, 0xc3],
            &[0x11],
        ] {
            assert_eq!(leaf(&[&ADD[..], rest].concat(), 0), None, "{rest:x?}");
        }
    }
}
