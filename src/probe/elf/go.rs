//! Choosing places in programs of Go: every file with `crypto/tls` in its function table.
//!
//! Enters: an image. Leaves: the places of `crypto/tls`, or why it cannot be captured. Holds: a place is chosen only in
//! a function whose code agrees with the table: it begins with the stack check that Go's compiler makes, and the other
//! end of that check saves the arguments in the registers that they are read from, calls the runtime's function for it
//! by the table, and comes back to the entry.
//!
//! Go moves its stacks, so nothing may change a return address: the return of a call is seen at each `ret` of the
//! function. The place at an entry is the branch of the stack check, which the kernel emulates; a call that finds its
//! stack too small comes by twice, and the kernel programs see by the flags which time is the first.
//!
//! Sources: `runtime/symtab.go`, `debug/gosym/pclntab.go`, `debug/buildinfo/buildinfo.go` and `cmd/compile/abi-internal.md`
//! of Go 1.17 to 1.27.

mod function;
mod info;
mod table;
#[cfg(test)]
mod tests;

use super::bytes::ReadAt;
use super::image::Image;
use super::{Method, Placement, ScanError, Stack};
use crate::probe::target::{GoPoint, Probe, Target};
use function::Function;
use iced_x86::Register;
use info::Version;
use std::collections::HashSet;
use table::{Span, Table};

/// What the user sees of this family.
const NAME: &str = "go";

const READ: &str = "crypto/tls.(*Conn).Read";
const WRITE: &str = "crypto/tls.(*Conn).Write";
const RECORD: &str = "crypto/tls.(*Conn).writeRecordLocked";
const CLOSE: &str = "crypto/tls.(*Conn).Close";
const CLIENT: &str = "crypto/tls.(*Conn).clientHandshake";
const SERVER: &str = "crypto/tls.(*Conn).serverHandshake";
const MORE_STACK: [&str; 2] = ["runtime.morestack_noctxt", "runtime.morestack"];

/// The first Go whose functions get their arguments in registers on x86-64.
const FIRST: Version = Version {
    major: 1,
    minor: 17,
};

/// Why a Go program cannot be captured.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "built with {0}, which passes arguments on the stack: Go 1.17 is the first that can be captured"
    )]
    TooOld(String),
    #[error("its function table is not found: packed or obfuscated programs cannot be captured")]
    NoTable,
    #[error(
        "its functions are not where its function table says: packed, or linked in a way that is not known"
    )]
    NoText,
    #[error("{0} is not the code that Go's compiler makes of it")]
    Unproven(&'static str),
    #[error("{0} is not in its function table")]
    Missing(&'static str),
    #[error("its function table is damaged: functions lie in each other")]
    Overlap,
    #[error("{0}")]
    Scan(#[from] ScanError),
}

/// The places to probe; `None` where the file is no Go program, or one without TLS.
pub fn find<B: ReadAt>(image: &Image<'_, B>) -> Result<Option<Stack>, ScanError> {
    if !info::is_go(image)? {
        return Ok(None);
    }
    let version = info::version(image).unwrap_or_default();
    let mut stack = Stack {
        name: NAME,
        version: (!version.is_empty()).then(|| version.clone()),
        targets: Vec::new(),
        placements: Vec::new(),
        refused: None,
    };
    match places(image, &version, &mut stack) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        // Its file could not be read, which may be different next time.
        Err(Refusal::Scan(ScanError::Read(error))) => return Err(ScanError::Read(error)),
        Err(refusal) => {
            stack.targets.clear();
            stack.placements.clear();
            stack.refused = Some(refusal.to_string());
        }
    }
    Ok(Some(stack))
}

/// Fills `stack`; false: there is no TLS in it.
fn places<B: ReadAt>(
    image: &Image<'_, B>,
    version: &str,
    stack: &mut Stack,
) -> Result<bool, Refusal> {
    let table = table::locate(image)?.ok_or(Refusal::NoTable)?;
    let old = || Refusal::TooOld(version.to_owned());
    if !table.has(READ)? {
        return Ok(false);
    }
    if Version::parse(version).is_some_and(|version| version < FIRST) {
        return Err(old());
    }
    let names: Vec<&str> = [READ, WRITE, RECORD, CLOSE, CLIENT, SERVER]
        .into_iter()
        .chain(MORE_STACK)
        .collect();
    let spans = table.spans(&names)?;
    let program = Program::prove(image, &table, &names, &spans)?;
    program.choose(stack)?;
    let places: HashSet<u64> = stack.targets.iter().map(|t| t.file_offset).collect();
    match places.len() == stack.targets.len() {
        true => Ok(true),
        false => Err(Refusal::Overlap),
    }
}

/// A program whose functions are known to be where its table says.
struct Program<'i, 'b, B> {
    image: &'i Image<'b, B>,
    names: &'i [&'i str],
    spans: &'i [Option<Span>],
    /// What is added to the table's addresses.
    base: u64,
    /// Entries of the runtime's functions that get more stack.
    more_stack: Vec<u64>,
}

