//! OpenSSL inside a program without symbols (CMake, programs made by PyInstaller, vendors' agents).
//!
//! Each report of an error names its function: since 3.0 by its name, `ERR_set_debug("ssl/ssl_lib.c", line, "SSL_read")`;
//! before by its number, `ERR_put_error(20, 223, reason, "ssl/ssl_lib.c", line)`. Both survive stripping, and the numbers
//! never change (`include/openssl/sslerr.h`). Where one function of a name is not exactly one function, nothing is probed.
//! Holds: every place is the entry of a function that something calls directly, or reached from it by decoding.

use super::bytes::ReadAt;
use super::chosen::Chosen;
use super::code;
use super::image::Image;
use super::reports::entries::{Entries, Extent};
use super::reports::{self, NEAR, constant, texts, xref};
use super::{Method, ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};
use iced_x86::Register;
use std::collections::{BTreeMap, BTreeSet};

/// The source file with all of these functions, in every version.
const FILE: &[u8] = b"ssl_lib.c";

/// The number of the SSL library in reports.
const SSL_LIBRARY: u32 = 20;

/// A function, its name, and its numbers in reports before 3.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Read,
    ReadInternal,
    Write,
    WriteInternal,
    Handshake,
    New,
}

const NAMES: [(Name, &str, u32); 6] = [
    (Name::Read, "SSL_read", 223),
    (Name::ReadInternal, "ssl_read_internal", 523),
    (Name::Write, "SSL_write", 208),
    (Name::WriteInternal, "ssl_write_internal", 524),
    (Name::Handshake, "SSL_do_handshake", 180),
    (Name::New, "SSL_new", 186),
];

/// The reason that the function reports which does the work: the session has no method yet.
const UNINITIALIZED: u32 = 276;

/// The places to probe; `None` where there is no OpenSSL, or its functions cannot be told for certain.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let Some(code) = reports::code_of(image) else {
        return Ok(None);
    };
    let files = texts::sources(image, FILE)?;
    if files.is_empty() {
        return Ok(None);
    }
    let names = texts::named(image, &NAMES.map(|(_, text, _)| text))?;
    let named = names.iter().map(|(_, address)| *address);
    let all: Vec<u64> = files.iter().copied().chain(named).collect();
    let found = xref::scan(image, &code, &all)?;
    let entries = Entries::new(image, found.called)?;
    let mut functions: BTreeMap<u64, Function> = BTreeMap::new();
    for (at, text) in found.references {
        let Some(extent) = entries.containing(at)? else {
            continue;
        };
        let of_name = names.iter().find(|(_, address)| *address == text);
        let function = functions
            .entry(extent.entry)
            .or_insert_with(|| Function::new(extent));
        match of_name.and_then(|(index, _)| NAMES.get(*index)) {
            Some((name, _, _)) => function.names.push((at, *name)),
            None => function.files.push(at),
        }
    }
    let mut reporters = Vec::new();
    for (entry, function) in functions {
        let called = entries.around(entry)?.is_some();
        reporters.extend(function.reporter(image, called)?);
    }
    let reads = Moves::told(&reporters, Name::Read, Name::ReadInternal);
    let writes = Moves::told(&reporters, Name::Write, Name::WriteInternal);
    match (reads, writes) {
        (Some(reads), Some(writes)) => stack(image, &reporters, [reads, writes]).map(Some),
        _ => Ok(None),
    }
}

/// A function, and where it refers to what.
struct Function {
    extent: Extent,
    names: Vec<(u64, Name)>,
    files: Vec<u64>,
}

impl Function {
    fn new(extent: Extent) -> Function {
        Function {
            extent,
            names: Vec::new(),
            files: Vec::new(),
        }
    }

