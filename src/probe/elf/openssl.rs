//! Choosing places in the OpenSSL family: every file that defines `SSL_read` and `SSL_write`.
//!
//! Two goals: each byte that a program reads or writes is seen once, whichever function it uses; and each probe stands
//! on an instruction that the kernel emulates (single-stepping costs some ten times more).

use super::bytes::ReadAt;
use super::code::{self, Exit, Needs, Place};
use super::image::{Function, Image, Symbols};
use super::{Method, Placement, ScanError, Stack};
use crate::probe::target::{CallResult, Target, TlsCall};
use iced_x86::{Mnemonic, Register};
use std::collections::HashSet;

/// How much of one function is read, bytes.
const MAX_FUNCTION: u64 = 64 << 10;
/// How much is read where a symbol has no size, bytes.
const UNSIZED_FUNCTION: u64 = 256;

struct Export {
    name: &'static str,
    call: TlsCall,
    result: CallResult,
    /// Every program's bytes go through one of these; the others are for early data alone.
    main: bool,
}

const fn export(name: &'static str, call: TlsCall, result: CallResult, main: bool) -> Export {
    Export {
        name,
        call,
        result,
        main,
    }
}

const EX3: CallResult = CallResult::Ex { out_arg: 3 };
const EX4: CallResult = CallResult::Ex { out_arg: 4 };

const SSL_READ: usize = 0;
const SSL_READ_EX: usize = 1;
const SSL_WRITE: usize = 3;
const SSL_WRITE_EX: usize = 4;
const SSL_WRITE_EX2: usize = 5;
/// Where the names begin that are looked at and never probed: peeking takes nothing from the stream.
const PEEKS: usize = 11;

const EXPORTS: [Export; PEEKS] = [
    export("SSL_read", TlsCall::Read, CallResult::Int, true),
    export("SSL_read_ex", TlsCall::Read, EX3, true),
    export("SSL_read_early_data", TlsCall::Read, EX3, false),
    export("SSL_write", TlsCall::Write, CallResult::Int, true),
    export("SSL_write_ex", TlsCall::Write, EX3, true),
    export("SSL_write_ex2", TlsCall::Write, EX4, true),
    export("SSL_write_early_data", TlsCall::Write, EX3, false),
    export(
        "SSL_do_handshake",
        TlsCall::Handshake,
        CallResult::None,
        true,
    ),
    export("SSL_connect", TlsCall::Handshake, CallResult::None, true),
    export("SSL_accept", TlsCall::Handshake, CallResult::None, true),
    export("SSL_free", TlsCall::Free, CallResult::None, true),
];
const PEEK_NAMES: [&str; 2] = ["SSL_peek", "SSL_peek_ex"];

const SESSION: [Register; 1] = [Register::RDI];
const ARGUMENTS_3: [Register; 3] = [Register::RDI, Register::RSI, Register::RDX];
const ARGUMENTS_4: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];
const ARGUMENTS_5: [Register; 5] = [
    Register::RDI,
    Register::RSI,
    Register::RDX,
    Register::RCX,
    Register::R8,
];

fn needs(call: TlsCall, result: CallResult) -> Needs {
    let arguments: &'static [Register] = match (call, result) {
        (TlsCall::Handshake | TlsCall::Free, _) => &SESSION,
        (_, CallResult::Ex { out_arg: 4.. }) => &ARGUMENTS_5,
        (_, CallResult::Ex { .. }) => &ARGUMENTS_4,
        (_, CallResult::Int | CallResult::None) => &ARGUMENTS_3,
    };
    Needs {
        arguments,
        returns: call != TlsCall::Free,
    }
}

/// One of the named functions, as it is in this file.
struct Known {
    /// Index into `EXPORTS`, or beyond it a peek.
    name: usize,
    address: u64,
    code: Vec<u8>,
    exits: HashSet<Exit>,
}

impl Known {
    fn export(&self) -> Option<&'static Export> {
        EXPORTS.get(self.name)
    }
}

/// The places to probe; `None` where the file is not of this family.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let names: Vec<&str> = EXPORTS.iter().map(|e| e.name).chain(PEEK_NAMES).collect();
    let symbols = image.find("SSL_", &names, &[SSL_READ, SSL_WRITE])?;
    if symbols.functions.is_empty() {
        return Ok(None);
    }
    let family = Family::read(image, symbols)?;
    let mut out = Chosen {
        image,
        targets: Vec::new(),
        placements: Vec::new(),
    };
    for call in [
        TlsCall::Read,
        TlsCall::Write,
        TlsCall::Handshake,
        TlsCall::Free,
    ] {
        family.choose(call, &mut out)?;
    }
    Ok(Some(Stack {
        name: "openssl",
        version: None,
        targets: out.targets,
        placements: out.placements,
        refused: None,
    }))
}

