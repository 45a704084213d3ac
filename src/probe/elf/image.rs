//! The parts of an ELF file that a scan needs: segments, sections, relocations, notes, build id, and symbols by name.
//!
//! Offsets and sizes of the structures are those of the System V ABI, ELF-64 object file format.

use super::ScanError;
use super::bytes::{Part, ReadAt, u16_at, u32_at, u64_at};
use std::borrow::Cow;

mod symbols;

pub use symbols::{Function, Symbols};

const EM_X86_64: u16 = 62;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// The table of exception handling frames, with which functions begin (Linux Standard Base Core, 10.6.2).
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHT_RELR: u32 = 19;
const NT_GNU_BUILD_ID: u32 = 3;
const R_X86_64_RELATIVE: u32 = 8;

/// Notes are small; more is no note that a linker wrote.
const MAX_NOTES: u64 = 64 << 10;

/// Names of sections together, bytes. A file has some dozens.
const MAX_SECTION_NAMES: u64 = 64 << 10;

struct Segment {
    kind: u32,
    executable: bool,
    writable: bool,
    offset: u64,
    address: u64,
    size: u64,
}

/// A part of the file that is mapped when it is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub executable: bool,
    pub writable: bool,
    pub address: u64,
    /// Bytes in the file.
    pub size: u64,
    offset: u64,
}

/// Where the table of exception handling frames is.
#[derive(Debug, Clone, Copy)]
pub struct Frames {
    pub address: u64,
    pub size: u64,
    offset: u64,
}

struct Section {
    name: u32,
    kind: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

impl Section {
    fn part(&self, what: &'static str) -> Part {
        Part {
            offset: self.offset,
            size: self.size,
            what,
        }
    }
}

/// Bytes of the file that are in memory at an address, before the file as a whole is moved to where it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub address: u64,
    pub offset: u64,
    pub size: u64,
}

impl Region {
    pub fn part(self, what: &'static str) -> Part {
        Part {
            offset: self.offset,
            size: self.size,
            what,
        }
    }

    /// From `at` bytes into it to its end.
    pub fn from(self, at: u64) -> Option<Region> {
        Some(Region {
            address: self.address.checked_add(at)?,
            offset: self.offset.checked_add(at)?,
            size: self.size.checked_sub(at)?,
        })
    }
}

/// What a loaded part of the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Code,
    /// Neither code nor written to.
    Constants,
    Variables,
}

/// A parsed file.
pub struct Image<'b, B> {
    bytes: &'b B,
    /// It is loaded where its addresses say.
    fixed: bool,
    segments: Vec<Segment>,
    sections: Vec<Section>,
    /// Index of the section with the sections' names.
    names: u16,
}

impl<'b, B: ReadAt> Image<'b, B> {
    pub fn parse(bytes: &'b B) -> Result<Self, ScanError> {
        let magic = bytes.read(0, 4, "its magic number").map_err(|e| match e {
            ScanError::Damaged(_) => ScanError::NotElf,
            other => other,
        })?;
        if *magic != *b"\x7fELF" {
            return Err(ScanError::NotElf);
        }
        let header = bytes.read(0, 64, "the header")?;
        check(&header)?;
        let damaged = || ScanError::Damaged("the header");
        let u16 = |at| u16_at(&header, at).ok_or_else(damaged);
        let u64 = |at| u64_at(&header, at).ok_or_else(damaged);
        let what = "program headers";
        let segments = table(bytes, u64(32)?, [u16(54)?, u16(56)?, 56], what, segment)?;
        // A file without section headers still runs; it has no symbols that could be found through them.
        let sections = match u64(40)? {
            0 => Vec::new(),
            at => {
                let what = "section headers";
                table(bytes, at, [u16(58)?, u16(60)?, 64], what, section)?
            }
        };
        Ok(Image {
            bytes,
            fixed: u16(16)? == ET_EXEC,
            segments,
            sections,
            names: u16(62)?,
        })
    }

    /// The GNU build id.
    pub fn build_id(&self) -> Result<Option<Vec<u8>>, ScanError> {
        let id = self.note(b"GNU\0", NT_GNU_BUILD_ID)?;
        Ok(id.filter(|id| (1..=64).contains(&id.len())))
    }

    /// What the first note of this owner and kind holds.
    pub fn note(&self, owner: &[u8], kind: u32) -> Result<Option<Vec<u8>>, ScanError> {
        for note in self.segments.iter().filter(|s| s.kind == PT_NOTE) {
            let size = note.size.min(MAX_NOTES);
            let notes = self.bytes.read(note.offset, size, "the notes")?;
            if let Some(descriptor) = descriptor(&notes, owner, kind) {
                return Ok(Some(descriptor.to_vec()));
            }
        }
        Ok(None)
    }

    /// What is mapped of the file.
    pub fn loads(&self) -> impl Iterator<Item = Load> {
        let mapped = self.segments.iter().filter(|s| s.kind == PT_LOAD);
        mapped.map(|s| Load {
            executable: s.executable,
            writable: s.writable,
            address: s.address,
            size: s.size,
            offset: s.offset,
        })
    }

