//! Reading x86-64 code: where a probe is cheap, and where a function's calls lead.
//!
//! All decoding is linear from a function's entry. What cannot be decoded ends the reading.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};
use std::collections::HashSet;

/// How far a cheap place is looked for, bytes from the entry. Beyond, arguments rarely are still in their registers.
const PLACE_WITHIN: u64 = 64;

/// An instruction that a probe may stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the function's entry.
    pub offset: u64,
    pub mnemonic: Mnemonic,
}

/// What a probe needs of the code before it.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Registers of arguments that the probe reads.
    pub arguments: &'static [Register],
    /// The probe fires at return too, which works only while the return address is at the top of the stack.
    pub returns: bool,
}

/// Where control goes from a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// A direct call or jump out of the function.
    Code(u64),
    /// A call or jump through a pointer at a fixed address.
    Slot(u64),
}

/// Since when a kernel emulates an instruction under a uprobe instead of single-stepping a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emulated {
    /// arch/x86/kernel/uprobes.c, `push_setup_ops` and `branch_setup_ops`: in all kernels that have BTF.
    Always,
    /// No-operations of more than one byte: later kernels.
    Recently,
}

/// Decides by the exact bytes, as the kernel does.
fn emulated(bytes: &[u8]) -> Option<Emulated> {
    match bytes {
        [0x50..=0x57 | 0x90]
        | [0x41, 0x50..=0x57]
        | [0xeb | 0x70..=0x7f, _]
        | [0xe8 | 0xe9, _, _, _, _]
        | [0x0f, 0x80..=0x8f, _, _, _, _] => Some(Emulated::Always),
        // The kernel's own no-operations (arch/x86/include/asm/nops.h).
        [0x66, 0x90]
        | [0x0f, 0x1f, 0x00]
        | [0x0f, 0x1f, 0x40, 0]
        | [0x0f, 0x1f, 0x44, 0, 0]
        | [0x66, 0x0f, 0x1f, 0x44, 0, 0]
        | [0x0f, 0x1f, 0x80, 0, 0, 0, 0]
        | [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0] => Some(Emulated::Recently),
        _ => None,
    }
}

/// The instructions of `code`, which begins at `address`, up to the first that is not valid.
pub fn instructions(code: &[u8], address: u64) -> impl Iterator<Item = Instruction> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    std::iter::from_fn(move || {
        let instruction = decoder.can_decode().then(|| decoder.decode())?;
        (!instruction.is_invalid()).then_some(instruction)
    })
}

fn bytes_of<'c>(code: &'c [u8], address: u64, instruction: &Instruction) -> Option<&'c [u8]> {
    let start = usize::try_from(instruction.ip().checked_sub(address)?).ok()?;
    code.get(start..start.checked_add(instruction.len())?)
}

/// The full registers that an instruction may change.
pub fn written(info: &mut InstructionInfoFactory, instruction: &Instruction) -> Vec<Register> {
    info.info(instruction)
        .used_registers()
        .iter()
        .filter(|used| {
            !matches!(
                used.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess
            )
        })
        .map(|used| used.register().full_register())
        .collect()
}

/// The first instruction that the kernel emulates, with all that the probe needs still in place. `None` where there
/// is none, or where the code is too short to tell.
pub fn place(code: &[u8], address: u64, needs: Needs) -> Option<Place> {
    let mut info = InstructionInfoFactory::new();
    let mut second_best = None;
    for instruction in instructions(code, address) {
        let offset = instruction.ip().checked_sub(address)?;
        if offset >= PLACE_WITHIN {
            break;
        }
        let here = Place {
            offset,
            mnemonic: instruction.mnemonic(),
        };
        match emulated(bytes_of(code, address, &instruction)?) {
            Some(Emulated::Always) => return once(code, address, here).or(second_best),
            Some(Emulated::Recently) if second_best.is_none() => {
                second_best = once(code, address, here);
            }
            Some(Emulated::Recently) | None => {}
        }
        let gone = |register: &Register| {
            needs.arguments.contains(register) || (needs.returns && *register == Register::RSP)
        };
        if instruction.flow_control() != FlowControl::Next
            || written(&mut info, &instruction).iter().any(gone)
        {
            break;
        }
    }
    second_best
}

/// `place`, unless a loop of the function leads back to it or before it, which would fire the probe more than once.
fn once(code: &[u8], address: u64, place: Place) -> Option<Place> {
    let at = address.checked_add(place.offset)?;
    let back = instructions(code, address)
        .filter(|i| i.ip() > address)
        .any(|i| is_direct_branch(&i) && (address..=at).contains(&i.near_branch_target()));
    (place.offset == 0 || !back).then_some(place)
}

