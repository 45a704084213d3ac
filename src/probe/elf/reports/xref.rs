//! One pass over the code: who refers to a text, and what is called directly.

use super::super::ScanError;
use super::super::bytes::{ReadAt, u32_at};
use super::super::image::{Image, Load};
use super::texts::pieces;
use memchr::{memchr2_iter, memmem};
use std::collections::BTreeSet;

/// Calls that are remembered: 64 MiB of them. Chromium has some four million.
const MAX_CALLS: usize = 16 << 20;

/// References that are remembered. BoringSSL has some forty, OpenSSL three hundred.
const MAX_REFERENCES: usize = 4096;

/// The longest instruction that is looked for, bytes.
const LONGEST: u64 = 8;

/// What the code holds. Bytes that look like an instruction may be none: all of it is a hint.
pub struct Found {
    /// Addresses of instructions that load the address of a text, and that address.
    pub references: Vec<(u64, u64)>,
    /// Targets of direct calls, in order, each once.
    pub called: Vec<u64>,
}

/// Looks for `lea r64, [rip + …]` and `mov r32, imm32` of any of `texts`, and for `call rel32`.
pub fn scan<B: ReadAt>(
    image: &Image<'_, B>,
    code: &[Load],
    texts: &[u64],
) -> Result<Found, ScanError> {
    let mut found = Pass {
        references: Vec::new(),
        called: Vec::new(),
        full: false,
    };
    for load in code {
        pieces(image, load, LONGEST, |from, piece| {
            if let Some(address) = load.address.checked_add(from) {
                found.relative(piece, address, load, texts);
                found.absolute(piece, address, texts);
            }
        })?;
    }
    if found.full {
        return Err(ScanError::TooLarge);
    }
    let mut called = found.called;
    called.sort_unstable();
    called.dedup();
    let mut references = found.references;
    references.sort_unstable();
    references.dedup();
    Ok(Found { references, called })
}

struct Pass {
    references: Vec<(u64, u64)>,
    called: Vec<u64>,
    full: bool,
}

impl Pass {
    /// `address` is that of the piece.
    fn relative(&mut self, piece: &[u8], address: u64, load: &Load, texts: &[u64]) {
        for at in memchr2_iter(0x8d, 0xe8, piece) {
            if piece.get(at) == Some(&0xe8) {
                let target = relative(piece, address, at + 1);
                if target.is_some_and(|t| t.wrapping_sub(load.address) < load.size) {
                    self.full |= self.called.len() >= MAX_CALLS;
                    if !self.full {
                        self.called.extend(target);
                    }
                }
            } else if lea(piece, at) {
                let target = relative(piece, address, at + 2);
                if let Some(text) = target.filter(|t| texts.contains(t)) {
                    self.reference(address, at - 1, text);
                }
            }
        }
    }

    /// Programs that are linked to fixed addresses.
    fn absolute(&mut self, piece: &[u8], address: u64, texts: &[u64]) {
        // Texts of one library are near to each other, so that one search for the upper half finds all.
        let upper = |text: u32| text.to_le_bytes()[2..].to_vec();
        let low: Vec<u32> = texts
            .iter()
            .filter_map(|t| u32::try_from(*t).ok())
            .collect();
        let halves: BTreeSet<Vec<u8>> = low.iter().map(|text| upper(*text)).collect();
        for half in &halves {
            for at in memmem::find_iter(piece, half).filter_map(|at| at.checked_sub(2)) {
                let text = u32_at(piece, at).filter(|text| low.contains(text));
                let (Some(text), Some(opcode)) = (text, at.checked_sub(1)) else {
                    continue;
                };
                if matches!(piece.get(opcode), Some(0xb8..=0xbf)) {
                    // A register of the upper eight has a prefix.
                    let prefix = opcode.checked_sub(1).and_then(|p| piece.get(p));
                    let start = opcode - usize::from(prefix == Some(&0x41));
                    self.reference(address, start, text.into());
                }
            }
        }
    }

    fn reference(&mut self, address: u64, at: usize, text: u64) {
        self.full |= self.references.len() >= MAX_REFERENCES;
        if !self.full {
            let at = address.checked_add(at as u64);
            self.references.extend(at.map(|at| (at, text)));
        }
    }
}

/// Whether `lea r64, [rip + …]` has its second byte at `at`.
fn lea(piece: &[u8], at: usize) -> bool {
    let prefix = at.checked_sub(1).and_then(|p| piece.get(p));
    let operands = piece.get(at + 1);
    matches!(prefix, Some(0x48 | 0x4c)) && operands.is_some_and(|o| o & 0xc7 == 0x05)
}

/// Where the distance at `at` leads, from the end of its four bytes.
fn relative(piece: &[u8], address: u64, at: usize) -> Option<u64> {
    let distance = i64::from(u32_at(piece, at)?.cast_signed());
    let end = address.checked_add(at as u64)?.checked_add(4)?;
    end.checked_add_signed(distance)
}