    /// What it reports; `None` where none of the references is an instruction of it, or none tells a function.
    fn reporter<B: ReadAt>(
        self,
        image: &Image<'_, B>,
        called: bool,
    ) -> Result<Option<Reporter>, ScanError> {
        let Extent { entry, size } = self.extent;
        let code = image.code(entry, size)?;
        let mut found = Reporter {
            extent: self.extent,
            names: BTreeSet::new(),
            uninitialized: false,
            called,
            code: Vec::new(),
        };
        let mut constants: Vec<(u64, Register, u32)> = Vec::new();
        let mut files = Vec::new();
        for instruction in code::instructions(&code, entry) {
            let at = instruction.ip();
            let named = self.names.iter().filter(|(of, _)| *of == at);
            found.names.extend(named.map(|(_, name)| *name));
            files.extend(self.files.iter().filter(|of| **of == at));
            if let Some((register, value)) = constant(&instruction) {
                constants.push((at, register, value));
            }
        }
        for file in files {
            let near = |wanted| {
                constants
                    .iter()
                    .filter(move |(at, register, _)| {
                        *register == wanted && at.abs_diff(file) <= NEAR
                    })
                    .map(|(_, _, value)| *value)
            };
            // As the reason in 3.0, of any library.
            found.uninitialized |= near(Register::ESI).any(|reason| reason == UNINITIALIZED);
            if near(Register::EDI).any(|library| library == SSL_LIBRARY) {
                found.uninitialized |= near(Register::EDX).any(|reason| reason == UNINITIALIZED);
                let of_number = |number| NAMES.iter().find(|(_, _, of)| *of == number);
                let told = near(Register::ESI).filter_map(of_number);
                // From 3.0 on a number is that of a line or a reason.
                if self.names.is_empty() && near(Register::R8D).next().is_some() {
                    found.names.extend(told.map(|(name, _, _)| *name));
                }
            }
        }
        found.code = code;
        Ok((!found.names.is_empty()).then_some(found))
    }
}

/// A function that reports errors under a name that is looked for.
struct Reporter {
    extent: Extent,
    /// Several where one is part of the other.
    names: BTreeSet<Name>,
    /// It reports that the session has no method yet.
    uninitialized: bool,
    /// Something calls it directly.
    called: bool,
    code: Vec<u8>,
}

/// The one that reports under exactly this name, where it is the only one that reports under it.
fn only(all: &[Reporter], name: Name) -> Option<&Reporter> {
    let mut of_name = all.iter().filter(|r| r.names.contains(&name));
    let one = of_name.next()?;
    (of_name.next().is_none() && one.names.len() == 1).then_some(one)
}

/// The function through which all reads or all writes go.
struct Moves<'r> {
    function: &'r Reporter,
    result: CallResult,
    /// It has another caller than `SSL_read` or `SSL_write`.
    internal: bool,
}

impl<'r> Moves<'r> {
    /// From 1.1.1 on `SSL_read` and `SSL_read_ex` call one function, with a pointer to the count in the last argument.
    /// Before, `SSL_read` does it all.
    fn told(all: &'r [Reporter], plain: Name, internal: Name) -> Option<Moves<'r>> {
        let plain = only(all, plain)?;
        if !all.iter().any(|r| r.names.contains(&internal)) {
            return (plain.uninitialized && plain.called).then_some(Moves {
                function: plain,
                result: CallResult::Int,
                internal: false,
            });
        }
        let function = only(all, internal)?;
        let out = code::stack_argument(
            &plain.code,
            plain.extent.entry,
            function.extent.entry,
            &[Register::RCX, Register::R8],
            &[Register::RDI, Register::RSI],
        );
        let out_arg = match out? {
            Register::RCX => 3,
            Register::R8 => 4,
            _ => return None,
        };
        (function.uninitialized && function.called).then_some(Moves {
            function,
            result: CallResult::Ex { out_arg },
            internal: true,
        })
    }
}

fn stack<B: ReadAt>(
    image: &Image<'_, B>,
    reporters: &[Reporter],
    [reads, writes]: [Moves<'_>; 2],
) -> Result<Stack, ScanError> {
    let mut chosen = Chosen::new(image);
    let symbol = |moves: &Moves<'_>, plain: &str, internal: &str| match moves.internal {
        true => internal.to_owned(),
        false => plain.to_owned(),
    };
    let read = symbol(&reads, "SSL_read", "ssl_read_internal");
    let write = symbol(&writes, "SSL_write", "ssl_write_internal");
    let callable = |name| only(reporters, name).filter(|r| r.called);
    let (handshake, new) = (callable(Name::Handshake), callable(Name::New));
    let none = CallResult::None;
    let all = [
        (Some(reads.function), TlsCall::Read, reads.result, read),
        (Some(writes.function), TlsCall::Write, writes.result, write),
        (
            handshake,
            TlsCall::Handshake,
            none,
            "SSL_do_handshake".to_owned(),
        ),
        (new, TlsCall::New, none, "SSL_new".to_owned()),
    ];
    for (function, call, result, name) in all {
        if let Some(Reporter { extent, .. }) = function {
            let what = (call, result, Method::ErrorReports);
            chosen.function(extent.entry, extent.size, what, name)?;
        }
    }
    Ok(chosen.into_stack("openssl"))
}

#[cfg(test)]
mod tests;