struct Family {
    known: Vec<Known>,
}

impl Family {
    fn read<B: ReadAt>(image: &Image<'_, B>, symbols: Symbols) -> Result<Self, ScanError> {
        let mut known = Vec::new();
        let mut names: Vec<(&usize, &Function)> = symbols.functions.iter().collect();
        names.sort_by_key(|(name, _)| **name);
        for (name, function) in names {
            // Two names for one function: one probe.
            if known.iter().any(|k: &Known| k.address == function.address) {
                continue;
            }
            let size = match function.size {
                0 => UNSIZED_FUNCTION,
                size => size.min(MAX_FUNCTION),
            };
            let code = image.code(function.address, size)?;
            let mut exits = HashSet::new();
            for exit in code::exits(&code, function.address) {
                exits.insert(resolve(image, &symbols, exit)?);
            }
            known.push(Known {
                name: *name,
                address: function.address,
                code,
                exits,
            });
        }
        Ok(Family { known })
    }

    fn of(&self, name: usize) -> Option<&Known> {
        self.known.iter().find(|k| k.name == name)
    }

    fn choose<B: ReadAt>(
        &self,
        call: TlsCall,
        out: &mut Chosen<'_, '_, B>,
    ) -> Result<(), ScanError> {
        let all: Vec<&Known> = self
            .known
            .iter()
            .filter(|k| k.export().is_some_and(|e| e.call == call))
            .collect();
        let exported = outermost_left_out(&all);
        let placed: Vec<(&Known, Option<Place>)> =
            exported.iter().map(|k| (*k, cheap(k))).collect();
        if placed.iter().all(|(_, place)| place.is_some()) {
            return out.exported(&placed);
        }
        let Some(internal) = self.internal(call, &all, out.image)? else {
            return out.exported(&placed);
        };
        let rest: Vec<_> = placed
            .into_iter()
            .filter(|(k, _)| !reaches(k, internal.address, &all))
            .collect();
        out.internal(call, &internal)?;
        out.exported(&rest)
    }

    /// The function without a name through which all reads or all writes go.
    fn internal<B: ReadAt>(
        &self,
        call: TlsCall,
        all: &[&Known],
        image: &Image<'_, B>,
    ) -> Result<Option<Internal>, ScanError> {
        let Some((plain, ex, out_arg)) = self.callers(call) else {
            return Ok(None);
        };
        let result = CallResult::Ex { out_arg };
        let Needs { arguments, .. } = needs(call, result);
        let Some(address) = code::first_call(&ex.code, ex.address, arguments) else {
            return Ok(None);
        };
        let out_register = code::stack_argument(
            &plain.code,
            plain.address,
            address,
            &[Register::RCX, Register::R8],
            &[Register::RDI, Register::RSI],
        );
        let agreed = out_register.as_ref() == arguments.last();
        let others = self
            .known
            .iter()
            .filter(|k| !all.iter().any(|a| a.name == k.name));
        let only_this_call = others
            .into_iter()
            .all(|k| k.address != address && !k.exits.contains(&Exit::Code(address)));
        let complete = all
            .iter()
            .filter(|k| k.export().is_some_and(|e| e.main))
            .all(|k| k.address != address && reaches(k, address, all));
        if !(agreed && only_this_call && complete) {
            return Ok(None);
        }
        let code = image.code(address, UNSIZED_FUNCTION)?;
        let place = code::place(&code, address, needs(call, result));
        // Without a symbol the function's extent is unknown: take nothing but its first instruction.
        let endbr = code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]);
        let first = |p: &Place| p.offset == 0 || (endbr && p.offset == 4);
        Ok(place.filter(first).map(|place| Internal {
            address,
            result,
            place,
        }))
    }

    /// The exported functions whose agreement tells the internal one: the one that returns the count, the one that
    /// stores it, and where that gets the pointer.
    fn callers(&self, call: TlsCall) -> Option<(&Known, &Known, u8)> {
        match call {
            TlsCall::Read => Some((self.of(SSL_READ)?, self.of(SSL_READ_EX)?, 3)),
            TlsCall::Write => {
                let plain = self.of(SSL_WRITE)?;
                match self.of(SSL_WRITE_EX2) {
                    Some(ex2) => Some((plain, ex2, 4)),
                    None => Some((plain, self.of(SSL_WRITE_EX)?, 3)),
                }
            }
            TlsCall::Handshake | TlsCall::Free | TlsCall::Peek => None,
        }
    }
}

