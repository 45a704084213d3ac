//! Choosing places in the OpenSSL family: every file that defines `SSL_read` and `SSL_write`.
//!
//! Two goals: each byte that a program reads or writes is seen once, whichever function it uses; and each probe stands
//! on an instruction that the kernel emulates (single-stepping costs some ten times more).

use super::bytes::ReadAt;
use super::chosen::{Chosen, UNSIZED_FUNCTION, needs};
use super::code::{self, Exit, Needs, Place};
use super::exports::{
    self, Export, Known, cheap, export, outermost_left_out, push_exported, reaches,
};
use super::image::Image;
use super::{Method, ScanError, Stack};
use crate::probe::target::{CallResult, TlsCall};
use iced_x86::Register;

const EX3: CallResult = CallResult::Ex { out_arg: 3 };
const EX4: CallResult = CallResult::Ex { out_arg: 4 };

const SSL_READ: usize = 0;
const SSL_READ_EX: usize = 1;
const SSL_WRITE: usize = 3;
const SSL_WRITE_EX: usize = 4;
const SSL_WRITE_EX2: usize = 5;
/// Where the names begin that are looked at and never probed: peeking takes nothing from the stream.
const PEEKS: usize = 11;

static EXPORTS: [Export; PEEKS] = [
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

/// The places to probe; `None` where the file is not of this family.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    let names: Vec<&str> = EXPORTS.iter().map(|e| e.name).chain(PEEK_NAMES).collect();
    let symbols = image.find("SSL_", &names, &[SSL_READ, SSL_WRITE])?;
    // `libgnutls-openssl` only passes on to what is probed itself.
    if symbols.functions.is_empty() || image.imports("gnutls_record_recv")? {
        return Ok(None);
    }
    let known = exports::read(image, &symbols, &EXPORTS)?;
    let family = Family { known };
    let mut out = Chosen::new(image);
    for call in [
        TlsCall::Read,
        TlsCall::Write,
        TlsCall::Handshake,
        TlsCall::Free,
    ] {
        family.choose(call, &mut out)?;
    }
    Ok(Some(out.into_stack("openssl")))
}

struct Family {
    known: Vec<Known>,
}

impl Family {
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
            .filter(|k| k.export.is_some_and(|e| e.call == call))
            .collect();
        let exported = outermost_left_out(&all);
        let placed: Vec<(&Known, Option<Place>)> =
            exported.iter().map(|k| (*k, cheap(k))).collect();
        if placed.iter().all(|(_, place)| place.is_some()) {
            return push_exported(out, &placed);
        }
        let Some(internal) = self.internal(call, &all, out.image())? else {
            return push_exported(out, &placed);
        };
        let rest: Vec<_> = placed
            .into_iter()
            .filter(|(k, _)| !reaches(k, internal.address, &all))
            .collect();
        push_internal(out, call, &internal)?;
        push_exported(out, &rest)
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
            .filter(|k| k.export.is_some_and(|e| e.main))
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
            TlsCall::Handshake | TlsCall::Free | TlsCall::Peek | TlsCall::New => None,
        }
    }
}

struct Internal {
    address: u64,
    result: CallResult,
    place: Place,
}

fn push_internal<B: ReadAt>(
    out: &mut Chosen<'_, '_, B>,
    call: TlsCall,
    internal: &Internal,
) -> Result<(), ScanError> {
    let symbol = match call {
        TlsCall::Write => "ssl_write_internal (from SSL_write)",
        _ => "ssl_read_internal (from SSL_read)",
    };
    let what = (call, internal.result, Method::Internal);
    let place = Some(internal.place);
    out.push(internal.address, place, what, symbol.to_owned())
}
