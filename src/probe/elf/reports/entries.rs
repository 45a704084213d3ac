//! Where functions begin, in a program without symbols.
//!
//! Two sources: the table of the exception handling frames (`.eh_frame_hdr`, Linux Standard Base Core, 10.6.2), where
//! the file has one, and what is called directly. An entry must be called in both cases: a table also has the cold
//! parts of functions, which are no entries.

use super::super::ScanError;
use super::super::bytes::{ReadAt, u32_at};
use super::super::image::{Frames, Image};

/// The table's encodings that linkers write: distances from where they stand and from the header, of four bytes.
const ENCODINGS: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// The header in front of the table's entries, bytes.
const HEADER: u64 = 12;

/// Bytes of an entry of the table: a function's address, and its frame.
const ENTRY: u64 = 8;

/// How compilers align functions where nothing else tells entries from the middle of an instruction, bytes.
const ALIGNED: u64 = 16;

/// How far before an address its function may begin, bytes.
const REACH: u64 = 32 << 10;

/// A function's extent, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub entry: u64,
    /// Bytes up to the next function.
    pub size: u64,
}

/// The entries of a file.
pub struct Entries<'i, 'b, B> {
    image: &'i Image<'b, B>,
    /// In order.
    called: Vec<u64>,
    table: Option<Table>,
}

#[derive(Clone, Copy)]
struct Table {
    frames: Frames,
    count: u64,
}

impl<'i, 'b, B: ReadAt> Entries<'i, 'b, B> {
    pub fn new(image: &'i Image<'b, B>, called: Vec<u64>) -> Result<Self, ScanError> {
        let table = match image.frames() {
            Some(frames) => table(image, frames)?,
            None => None,
        };
        Ok(Entries {
            image,
            called,
            table,
        })
    }

    /// The function that `address` lies in, which something calls; `None` where that is not certain.
    pub fn around(&self, address: u64) -> Result<Option<Extent>, ScanError> {
        let extent = self.containing(address)?;
        Ok(extent.filter(|extent| self.is_called(extent.entry)))
    }

    /// The same, whether something calls it or not: where it begins may be the cold part of a function.
    pub fn containing(&self, address: u64) -> Result<Option<Extent>, ScanError> {
        match self.table {
            Some(table) => self.by_table(table, address),
            None => self.by_calls(address),
        }
    }

    fn is_called(&self, address: u64) -> bool {
        self.called.binary_search(&address).is_ok()
    }

    fn by_table(&self, table: Table, address: u64) -> Result<Option<Extent>, ScanError> {
        // The first entry above the address.
        let (mut low, mut high) = (0, table.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.in_table(table, middle)? {
                Some(entry) if entry <= address => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Ok(None);
        };
        let entry = self.in_table(table, index)?;
        let next = match low < table.count {
            true => self.in_table(table, low)?,
            false => None,
        };
        Ok(entry.filter(|e| address - e < REACH).map(|entry| Extent {
            entry,
            size: next.map_or(REACH, |n| n.saturating_sub(entry)).min(REACH),
        }))
    }

    fn in_table(&self, table: Table, index: u64) -> Result<Option<u64>, ScanError> {
        let at = HEADER + index * ENTRY;
        let bytes = self.image.frames_bytes(&table.frames, at, ENTRY)?;
        let distance = u32_at(&bytes, 0).map(|d| i64::from(d.cast_signed()));
        Ok(distance.and_then(|d| table.frames.address.checked_add_signed(d)))
    }

    /// The nearest entry before it that something calls, and that stands where one function has ended.
    fn by_calls(&self, address: u64) -> Result<Option<Extent>, ScanError> {
        let above = self.called.partition_point(|c| *c <= address);
        let (before, after) = self.called.split_at(above);
        let near = before.iter().rev().take_while(|c| address - **c < REACH);
        for entry in near.filter(|c| **c % ALIGNED == 0) {
            if self.follows_an_end(*entry)? {
                let mut next = after.iter().filter(|c| **c % ALIGNED == 0);
                let size = next.next().map_or(REACH, |n| n - entry).min(REACH);
                let entry = *entry;
                return Ok(Some(Extent { entry, size }));
            }
        }
        Ok(None)
    }

    fn follows_an_end(&self, entry: u64) -> Result<bool, ScanError> {
        let Some(from) = entry.checked_sub(16) else {
            return Ok(false);
        };
        Ok(is_end(&self.image.code(from, 16)?))
    }
}

/// Whether the bytes before a function's entry end the one before: padding, or an instruction that nothing follows.
fn is_end(before: &[u8]) -> bool {
    let long_nop = || {
        let zeros = before.iter().rev().take_while(|b| **b == 0).count();
        let rest = before.get(..before.len() - zeros).unwrap_or_default();
        // 0f 1f, then the operand: 00, 40 00, 44 00 00, 80 and four zeros, 84 and five.
        matches!(
            (rest, zeros),
            ([.., 0x0f, 0x1f], 1)
                | ([.., 0x0f, 0x1f, 0x40], 1)
                | ([.., 0x0f, 0x1f, 0x44], 2)
                | ([.., 0x0f, 0x1f, 0x80], 4)
                | ([.., 0x0f, 0x1f, 0x84], 5)
        )
    };
    matches!(
        before,
        [.., 0xcc | 0x90 | 0xc3] | [.., 0x0f, 0x0b] | [.., 0xe8 | 0xe9, _, _, _, _] | [.., 0xeb, _]
    ) || long_nop()
}

fn table<B: ReadAt>(image: &Image<'_, B>, frames: Frames) -> Result<Option<Table>, ScanError> {
    if frames.size < HEADER {
        return Ok(None);
    }
    let header = image.frames_bytes(&frames, 0, HEADER)?;
    if !header.starts_with(&ENCODINGS) {
        return Ok(None);
    }
    let count = u32_at(&header, 8).map_or(0, u64::from);
    let fits = (frames.size - HEADER) / ENTRY;
    Ok((count > 0).then_some(Table {
        frames,
        count: count.min(fits),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_may_begin_behind_padding_and_behind_what_nothing_follows() {
        let nops: [&[u8]; 5] = [
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0],
            &[0x0f, 0x1f, 0x44, 0, 0],
            &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
            &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        ];
        for nop in nops {
            assert!(is_end(nop), "{nop:x?}");
        }
        // int3; ret; ud2; jmp rel32; jmp rel8; a call that does not return
        assert!(is_end(&[0xcc]) && is_end(&[0xc3]) && is_end(&[0x0f, 0x0b]));
        assert!(is_end(&[0xe9, 1, 2, 3, 4]) && is_end(&[0xeb, 0x10]));
        assert!(is_end(&[0xe8, 1, 2, 3, 4]));
        // mov eax, 0x42; xor eax, eax; add rsp, 8; nothing
        for code in [
            &[0xb8, 0x42, 0, 0, 0][..],
            &[0x31, 0xc0],
            &[0x48, 0x83, 0xc4, 0x08],
            &[],
        ] {
            assert!(!is_end(code), "{code:x?}");
        }
    }
}