impl<'i, 'b, B: ReadAt> Program<'i, 'b, B> {
    /// Tries each address at which the code may begin with `Read`.
    fn prove(
        image: &'i Image<'b, B>,
        table: &Table<'_, 'b, B>,
        names: &'i [&'i str],
        spans: &'i [Option<Span>],
    ) -> Result<Self, Refusal> {
        for base in table.bases()? {
            let mut program = Program {
                image,
                names,
                spans,
                base,
                more_stack: Vec::new(),
            };
            let entries = MORE_STACK.iter().filter_map(|name| program.address(name));
            program.more_stack = entries.map(|(entry, _)| entry).collect();
            if program.function(READ)?.is_some() {
                return Ok(program);
            }
        }
        Err(Refusal::NoText)
    }

    /// Entry and size of a function.
    fn address(&self, name: &str) -> Option<(u64, u64)> {
        let index = self.names.iter().position(|n| *n == name)?;
        let span = (*self.spans.get(index)?)?;
        let entry = self.base.checked_add(span.start)?;
        Some((entry, span.end.checked_sub(span.start)?))
    }

    /// A function's code, where it is in the table and the code agrees.
    fn function(&self, name: &str) -> Result<Option<Function>, ScanError> {
        let Some((entry, size)) = self.address(name) else {
            return Ok(None);
        };
        let code = self.image.code(entry, size.min(function::MAX_FUNCTION))?;
        Ok(Function::read(&code, entry, &self.more_stack))
    }

    fn choose(&self, stack: &mut Stack) -> Result<(), Refusal> {
        let read = self.needed(READ, &[Register::RAX, Register::RBX, Register::RCX])?;
        self.entry(READ, &read, GoPoint::Read, stack)?;
        self.returns(READ, &read, stack)?;
        self.writes(stack)?;
        // Programs that are only a client, or only a server, have one of these.
        for name in [CLIENT, SERVER] {
            if self.address(name).is_some() {
                let handshake = self.needed(name, &[Register::RAX])?;
                self.entry(name, &handshake, GoPoint::Handshake, stack)?;
                self.returns(name, &handshake, stack)?;
            }
        }
        if self.address(CLOSE).is_some() {
            let close = self.needed(CLOSE, &[Register::RAX])?;
            self.entry(CLOSE, &close, GoPoint::Close, stack)?;
        }
        Ok(())
    }

    /// Application data that is written is best seen where records are made: after the handshake, under the lock, in
    /// the order of the wire. `Write` must be seen to say so.
    fn writes(&self, stack: &mut Stack) -> Result<(), Refusal> {
        let (rax, rbx, rcx, rdi) = (Register::RAX, Register::RBX, Register::RCX, Register::RDI);
        let write = self.needed(WRITE, &[rax, rbx, rcx])?;
        if let Some(record) = self.function(RECORD)?
            && record.saves(&[rax, rbx, rcx, rdi])
            && write.passes(record.entry, rbx, function::APPLICATION_DATA)
        {
            return self.entry(RECORD, &record, GoPoint::Record, stack);
        }
        self.entry(WRITE, &write, GoPoint::Write, stack)
    }

    /// A function that must be there, with these arguments.
    fn needed(&self, name: &'static str, arguments: &[Register]) -> Result<Function, Refusal> {
        if self.address(name).is_none() {
            return Err(Refusal::Missing(name));
        }
        self.function(name)?
            .filter(|function| function.saves(arguments))
            .ok_or(Refusal::Unproven(name))
    }

    fn entry(
        &self,
        name: &str,
        function: &Function,
        point: GoPoint,
        stack: &mut Stack,
    ) -> Result<(), Refusal> {
        self.push(name, function, function.guard, point, stack)
    }

    fn returns(&self, name: &str, function: &Function, stack: &mut Stack) -> Result<(), Refusal> {
        for at in &function.returns {
            self.push(name, function, *at, GoPoint::Return, stack)?;
        }
        Ok(())
    }

    fn push(
        &self,
        name: &str,
        function: &Function,
        address: u64,
        point: GoPoint,
        stack: &mut Stack,
    ) -> Result<(), Refusal> {
        let outside = || Refusal::Scan(ScanError::Damaged("a function's code"));
        let file_offset = self.image.file_offset(address).ok_or_else(outside)?;
        let code = self.image.code(address, 1)?;
        stack.targets.push(Target {
            file_offset,
            probe: Probe::Go(point),
            symbol: name.to_owned(),
        });
        let at_return = point == GoPoint::Return;
        stack.placements.push(Placement {
            method: Method::FunctionTable,
            instruction: if at_return { "ret" } else { "jbe" }.to_owned(),
            offset: address.checked_sub(function.entry).ok_or_else(outside)?,
            emulated: !at_return,
            file_byte: *code.first().ok_or_else(outside)?,
        });
        Ok(())
    }
}
