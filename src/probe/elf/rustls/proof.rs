//! Whether a function reads its arguments where they are in rustls, and in which form.
//!
//! `encrypt` gets a pointer to the message in rdx. In 0.23 an `OutboundPlainMessage`: 0 and a slice, or a pointer to
//! slices, their count, and a range in them; then the type. Before, a `BorrowedPlainMessage`: a slice; then type and
//! version. `decrypt` gets one to an `InboundOpaqueMessage`, pointer and length of the payload; before 0.23 to an
//! `OpaqueMessage`, a vector, then type and version. It compares the length with the least that a record has.

use crate::probe::elf::code::{instructions, is_direct_branch, written};
use crate::probe::target::{RustlsForm, RustlsSuite};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use std::collections::{HashMap, HashSet};

/// How many instructions are followed.
const WITHIN: usize = 240;

/// What a call may change (System V ABI).
const CHANGED: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

/// Distance and size of a part of a message.
type Field = (u64, usize);

/// The parts of a message that is encrypted.
struct Outbound {
    form: RustlsForm,
    /// Each in one of two ways: alone, or with what stands behind it.
    read: &'static [[Field; 2]],
    more: &'static [Field],
}

const OUTBOUND: [Outbound; 3] = [
    Outbound {
        form: RustlsForm::Slices,
        read: &[[(0, 8); 2], [(0x10, 8); 2], [(0x20, 1), (0x20, 4)]],
        more: &[(8, 8), (0x18, 8), (0x21, 1), (0x22, 2), (0x24, 2)],
    },
    Outbound {
        form: RustlsForm::VectorTypeFirst,
        read: &[[(8, 8); 2], [(0x10, 1); 2]],
        more: &[(0, 8), (0x11, 1), (0x12, 2), (0x14, 2)],
    },
    Outbound {
        form: RustlsForm::VectorTypeLast,
        read: &[[(8, 8); 2], [(0x14, 1); 2]],
        more: &[(0, 8), (0x10, 2), (0x12, 2), (0x15, 1)],
    },
];

