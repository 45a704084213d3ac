//! Kernels whose return probes end programs with a seccomp filter (6.11 to 6.13 without the fix of 6.14).
//!
//! A probe is in a file, for every process that maps it now or later, and a process gets its filter when it likes: a
//! container's from its runtime, a service's from systemd, its own at any time. So there is no process of which it is
//! certain that a return does it no harm, and on such a kernel nothing is probed at its return. What needs none, Go's
//! programs and sockets, is captured.

use crate::probe::elf::{Scan, Stack};

/// Why a stack is not probed.
pub const REFUSED: &str = "it would have to be probed at returns, by which this kernel ends programs with a seccomp \
                           filter (6.11 to 6.13 without the fix of 6.14): update the kernel";
/// What that says of a process.
pub const OF_PROCESS: &str = "a library of it would have to be probed at returns, by which this kernel ends programs with a \
                              seccomp filter: update the kernel";

/// What of a file can be probed without a return.
pub fn without_returns(scan: &Scan) -> Scan {
    let stack = |stack: &Stack| match stack.targets.iter().any(|t| t.probe.has_return()) {
        false => stack.clone(),
        true => Stack {
            targets: Vec::new(),
            placements: Vec::new(),
            refused: Some(REFUSED.to_owned()),
            ..stack.clone()
        },
    };
    Scan {
        build_id: scan.build_id.clone(),
        stacks: scan.stacks.iter().map(stack).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf::{Method, Placement};
    use crate::probe::target::{CallResult, GoPoint, Probe, Target, TlsCall};

    fn stack(name: &'static str, probe: Probe) -> Stack {
        Stack {
            name,
            version: None,
            targets: vec![Target {
                file_offset: 64,
                probe,
                symbol: name.to_owned(),
            }],
            placements: vec![Placement {
                method: Method::Exported,
                instruction: "push".to_owned(),
                offset: 0,
                emulated: true,
                file_byte: 0x55,
            }],
            refused: None,
        }
    }

    #[test]
    fn what_has_returns_is_refused_whole_and_the_rest_is_as_before() {
        let call = |call| Probe::Call {
            call,
            result: CallResult::Int,
        };
        let scan = Scan {
            build_id: Some(vec![1]),
            stacks: vec![
                stack("go", Probe::Go(GoPoint::Return)),
                stack("openssl", call(TlsCall::Read)),
                stack("of its end alone", call(TlsCall::Free)),
            ],
        };
        let kept = without_returns(&scan);
        assert_eq!(kept.build_id, scan.build_id);
        assert_eq!(kept.stacks[0], scan.stacks[0]);
        assert_eq!(kept.stacks[2], scan.stacks[2]);
        assert_eq!(kept.stacks[1].refused.as_deref(), Some(REFUSED));
        assert_eq!(kept.places().count(), 2);
    }
}
