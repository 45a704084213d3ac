//! Go's function table, `pclntab`: names of functions and where they are. `strip` leaves it, because the runtime needs it.
//!
//! Enters: an image. Leaves: a [`Table`], which finds functions by name. Holds: it is read in pieces, in order; what lies
//! outside of the file is an error.

use super::info::TABLES;
use crate::probe::elf::ScanError;
use crate::probe::elf::bytes::{PIECE, Part, ReadAt, u32_at, u64_at};
use crate::probe::elf::image::{Image, Region, Use};
use memchr::memmem;
use std::borrow::Cow;
use std::collections::HashMap;

const WHAT: &str = "the Go function table";
/// Two bytes of zero, the least instruction's size, a pointer's size: after the magic number on x86-64.
const AFTER_MAGIC: [u8; 4] = [0, 0, 1, 8];
const HEADER: u64 = 72;
/// No program has as many functions; the largest known has some hundred thousand.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Places at which the code may begin.
const MAX_BASES: usize = 8;

/// How a table is laid out, which the magic number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Go 1.2 to 1.15: everything behind the header, names among the functions.
    First,
    /// Go 1.16 and 1.17: parts with offsets of their own, entries as addresses.
    Addresses,
    /// Go 1.18 and later: entries as offsets from where the code begins.
    Offsets,
}

impl Layout {
    fn of(magic: u8) -> Option<Layout> {
        match magic {
            0xfb => Some(Layout::First),
            0xfa => Some(Layout::Addresses),
            // Go 1.18 and 1.19; 1.20.
            0xf0 | 0xf1 => Some(Layout::Offsets),
            _ => None,
        }
    }
}

/// Where a function is: addresses, or offsets from where the code begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// A table whose header was read.
pub struct Table<'i, 'b, B> {
    image: &'i Image<'b, B>,
    layout: Layout,
    functions: u64,
    /// Where the code begins; 0 where the header does not say (Go 1.26).
    text: u64,
    names: Part,
    /// The list of functions, and behind it what it points to.
    list: Region,
}

