//! BoringSSL inside a program without symbols (Envoy, Bun, Chromium's family).
//!
//! Each report of an error names its source file and its reason: `ERR_put_error(16, 0, reason, "…/ssl_lib.cc", line)`.
//! Both survive stripping, and the numbers of reasons never change. The functions are told by their reasons, by the
//! order of their lines in the source file, and by who calls whom; where any of that does not fit exactly one
//! function, nothing is probed.
//! Holds: every place is the entry of a function that something calls directly, or reached from it by decoding.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::image::Image;
use super::reports::entries::Entries;
use super::reports::{self, Reporter, texts, xref};
use super::{Method, ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};

/// The file in which the functions are, as the compiler was given it: `.cc`, and `.c` before 2017.
const FILE: &[u8] = b"ssl_lib.c";

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
    let Some(code) = reports::code_of(image) else {
        return Ok(None);
    };
    let names = texts::sources(image, FILE)?;
    if names.is_empty() {
        return Ok(None);
    }
    let found = xref::scan(image, &code, &names)?;
    let references: Vec<u64> = found.references.iter().map(|(at, _)| *at).collect();
    let entries = Entries::new(image, found.called)?;
    let reporters = reports::collect(image, &entries, &references)?;
    let Some(functions) = Functions::told(&reporters) else {
        return Ok(None);
    };
    functions.stack(image).map(Some)
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
