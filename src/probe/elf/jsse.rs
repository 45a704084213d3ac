//! JSSE, Java's TLS: the library that a JVM is given (`src/probe/java/native/tap.c`), by the functions that it exports.
//!
//! They have the form of OpenSSL's, are called with all plaintext of the JVM, and do no socket I/O inside. The session's
//! memory has the random of its ClientHello.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::exports::{self, Export, export};
use super::image::Image;
use super::{ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};

const READ: usize = 0;
const WRITE: usize = 1;

static EXPORTS: [Export; 4] = [
    export("plainspan_jsse_read", TlsCall::Read, CallResult::Int, true),
    export(
        "plainspan_jsse_write",
        TlsCall::Write,
        CallResult::Int,
        true,
    ),
    export("plainspan_jsse_new", TlsCall::New, CallResult::None, true),
    export("plainspan_jsse_free", TlsCall::Free, CallResult::None, true),
];

/// The places to probe; `None` where the file is another one.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let names: Vec<&str> = EXPORTS.iter().map(|e| e.name).collect();
    let symbols = image.find_exported("plainspan_jsse_", &names, &[READ, WRITE])?;
    if symbols.functions.is_empty() {
        return Ok(None);
    }
    let known = exports::read(image, &symbols, &EXPORTS)?;
    let mut out = Chosen::new(image);
    exports::push_all(&mut out, &known)?;
    Ok(Some(out.into_stack("jsse")))
}
