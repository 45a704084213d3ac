//! The parts of an ELF file that a scan needs: segments, sections, symbols by name, relocations, build id.
//!
//! Offsets and sizes of the structures are those of the System V ABI, ELF-64 object file format.

use super::ScanError;
use super::bytes::{ReadAt, u16_at, u32_at, u64_at};
use memchr::memmem;
use std::collections::HashMap;

const EM_X86_64: u16 = 62;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
const NT_GNU_BUILD_ID: u32 = 3;
const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_JUMP_SLOT: u32 = 7;

/// Notes are small; more is no note that a linker wrote.
const MAX_NOTES: u64 = 64 << 10;

struct Segment {
    kind: u32,
    executable: bool,
    offset: u64,
    address: u64,
    size: u64,
}

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

/// A function that a symbol defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    pub address: u64,
    /// Bytes, 0 where the symbol does not say.
    pub size: u64,
}

/// The functions found, and how calls through the global offset table lead to them.
#[derive(Default)]
pub struct Symbols {
    /// Index into the names asked for → its function.
    pub functions: HashMap<usize, Function>,
    /// Address of a slot that the dynamic linker fills → index of the name it fills it with.
    pub slots: HashMap<u64, usize>,
}

/// A parsed file.
pub struct Image<'b, B> {
    bytes: &'b B,
    segments: Vec<Segment>,
    sections: Vec<Section>,
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
        let segments = table(bytes, u64(32)?, u16(54)?, u16(56)?, 56, "program headers")?
            .iter()
            .filter_map(|entry| segment(entry))
            .collect();
        // A file without section headers still runs; it has no symbols that could be found through them.
        let sections = match u64(40)? {
            0 => Vec::new(),
            at => table(bytes, at, u16(58)?, u16(60)?, 64, "section headers")?
                .iter()
                .filter_map(|entry| section(entry))
                .collect(),
        };
        Ok(Image {
            bytes,
            segments,
            sections,
        })
    }

    /// The GNU build id.
    pub fn build_id(&self) -> Result<Option<Vec<u8>>, ScanError> {
        for note in self.segments.iter().filter(|s| s.kind == PT_NOTE) {
            let size = note.size.min(MAX_NOTES);
            let notes = self.bytes.read(note.offset, size, "the notes")?;
            if let Some(id) = build_id(&notes) {
                return Ok(Some(id.to_vec()));
            }
        }
        Ok(None)
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

    /// Functions with the given names, from the dynamic symbols first, then from the full table. All names must
    /// begin with `prefix`. Versions (`@@OPENSSL_3.0.0`) do not count. Nothing where one of `needed` is undefined.
    pub fn find(
        &self,
        prefix: &str,
        names: &[&str],
        needed: &[usize],
    ) -> Result<Symbols, ScanError> {
        let mut found = Symbols::default();
        for kind in [SHT_DYNSYM, SHT_SYMTAB] {
            for (index, table) in self.of_kind(kind) {
                let mut here = HashMap::new();
                let by_symbol = self.symbols(table, prefix, names, &mut here)?;
                for (name, function) in here {
                    found.functions.entry(name).or_insert(function);
                }
                if kind == SHT_DYNSYM && !by_symbol.is_empty() {
                    self.slots(index, &by_symbol, &mut found.slots)?;
                }
            }
        }
        if needed.iter().all(|n| found.functions.contains_key(n)) {
            Ok(found)
        } else {
            Ok(Symbols::default())
        }
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = (usize, &Section)> {
        self.sections
            .iter()
            .enumerate()
            .filter(move |(_, s)| s.kind == kind)
    }

    /// Fills `functions` with the definitions in one symbol table; answers symbol index → name, undefined ones too.
    fn symbols(
        &self,
        table: &Section,
        prefix: &str,
        names: &[&str],
        functions: &mut HashMap<usize, Function>,
    ) -> Result<HashMap<u32, usize>, ScanError> {
        let mut by_symbol = HashMap::new();
        let Some(strings) = usize::try_from(table.link)
            .ok()
            .and_then(|link| self.sections.get(link))
        else {
            return Ok(by_symbol);
        };
        let strings = self
            .bytes
            .read(strings.offset, strings.size, "a string table")?;
        let wanted = name_positions(&strings, prefix, names);
        if wanted.is_empty() {
            return Ok(by_symbol);
        }
        let symbols = self
            .bytes
            .read(table.offset, table.size, "a symbol table")?;
        for (index, symbol) in (0u32..).zip(symbols.chunks_exact(24)) {
            let Some(name) = u32_at(symbol, 0).and_then(|at| wanted.get(&at)) else {
                continue;
            };
            by_symbol.insert(index, *name);
            if let Some(function) = self.function(symbol) {
                functions.entry(*name).or_insert(function);
            }
        }
        Ok(by_symbol)
    }

    /// The function that a symbol table entry defines in this file's code.
    fn function(&self, symbol: &[u8]) -> Option<Function> {
        let defined = u16_at(symbol, 6)? != 0;
        let function = symbol.get(4)? & 0xf == STT_FUNC;
        let address = u64_at(symbol, 8)?;
        let size = u64_at(symbol, 16)?;
        (defined && function && self.file_offset(address).is_some())
            .then_some(Function { address, size })
    }

    /// Adds the slots that relocations against the dynamic symbols of section `dynsym` fill.
    fn slots(
        &self,
        dynsym: usize,
        by_symbol: &HashMap<u32, usize>,
        slots: &mut HashMap<u64, usize>,
    ) -> Result<(), ScanError> {
        for (_, section) in self.of_kind(SHT_RELA) {
            if usize::try_from(section.link) != Ok(dynsym) {
                continue;
            }
            let relocations =
                self.bytes
                    .read(section.offset, section.size, "a relocation table")?;
            for entry in relocations.chunks_exact(24) {
                let (Some(slot), Some(kind), Some(symbol)) =
                    (u64_at(entry, 0), u32_at(entry, 8), u32_at(entry, 12))
                else {
                    continue;
                };
                if !matches!(kind, R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) {
                    continue;
                }
                if let Some(name) = by_symbol.get(&symbol) {
                    slots.insert(slot, *name);
                }
            }
        }
        Ok(())
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

/// The entries of a header table.
fn table<B: ReadAt>(
    bytes: &B,
    offset: u64,
    entry: u16,
    count: u16,
    least: u16,
    what: &'static str,
) -> Result<Vec<Vec<u8>>, ScanError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if entry < least {
        return Err(ScanError::Damaged(what));
    }
    let all = bytes.read(offset, u64::from(entry) * u64::from(count), what)?;
    Ok(all
        .chunks_exact(usize::from(entry))
        .map(<[u8]>::to_vec)
        .collect())
}

fn segment(entry: &[u8]) -> Option<Segment> {
    Some(Segment {
        kind: u32_at(entry, 0)?,
        executable: u32_at(entry, 4)? & PF_X != 0,
        offset: u64_at(entry, 8)?,
        address: u64_at(entry, 16)?,
        size: u64_at(entry, 32)?,
    })
}

fn section(entry: &[u8]) -> Option<Section> {
    Some(Section {
        kind: u32_at(entry, 4)?,
        offset: u64_at(entry, 24)?,
        size: u64_at(entry, 32)?,
        link: u32_at(entry, 40)?,
    })
}

/// Positions in a string table at which one of `names` begins, with the index of the name. Linkers share tails of
/// strings, so a name may begin inside a longer one.
fn name_positions(strings: &[u8], prefix: &str, names: &[&str]) -> HashMap<u32, usize> {
    let mut positions = HashMap::new();
    for at in memmem::find_iter(strings, prefix) {
        let tail = strings.get(at..).unwrap_or_default();
        let matches = |name: &&str| {
            tail.strip_prefix(name.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')))
        };
        if let (Some(name), Ok(at)) = (names.iter().position(matches), u32::try_from(at)) {
            positions.insert(at, name);
        }
    }
    positions
}

/// The build id in a run of notes: name size, descriptor size, type, name and descriptor padded to four bytes.
fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let name_size = usize::try_from(u32_at(notes, 0)?).ok()?;
        let size = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let name = notes.get(12..12usize.checked_add(name_size)?)?;
        let start = 12usize.checked_add(name_size.checked_next_multiple_of(4)?)?;
        let descriptor = notes.get(start..start.checked_add(size)?)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return (1..=64).contains(&size).then_some(descriptor);
        }
        notes = notes.get(start.checked_add(size.checked_next_multiple_of(4)?)?..)?;
    }
}