struct Internal {
    address: u64,
    result: CallResult,
    place: Place,
}

/// An exit with the linkage table seen through, as far as it leads to a named function of this file.
fn resolve<B: ReadAt>(
    image: &Image<'_, B>,
    symbols: &Symbols,
    exit: Exit,
) -> Result<Exit, ScanError> {
    let slot = match exit {
        Exit::Slot(slot) => Some(slot),
        Exit::Code(address) => code::linkage_slot(&image.code(address, 16)?, address),
    };
    Ok(slot
        .and_then(|slot| symbols.slots.get(&slot))
        .and_then(|name| symbols.functions.get(name))
        .map_or(exit, |function| Exit::Code(function.address)))
}

/// The functions that do their work themselves. One that goes through another of them would be seen twice.
fn outermost_left_out<'k>(all: &[&'k Known]) -> Vec<&'k Known> {
    let goes_through = |k: &Known, other: &Known| {
        other.address != k.address
            && k.exits.contains(&Exit::Code(other.address))
            && !other.exits.contains(&Exit::Code(k.address))
    };
    let inner: Vec<&Known> = all
        .iter()
        .copied()
        .filter(|k| !all.iter().any(|other| goes_through(k, other)))
        .collect();
    if inner.is_empty() {
        all.to_vec()
    } else {
        inner
    }
}

/// Whether `from` calls `address`, itself or through others of `all`.
fn reaches(from: &Known, address: u64, all: &[&Known]) -> bool {
    let mut seen = HashSet::new();
    let mut next = vec![from];
    while let Some(known) = next.pop() {
        if known.exits.contains(&Exit::Code(address)) {
            return true;
        }
        if seen.insert(known.address) {
            let calls = |k: &&&Known| known.exits.contains(&Exit::Code(k.address));
            next.extend(all.iter().filter(calls).copied());
        }
    }
    false
}

fn cheap(known: &Known) -> Option<Place> {
    let export = known.export()?;
    let needs = needs(export.call, export.result);
    code::place(&known.code, known.address, needs)
}

/// What is found, as it grows.
struct Chosen<'i, 'b, B> {
    image: &'i Image<'b, B>,
    targets: Vec<Target>,
    placements: Vec<Placement>,
}

impl<B: ReadAt> Chosen<'_, '_, B> {
    /// Probes each function at its cheap place, or at its entry where it has none.
    fn exported(&mut self, functions: &[(&Known, Option<Place>)]) -> Result<(), ScanError> {
        for (known, place) in functions {
            if let Some(export) = known.export() {
                let symbol = export.name.to_owned();
                let what = (export.call, export.result, Method::Exported);
                self.push(known.address, *place, what, symbol)?;
            }
        }
        Ok(())
    }

    fn internal(&mut self, call: TlsCall, internal: &Internal) -> Result<(), ScanError> {
        let symbol = match call {
            TlsCall::Write => "ssl_write_internal (from SSL_write)",
            _ => "ssl_read_internal (from SSL_read)",
        };
        let what = (call, internal.result, Method::Internal);
        self.push(
            internal.address,
            Some(internal.place),
            what,
            symbol.to_owned(),
        )
    }

    fn push(
        &mut self,
        entry: u64,
        place: Option<Place>,
        (call, result, method): (TlsCall, CallResult, Method),
        symbol: String,
    ) -> Result<(), ScanError> {
        let outside = || ScanError::Damaged("a function's code");
        let offset = place.map_or(0, |p| p.offset);
        let address = entry.checked_add(offset).ok_or_else(outside)?;
        let code = self.image.code(address, 16)?;
        let mnemonic = place.map_or_else(|| code::mnemonic(&code), |p| Some(p.mnemonic));
        let (Some(mnemonic), Some(file_byte)) = (mnemonic, code.first()) else {
            return Err(ScanError::Damaged("a function's code"));
        };
        let file_offset = self.image.file_offset(address).ok_or_else(outside)?;
        self.targets
            .push(Target::call(file_offset, call, result, symbol));
        self.placements.push(Placement {
            method,
            instruction: name(mnemonic),
            offset,
            emulated: place.is_some(),
            file_byte: *file_byte,
        });
        Ok(())
    }
}

fn name(mnemonic: Mnemonic) -> String {
    format!("{mnemonic:?}").to_lowercase()
}