/// A form that may still be the one, and which of its parts were read.
struct Candidate(&'static Outbound, HashSet<usize>);

impl Candidate {
    /// Whether it still may be.
    fn accessed(&mut self, field: Field) -> bool {
        let read = self.0.read.iter().position(|ways| ways.contains(&field));
        self.1.extend(read);
        read.is_some() || self.0.more.contains(&field)
    }
}

/// The form of the message that the function reads as `encrypt` does.
pub fn encrypts(code: &[u8], entry: u64) -> Option<RustlsForm> {
    let mut message = Value::of(Register::RDX);
    let mut candidates: Vec<Candidate> = OUTBOUND
        .iter()
        .map(|outbound| Candidate(outbound, HashSet::new()))
        .collect();
    for instruction in instructions(code, entry).take(WITHIN) {
        if let Some(field) = message.access(&instruction) {
            // Another layout, or a copy of the whole.
            candidates.retain_mut(|candidate| candidate.accessed(field));
        }
        let done = candidates.iter().find(|c| c.1.len() == c.0.read.len());
        if let Some(Candidate(outbound, _)) = done {
            return Some(outbound.form);
        }
        message.follow(&instruction);
    }
    None
}

/// The suite of an `encrypt` before 0.23: it makes a vector for the record, so it adds to the length of the content.
pub fn makes_records_of(code: &[u8], entry: u64) -> Option<RustlsSuite> {
    let (mut message, mut length) = (Value::of(Register::RDX), Value::nowhere());
    let mut found = HashSet::new();
    for instruction in instructions(code, entry).take(WITHIN) {
        let access = message.access(&instruction);
        length.arrive(&instruction);
        found.extend(length.sum(&instruction));
        length.follow(&instruction);
        if access == Some((8, 8)) && instruction.mnemonic() == Mnemonic::Mov {
            length.registers.insert(instruction.op0_register());
        }
        message.follow(&instruction);
    }
    // What is between the content and the whole may be added too.
    [
        (0x11, RustlsSuite::Tls13),
        (0x18, RustlsSuite::Tls12Gcm),
        (0x10, RustlsSuite::Tls12ChaCha),
    ]
    .into_iter()
    .find_map(|(more, suite)| found.contains(&more).then_some(suite))
}

/// Whether the function reads a message of 0.23 as a `decrypt` of the suite does.
pub fn decrypts(code: &[u8], entry: u64, suite: RustlsSuite) -> bool {
    let read = Inbound::read(code, entry, 8);
    read.payload && read.leasts.contains(&suite.least())
}

/// The suite of a function that reads a message of 0.20 to 0.22 as `decrypt` does, and the message's form. TLS 1.2
/// protects the type that the record has, TLS 1.3 has only one (RFC 5246, section 6.2.3.3; RFC 8446, section 5.2), so its
/// `decrypt` does not read it.
pub fn decrypts_vector(code: &[u8], entry: u64) -> Option<(RustlsSuite, RustlsForm)> {
    let read = Inbound::read(code, entry, 0x10);
    let least = |suite: RustlsSuite| read.leasts.contains(&suite.least());
    let of = |at: u64| read.bytes.contains(&at);
    let form = match (of(OPAQUE_TYPE), of(OPAQUE_TYPE + 4)) {
        _ if !read.payload || read.beyond => return None,
        (false, false) if least(RustlsSuite::Tls13) => {
            return Some((RustlsSuite::Tls13, RustlsForm::VectorTypeFirst));
        }
        (true, false) => RustlsForm::VectorTypeFirst,
        (false, true) => RustlsForm::VectorTypeLast,
        _ => return None,
    };
    let suites = [RustlsSuite::Tls12Gcm, RustlsSuite::Tls12ChaCha];
    let suite = suites.into_iter().find(|suite| least(*suite))?;
    Some((suite, form))
}

/// Where an `OpaqueMessage` has the type, or the version, which is four bytes long.
const OPAQUE_TYPE: u64 = 0x18;
/// Where it ends.
const OPAQUE: u64 = 0x20;

/// What a function reads of a message that is decrypted.
#[derive(Default)]
struct Inbound {
    /// A word before the length.
    payload: bool,
    /// What the length is compared with: below it, or not above what is one less.
    leasts: HashSet<u8>,
    /// Where it reads single bytes that it has not set.
    bytes: HashSet<u64>,
    /// Something behind an `OpaqueMessage`.
    beyond: bool,
}

impl Inbound {
    fn read(code: &[u8], entry: u64, length_at: u64) -> Inbound {
        let (mut message, mut length) = (Value::of(Register::RDX), Value::nowhere());
        let mut read = Inbound::default();
        let mut set = HashSet::new();
        for instruction in instructions(code, entry).take(WITHIN) {
            let access = message.access(&instruction);
            length.arrive(&instruction);
            let to_register = instruction.op0_kind() == OpKind::Register;
            let of_length = match to_register {
                true => length.registers.contains(&instruction.op0_register()),
                false => access == Some((length_at, 8)),
            };
            if of_length && let Some(with) = compared(&instruction) {
                read.leasts.extend([with, with.saturating_add(1)]);
            }
            length.follow(&instruction);
            let is_move = instruction.mnemonic() == Mnemonic::Mov;
            match access {
                Some((at, 8)) if at == length_at && is_move && to_register => {
                    length.registers.insert(instruction.op0_register());
                }
                Some((at, 8)) if at < length_at => read.payload |= is_move,
                Some((at, 1)) if !to_register => set.extend([at]),
                Some((at, 1)) if !set.contains(&at) => read.bytes.extend([at]),
                Some((at, _)) => read.beyond |= at >= OPAQUE,
                None => {}
            }
            message.follow(&instruction);
        }
        read
    }
}

/// The small constant that the instruction compares something with.
fn compared(instruction: &Instruction) -> Option<u8> {
    let is = instruction.mnemonic() == Mnemonic::Cmp && is_immediate(instruction);
    is.then(|| u8::try_from(instruction.immediate(1)).ok())?
}

fn is_immediate(instruction: &Instruction) -> bool {
    matches!(
        instruction.op1_kind(),
        OpKind::Immediate8 | OpKind::Immediate8to64 | OpKind::Immediate32to64
    )
}

/// Registers and places on the stack with a value, in the order of the code: the pointer to the message, or a length.
struct Value {
    registers: HashSet<Register>,
    /// Base register and distance.
    spilled: HashSet<(Register, u64)>,
    /// The registers at branches, by where they lead: what stands between may be a call that never returns.
    branches: HashMap<u64, HashSet<Register>>,
    info: InstructionInfoFactory,
}

impl Value {
    fn of(register: Register) -> Value {
        Value {
            registers: HashSet::from([register]),
            ..Value::nowhere()
        }
    }

    fn nowhere() -> Value {
        Value {
            registers: HashSet::new(),
            spilled: HashSet::new(),
            branches: HashMap::new(),
            info: InstructionInfoFactory::new(),
        }
    }

    /// Takes in what comes from where a branch was. Before anything else is asked of an instruction.
    fn arrive(&mut self, instruction: &Instruction) {
        if let Some(registers) = self.branches.remove(&instruction.ip()) {
            self.registers.extend(registers);
        }
    }

    /// The constant that the instruction adds to the value.
    fn sum(&self, instruction: &Instruction) -> Option<u64> {
        match instruction.mnemonic() {
            Mnemonic::Add if is_immediate(instruction) => self
                .registers
                .contains(&instruction.op0_register())
                .then(|| instruction.immediate(1)),
            Mnemonic::Lea if instruction.memory_index() == Register::None => self
                .registers
                .contains(&instruction.memory_base())
                .then(|| instruction.memory_displacement64()),
            _ => None,
        }
    }

    /// Distance and size of what the instruction reads or writes of the message that the value points to.
    fn access(&mut self, instruction: &Instruction) -> Option<Field> {
        self.arrive(instruction);
        let of_message = self.registers.contains(&instruction.memory_base())
            && instruction.memory_index() == Register::None
            && !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop);
        let size = instruction.memory_size().size();
        of_message.then(|| (instruction.memory_displacement64(), size))
    }

    fn follow(&mut self, instruction: &Instruction) {
        if is_direct_branch(instruction) {
            let to = instruction.near_branch_target();
            let registers = self.registers.iter().copied();
            self.branches.entry(to).or_default().extend(registers);
        }
        let is_move = instruction.mnemonic() == Mnemonic::Mov;
        let to_register = instruction.op0_kind() == OpKind::Register;
        let from = match instruction.op1_kind() {
            OpKind::Register => self.registers.contains(&instruction.op1_register()),
            OpKind::Memory => self.spilled.contains(&slot(instruction)),
            _ => false,
        };
        let is_copy = is_move && from;
        for register in written(&mut self.info, instruction) {
            self.registers.remove(&register);
        }
        if instruction.flow_control() == FlowControl::Call
            || instruction.flow_control() == FlowControl::IndirectCall
        {
            self.registers.retain(|r| !CHANGED.contains(r));
        }
        if is_copy && to_register {
            self.registers.insert(instruction.op0_register());
        } else if is_copy {
            self.spilled.insert(slot(instruction));
        } else if instruction.op0_kind() == OpKind::Memory {
            self.spilled.remove(&slot(instruction));
        }
    }
}

/// A place on the stack, as an instruction names it.
fn slot(instruction: &Instruction) -> (Register, u64) {
    (
        instruction.memory_base(),
        instruction.memory_displacement64(),
    )
}
