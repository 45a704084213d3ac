//! One entry: a line with a checksum, then JSON.
//!
//! Pure but for the bytes of the file that it is about, which are compared before anything is believed.

use super::CacheError;
use crate::probe::elf::{Method, Placement, Scan, Stack};
use crate::probe::target::{Probe, Target};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Digest of the sources of the scanner whose results these are.
pub const SCANNER: &str = env!("PLAINSPAN_SCANNER");

/// What the line in front begins with.
const MAGIC: &str = concat!("plainspan-scan 1 ", env!("PLAINSPAN_SCANNER"));

/// Names of stacks: what is read back has no other.
const STACKS: [&str; 9] = [
    "openssl",
    "boringssl",
    "gnutls",
    "nss",
    "jsse",
    "go",
    "rustls",
    "s2n",
    "unknown",
];

/// Bytes of code that are compared: from before the function's entry, or the place where that is far, to behind it.
const BEFORE: u64 = 64;
const BEHIND: u64 = 64;

#[derive(Serialize, Deserialize)]
pub struct Entry {
    build_id: Option<String>,
    stacks: Vec<StackEntry>,
}

#[derive(Serialize, Deserialize)]
struct StackEntry {
    name: String,
    version: Option<String>,
    refused: Option<String>,
    places: Vec<PlaceEntry>,
}

#[derive(Serialize, Deserialize)]
struct PlaceEntry {
    file_offset: u64,
    probe: Probe,
    symbol: String,
    method: Method,
    instruction: String,
    offset: u64,
    emulated: bool,
    file_byte: u8,
    /// Where the bytes in `code` are in the file.
    code_at: u64,
    code: String,
}

impl Entry {
    /// # Errors
    /// Where the file cannot be read, or a stack has a name that cannot be read back.
    pub fn new(scan: &Scan, file: &File) -> Result<Entry, CacheError> {
        let stacks = scan.stacks.iter().map(|stack| StackEntry::new(stack, file));
        Ok(Entry {
            build_id: scan.build_id.as_deref().map(hex),
            stacks: stacks.collect::<Result<_, _>>()?,
        })
    }

    /// The bytes of the entry with this name.
    ///
    /// # Errors
    /// None that can be: all of it has a form in JSON.
    pub fn write(&self, name: &str) -> Result<Vec<u8>, CacheError> {
        let json = serde_json::to_vec(self).map_err(std::io::Error::from)?;
        let mut bytes = format!("{MAGIC} {}\n", checksum(name, &json)).into_bytes();
        bytes.extend(json);
        Ok(bytes)
    }

    /// # Errors
    /// Where the bytes are not those that were written under this name by this scanner.
    pub fn read(bytes: &[u8], name: &str) -> Result<Entry, CacheError> {
        let end =
            memchr::memchr(b'\n', bytes).ok_or(CacheError::Damaged("it has no first line"))?;
        let (line, json) = bytes.split_at(end);
        let json = json.get(1..).unwrap_or_default();
        let line = line
            .strip_prefix(MAGIC.as_bytes())
            .ok_or(CacheError::Foreign("it is of another scanner"))?;
        if line != format!(" {}", checksum(name, json)).as_bytes() {
            return Err(CacheError::Damaged("its checksum is wrong"));
        }
        serde_json::from_slice(json).map_err(|_| CacheError::Damaged("it cannot be read"))
    }

    /// The scan; `None` where the file has other code.
    ///
    /// # Errors
    /// Where a part is none that a scan has, or the file cannot be read.
    pub fn scan(self, file: &File) -> Result<Option<Scan>, CacheError> {
        let build_id = match &self.build_id {
            None => None,
            Some(id) => Some(unhex(id).ok_or(CacheError::Damaged("its build id is none"))?),
        };
        let mut stacks = Vec::new();
        for stack in self.stacks {
            for place in &stack.places {
                if !place.agrees(file)? {
                    return Ok(None);
                }
            }
            stacks.push(stack.stack()?);
        }
        Ok(Some(Scan { build_id, stacks }))
    }
}

impl StackEntry {
    fn new(stack: &Stack, file: &File) -> Result<StackEntry, CacheError> {
        if !STACKS.contains(&stack.name) {
            return Err(CacheError::Foreign("a stack has a name that is not known"));
        }
        let places = stack.places().map(|place| PlaceEntry::new(place, file));
        Ok(StackEntry {
            name: stack.name.to_owned(),
            version: stack.version.clone(),
            refused: stack.refused.clone(),
            places: places.collect::<Result<_, _>>()?,
        })
    }

    fn stack(self) -> Result<Stack, CacheError> {
        let name = STACKS.iter().find(|name| **name == self.name);
        let name = name.ok_or(CacheError::Damaged("a stack has a name that is not known"))?;
        let (targets, placements) = self.places.into_iter().map(PlaceEntry::place).unzip();
        Ok(Stack {
            name,
            version: self.version,
            targets,
            placements,
            refused: self.refused,
        })
    }
}

impl PlaceEntry {
    fn new((target, placement): (&Target, &Placement), file: &File) -> Result<Self, CacheError> {
        let before = placement.offset.min(BEFORE);
        let code_at = target.file_offset.saturating_sub(before);
        let code = code(file, code_at, before + BEHIND)?;
        // A place that is not in what was read is refused below.
        let inside = usize::try_from(target.file_offset - code_at).ok();
        if inside.and_then(|at| code.get(at)) != Some(&placement.file_byte) {
            return Err(CacheError::Damaged("the file changes"));
        }
        Ok(PlaceEntry {
            file_offset: target.file_offset,
            probe: target.probe,
            symbol: target.symbol.clone(),
            method: placement.method,
            instruction: placement.instruction.clone(),
            offset: placement.offset,
            emulated: placement.emulated,
            file_byte: placement.file_byte,
            code_at,
            code: hex(&code),
        })
    }

    /// The place is inside of the code that is compared, and the file has that code.
    fn agrees(&self, file: &File) -> Result<bool, CacheError> {
        let damaged = || CacheError::Damaged("the code of a place is none");
        let want = unhex(&self.code).ok_or_else(damaged)?;
        let inside = self.file_offset.checked_sub(self.code_at);
        let inside = inside.and_then(|at| usize::try_from(at).ok());
        if inside.and_then(|at| want.get(at)) != Some(&self.file_byte) {
            return Err(damaged());
        }
        Ok(code(file, self.code_at, want.len() as u64)? == want)
    }

    fn place(self) -> (Target, Placement) {
        let target = Target {
            file_offset: self.file_offset,
            probe: self.probe,
            symbol: self.symbol,
        };
        let placement = Placement {
            method: self.method,
            instruction: self.instruction,
            offset: self.offset,
            emulated: self.emulated,
            file_byte: self.file_byte,
        };
        (target, placement)
    }
}

/// Up to so many bytes of the file.
fn code(file: &File, at: u64, len: u64) -> Result<Vec<u8>, CacheError> {
    let len = usize::try_from(len.min(BEFORE + BEHIND)).unwrap_or_default();
    let mut bytes = vec![0; len];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(read as u64))? {
            0 => break,
            more => read += more,
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn checksum(name: &str, json: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(name);
    digest.update(json);
    hex(&digest.finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    // What is no digit makes the whole text no bytes.
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| byte(pair).filter(|_| pair.len() == 2))
        .collect()
}