    /// `len` bytes from the `at`th of a mapped part.
    pub fn bytes_of(&self, load: &Load, at: u64, len: u64) -> Result<Cow<'b, [u8]>, ScanError> {
        let what = "a segment";
        let offset = load.offset.checked_add(at);
        self.bytes
            .read(offset.ok_or(ScanError::Damaged(what))?, len, what)
    }

    /// The table of exception handling frames, where there is one.
    pub fn frames(&self) -> Option<Frames> {
        let segment = self.segments.iter().find(|s| s.kind == PT_GNU_EH_FRAME)?;
        Some(Frames {
            address: segment.address,
            size: segment.size,
            offset: segment.offset,
        })
    }

    /// `len` bytes from the `at`th of the table of exception handling frames.
    pub fn frames_bytes(
        &self,
        frames: &Frames,
        at: u64,
        len: u64,
    ) -> Result<Cow<'b, [u8]>, ScanError> {
        let what = "the table of exception handling frames";
        let offset = frames.offset.checked_add(at);
        self.bytes
            .read(offset.ok_or(ScanError::Damaged(what))?, len, what)
    }

    pub fn bytes(&self) -> &'b B {
        self.bytes
    }

    pub fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// The first section with one of these names that has bytes in the file and is loaded.
    pub fn section(&self, names: &[&str]) -> Result<Option<Region>, ScanError> {
        let Some(strings) = self.sections.get(usize::from(self.names)) else {
            return Ok(None);
        };
        let size = strings.size.min(MAX_SECTION_NAMES);
        let strings = self.bytes.read(strings.offset, size, "section names")?;
        let named = |section: &&Section| {
            let tail = usize::try_from(section.name)
                .ok()
                .and_then(|at| strings.get(at..));
            let is = |name: &&str| {
                tail.and_then(|tail| tail.strip_prefix(name.as_bytes()))
                    .is_some_and(|rest| rest.first() == Some(&0))
            };
            section.kind != SHT_NOBITS && section.address != 0 && names.iter().any(is)
        };
        Ok(self.sections.iter().find(named).map(|section| Region {
            address: section.address,
            offset: section.offset,
            size: section.size,
        }))
    }

    /// All parts of the file that are loaded for this use.
    pub fn loaded(&self, wanted: Use) -> impl Iterator<Item = Region> {
        let of_use = move |s: &&Segment| {
            let is = match (s.executable, s.writable) {
                (true, _) => Use::Code,
                (false, false) => Use::Constants,
                (false, true) => Use::Variables,
            };
            s.kind == PT_LOAD && is == wanted
        };
        self.segments.iter().filter(of_use).map(|s| Region {
            address: s.address,
            offset: s.offset,
            size: s.size,
        })
    }

    /// `len` bytes at `address`, of any use; `None` where they are not all of one loaded part of the file.
    pub fn at(
        &self,
        address: u64,
        len: u64,
        what: &'static str,
    ) -> Result<Option<Vec<u8>>, ScanError> {
        let uses = [Use::Constants, Use::Variables, Use::Code];
        let inside = |region: &Region| {
            let at = address.checked_sub(region.address)?;
            let rest = region.from(at)?;
            (rest.size >= len).then_some(rest.offset)
        };
        let offset = uses
            .iter()
            .find_map(|u| self.loaded(*u).find_map(|r| inside(&r)));
        let bytes = offset.map(|at| Ok(self.bytes.read(at, len, what)?.into_owned()));
        bytes.transpose()
    }

    /// Each word that the dynamic linker sets to an address of this file: where it is, and that address, both before
    /// the file is moved.
    pub fn addresses(
        &self,
        mut each: impl FnMut(u64, u64) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        for (_, section) in self.of_kind(SHT_RELA) {
            let relocations = section.part("a relocation table");
            relocations.entries(self.bytes, 24, |_, entry| {
                if u32_at(entry, 8) != Some(R_X86_64_RELATIVE) {
                    return Ok(());
                }
                match (u64_at(entry, 0), u64_at(entry, 16)) {
                    (Some(at), Some(address)) => each(at, address),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Each word that holds an address of this file once it is loaded: where it is, and that address, both before the
    /// file is moved. In a file that is never moved it may also be a number.
    pub fn pointers(
        &self,
        mut each: impl FnMut(u64, u64) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        self.addresses(&mut each)?;
        for (_, section) in self.of_kind(SHT_RELR) {
            self.relative_words(section, &mut each)?;
        }
        if !self.fixed {
            return Ok(());
        }
        for region in [Use::Constants, Use::Variables]
            .into_iter()
            .flat_map(|u| self.loaded(u))
        {
            let part = region.part("data");
            part.entries(self.bytes, 8, |index, word| {
                let at = index
                    .checked_mul(8)
                    .and_then(|at| region.address.checked_add(at));
                match (at, u64_at(word, 0)) {
                    (Some(at), Some(address)) if address != 0 => each(at, address),
                    _ => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Words of a table of relative relocations: an address of one, then bits for the 63 that follow, again and again
    /// (System V ABI, draft of 2022, `SHT_RELR`). What is added is in the words themselves.
    fn relative_words(
        &self,
        section: &Section,
        each: &mut impl FnMut(u64, u64) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let mut next = 0u64;
        section
            .part("a relocation table")
            .entries(self.bytes, 8, |_, entry| {
                let entry = u64_at(entry, 0).unwrap_or_default();
                let (from, bits, count) = match entry & 1 {
                    0 => (entry, 1, 1),
                    _ => (next, entry >> 1, 63),
                };
                next = from.wrapping_add(8 * count);
                // The words may end before the bits do.
                let words = (1..=count).rev().find_map(|n| {
                    let read = self.at(from, 8 * n, "relocated words");
                    read.transpose()
                });
                let words = words.transpose()?.unwrap_or_default();
                for (index, word) in words.chunks_exact(8).enumerate() {
                    let at = from.wrapping_add(8 * index as u64);
                    if let (1, Some(address)) = (bits >> index & 1, u64_at(word, 0)) {
                        each(at, address)?;
                    }
                }
                Ok(())
            })
    }

    fn segment_of(&self, address: u64) -> Option<(&Segment, u64)> {
        self.segments
            .iter()
            .filter(|s| s.kind == PT_LOAD && s.executable)
            .find_map(|s| {
                let inside = address.checked_sub(s.address)?;
                (inside < s.size).then_some((s, inside))
            })
    }

    /// Position in the file of an address in an executable segment.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let (segment, inside) = self.segment_of(address)?;
        segment.offset.checked_add(inside)
    }

    /// Up to `len` bytes of code at `address`; empty outside executable segments.
    pub fn code(&self, address: u64, len: u64) -> Result<Vec<u8>, ScanError> {
        let Some((segment, inside)) = self.segment_of(address) else {
            return Ok(Vec::new());
        };
        let Some(offset) = segment.offset.checked_add(inside) else {
            return Err(ScanError::Damaged("a code segment"));
        };
        let len = len.min(segment.size - inside);
        Ok(self.bytes.read(offset, len, "a code segment")?.into_owned())
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = (usize, &Section)> {
        self.sections
            .iter()
            .enumerate()
            .filter(move |(_, s)| s.kind == kind)
    }
}

fn check(header: &[u8]) -> Result<(), ScanError> {
    if header.get(4) != Some(&2) {
        return Err(ScanError::Unsupported("a 32-bit ELF file"));
    }
    if header.get(5) != Some(&1) {
        return Err(ScanError::Unsupported("a big-endian ELF file"));
    }
    if u16_at(header, 18) != Some(EM_X86_64) {
        return Err(ScanError::Unsupported(
            "an ELF file of another architecture",
        ));
    }
    if !matches!(u16_at(header, 16), Some(ET_EXEC | ET_DYN)) {
        return Err(ScanError::Unsupported("an object file or core dump"));
    }
    Ok(())
}

/// The entries of a header table, of which the file says size and count, and each has at least so many bytes.
fn table<B: ReadAt, T>(
    bytes: &B,
    offset: u64,
    [entry, count, least]: [u16; 3],
    what: &'static str,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, ScanError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if entry < least {
        return Err(ScanError::Damaged(what));
    }
    let part = Part {
        offset,
        size: u64::from(entry) * u64::from(count),
        what,
    };
    let mut all = Vec::new();
    part.entries(bytes, entry.into(), |_, entry| {
        all.extend(read(entry));
        Ok(())
    })?;
    Ok(all)
}

fn segment(entry: &[u8]) -> Option<Segment> {
    Some(Segment {
        kind: u32_at(entry, 0)?,
        executable: u32_at(entry, 4)? & PF_X != 0,
        writable: u32_at(entry, 4)? & PF_W != 0,
        offset: u64_at(entry, 8)?,
        address: u64_at(entry, 16)?,
        size: u64_at(entry, 32)?,
    })
}

fn section(entry: &[u8]) -> Option<Section> {
    Some(Section {
        name: u32_at(entry, 0)?,
        kind: u32_at(entry, 4)?,
        address: u64_at(entry, 16)?,
        offset: u64_at(entry, 24)?,
        size: u64_at(entry, 32)?,
        link: u32_at(entry, 40)?,
    })
}

/// The descriptor of the first note of this owner and kind in a run of notes: name size, descriptor size, type, name and
/// descriptor padded to four bytes.
fn descriptor<'n>(mut notes: &'n [u8], owner: &[u8], wanted: u32) -> Option<&'n [u8]> {
    loop {
        let name_size = usize::try_from(u32_at(notes, 0)?).ok()?;
        let size = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let name = notes.get(12..12usize.checked_add(name_size)?)?;
        let start = 12usize.checked_add(name_size.checked_next_multiple_of(4)?)?;
        let descriptor = notes.get(start..start.checked_add(size)?)?;
        if kind == wanted && name == owner {
            return Some(descriptor);
        }
        notes = notes.get(start.checked_add(size.checked_next_multiple_of(4)?)?..)?;
    }
}
