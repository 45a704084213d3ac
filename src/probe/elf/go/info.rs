//! What a Go program says of itself: that it is one, and the version that built it.

use crate::probe::elf::ScanError;
use crate::probe::elf::bytes::{ReadAt, u64_at};
use crate::probe::elf::image::{Image, Region, Use};
use memchr::memmem;

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The magic number, the size of a pointer, flags, two pointers.
const HEADER: u64 = 32;
const ALIGN: usize = 16;
const POINTER_SIZE: u8 = 8;
/// Flags: big-endian; the strings follow the header (Go 1.18).
const BIG_ENDIAN: u8 = 1;
const INLINE: u8 = 2;
/// How much of the variables is searched in a file without section headers, bytes.
const SEARCHED: u64 = 1 << 20;
/// A version has some dozen bytes.
const MAX_VERSION: u64 = 256;

const SECTION: &str = ".go.buildinfo";
pub const TABLES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// Owner and kind of the note with Go's own build id.
const NOTE: (&[u8], u32) = (b"Go\0\0", 4);

/// Whether the file calls itself a Go program.
pub fn is_go<B: ReadAt>(image: &Image<'_, B>) -> Result<bool, ScanError> {
    let [table, relocated] = TABLES;
    let known = image.section(&[SECTION, table, relocated])?.is_some();
    Ok(known || image.note(NOTE.0, NOTE.1)?.is_some() || build_info(image)?.is_some())
}

/// `go1.27.3`, or what a build of one's own has there; `None` where it cannot be told.
pub fn version<B: ReadAt>(image: &Image<'_, B>) -> Option<String> {
    let info = build_info(image).ok()??;
    let header = read(image, info, HEADER)?;
    let [size, flags] = *header.get(14..16)?.first_chunk()?;
    let bytes = if flags & INLINE != 0 {
        let (len, after) = length(&read(image, info.from(HEADER)?, 10)?)?;
        let text = info.from(HEADER.checked_add(after)?)?;
        read(image, text, len.min(MAX_VERSION))?
    } else if flags & BIG_ENDIAN == 0 && size == POINTER_SIZE {
        string_at(image, u64_at(&header, 16)?)?
    } else {
        return None;
    };
    let text = String::from_utf8(bytes).ok()?;
    text.chars()
        .all(|c| c.is_ascii_graphic() || c == ' ')
        .then_some(text)
}

fn read<B: ReadAt>(image: &Image<'_, B>, region: Region, len: u64) -> Option<Vec<u8>> {
    let len = len.min(region.size);
    let bytes = image
        .bytes()
        .read(region.offset, len, "the build information");
    Some(bytes.ok()?.into_owned())
}

/// The string whose pointer and length are at `address`.
fn string_at<B: ReadAt>(image: &Image<'_, B>, address: u64) -> Option<Vec<u8>> {
    const WHAT: &str = "the build information";
    let header = image.at(address, 16, WHAT).ok()??;
    let len = u64_at(&header, 8)?.min(MAX_VERSION);
    image.at(u64_at(&header, 0)?, len, WHAT).ok()?
}

/// A number of seven bits a byte, least first, and how many bytes it took.
fn length(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut value = 0u64;
    for (at, byte) in (0u32..).zip(bytes) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * at)?;
        if byte & 0x80 == 0 {
            return Some((value, u64::from(at) + 1));
        }
    }
    None
}

/// From the magic number on. It is searched for only where no section header can tell.
fn build_info<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Region>, ScanError> {
    if let Some(region) = image.section(&[SECTION])? {
        return Ok(is_info(image, region).then_some(region));
    }
    if image.has_sections() {
        return Ok(None);
    }
    for region in image.loaded(Use::Variables) {
        let size = region.size.min(SEARCHED);
        let bytes = image.bytes().read(region.offset, size, "a data segment")?;
        let aligned = |at: &usize| at.is_multiple_of(ALIGN);
        let at = memmem::find_iter(&bytes, MAGIC).find(aligned);
        if let Some(found) = at.and_then(|at| region.from(at as u64)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn is_info<B: ReadAt>(image: &Image<'_, B>, region: Region) -> bool {
    read(image, region, HEADER).is_some_and(|header| header.starts_with(MAGIC))
}

/// A version of Go, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// From `go1.19.8`, `go1.22rc1`, `devel go1.28-2f6426834c`, `go1.21.5 X:boringcrypto`; `None` from `devel +a1b2c3`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut words = text.split(' ').filter_map(|word| word.strip_prefix("go"));
        let mut parts = words.next()?.split('.');
        let mut number = || {
            let part = parts.next()?;
            let end = part.find(|c: char| !c.is_ascii_digit());
            part.get(..end.unwrap_or(part.len()))?.parse().ok()
        };
        Some(Version {
            major: number()?,
            minor: number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_writes_them() {
        let minor = |text| Version::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(minor("go1.19.8"), Some((1, 19)));
        assert_eq!(minor("go1.27"), Some((1, 27)));
        assert_eq!(minor("go1.22rc1"), Some((1, 22)));
        assert_eq!(minor("devel go1.28-2f6426834c Mon Jan"), Some((1, 28)));
        assert_eq!(minor("go1.21.5 X:boringcrypto"), Some((1, 21)));
        assert_eq!(minor("devel +a1b2c3"), None);
        assert_eq!(minor(""), None);
        assert!(Version::parse("go1.9.2") < Version::parse("go1.17"));
    }

    #[test]
    fn lengths_take_seven_bits_a_byte() {
        assert_eq!(length(&[8, 1]), Some((8, 1)));
        assert_eq!(length(&[0x80, 1]), Some((128, 2)));
        assert_eq!(length(&[0xff; 10]), None);
        assert_eq!(length(&[]), None);
    }
}
