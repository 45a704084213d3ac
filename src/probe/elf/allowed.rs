//! Places that the kernel refuses: instructions with a prefix of a segment or of a lock.
//!
//! Assemblers pad with such prefixes (`-Wa,-mbranches-within-32B-boundaries`), also the first instruction of a function.
//! The kernel copies no instruction that has one (`is_prefix_bad` in `arch/x86/kernel/uprobes.c`), and attaching fails for
//! all places of the file. A function that cannot be probed is left out; where it reads or writes, so is its stack, with
//! the reason.

use super::bytes::ReadAt;
use super::{ScanError, Stack};
use crate::probe::target::{Probe, Target, TlsCall};

/// The longest instruction, bytes.
const LONGEST: u64 = 15;

/// es, cs, ss, ds; lock
const REFUSED: [u8; 5] = [0x26, 0x2e, 0x36, 0x3e, 0xf0];
/// The prefixes that may stand before or between them: operand and address size, repetition, fs, gs.
const OTHERS: [u8; 6] = [0x66, 0x67, 0xf2, 0xf3, 0x64, 0x65];

/// Leaves out what the kernel refuses.
pub fn keep<B: ReadAt>(bytes: &B, stack: &mut Stack) -> Result<(), ScanError> {
    let mut places = Vec::new();
    for (target, placement) in stack.targets.drain(..).zip(stack.placements.drain(..)) {
        let code = instruction(bytes, target.file_offset)?;
        if !is_refused(&code) {
            places.push((target, placement));
        } else if moves_bytes(&target) && stack.refused.is_none() {
            stack.refused = Some(format!(
                "{} begins with an instruction that the kernel does not let anybody probe (a segment prefix, with which \
                 the program was padded)",
                target.symbol
            ));
        }
    }
    if stack.refused.is_none() {
        (stack.targets, stack.placements) = places.into_iter().unzip();
    }
    Ok(())
}

/// What stands at the place, up to the end of the file.
fn instruction<B: ReadAt>(bytes: &B, at: u64) -> Result<Vec<u8>, ScanError> {
    let read = |len| bytes.read(at, len, "a function's code");
    for len in (1..=LONGEST).rev() {
        match read(len) {
            Ok(code) => return Ok(code.into_owned()),
            Err(ScanError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

fn is_refused(code: &[u8]) -> bool {
    let mut prefixes = code
        .iter()
        .take_while(|byte| REFUSED.contains(byte) || OTHERS.contains(byte));
    prefixes.any(|byte| REFUSED.contains(byte))
}

fn moves_bytes(target: &Target) -> bool {
    match target.probe {
        Probe::Call { call, .. } => matches!(call, TlsCall::Read | TlsCall::Write),
        Probe::Go(_) | Probe::Rustls { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf::scan;
    use std::process::Command;

    #[test]
    fn segment_and_lock_prefixes_are_refused_wherever_they_stand_and_others_are_not() {
        for code in [
            &[0x2e, 0x53][..],
            &[0x2e, 0x2e, 0x41, 0x54],
            &[0x66, 0x2e, 0x0f, 0x1f, 0x84],
            &[0x3e, 0xff, 0x25],
            &[0xf0, 0x48, 0x0f, 0xb1, 0x0f],
        ] {
            assert!(is_refused(code), "{code:x?}");
        }
        // push; push r12; nop; endbr64; mov rax, fs:0; nothing
        for code in [
            &[0x53][..],
            &[0x41, 0x54, 0x2e],
            &[0x66, 0x90],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0x64, 0x48, 0x8b, 0x04, 0x25],
            &[],
        ] {
            assert!(!is_refused(code), "{code:x?}");
        }
    }

    /// A library with functions of s2n, whose first instructions are these.
    fn library(recv: &str, shutdown: &str) -> Stack {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (source, path) = (dir.path().join("a.s"), dir.path().join("libs2n.so"));
        let function = |name: &str, first: &str| {
            format!(
                ".globl {name}\n.type {name}, @function\n{name}: {first}\n push %rbx\n pop %rbx\n ret\n\
                 .size {name}, . - {name}\n"
            )
        };
        let text = [
            ("s2n_recv", recv),
            ("s2n_send", "nop"),
            ("s2n_shutdown", shutdown),
        ]
        .map(|(name, first)| function(name, first));
        std::fs::write(&source, text.concat()).expect("source written");
        let mut gcc = Command::new("gcc");
        gcc.args(["-shared", "-nostdlib", "-o"])
            .arg(&path)
            .arg(&source);
        assert!(gcc.status().expect("gcc is installed").success());
        let bytes = std::fs::read(&path).expect("readable");
        let stacks = scan(&bytes).expect("an ELF file").stacks;
        let stack = stacks.into_iter().next().expect("a stack");
        assert_eq!(stack.name, "s2n");
        stack
    }

    #[test]
    fn a_stack_whose_reads_cannot_be_probed_says_so_and_is_not_probed() {
        let refused = library(".byte 0x2e, 0x2e, 0x41, 0x54", "nop");
        assert_eq!((refused.targets.len(), refused.placements.len()), (0, 0));
        let reason = refused.refused.expect("refused");
        assert!(reason.starts_with("s2n_recv begins with"), "{reason}");
    }

    #[test]
    fn a_function_that_is_not_needed_is_left_out_alone() {
        let stack = library("nop", ".byte 0x2e, 0x53");
        let symbols: Vec<_> = stack.targets.iter().map(|t| t.symbol.as_str()).collect();
        assert_eq!(symbols, ["s2n_recv", "s2n_send"]);
        assert_eq!(stack.placements.len(), 2);
        assert_eq!(stack.refused, None);
    }
}
