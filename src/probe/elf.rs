//! Where to probe in an ELF file.
//!
//! Enters: the bytes of a file, which anyone may have written. Leaves: a [`Scan`] with places to probe, or why not.
//! Holds: no panic whatever the bytes are; memory is bounded; every file offset is a function's entry or is reached
//! from one by linear decoding, because a breakpoint inside an instruction would break the program.

mod allowed;
mod boring;
mod bytes;
mod chosen;
mod code;
mod exports;
mod gnutls;
mod go;
mod identity;
mod image;
mod jsse;
mod nss;
mod openssl;
mod reported;
mod reports;
mod rustls;
mod s2n;
mod unknown;
mod version;

use super::target::Target;
use bytes::FileBytes;
pub use bytes::{MAX_READ, MAX_TIME, ReadAt};
pub use identity::Identity;
use image::Image;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::time::{Duration, Instant};

/// What one file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// The GNU build id, where the file has one.
    pub build_id: Option<Vec<u8>>,
    /// Every TLS implementation in the file; most files have none.
    pub stacks: Vec<Stack>,
}

impl Scan {
    /// All places to probe, with why each was chosen.
    pub fn places(&self) -> impl Iterator<Item = (&Target, &Placement)> {
        self.stacks.iter().flat_map(Stack::places)
    }

    /// All places to probe.
    pub fn targets(&self) -> Vec<Target> {
        self.places().map(|(target, _)| target.clone()).collect()
    }
}

/// One TLS implementation in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// The family: `openssl`, which includes BoringSSL, AWS-LC and LibreSSL by their names; `boringssl`, without any;
    /// `gnutls`; `nss`; `s2n`; `jsse`, in the library that JVMs are given; `go`; `rustls`; `unknown`, which cannot be
    /// captured.
    pub name: &'static str,
    /// As the implementation names its version, where it can be told.
    pub version: Option<String>,
    pub targets: Vec<Target>,
    /// Why each place was chosen, in the order of `targets`.
    pub placements: Vec<Placement>,
    /// Why it cannot be captured; then there are no targets.
    pub refused: Option<String>,
}

impl Stack {
    /// Its places, with why each was chosen.
    pub fn places(&self) -> impl Iterator<Item = (&Target, &Placement)> {
        std::iter::zip(&self.targets, &self.placements)
    }
}

/// How a target's place was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    pub method: Method,
    /// Mnemonic of the instruction under the probe.
    pub instruction: String,
    /// Bytes from the function's entry to the probe.
    pub offset: u64,
    /// The kernel emulates this instruction; where it doesn't, each hit costs a single step.
    pub emulated: bool,
    /// The byte of the file under the probe: other bytes in a process's memory mean that a probe is there.
    #[serde(skip)]
    pub file_byte: u8,
}

/// Which kind of function is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The function that the symbol names.
    Exported,
    /// A function without a name that the exported ones call.
    Internal,
    /// A function without a name that reports errors which only it does.
    ErrorReports,
    /// The function that the program's own table of functions names, which stripping leaves.
    FunctionTable,
    /// A method in a table of methods, told by the table's form and by what its code reads.
    MethodTable,
}

/// Why a file could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error("not an ELF file")]
    NotElf,
    #[error("{0}: only 64-bit little-endian x86-64 programs and libraries can be probed")]
    Unsupported(&'static str),
    #[error("damaged ELF file: {0} lies outside the file")]
    Damaged(&'static str),
    #[error("symbol tables are larger than {} MiB, or name the same functions over and over", MAX_READ >> 20)]
    TooLarge,
    #[error("looking for TLS functions in it took longer than {} s, and was given up", MAX_TIME.as_secs())]
    TooLong,
    #[error("cannot read the file: {0}")]
    Read(#[from] std::io::Error),
}

/// Scans the bytes of a whole file.
///
/// # Errors
/// Where the bytes are no x86-64 ELF file or are damaged. A file without TLS functions is no error.
pub fn scan(elf: &[u8]) -> Result<Scan, ScanError> {
    scan_from(&elf)
}

/// Scans an open file, reading only its headers, symbols and the code of the functions found: at most [`MAX_READ`], for
/// at most [`MAX_TIME`].
///
/// # Errors
/// As [`scan`], and where reading fails. The file may change or shrink meanwhile: that is an error or a scan of what
/// was read, never a fault.
pub fn scan_file(file: &File) -> Result<Scan, ScanError> {
    scan_file_within(file, MAX_TIME)
}

/// The same within another time.
///
/// # Errors
/// As [`scan_file`].
pub fn scan_file_within(file: &File, time: Duration) -> Result<Scan, ScanError> {
    scan_from(&FileBytes::until(file, Instant::now() + time)?)
}

fn scan_from<B: ReadAt>(bytes: &B) -> Result<Scan, ScanError> {
    let image = Image::parse(bytes)?;
    let build_id = image.build_id()?;
    let mut openssl = openssl::find(&image)?;
    if openssl.is_none() {
        openssl = boring::find(&image)?;
    }
    if openssl.is_none() {
        openssl = reported::find(&image)?;
    }
    let stacks = [
        openssl,
        gnutls::find(&image)?,
        nss::find(&image)?,
        s2n::find(&image)?,
        jsse::find(&image)?,
        go::find(&image)?,
        rustls::find(&image)?,
    ];
    let mut stacks: Vec<Stack> = stacks.into_iter().flatten().collect();
    if stacks.is_empty() {
        stacks.extend(unknown::find(&image)?);
    }
    for stack in &mut stacks {
        allowed::keep(bytes, stack)?;
        if stack.version.is_none() {
            stack.version = match version::find(&image, stack.name) {
                // Too much was read for its places, which count for more.
                Err(ScanError::TooLarge | ScanError::TooLong) => None,
                found => found?,
            };
        }
    }
    Ok(Scan { build_id, stacks })
}

#[cfg(test)]
mod built;
#[cfg(test)]
mod tests;
