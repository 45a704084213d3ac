//! System calls that the agent never makes, refused by a filter of its own.
//!
//! The filter names what is refused, not what is allowed: the agent tries at its start how this kernel treats a system call
//! that no list names (`probe::host`), and libraries may take to new ones. What is refused: to start a program, to
//! change another process or the host, to become somebody else, to open a file by its number in a file system.

use super::{Measure, Plan, State};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// Never made.
const NEVER: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_tkill,
    libc::SYS_kill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Files by number, past every folder.
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_fanotify_init,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    // The host.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    // Keys of the kernel, and interfaces with a long history of faults.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
];

#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[libc::c_long] = &[
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[libc::c_long] = &[];

/// Made for JVMs alone: files and identity of their users, their signal.
const JAVA: &[libc::c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_pidfd_send_signal,
];

/// Installs the filter on this thread, and all that it starts.
pub(super) fn refuse(plan: &Plan) -> Measure {
    let refused = refused(plan);
    let number = refused.len();
    let program = match program(refused) {
        Ok(program) => program,
        Err(error) => return Measure::of(State::Off, error.to_string()),
    };
    match seccompiler::apply_filter(&program) {
        Ok(()) => Measure::of(State::On, format!("{number} system calls are refused")),
        Err(error) => Measure::of(State::Off, error.to_string()),
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn refused(plan: &Plan) -> Rules {
    let java: &[libc::c_long] = if plan.java { &[] } else { JAVA };
    let always = [NEVER, NEVER_HERE, java].concat();
    always.into_iter().map(|call| (call, Vec::new())).collect()
}

fn program(mut rules: Rules) -> Result<BpfProgram, seccompiler::BackendError> {
    let other = |call, of: SeccompCmpOp, value| -> Result<_, seccompiler::BackendError> {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, of, value)?;
        Ok((call, vec![SeccompRule::new(vec![condition])?]))
    };
    // Signals to itself are how a program aborts.
    let own = u64::from(std::process::id());
    rules.extend([other(libc::SYS_tgkill, SeccompCmpOp::Ne, own)?]);
    // Limits of itself alone, by the number 0.
    rules.extend([other(libc::SYS_prlimit64, SeccompCmpOp::Ne, 0)?]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let here = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, here)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread with the filter gets; the filter is that thread's alone.
    fn with_filter<T: Send + 'static>(plan: Plan, then: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(move || {
            super::super::no_new_privs();
            let measure = refuse(&plan);
            assert_eq!(measure.state, State::On, "{}", measure.text);
            then()
        });
        thread.join().expect("the thread's answer")
    }

    fn errno(call: libc::c_long, arguments: [libc::c_long; 6]) -> Option<i32> {
        let [a, b, c, d, e, f] = arguments;
        // SAFETY: calls whose arguments are no pointers, or null ones, which the kernel refuses.
        let result = unsafe { libc::syscall(call, a, b, c, d, e, f) };
        (result < 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    #[test]
    fn no_process_is_written_to_or_started() {
        let own = std::process::id() as libc::c_long;
        let refused = with_filter(Plan::default(), move || {
            [
                errno(libc::SYS_process_vm_writev, [own, 0, 0, 0, 0, 0]),
                errno(libc::SYS_ptrace, [0x10, own, 0, 0, 0, 0]),
                errno(libc::SYS_execve, [0; 6]),
                errno(libc::SYS_kill, [own, 0, 0, 0, 0, 0]),
                errno(libc::SYS_tgkill, [1, 1, 0, 0, 0, 0]),
                errno(libc::SYS_prlimit64, [1, 0, 0, 0, 0, 0]),
                errno(libc::SYS_setresuid, [-1, -1, -1, 0, 0, 0]),
            ]
        });
        assert_eq!(refused, [Some(libc::EPERM); 7]);
        // The same calls without the filter: something else is wrong with them, or nothing.
        assert_eq!(
            errno(libc::SYS_process_vm_writev, [own, 0, 0, 0, 0, 0]),
            None
        );
        assert_eq!(errno(libc::SYS_kill, [own, 0, 0, 0, 0, 0]), None);
        assert_eq!(errno(libc::SYS_setresuid, [-1, -1, -1, 0, 0, 0]), None);
    }

    #[test]
    fn what_the_agent_does_is_allowed() {
        let own = std::process::id() as libc::c_long;
        let allowed = with_filter(Plan::default(), move || {
            // SAFETY: no arguments, and it cannot fail.
            let thread = unsafe { libc::syscall(libc::SYS_gettid) };
            let child = std::thread::spawn(|| 7).join().expect("a thread");
            (
                errno(libc::SYS_tgkill, [own, thread, 0, 0, 0, 0]),
                errno(libc::SYS_prlimit64, [0; 6]),
                child,
            )
        });
        assert_eq!(allowed, (None, None, 7));
        let java = Plan {
            java: true,
            ..Plan::default()
        };
        let allowed = with_filter(java, || errno(libc::SYS_setresuid, [-1, -1, -1, 0, 0, 0]));
        assert_eq!(allowed, None);
    }
}
