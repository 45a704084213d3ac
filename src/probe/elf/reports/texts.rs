//! Where texts are among a file's constants.

use super::super::ScanError;
use super::super::bytes::ReadAt;
use super::super::image::{Image, Load};
use memchr::memmem::{self, Finder};

/// How much is looked at in one read, bytes.
const PIECE: u64 = 1 << 20;

/// Copies of one text that are looked for: it may stand in more than one unit.
const MAX_COPIES: usize = 8;

/// A path is in one piece with what stands before it, up to as many bytes.
const OVERLAP: u64 = 512;

/// Addresses at which the path of a source file begins that is called `file`, or the same with one more `c`.
pub fn sources<B: ReadAt>(image: &Image<'_, B>, file: &[u8]) -> Result<Vec<u64>, ScanError> {
    let mut found = Vec::new();
    each_piece(image, |load, from, piece| {
        for at in memmem::find_iter(piece, file) {
            if let Some(start) = path_start(piece, at, file.len(), from == 0)
                && let Some(address) = load.address.checked_add(from + start as u64)
                && !found.contains(&address)
                && found.len() < MAX_COPIES
            {
                found.push(address);
            }
        }
    })?;
    Ok(found)
}

/// Addresses of each of the texts that a zero ends, with its index. Linkers let a text begin inside a longer one.
pub fn named<B: ReadAt>(
    image: &Image<'_, B>,
    texts: &[&str],
) -> Result<Vec<(usize, u64)>, ScanError> {
    let finders: Vec<Finder<'_>> = texts.iter().map(|text| Finder::new(*text)).collect();
    let mut found: Vec<(usize, u64)> = Vec::new();
    each_piece(image, |load, from, piece| {
        for (index, finder) in finders.iter().enumerate() {
            for at in finder.find_iter(piece) {
                let ended = piece.get(at + finder.needle().len()) == Some(&0);
                let address = load.address.checked_add(from + at as u64);
                let copies = found.iter().filter(|(of, _)| *of == index).count();
                if let Some(address) = address.filter(|_| ended && copies < MAX_COPIES)
                    && !found.contains(&(index, address))
                {
                    found.push((index, address));
                }
            }
        }
    })?;
    Ok(found)
}

/// Where the path begins that goes on with the file's name of `len` bytes at `at` and ends behind it. `first`: nothing
/// is before the piece.
fn path_start(piece: &[u8], at: usize, len: usize, first: bool) -> Option<usize> {
    let end = piece.get(at + len..)?;
    if !(end.starts_with(b"\0") || end.starts_with(b"c\0")) {
        return None;
    }
    let before = piece.get(..at)?;
    let text = before.iter().rev();
    let text = text.take_while(|b| matches!(b, 0x20..=0x7e)).count();
    // Of a name that only ends so nothing is known. The piece may begin inside the text: the one before it has the whole.
    let whole = text == 0 || before.last() == Some(&b'/');
    (whole && (text < at || first)).then_some(at - text)
}

/// The constants in pieces, with their positions in a segment.
fn each_piece<B: ReadAt>(
    image: &Image<'_, B>,
    mut each: impl FnMut(&Load, u64, &[u8]),
) -> Result<(), ScanError> {
    let readable: Vec<Load> = image.loads().filter(|l| !l.writable).collect();
    // Older linkers put constants in front of the code, in one segment.
    let separate = readable.iter().any(|load| !load.executable);
    for load in readable.iter().filter(|l| !l.executable || !separate) {
        pieces(image, load, OVERLAP, |from, piece| each(load, from, piece))?;
    }
    Ok(())
}

/// Reads a segment in pieces that end `overlap` bytes inside the next.
pub fn pieces<B: ReadAt>(
    image: &Image<'_, B>,
    load: &Load,
    overlap: u64,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(), ScanError> {
    let mut at = 0;
    while at < load.size {
        let len = PIECE.saturating_add(overlap).min(load.size - at);
        let piece = image.bytes_of(load, at, len)?;
        each(at, &piece);
        at = at.saturating_add(PIECE);
    }
    Ok(())
}