/// The table of a program: by its section, else by its magic number.
pub fn locate<'i, 'b, B: ReadAt>(
    image: &'i Image<'b, B>,
) -> Result<Option<Table<'i, 'b, B>>, ScanError> {
    if let Some(region) = image.section(&TABLES)? {
        return Table::parse(image, region);
    }
    // Where tables are written to before they are used (PIE), they are among the variables.
    for kind in [Use::Constants, Use::Variables] {
        for region in image.loaded(kind) {
            let mut found = None;
            // One byte of the magic number tells the layout, three are the same, and they are a number of four.
            let pattern = [[0xff, 0xff, 0xff].as_slice(), &AFTER_MAGIC].concat();
            region.part(WHAT).strings(image.bytes(), 8, |from, piece| {
                for at in memmem::find_iter(piece, &pattern) {
                    let start = from.checked_add(at as u64).and_then(|at| at.checked_sub(1));
                    let here = start
                        .filter(|s| s.is_multiple_of(8))
                        .and_then(|s| region.from(s));
                    if let (None, Some(here)) = (&found, here) {
                        found = Table::parse(image, here)?;
                    }
                }
                Ok(())
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

impl<'i, 'b, B: ReadAt> Table<'i, 'b, B> {
    /// `None` where no table begins here.
    fn parse(image: &'i Image<'b, B>, region: Region) -> Result<Option<Self>, ScanError> {
        if region.size < HEADER {
            return Ok(None);
        }
        let header = image.bytes().read(region.offset, HEADER, WHAT)?;
        Ok(Self::from_header(image, region, &header))
    }

    fn from_header(image: &'i Image<'b, B>, region: Region, header: &[u8]) -> Option<Self> {
        let magic = header.first_chunk::<8>()?;
        let layout = Layout::of(magic[0])?;
        if magic[1..4] != [0xff; 3] || magic[4..8] != AFTER_MAGIC {
            return None;
        }
        let word = |index: usize| u64_at(header, 8 * (index + 1));
        let functions = word(0).filter(|n| (1..=MAX_FUNCTIONS).contains(n))?;
        // Indexes of: where the code begins, the names, what follows them, the list.
        let (text, names, after, list) = match layout {
            Layout::First => (0, 0, region.size, 16),
            Layout::Addresses => (0, word(2)?, word(3)?, word(6)?),
            Layout::Offsets => (word(2)?, word(3)?, word(4)?, word(7)?),
        };
        let names = Part {
            offset: region.from(names)?.offset,
            size: after.min(region.size).checked_sub(names)?,
            what: WHAT,
        };
        let table = Table {
            image,
            layout,
            functions,
            text,
            names,
            list: region.from(list)?,
        };
        let list_size = table.entry_size().checked_mul(functions)?;
        (table.list.size > list_size).then_some(table)
    }

    fn entry_size(&self) -> u64 {
        match self.layout {
            Layout::First | Layout::Addresses => 16,
            Layout::Offsets => 8,
        }
    }

    /// A number of half the size of an entry.
    fn number(&self, bytes: &[u8], half: usize) -> Option<u64> {
        match self.layout {
            Layout::First | Layout::Addresses => u64_at(bytes, 8 * half),
            Layout::Offsets => u32_at(bytes, 4 * half).map(u64::from),
        }
    }

    /// Whether there is a function with this name.
    pub fn has(&self, name: &str) -> Result<bool, ScanError> {
        Ok(!self.offsets(&[name])?.is_empty())
    }

    /// Offsets of names, with the index of each in `names`.
    fn offsets(&self, names: &[&str]) -> Result<HashMap<u32, usize>, ScanError> {
        let mut offsets = HashMap::new();
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let texts: Vec<Vec<u8>> = names
            .iter()
            .map(|name| [name.as_bytes(), b"\0"].concat())
            .collect();
        let finders: Vec<_> = texts.iter().map(memmem::Finder::new).collect();
        // Longer by one than the longest with its end: what begins a piece is found in the one before, with what is
        // before it.
        let overlap = longest as u64 + 2;
        self.names
            .strings(self.image.bytes(), overlap, |from, piece| {
                let is_start = |at: usize| match at.checked_sub(1) {
                    Some(before) => piece.get(before) == Some(&0),
                    None => from == 0,
                };
                for (index, finder) in finders.iter().enumerate() {
                    for at in finder.find_iter(piece).filter(|at| is_start(*at)) {
                        if let Ok(offset) = u32::try_from(from.saturating_add(at as u64)) {
                            offsets.insert(offset, index);
                        }
                        // Each name is there once.
                        if offsets.len() > 4 * names.len() {
                            return Err(ScanError::TooLarge);
                        }
                    }
                }
                Ok(())
            })?;
        Ok(offsets)
    }

    /// Where the functions with these names are. A name that two functions have is not found.
    pub fn spans(&self, names: &[&str]) -> Result<Vec<Option<Span>>, ScanError> {
        let mut found: Vec<Vec<Span>> = vec![Vec::new(); names.len()];
        let wanted = self.offsets(names)?;
        let mut window = Window::new(self.image.bytes(), self.list);
        let mut before: Option<(u64, u64)> = None;
        self.entries(|start, function| {
            if let Some((from, described)) = before.replace((start, function))
                && let Some(index) = wanted.get(&self.name_of(&mut window, described)?)
                && let Some(spans) = found.get_mut(*index)
            {
                spans.push(Span {
                    start: from,
                    end: start,
                });
            }
            Ok(())
        })?;
        let only = |spans: Vec<Span>| match spans.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        Ok(found.into_iter().map(only).collect())
    }

    /// Each function's start and the position of its description; last, where the code ends.
    fn entries(
        &self,
        mut each: impl FnMut(u64, u64) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        let size = self.entry_size();
        let list = Part {
            offset: self.list.offset,
            size: size.saturating_mul(self.functions),
            what: WHAT,
        };
        list.entries(self.image.bytes(), size, |_, entry| {
            match (self.number(entry, 0), self.number(entry, 1)) {
                (Some(start), Some(function)) => each(start, function),
                _ => Ok(()),
            }
        })?;
        each(self.end()?, 0)
    }

    /// Where the code ends: the list's last number.
    fn end(&self) -> Result<u64, ScanError> {
        let at = self.entry_size().saturating_mul(self.functions);
        let end = self.list.from(at).ok_or(ScanError::Damaged(WHAT))?;
        let size = self.entry_size() / 2;
        let bytes = self.image.bytes().read(end.offset, size, WHAT)?;
        self.number(&bytes, 0).ok_or(ScanError::Damaged(WHAT))
    }

    /// The offset of a function's name, from its description: the entry, then a number of four bytes.
    fn name_of(&self, window: &mut Window<'b, B>, described: u64) -> Result<u32, ScanError> {
        let entry = self.entry_size() / 2;
        let at = described
            .checked_add(entry)
            .ok_or(ScanError::Damaged(WHAT))?;
        window.u32_at(at)
    }

    /// What may have to be added to the table's numbers to get addresses, likeliest first.
    pub fn bases(&self) -> Result<Vec<u64>, ScanError> {
        if self.layout != Layout::Offsets {
            return Ok(vec![0]);
        }
        if self.text != 0 {
            return Ok(vec![self.text]);
        }
        let mut bases = self.bases_of_module()?;
        bases.extend(self.image.section(&[".text"])?.map(|text| text.address));
        Ok(bases)
    }

    /// `runtime.moduledata` has the first and the last address of the code side by side.
    fn bases_of_module(&self) -> Result<Vec<u64>, ScanError> {
        let first = self.image.bytes().read(self.list.offset, 4, WHAT)?;
        let first = u32_at(&first, 0).map(u64::from);
        let first = first.ok_or(ScanError::Damaged(WHAT))?;
        let end = self.end()?;
        let extent = end.checked_sub(first).ok_or(ScanError::Damaged(WHAT))?;
        let mut bases = Vec::new();
        let mut pair = |low: u64, high: u64| {
            let base = low
                .checked_sub(first)
                .filter(|_| high.checked_sub(low) == Some(extent));
            if let Some(base) = base
                && bases.len() < MAX_BASES
                && !bases.contains(&base)
                && self.image.file_offset(low).is_some()
            {
                bases.push(base);
            }
        };
        for region in self.image.loaded(Use::Variables) {
            let mut before = 0;
            region
                .part("a data segment")
                .entries(self.image.bytes(), 8, |_, word| {
                    let word = u64_at(word, 0).unwrap_or_default();
                    pair(before, word);
                    before = word;
                    Ok(())
                })?;
        }
        // Some linkers leave what the dynamic linker fills in empty.
        let mut before = (0, 0);
        self.image.addresses(|at, address| {
            if at == before.0 + 8 {
                pair(before.1, address);
            }
            before = (at, address);
            Ok(())
        })?;
        Ok(bases)
    }
}

/// Reads numbers of a region, of which the next is near the one before.
struct Window<'b, B> {
    bytes: &'b B,
    region: Region,
    from: u64,
    piece: Cow<'b, [u8]>,
}

impl<'b, B: ReadAt> Window<'b, B> {
    fn new(bytes: &'b B, region: Region) -> Self {
        Window {
            bytes,
            region,
            from: 0,
            piece: Cow::Borrowed(&[]),
        }
    }

    fn u32_at(&mut self, at: u64) -> Result<u32, ScanError> {
        let damaged = || ScanError::Damaged(WHAT);
        let inside = |from: u64, piece: &[u8]| {
            let at = usize::try_from(at.checked_sub(from)?).ok()?;
            u32_at(piece, at)
        };
        if let Some(number) = inside(self.from, &self.piece) {
            return Ok(number);
        }
        let rest = self.region.from(at).ok_or_else(damaged)?;
        self.piece = self.bytes.read(rest.offset, rest.size.min(PIECE), WHAT)?;
        self.from = at;
        inside(self.from, &self.piece).ok_or_else(damaged)
    }
}
