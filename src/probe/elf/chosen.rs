//! Targets as they are chosen: where in a function its probe stands.

use super::bytes::ReadAt;
use super::code::{self, Needs, Place};
use super::image::{Function, Image};
use super::{Method, Placement, ScanError, Stack};
use crate::probe::target::{CallResult, Target, TlsCall};
use iced_x86::{Mnemonic, Register};

/// How much of one function is read, bytes.
const MAX_FUNCTION: u64 = 64 << 10;
/// How much is read where a symbol has no size, bytes.
pub const UNSIZED_FUNCTION: u64 = 256;

/// How much of a function is read, bytes.
pub fn function_size(function: &Function) -> u64 {
    match function.size {
        0 => UNSIZED_FUNCTION,
        size => size.min(MAX_FUNCTION),
    }
}

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

/// What the probe of such a call needs of the code before it.
pub fn needs(call: TlsCall, result: CallResult) -> Needs {
    let arguments: &'static [Register] = match (call, result) {
        (TlsCall::New, _) => &[],
        (TlsCall::Handshake | TlsCall::Free, _) => &SESSION,
        (_, CallResult::Ex { out_arg: 4.. }) => &ARGUMENTS_5,
        (_, CallResult::Ex { .. }) => &ARGUMENTS_4,
        (_, CallResult::Descriptor { flags: true }) => &ARGUMENTS_4,
        (
            _,
            CallResult::Int
            | CallResult::Length
            | CallResult::All
            | CallResult::Descriptor { .. }
            | CallResult::None,
        ) => &ARGUMENTS_3,
    };
    Needs {
        arguments,
        returns: call != TlsCall::Free,
    }
}

/// What is found, as it grows.
pub struct Chosen<'i, 'b, B> {
    image: &'i Image<'b, B>,
    targets: Vec<Target>,
    placements: Vec<Placement>,
}

impl<'i, 'b, B: ReadAt> Chosen<'i, 'b, B> {
    pub fn new(image: &'i Image<'b, B>) -> Self {
        Chosen {
            image,
            targets: Vec::new(),
            placements: Vec::new(),
        }
    }

    pub fn image(&self) -> &'i Image<'b, B> {
        self.image
    }

    /// What was chosen, as the stack of this name.
    pub fn into_stack(self, name: &'static str) -> Stack {
        Stack {
            name,
            version: None,
            targets: self.targets,
            placements: self.placements,
            refused: None,
        }
    }

    /// Probes the function of `size` bytes at its cheapest place.
    pub fn function(
        &mut self,
        entry: u64,
        size: u64,
        what: (TlsCall, CallResult, Method),
        symbol: String,
    ) -> Result<(), ScanError> {
        let code = self.image.code(entry, size.min(MAX_FUNCTION))?;
        let place = code::place(&code, entry, needs(what.0, what.1));
        self.push(entry, place, what, symbol)
    }

    /// Probes a function at `place`, or at its entry where there is none.
    pub fn push(
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
