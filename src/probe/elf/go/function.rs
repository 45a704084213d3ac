//! One function as Go's compiler makes it: the check of the stack, the saved arguments, the returns.

use crate::probe::elf::code::{instructions, is_direct_branch, is_direct_call, written};
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

/// How much of one function is read, bytes.
pub const MAX_FUNCTION: u64 = 64 << 10;
/// Type of a TLS record with application data (RFC 8446 section 5.1).
pub const APPLICATION_DATA: u64 = 23;

/// The register that holds the goroutine (`g`), and where the end of its stack is in it.
const GOROUTINE: Register = Register::R14;
const STACK_GUARD: u64 = 0x10;
/// Registers that arguments are in, in their order, as far as they are needed.
const ARGUMENTS: [Register; 5] = [
    Register::RAX,
    Register::RBX,
    Register::RCX,
    Register::RDI,
    Register::RSI,
];
/// The check of the stack has at most as many instructions, in functions with the largest frames.
const GUARD_WITHIN: usize = 8;

/// A function whose code is as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub entry: u64,
    /// Address of the branch that is taken where the stack is too small. Arguments are in their registers, and the
    /// stack pointer is as at the entry.
    pub guard: u64,
    /// Addresses of all `ret`.
    pub returns: Vec<u64>,
    /// Registers in which it gets arguments.
    saved: Vec<Register>,
    /// Calls of known functions: whom, and what is known to be in registers then.
    calls: Vec<Call>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    to: u64,
    known: Vec<(Register, u64)>,
}

impl Function {
    /// `None` where the code is not what the compiler makes: it cannot be decoded from its entry to its end, branches
    /// lead into instructions or out of the function, or the check of the stack does not lead to `more_stack` and back.
    pub fn read(code: &[u8], entry: u64, more_stack: &[u64]) -> Option<Function> {
        let all: Vec<Instruction> = instructions(code, entry).collect();
        let end = entry.checked_add(code.len() as u64)?;
        if all.last()?.next_ip() != end {
            return None;
        }
        let guard = guard(&all)?;
        let check = check(&all, &guard, entry, more_stack)?;
        let branches = all.iter().filter(|i| is_direct_branch(i));
        for branch in branches {
            let to = branch.near_branch_target();
            all.binary_search_by_key(&to, Instruction::ip).ok()?;
            // Only the check comes back to where a probe would fire again.
            if to <= guard.ip() && branch.ip() != check.back {
                return None;
            }
        }
        let returns = all
            .iter()
            .filter(|i| i.flow_control() == FlowControl::Return);
        let returns: Vec<u64> = returns.map(Instruction::ip).collect();
        (!returns.is_empty()).then_some(Function {
            entry,
            guard: guard.ip(),
            returns,
            saved: check.saved,
            calls: calls(&all),
        })
    }

    /// Whether it gets arguments in these registers.
    pub fn saves(&self, registers: &[Register]) -> bool {
        registers.iter().all(|r| self.saved.contains(r))
    }

    /// Whether it calls `function`, and always with this value in the register.
    pub fn passes(&self, function: u64, register: Register, value: u64) -> bool {
        let mut calls = self.calls.iter().filter(|c| c.to == function).peekable();
        calls.peek().is_some() && calls.all(|c| c.known.contains(&(register, value)))
    }
}

/// The branch of the stack check: right behind a comparison with the goroutine's limit, with nothing changed that
/// matters.
fn guard(all: &[Instruction]) -> Option<Instruction> {
    let mut info = InstructionInfoFactory::new();
    let mut compared = false;
    for instruction in all.iter().take(GUARD_WITHIN) {
        if compared {
            return (instruction.mnemonic() == Mnemonic::Jbe && is_direct_branch(instruction))
                .then_some(*instruction);
        }
        compared = is_comparison(instruction);
        let changed = written(&mut info, instruction);
        let matters =
            |r: &Register| ARGUMENTS.contains(r) || matches!(*r, Register::RSP | GOROUTINE);
        // In functions with the largest frames a branch stands before: the frame would wrap around.
        let goes_on = matches!(
            instruction.flow_control(),
            FlowControl::Next | FlowControl::ConditionalBranch
        );
        if changed.iter().any(matters) || !goes_on {
            return None;
        }
    }
    None
}

fn is_comparison(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Cmp
        && matches!(instruction.op0_register(), Register::RSP | Register::R12)
        && instruction.op1_kind() == OpKind::Memory
        && instruction.memory_base() == GOROUTINE
        && instruction.memory_index() == Register::None
        && instruction.memory_displacement64() == STACK_GUARD
}

/// The other end of the stack check.
struct Check {
    saved: Vec<Register>,
    /// Address of the jump back to the entry.
    back: u64,
}

/// Saves arguments above the return address, calls for more stack, loads the arguments, and begins again.
fn check(
    all: &[Instruction],
    guard: &Instruction,
    entry: u64,
    more_stack: &[u64],
) -> Option<Check> {
    let start = guard.near_branch_target();
    let at = all.binary_search_by_key(&start, Instruction::ip).ok()?;
    let mut saved = Vec::new();
    let mut called = false;
    for instruction in all.get(at..)? {
        if is_direct_call(instruction) && !called {
            called = more_stack.contains(&instruction.near_branch_target());
            if !called {
                return None;
            }
        } else if is_direct_branch(instruction) {
            let back = called && instruction.near_branch_target() == entry;
            return back.then(|| Check {
                saved,
                back: instruction.ip(),
            });
        } else if instruction.flow_control() != FlowControl::Next {
            return None;
        } else if !called && is_save(instruction) {
            saved.push(instruction.op1_register().full_register());
        }
    }
    None
}

fn is_save(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_base() == Register::RSP
        && instruction.op1_kind() == OpKind::Register
}

/// Direct calls, with the numbers that were put into registers since the last branch.
fn calls(all: &[Instruction]) -> Vec<Call> {
    let mut info = InstructionInfoFactory::new();
    let mut known: Vec<(Register, u64)> = Vec::new();
    let mut calls = Vec::new();
    for instruction in all {
        if is_direct_call(instruction) {
            calls.push(Call {
                to: instruction.near_branch_target(),
                known: known.clone(),
            });
        }
        if instruction.flow_control() != FlowControl::Next {
            known.clear();
            continue;
        }
        let changed = written(&mut info, instruction);
        known.retain(|(register, _)| !changed.contains(register));
        let immediate = matches!(
            instruction.op1_kind(),
            OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64
        );
        if instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_kind() == OpKind::Register
            && immediate
        {
            let register = instruction.op0_register().full_register();
            known.push((register, instruction.immediate(1)));
        }
    }
    calls
}
