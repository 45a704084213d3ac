//! Functions by name: symbol tables, what a file imports, and the slots that relocations fill.

use super::{Image, SHT_RELA, Section};
use crate::probe::elf::ScanError;
use crate::probe::elf::bytes::{ReadAt, u16_at, u32_at, u64_at};
use memchr::memmem;
use std::collections::HashMap;

const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
const R_X86_64_GLOB_DAT: u32 = 6;
const R_X86_64_JUMP_SLOT: u32 = 7;
/// Strings, symbols or slots of the functions asked for. A library has some dozens.
const MAX_FOUND: usize = 64 << 10;

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

impl<B: ReadAt> Image<'_, B> {
    /// Functions with the given names, from the dynamic symbols first, then from the full table. All names must
    /// begin with `prefix`. Versions (`@@OPENSSL_3.0.0`) do not count. Nothing where one of `needed` is undefined.
    pub fn find(
        &self,
        prefix: &str,
        names: &[&str],
        needed: &[usize],
    ) -> Result<Symbols, ScanError> {
        self.find_in(&[SHT_DYNSYM, SHT_SYMTAB], prefix, names, needed)
    }

    /// The same from the dynamic symbols alone: what a library gives to others.
    pub fn find_exported(
        &self,
        prefix: &str,
        names: &[&str],
        needed: &[usize],
    ) -> Result<Symbols, ScanError> {
        self.find_in(&[SHT_DYNSYM], prefix, names, needed)
    }

    /// Whether the file takes a function of this name from another library.
    pub fn imports(&self, name: &str) -> Result<bool, ScanError> {
        for (_, table) in self.of_kind(SHT_DYNSYM) {
            let mut defined = HashMap::new();
            let named = self.symbols(table, name, &[name], &mut defined)?;
            if !named.is_empty() && defined.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find_in(
        &self,
        kinds: &[u32],
        prefix: &str,
        names: &[&str],
        needed: &[usize],
    ) -> Result<Symbols, ScanError> {
        let mut found = Symbols::default();
        for kind in kinds {
            for (index, table) in self.of_kind(*kind) {
                let mut here = HashMap::new();
                let by_symbol = self.symbols(table, prefix, names, &mut here)?;
                for (name, function) in here {
                    found.functions.entry(name).or_insert(function);
                }
                if *kind == SHT_DYNSYM && !by_symbol.is_empty() {
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
        let wanted = name_positions(self.bytes, strings, prefix, names)?;
        if wanted.is_empty() {
            return Ok(by_symbol);
        }
        let symbols = table.part("a symbol table");
        symbols.entries(self.bytes, 24, |index, symbol| {
            let name = u32_at(symbol, 0).and_then(|at| wanted.get(&at));
            let (Some(name), Ok(index)) = (name, u32::try_from(index)) else {
                return Ok(());
            };
            by_symbol.insert(index, *name);
            if let Some(function) = self.function(symbol) {
                functions.entry(*name).or_insert(function);
            }
            bounded(by_symbol.len())
        })?;
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
            let relocations = section.part("a relocation table");
            relocations.entries(self.bytes, 24, |_, entry| {
                let filled =
                    slot(entry).and_then(|(at, symbol)| Some((at, by_symbol.get(&symbol)?)));
                if let Some((at, name)) = filled {
                    slots.insert(at, *name);
                }
                bounded(slots.len())
            })?;
        }
        Ok(())
    }
}

/// No file has as many for a good reason.
fn bounded(found: usize) -> Result<(), ScanError> {
    match found > MAX_FOUND {
        true => Err(ScanError::TooLarge),
        false => Ok(()),
    }
}

/// The slot that a relocation fills, and the symbol whose address it fills it with.
fn slot(relocation: &[u8]) -> Option<(u64, u32)> {
    let kind = u32_at(relocation, 8)?;
    matches!(kind, R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT)
        .then_some((u64_at(relocation, 0)?, u32_at(relocation, 12)?))
}

/// Positions in a string table at which one of `names` begins, with the index of the name. Linkers share tails of
/// strings, so a name may begin inside a longer one.
fn name_positions<B: ReadAt>(
    bytes: &B,
    strings: &Section,
    prefix: &str,
    names: &[&str],
) -> Result<HashMap<u32, usize>, ScanError> {
    let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut positions = HashMap::new();
    let part = strings.part("a string table");
    // One more than the name, for what ends it.
    part.strings(bytes, longest as u64 + 1, |from, piece| {
        for at in memmem::find_iter(piece, prefix) {
            let tail = piece.get(at..).unwrap_or_default();
            let matches = |name: &&str| {
                tail.strip_prefix(name.as_bytes())
                    .is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')))
            };
            let position = from.saturating_add(at as u64);
            if let (Some(name), Ok(at)) = (names.iter().position(matches), u32::try_from(position))
            {
                positions.insert(at, name);
            }
        }
        bounded(positions.len())
    })?;
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf::bytes::PIECE;

    const NAMES: [&str; 2] = ["SSL_read", "SSL_read_ex"];

    fn positions(strings: &[u8]) -> Result<HashMap<u32, usize>, ScanError> {
        let section = Section {
            name: 0,
            kind: 3,
            address: 0,
            offset: 0,
            size: strings.len() as u64,
            link: 0,
        };
        name_positions(&strings, &section, "SSL_", &NAMES)
    }

    #[test]
    fn names_are_found_wherever_pieces_of_the_string_table_end() {
        for shift in 0..30 {
            for pieces in [1, 2] {
                let before = pieces * PIECE as usize - shift;
                let mut strings = vec![b'x'; before];
                strings.extend_from_slice(b"SSL_read_ex@OPENSSL_3\0SSL_read\0SSL_readx\0");
                let found = positions(&strings).expect("found");
                let at = before as u32;
                assert_eq!(found, [(at, 1), (at + 22, 0)].into(), "{shift} {pieces}");
            }
        }
        assert_eq!(positions(b"SSL_read").expect("no end"), HashMap::new());
    }

    #[test]
    fn a_file_that_names_the_functions_without_end_takes_no_memory_without_end() {
        let found = positions(&b"SSL_read\0".repeat(MAX_FOUND));
        assert_eq!(found.expect("that many").len(), MAX_FOUND);
        let found = positions(&b"SSL_read\0".repeat(MAX_FOUND + 1));
        assert!(matches!(found, Err(ScanError::TooLarge)));
    }
}
