//! BoringSSL inside a program without symbols (Envoy, Bun, Chromium's family).
//!
//! Each report of an error names its source file and its reason: `ERR_put_error(16, 0, reason, "…/ssl_lib.cc", line)`.
//! Both survive stripping, and the numbers of reasons never change. The functions are told by their reasons, by the
//! order of their lines in the source file, and by who calls whom; where any of that does not fit exactly one
//! function, nothing is probed.
//! Holds: every place is the entry of a function that something calls directly, or reached from it by decoding.

mod entries;
mod reports;
mod xref;

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::image::{Image, Load};
use super::{Method, ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};
use entries::Entries;
use memchr::memmem;
use reports::Reporter;

/// The file in which the functions are, as the compiler was given it: `.cc`, and `.c` before 2017.
const FILE: &[u8] = b"/ssl_lib.c";

/// How much is looked at in one read, bytes.
const PIECE: u64 = 1 << 20;

/// Copies of the file's name that are looked for.
const MAX_NAMES: usize = 8;

/// A program with less code than this holds no BoringSSL beside what it is for, bytes.
const LEAST_CODE: u64 = 512 << 10;

/// What is looked through at the most, bytes. Chromium has some 250 MB.
const MOST_CONSTANTS: u64 = 400 << 20;

/// Reasons (`include/openssl/ssl.h`, `include/openssl/err.h` of BoringSSL).
mod reason {
    pub const SHOULD_NOT_HAVE_BEEN_CALLED: u32 = 66;
    pub const BAD_LENGTH: u32 = 111;
    pub const CONNECTION_TYPE_NOT_SET: u32 = 134;
    pub const NULL_SSL_CTX: u32 = 185;
    pub const SSL_HANDSHAKE_FAILURE: u32 = 215;
    pub const UNINITIALIZED: u32 = 226;
}

/// The places to probe; `None` where there is no BoringSSL, or its functions cannot be told for certain.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let code: Vec<Load> = image.loads().filter(|load| load.executable).collect();
    let size = |loads: &[Load]| {
        loads
            .iter()
            .fold(0u64, |n, load| n.saturating_add(load.size))
    };
    let constants: Vec<Load> = image.loads().filter(|load| !load.writable).collect();
    if size(&code) < LEAST_CODE || size(&constants) > MOST_CONSTANTS {
        return Ok(None);
    }
    let names = names(image)?;
    if names.is_empty() {
        return Ok(None);
    }
    let found = xref::scan(image, &code, &names)?;
    let entries = Entries::new(image, found.called)?;
    let reporters = reports::collect(image, &entries, &found.references)?;
    let Some(functions) = Functions::told(&reporters) else {
        return Ok(None);
    };
    functions.stack(image).map(Some)
}

/// Addresses at which a name of the source file begins: it may stand in more than one unit.
fn names<B: ReadAt>(image: &Image<'_, B>) -> Result<Vec<u64>, ScanError> {
    let readable: Vec<Load> = image.loads().filter(|l| !l.writable).collect();
    // Older linkers put constants in front of the code, in one segment.
    let separate = readable.iter().any(|load| !load.executable);
    let mut names = Vec::new();
    for load in readable.iter().filter(|l| !l.executable || !separate) {
        // A path is in one piece with what stands before it, up to as many bytes.
        let overlap = 512;
        pieces(image, load, overlap, |from, piece| {
            for at in memmem::find_iter(piece, FILE) {
                if let Some(start) = name_start(piece, at, from == 0)
                    && let Some(address) = load.address.checked_add(from + start as u64)
                    && !names.contains(&address)
                    && names.len() < MAX_NAMES
                {
                    names.push(address);
                }
            }
        })?;
    }
    Ok(names)
}

/// Where the text begins that goes on with [`FILE`] at `at` and ends behind it. `first`: nothing is before the piece.
fn name_start(piece: &[u8], at: usize, first: bool) -> Option<usize> {
    let end = piece.get(at + FILE.len()..)?;
    if !(end.starts_with(b"\0") || end.starts_with(b"c\0")) {
        return None;
    }
    let before = piece.get(..at)?;
    let text = before.iter().rev();
    let text = text.take_while(|b| matches!(b, 0x20..=0x7e)).count();
    // The piece may begin inside the text: the one before it has the whole.
    (text < at || first).then_some(at - text)
}

/// Reads a segment in pieces that end `overlap` bytes inside the next.
fn pieces<B: ReadAt>(
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

/// The functions that are probed, each certain.
struct Functions<'r> {
    read: &'r Reporter,
    write: &'r Reporter,
    handshake: Option<&'r Reporter>,
    new: Option<&'r Reporter>,
}

impl<'r> Functions<'r> {
    /// Told by their reasons: `ssl_read_impl` and `SSL_write` by two that no other function has together,
    /// `SSL_read` by the one of `SSL_peek`, which is part of it, its call of `ssl_read_impl`, and that it takes
    /// something away. The lines of the three stand in this order in every version.
    fn told(all: &'r [Reporter]) -> Option<Self> {
        let moves =
            |r: &&Reporter| r.has(reason::UNINITIALIZED) && r.has(reason::SSL_HANDSHAKE_FAILURE);
        let write = only(
            all.iter()
                .filter(moves)
                .filter(|r| r.has(reason::BAD_LENGTH)),
        )?;
        let inner = only(
            all.iter()
                .filter(moves)
                .filter(|r| !r.has(reason::BAD_LENGTH)),
        )?;
        let between = |r: &&Reporter| {
            r.lines()
                .all(|l| inner.lines().all(|i| i < l) && write.lines().all(|w| l < w))
        };
        let reads = all.iter().filter(|r| {
            r.has(reason::SHOULD_NOT_HAVE_BEEN_CALLED) && !r.has(reason::UNINITIALIZED)
        });
        let read = only(
            reads
                .filter(|r| r.calls(inner.entry) && r.stores)
                .filter(between),
        )?;
        let before = |r: &&Reporter| r.lines().all(|l| inner.lines().all(|i| l < i));
        let told = |reason| only(all.iter().filter(|r| r.has(reason)).filter(before));
        Some(Functions {
            read,
            write,
            handshake: told(reason::CONNECTION_TYPE_NOT_SET),
            new: told(reason::NULL_SSL_CTX),
        })
    }

    fn stack<B: ReadAt>(&self, image: &Image<'_, B>) -> Result<Stack, ScanError> {
        let mut chosen = Chosen::new(image);
        let (int, none) = (CallResult::Int, CallResult::None);
        let all = [
            (Some(self.read), TlsCall::Read, int, "SSL_read"),
            (Some(self.write), TlsCall::Write, int, "SSL_write"),
            (self.handshake, TlsCall::Handshake, none, "SSL_do_handshake"),
            (self.new, TlsCall::New, none, "SSL_new"),
        ];
        for (function, call, result, name) in all {
            if let Some(function) = function {
                let what = (call, result, Method::ErrorReports);
                chosen.function(function.entry, function.size, what, name.to_owned())?;
            }
        }
        Ok(chosen.into_stack("boringssl"))
    }
}

/// The one, where there is exactly one.
fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let one = all.next()?;
    all.next().is_none().then_some(one)
}

#[cfg(test)]
mod tests;