pub fn is_direct_branch(instruction: &Instruction) -> bool {
    matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    ) && instruction.op0_kind() == OpKind::NearBranch64
}

pub fn is_direct_call(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::Call
        && instruction.op0_kind() == OpKind::NearBranch64
}

/// Where a direct call leads.
pub fn direct_call(instruction: &Instruction) -> Option<u64> {
    is_direct_call(instruction).then(|| instruction.near_branch_target())
}

/// Where the calls and jumps of a function lead.
pub fn exits(code: &[u8], address: u64) -> HashSet<Exit> {
    let end = address.saturating_add(code.len() as u64);
    let inside = address.saturating_add(1)..end;
    instructions(code, address)
        .filter_map(|instruction| exit(&instruction))
        .filter(|exit| !matches!(exit, Exit::Code(target) if inside.contains(target)))
        .collect()
}

fn exit(instruction: &Instruction) -> Option<Exit> {
    if is_direct_call(instruction) || is_direct_branch(instruction) {
        return Some(Exit::Code(instruction.near_branch_target()));
    }
    let indirect = matches!(
        instruction.flow_control(),
        FlowControl::IndirectCall | FlowControl::IndirectBranch
    );
    (indirect && instruction.is_ip_rel_memory_operand())
        .then(|| Exit::Slot(instruction.ip_rel_memory_address()))
}

/// The mnemonic of the first instruction of `code`.
pub fn mnemonic(code: &[u8]) -> Option<Mnemonic> {
    instructions(code, 0).next().map(|i| i.mnemonic())
}

/// The slot that a procedure linkage table entry at `address` jumps through (`endbr64` may stand before the jump).
pub fn linkage_slot(code: &[u8], address: u64) -> Option<u64> {
    let jump = instructions(code, address).find(|i| i.code() != Code::Endbr64)?;
    if jump.flow_control() != FlowControl::IndirectBranch {
        return None;
    }
    match exit(&jump)? {
        Exit::Slot(slot) => Some(slot),
        Exit::Code(_) => None,
    }
}

/// The function that this one calls or jumps to first, with `arguments` as it got them and before any branch.
pub fn first_call(code: &[u8], address: u64, arguments: &[Register]) -> Option<u64> {
    let mut info = InstructionInfoFactory::new();
    for instruction in instructions(code, address) {
        let jump = instruction.flow_control() == FlowControl::UnconditionalBranch;
        if is_direct_call(&instruction) || (jump && is_direct_branch(&instruction)) {
            return Some(instruction.near_branch_target());
        }
        let changed = written(&mut info, &instruction);
        if instruction.flow_control() != FlowControl::Next
            || changed.iter().any(|r| arguments.contains(r))
        {
            return None;
        }
    }
    None
}

/// Which of `candidates` holds an address on the stack when the function calls `callee`, while `kept` are as the
/// function got them. `None` where no call or not exactly one candidate fits, or where calls differ.
pub fn stack_argument(
    code: &[u8],
    address: u64,
    callee: u64,
    candidates: &[Register],
    kept: &[Register],
) -> Option<Register> {
    let mut info = InstructionInfoFactory::new();
    let mut on_stack: HashSet<Register> = HashSet::new();
    let mut lost = false;
    let mut answer = None;
    for instruction in instructions(code, address) {
        if is_direct_call(&instruction) && instruction.near_branch_target() == callee {
            let mut fit = candidates.iter().filter(|c| on_stack.contains(c));
            let (only, more) = (*fit.next()?, fit.next());
            if lost || more.is_some() || answer.is_some_and(|a| a != only) {
                return None;
            }
            answer = Some(only);
        }
        match instruction.flow_control() {
            FlowControl::Next => {
                let becomes = stack_address(&instruction, &on_stack);
                for register in written(&mut info, &instruction) {
                    on_stack.remove(&register);
                    lost |= kept.contains(&register);
                }
                on_stack.extend(becomes);
            }
            // The path where the branch is not taken.
            FlowControl::ConditionalBranch => {}
            // What stands here is reached from elsewhere, or after a call that may change every argument.
            _ => {
                on_stack.clear();
                lost = false;
            }
        }
    }
    answer
}

