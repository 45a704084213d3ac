//! Functions of a program without symbols, told by what they report.
//!
//! A report of an error names its source file, its reason, and in OpenSSL its function; all of it survives stripping.
//!
//! Enters: an image, and texts that reports name. Leaves: the functions that load the addresses of these, with the
//! constants beside. Holds: what is not certain is left out.

pub mod entries;
pub mod texts;
pub mod xref;

use super::ScanError;
use super::bytes::ReadAt;
use super::code;
use super::image::{Image, Load};
use entries::{Entries, Extent};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use std::collections::HashMap;

/// How far from the load of the file's name the other arguments of the same report are loaded, bytes.
pub const NEAR: u64 = 48;

/// Functions that are decoded. BoringSSL has some thirty that report.
const MAX_FUNCTIONS: usize = 1024;

/// A program with less code than this holds no TLS beside what it is for, bytes.
const LEAST_CODE: u64 = 512 << 10;

/// What is looked through at the most, bytes. Chromium has some 250 MB.
const MOST_CONSTANTS: u64 = 400 << 20;

/// The executable parts of a file that is large enough to hold a library of TLS beside what it is for, and small enough
/// to be looked through.
pub fn code_of<B: ReadAt>(image: &Image<'_, B>) -> Option<Vec<Load>> {
    let code: Vec<Load> = image.loads().filter(|load| load.executable).collect();
    let size = |loads: &[Load]| {
        loads
            .iter()
            .fold(0u64, |n, load| n.saturating_add(load.size))
    };
    let constants: Vec<Load> = image.loads().filter(|load| !load.writable).collect();
    (size(&code) >= LEAST_CODE && size(&constants) <= MOST_CONSTANTS).then_some(code)
}

/// A function that reports errors of the file looked for.
#[derive(Debug)]
pub struct Reporter {
    pub entry: u64,
    /// Bytes up to the next function.
    pub size: u64,
    reasons: Vec<u32>,
    lines: Vec<u32>,
    calls: Vec<u64>,
    /// It writes to memory other than its stack.
    pub stores: bool,
}

impl Reporter {
    pub fn has(&self, reason: u32) -> bool {
        self.reasons.contains(&reason)
    }

    /// Of the source file, as far as its reports name them.
    pub fn lines(&self) -> impl Iterator<Item = u32> {
        self.lines.iter().copied()
    }

    /// Whether it calls the function at `entry` directly.
    pub fn calls(&self, entry: u64) -> bool {
        self.calls.contains(&entry)
    }
}

/// The functions around `references`, of those that decoding from their entry reaches.
pub fn collect<B: ReadAt>(
    image: &Image<'_, B>,
    entries: &Entries<'_, '_, B>,
    references: &[u64],
) -> Result<Vec<Reporter>, ScanError> {
    let mut functions: HashMap<u64, (Extent, Vec<u64>)> = HashMap::new();
    for reference in references {
        if let Some(extent) = entries.around(*reference)? {
            let of = functions.entry(extent.entry);
            of.or_insert_with(|| (extent, Vec::new()))
                .1
                .push(*reference);
        }
        if functions.len() > MAX_FUNCTIONS {
            return Err(ScanError::TooLarge);
        }
    }
    let mut reporters = Vec::new();
    for (extent, references) in functions.into_values() {
        let code = image.code(extent.entry, extent.size)?;
        reporters.extend(reporter(extent, &code, &references));
    }
    reporters.sort_by_key(|r| r.entry);
    Ok(reporters)
}

/// What the function reports; `None` where none of the references is an instruction of it.
fn reporter(extent: Extent, code: &[u8], references: &[u64]) -> Option<Reporter> {
    let mut found = Reporter {
        entry: extent.entry,
        size: extent.size,
        reasons: Vec::new(),
        lines: Vec::new(),
        calls: Vec::new(),
        stores: false,
    };
    let mut reached = false;
    for instruction in code::instructions(code, extent.entry) {
        let at = instruction.ip();
        reached |= references.contains(&at);
        found.stores |= stores(&instruction);
        found.calls.extend(code::direct_call(&instruction));
        if references.iter().any(|r| r.abs_diff(at) <= NEAR) {
            match constant(&instruction) {
                Some((Register::EDX, reason)) => found.reasons.push(reason),
                Some((Register::R8D, line)) => found.lines.push(line),
                _ => {}
            }
        }
    }
    reached.then_some(found)
}

/// `mov r32, imm32`
pub fn constant(instruction: &Instruction) -> Option<(Register, u32)> {
    let moves = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Immediate32;
    moves.then(|| (instruction.op0_register(), instruction.immediate32()))
}

/// An instruction that changes memory behind a pointer.
fn stores(instruction: &Instruction) -> bool {
    let base = instruction.memory_base();
    let changes = !matches!(
        instruction.mnemonic(),
        Mnemonic::Cmp
            | Mnemonic::Test
            | Mnemonic::Nop
            | Mnemonic::Call
            | Mnemonic::Jmp
            | Mnemonic::Push
    );
    changes
        && instruction.op0_kind() == OpKind::Memory
        && !matches!(
            base,
            Register::RSP | Register::RBP | Register::RIP | Register::None
        )
}
