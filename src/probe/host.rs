//! What this host allows, asked without loading anything.
//!
//! Enters: files of /proc and /sys, and what a child process sees. Leaves: facts. Holds: nothing is changed.

use libbpf_rs::libbpf_sys;
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The kernel has `uprobe.multi` (6.6), by its own description of its types; one that has none is taken for older.
pub fn has_multi_links() -> bool {
    let types = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    memchr::memmem::find(&types, b"\0BPF_TRACE_UPROBE_MULTI\0").is_some()
}

/// The level of `kernel.perf_event_paranoid`; None where it cannot be read.
pub fn perf_event_paranoid() -> Option<i32> {
    let text = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
    text.trim().parse().ok()
}

/// This process may have perf probes. Many kernels ask for CAP_SYS_ADMIN, whatever CAP_PERFMON and
/// `kernel.perf_event_paranoid` say.
///
/// # Errors
/// Where the kernel has no such probes.
pub fn perf_probes_allowed() -> io::Result<bool> {
    let kind = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")?;
    let mut attr = libbpf_sys::perf_event_attr {
        type_: kind.trim().parse().map_err(io::Error::other)?,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        ..Default::default()
    };
    // No file: whoever is allowed gets as far as seeing that.
    attr.__bindgen_anon_3.uprobe_path = c"/".as_ptr() as u64;
    // SAFETY: the attribute and the path outlive the call, which copies them.
    let fd = unsafe {
        let flags = libbpf_sys::PERF_FLAG_FD_CLOEXEC as libc::c_ulong;
        libc::syscall(libc::SYS_perf_event_open, &raw const attr, -1, 0, -1, flags)
    };
    if fd >= 0 {
        // SAFETY: just created, owned by nobody else; descriptors fit an int.
        drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    Ok(error.kind() != io::ErrorKind::PermissionDenied)
}

/// This process sees all processes of the host: it is in the first process namespace (`PROC_PID_INIT_INO` of the
/// kernel).
///
/// # Errors
/// Where /proc does not say.
pub fn sees_all_processes() -> io::Result<bool> {
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(namespace.to_string_lossy() == "pid:[4026531836]")
}

/// The system call by which a return probe comes back to the kernel, from 6.11 on (x86-64).
const SYS_URETPROBE: u32 = 335;

/// A return probe would end programs with a seccomp filter: from kernel 6.11 on it comes back by a system call, which
/// filters know nothing of; 6.14, and the stable versions with that fix, let it through.
///
/// # Errors
/// Where no child process can be had to try it.
pub fn seccomp_ends_probed_programs() -> io::Result<bool> {
    // Called by a program itself, it ends that by SIGILL, which shows that it is there.
    if !matches!(in_child(false)?, Ended::Signal(libc::SIGILL)) {
        return Ok(false);
    }
    Ok(!matches!(in_child(true)?, Ended::Signal(libc::SIGILL)))
}

enum Ended {
    Signal(i32),
    Otherwise,
}

/// Makes the system call in a child, with or without a filter that refuses it.
fn in_child(filtered: bool) -> io::Result<Ended> {
    // SAFETY: the child calls nothing but system calls, and ends by one.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid == 0 {
        child(filtered);
    }
    let mut status = 0;
    loop {
        // SAFETY: `pid` is our child, and `status` outlives the call.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(match libc::WIFSIGNALED(status) {
        true => Ended::Signal(libc::WTERMSIG(status)),
        false => Ended::Otherwise,
    })
}

fn child(filtered: bool) -> ! {
    // Load the number of the call; refuse the one; allow all others (linux/filter.h, linux/seccomp.h).
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
    let step = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let mut filter = [
        step(LOAD, 0, 0),
        step(JUMP_IF_EQUAL, SYS_URETPROBE, 1),
        step(RETURN, ALLOW, 0),
        step(RETURN, REFUSE, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: only system calls, in a child of its own; the program and its filter outlive the calls that copy them.
    unsafe {
        // No file with its memory, and no message of the kernel.
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        if filtered {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let mode = libc::SECCOMP_MODE_FILTER;
            if libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) != 0 {
                // Without filters no program has one.
                libc::kill(libc::getpid(), libc::SIGILL);
            }
        }
        libc::syscall(libc::c_long::from(SYS_URETPROBE));
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trap_of_seccomp_is_looked_for_without_harm() {
        let first = seccomp_ends_probed_programs().expect("a child");
        assert_eq!(seccomp_ends_probed_programs().expect("a child"), first);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        let mut numbers = release
            .split(['.', '-'])
            .filter_map(|n| n.parse::<u32>().ok());
        let version = (numbers.next(), numbers.next());
        // Before the system call, and after the fix.
        if version < (Some(6), Some(11)) || version >= (Some(6), Some(14)) {
            assert!(!first, "{release}");
        }
    }
}