/// The register that gets an address on the stack by this instruction.
fn stack_address(instruction: &Instruction, on_stack: &HashSet<Register>) -> Option<Register> {
    let base = match instruction.mnemonic() {
        Mnemonic::Lea => instruction.memory_base(),
        Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => instruction.op1_register(),
        _ => return None,
    };
    let to = instruction.op0_register();
    let stack = base == Register::RSP || on_stack.contains(&base);
    (stack && to.is_gpr64() && to != Register::RSP).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Needs = Needs {
        arguments: &[Register::RDI, Register::RSI, Register::RDX, Register::RCX],
        returns: true,
    };
    const FREE: Needs = Needs {
        arguments: &[Register::RDI],
        returns: false,
    };

    fn at(code: &[u8], needs: Needs) -> Option<(u64, Mnemonic)> {
        place(code, 0x1000, needs).map(|p| (p.offset, p.mnemonic))
    }

    #[test]
    fn a_push_at_the_entry_or_after_endbr64_is_taken() {
        assert_eq!(at(&[0x55, 0xc3], READ), Some((0, Mnemonic::Push)));
        assert_eq!(at(&[0x41, 0x57, 0xc3], READ), Some((0, Mnemonic::Push)));
        let cet = [0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0xc3];
        assert_eq!(at(&cet, READ), Some((4, Mnemonic::Push)));
    }

    #[test]
    fn a_return_probe_does_not_stand_behind_a_moved_stack_pointer() {
        let code = [0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x10, 0xc3];
        assert_eq!(at(&code, READ), None);
        assert_eq!(at(&code, FREE), Some((6, Mnemonic::Js)));
    }

    #[test]
    fn no_probe_stands_behind_a_written_argument() {
        // mov edi, esi; push rbp: even the lower half clears the register.
        assert_eq!(at(&[0x89, 0xf7, 0x55, 0xc3], FREE), None);
        // mov eax, edi; push rbp: reading is harmless.
        assert_eq!(at(&[0x89, 0xf8, 0x55], FREE), Some((2, Mnemonic::Push)));
    }

    #[test]
    fn a_branch_is_a_place_and_nothing_behind_it_is() {
        let free = [0x48, 0x85, 0xff, 0x74, 0x10, 0x55, 0xc3];
        assert_eq!(at(&free, FREE), Some((3, Mnemonic::Je)));
        assert_eq!(at(&[0xc3, 0x55], FREE), None);
        assert_eq!(at(&[0xff, 0xe0, 0x55], FREE), None);
    }

    #[test]
    fn instructions_that_the_kernel_does_not_emulate_are_no_places() {
        // push 0x10; push qword [rax]; a 16-bit call; syscall
        for code in [
            &[0x6a, 0x10, 0xc3][..],
            &[0xff, 0x30, 0xc3],
            &[0x66, 0x54, 0xc3],
            &[0x0f, 0x05, 0xc3],
        ] {
            assert_eq!(at(code, READ), None, "{code:x?}");
        }
    }

    #[test]
    fn a_long_nop_is_taken_only_where_nothing_better_follows() {
        let nop = [0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(
            at(&[&nop[..], &[0x55]].concat(), READ),
            Some((5, Mnemonic::Push))
        );
        let sub = [0x48, 0x83, 0xec, 0x08, 0xc3];
        assert_eq!(
            at(&[&nop[..], &sub].concat(), READ),
            Some((0, Mnemonic::Nop))
        );
    }

    #[test]
    fn a_place_inside_a_loop_is_refused() {
        // test rdi,rdi; je +2; jmp to the test
        assert_eq!(at(&[0x48, 0x85, 0xff, 0x74, 0x02, 0xeb, 0xf9], FREE), None);
    }

    #[test]
    fn the_out_argument_is_the_register_with_a_stack_address() {
        // sub rsp,18; xor ecx,ecx; lea r8,[rsp+8]; call 0x1050
        let five = [
            0x48, 0x83, 0xec, 0x18, 0x31, 0xc9, 0x4c, 0x8d, 0x44, 0x24, 0x08, 0xe8, 0x40, 0, 0, 0,
        ];
        let both = [Register::RCX, Register::R8];
        assert_eq!(
            stack_argument(&five, 0x1000, 0x1050, &both, &[Register::RDI]),
            Some(Register::R8)
        );
        assert_eq!(stack_argument(&five, 0x1000, 0x1051, &both, &[]), None);
        assert_eq!(
            stack_argument(&five, 0x1000, 0x1050, &both, &[Register::RCX]),
            None
        );
    }

    #[test]
    fn exits_are_calls_tail_jumps_and_pointers_at_fixed_addresses() {
        // call +0x10; je inside; jmp [rip+0x20]; jmp entry
        let code = [
            0xe8, 0x10, 0, 0, 0, 0x74, 0x00, 0xff, 0x25, 0x20, 0, 0, 0, 0xeb, 0xf1,
        ];
        let expected = [Exit::Code(0x1015), Exit::Slot(0x102d), Exit::Code(0x1000)];
        assert_eq!(exits(&code, 0x1000), expected.into_iter().collect());
    }
}
