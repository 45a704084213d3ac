//! Loading and attaching the kernel programs at the best tiers that the kernel takes.
//!
//! Holds: a tier is given up because it was tried and failed, and how it failed is kept. A failure that is about no tier
//! ends the search.

use super::skel::{OpenPlainspanSkel, PlainspanSkel, PlainspanSkelBuilder};
use super::{Kernel, KernelError, KernelOptions};
use crate::probe::attach::{self, Attacher, CallPrograms, Programs};
use crate::probe::count::Numbers;
use crate::probe::gauges::Gauges;
use crate::probe::tier::{Chosen, LoopTier, Part, Search, SocketTier, Tier, Tiers};
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{Func, FuncProto};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapHandle, PrintLevel, ProgramMut, libbpf_sys};
use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Programs of every tier. Ends are attached before beginnings: what is entered is sure to be removed.
const FOR_ALL: [&str; 4] = [
    "ps_sock_destroy",
    "ps_sock_state",
    "ps_process_exec",
    "ps_process_exit",
];

/// Programs of TLS calls; the finder attaches them.
fn call_programs(tier: Tier) -> &'static [&'static str] {
    match tier {
        Tier::Session => &["ps_tls_session", "ps_rustls_session", "ps_go_multi"],
        Tier::Multi => &[
            "ps_tls_enter_multi",
            "ps_tls_leave_multi",
            "ps_rustls_enter_multi",
            "ps_rustls_leave_multi",
            "ps_go_multi",
        ],
        Tier::Perf => &[
            "ps_tls_enter_perf",
            "ps_tls_leave_perf",
            "ps_rustls_enter_perf",
            "ps_rustls_leave_perf",
            "ps_go_perf",
        ],
    }
}

/// Programs of sends and receives, in the order in which they are attached.
fn socket_programs(tier: SocketTier, functions: Functions) -> Vec<&'static str> {
    let mut programs = match tier {
        SocketTier::Tracepoints => vec!["ps_sock_send", "ps_sock_recv"],
        SocketTier::Fexit if functions.nonblock => vec!["ps_tcp_send", "ps_tcp_recv_nonblock"],
        SocketTier::Fexit => vec!["ps_tcp_send", "ps_tcp_recv"],
        SocketTier::Kprobes => vec![
            "ps_tcp_send_leave",
            "ps_tcp_recv_leave",
            "ps_tcp_send_enter",
            "ps_tcp_recv_enter",
        ],
        SocketTier::Syscalls => vec!["ps_syscall_leave"],
    };
    if functions.sendpage {
        match tier {
            SocketTier::Fexit => programs.push("ps_tcp_page"),
            SocketTier::Kprobes => programs.extend(["ps_tcp_page_leave", "ps_tcp_page_enter"]),
            SocketTier::Tracepoints | SocketTier::Syscalls => {}
        }
    }
    programs
}

/// The programs of the tier get addresses of which the verifier knows no type.
fn is_untyped(tier: SocketTier) -> bool {
    matches!(tier, SocketTier::Kprobes | SocketTier::Syscalls)
}

/// What differs between kernels in the functions that [`SocketTier::Fexit`] and [`SocketTier::Kprobes`] probe.
#[derive(Debug, Clone, Copy, Default)]
struct Functions {
    /// `tcp_recvmsg` has an argument `nonblock` in front of its flags (before 5.19).
    nonblock: bool,
    /// There is a `tcp_sendpage` (before 6.5).
    sendpage: bool,
}

impl Functions {
    /// As the kernel's type information has them.
    fn read() -> libbpf_rs::Result<Functions> {
        const WITH_NONBLOCK: usize = 6;
        let btf = Btf::from_vmlinux()?;
        let receive: Option<Func<'_>> = btf.type_by_name("tcp_recvmsg");
        let prototype =
            receive.and_then(|function| FuncProto::try_from(function.next_type()?).ok());
        Ok(Functions {
            nonblock: prototype.is_some_and(|of| of.len() == WITH_NONBLOCK),
            sendpage: btf.type_by_name::<Func<'_>>("tcp_sendpage").is_some(),
        })
    }
}

/// Why a load failed.
struct Failure {
    /// What it was about; None: no tier.
    part: Option<Part>,
    why: String,
    error: KernelError,
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Failure {
        Failure {
            part: None,
            why: String::new(),
            error,
        }
    }
}

impl Failure {
    fn of_program(name: &str, why: String, error: KernelError) -> Failure {
        Failure {
            part: part_of(name),
            why: format!("{name}: {why}"),
            error,
        }
    }
}

/// What a program is for; None: all tiers have it.
fn part_of(program: &str) -> Option<Part> {
    let functions = |nonblock| Functions {
        nonblock,
        sendpage: true,
    };
    let of_sockets = SocketTier::ALL.into_iter().any(|tier| {
        [true, false]
            .into_iter()
            .any(|nonblock| socket_programs(tier, functions(nonblock)).contains(&program))
    });
    let of_calls = Tier::ALL
        .into_iter()
        .any(|tier| call_programs(tier).contains(&program));
    match (of_sockets, of_calls) {
        (true, _) => Some(Part::Sockets),
        (false, true) => Some(Part::Calls),
        (false, false) => None,
    }
}

/// Loads and attaches, from the best tiers down to those that the kernel takes.
pub(super) fn search(options: &KernelOptions) -> Result<Kernel, KernelError> {
    let mut search = Search::new(options.tier);
    if search.now().loops == LoopTier::BpfLoop && !has_helper(libbpf_sys::BPF_FUNC_loop) {
        refuse(
            &mut search,
            options,
            Part::Loops,
            "the kernel does not have this helper".into(),
        )?;
    }
    loop {
        // Asked with programs that do nothing: the verifier takes its time for the real ones.
        while let Err(error) = attach::try_tier(search.now().calls) {
            let why = format!("the kernel does not have this kind of probe: {error}");
            refuse(&mut search, options, Part::Calls, why)?;
        }
        let tiers = search.now();
        match load(tiers, options) {
            Ok(mut kernel) => {
                kernel.chosen = search.chosen();
                return Ok(kernel);
            }
            Err(Failure {
                part: Some(part),
                why,
                error,
            }) => {
                tracing::debug!(%tiers, %error, "the kernel does not take these tiers");
                refuse(&mut search, options, part, why)?;
            }
            Err(Failure { error, .. }) => return Err(error),
        }
    }
}

/// Goes on to the next tier of that part.
fn refuse(
    search: &mut Search,
    options: &KernelOptions,
    part: Part,
    why: String,
) -> Result<(), KernelError> {
    let now = search.now();
    let (tier, forced, what) = match part {
        Part::Calls => (
            now.calls.name(),
            options.tier.calls.is_some(),
            "calls of TLS libraries",
        ),
        Part::Sockets => (
            now.sockets.name(),
            options.tier.sockets.is_some(),
            "sends and receives",
        ),
        Part::Loops => (now.loops.name(), options.tier.loops.is_some(), "loops"),
    };
    if search.refuse(part, why.clone()) {
        return Ok(());
    }
    Err(match forced {
        true => KernelError::NotForced { tier, why },
        false => KernelError::NoTier {
            what,
            refused: search.refusals(),
        },
    })
}

/// Whether programs of probes may call the helper. Where that cannot be told, the load itself will tell.
pub(super) fn has_helper(helper: libbpf_sys::bpf_func_id) -> bool {
    // SAFETY: no memory of ours is involved.
    let answer = unsafe {
        libbpf_sys::libbpf_probe_bpf_helper(
            libbpf_sys::BPF_PROG_TYPE_KPROBE,
            helper,
            std::ptr::null(),
        )
    };
    answer != 0
}

thread_local! {
    /// What libbpf said first of a program that failed to load, and the verifier's last word on it.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A tier that does not load is no failure of the agent, so nothing here is above debug: errors are returned too.
pub(super) fn log_libbpf(level: PrintLevel, text: String) {
    tracing::debug!(target: "libbpf", ?level, "{}", text.trim_end());
    if level == PrintLevel::Warn {
        SAID.with_borrow_mut(|said| said.push(text));
    }
}

/// Name of the program that failed, and how, from libbpf's warnings.
fn failed_program(said: &[String]) -> Option<(String, String)> {
    let of_program = |text: &String| {
        let (name, what) = text.split_once("prog '")?.1.split_once("': ")?;
        Some((name.to_owned(), what.to_owned()))
    };
    let mut texts = said.iter().filter_map(of_program);
    let (name, what) = texts.next()?;
    let mut why = what.lines().next().unwrap_or_default().trim().to_owned();
    let log = texts.find(|(of, what)| *of == name && what.contains("BEGIN PROG LOAD LOG"));
    if let Some((_, log)) = log {
        let says = |line: &&str| {
            !line.is_empty() && !line.starts_with("processed ") && !line.starts_with("--")
        };
        if let Some(last) = log.lines().map(str::trim).rfind(says) {
            why = format!("{why} ({last})");
        }
    }
    Some((name, why))
}

/// The kernel programs at these tiers, attached where they need no library.
fn load(tiers: Tiers, options: &KernelOptions) -> Result<Kernel, Failure> {
    let functions = match tiers.sockets {
        SocketTier::Fexit | SocketTier::Kprobes => Functions::read().map_err(KernelError::Load)?,
        SocketTier::Tracepoints | SocketTier::Syscalls => Functions::default(),
    };
    SAID.take();
    let mut storage = MaybeUninit::uninit();
    let mut open = PlainspanSkelBuilder::default()
        .open(&mut storage)
        .map_err(KernelError::Load)?;
    configure(&mut open, tiers, functions, options).map_err(KernelError::Load)?;
    let skel = open
        .load()
        .map_err(|error| match failed_program(&SAID.take()) {
            Some((name, why)) => Failure::of_program(&name, why, KernelError::Load(error)),
            None => KernelError::Load(error).into(),
        })?;
    let programs = programs(&skel, tiers.calls).map_err(|source| KernelError::Map {
        what: "the programs",
        source,
    })?;
    let handle = |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(map).map_err(KernelError::Load);
    let maps = &skel.maps;
    let numbers = Numbers::new(
        handle(&maps.ps_libraries)?,
        handle(&maps.ps_library_counts)?,
    );
    let kernel = Kernel {
        chosen: Chosen {
            tiers,
            refused: Vec::new(),
        },
        attacher: Attacher::new(programs).counting(numbers),
        data_ring: handle(&maps.ps_data_ring)?,
        control_ring: handle(&maps.ps_control_ring)?,
        sessions: handle(&maps.ps_tls)?,
        goroutines: handle(&maps.ps_goroutines)?,
        rustls: handle(&maps.ps_rustls)?,
        policies: handle(&maps.ps_pid_policy)?,
        policy_on: handle(&maps.data_policy)?,
        conn_policies: handle(&maps.ps_conn_policy)?,
        conn_policy_on: handle(&maps.data_conns)?,
        want: handle(&maps.data_want)?,
        stats: handle(&maps.ps_stats)?,
        gauges: Arc::new(gauges(&skel)?),
        _links: attach_all(&skel, &socket_programs(tiers.sockets, functions))?,
    };
    kernel.want(options.want)?;
    Ok(kernel)
}

fn ring_size(bytes: u32) -> u32 {
    bytes.clamp(64 << 10, 1 << 30).next_power_of_two()
}

fn configure(
    open: &mut OpenPlainspanSkel<'_>,
    tiers: Tiers,
    functions: Functions,
    options: &KernelOptions,
) -> libbpf_rs::Result<()> {
    let ring_bytes = ring_size(options.ring_bytes);
    let maps = &mut open.maps;
    maps.ps_data_ring.set_max_entries(ring_bytes)?;
    let control_bytes = ring_size(options.control_ring_bytes);
    maps.ps_control_ring.set_max_entries(control_bytes)?;
    maps.ps_conns.set_max_entries(options.max_connections)?;
    maps.ps_tls.set_max_entries(options.max_connections)?;
    maps.ps_hellos.set_max_entries(options.max_connections)?;
    maps.ps_goroutines
        .set_max_entries(options.max_connections)?;
    // Two of a connection.
    maps.ps_rustls
        .set_max_entries(options.max_connections.saturating_mul(2))?;
    maps.ps_conn_policy
        .set_max_entries(options.max_connections)?;
    if tiers.loops == LoopTier::BpfLoop {
        maps.ps_steps.set_max_entries(1)?;
    }
    if let Some(data) = &mut maps.rodata_data {
        data.ps_cfg.agent_tgid = options.agent_pid;
        data.ps_cfg.op_max = options.op_max_bytes;
        data.ps_cfg.untyped = is_untyped(tiers.sockets).into();
        data.ps_cfg.for_each = (tiers.loops == LoopTier::ForEach).into();
        data.ps_cfg.nonblock = functions.nonblock.into();
        data.ps_cfg.wake_shift = (ring_bytes / 8).trailing_zeros();
    }
    let wanted = [
        call_programs(tiers.calls),
        &socket_programs(tiers.sockets, functions),
    ]
    .concat();
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_str().unwrap_or_default();
        let wanted = FOR_ALL.contains(&name) || wanted.contains(&name);
        program.set_autoload(wanted);
    }
    Ok(())
}

/// Own descriptors: they outlive the skeleton.
fn programs(skel: &PlainspanSkel<'_>, tier: Tier) -> io::Result<Programs> {
    let own =
        |program: &ProgramMut<'_>| -> io::Result<OwnedFd> { program.as_fd().try_clone_to_owned() };
    let progs = &skel.progs;
    let calls = match tier {
        Tier::Session => CallPrograms::Session {
            both: own(&progs.ps_tls_session)?,
        },
        Tier::Multi => CallPrograms::Multi {
            enter: own(&progs.ps_tls_enter_multi)?,
            leave: own(&progs.ps_tls_leave_multi)?,
        },
        Tier::Perf => CallPrograms::Perf {
            enter: own(&progs.ps_tls_enter_perf)?,
            leave: own(&progs.ps_tls_leave_perf)?,
        },
    };
    let go = match tier {
        Tier::Session | Tier::Multi => &progs.ps_go_multi,
        Tier::Perf => &progs.ps_go_perf,
    };
    let rustls = match tier {
        Tier::Session => CallPrograms::Session {
            both: own(&progs.ps_rustls_session)?,
        },
        Tier::Multi => CallPrograms::Multi {
            enter: own(&progs.ps_rustls_enter_multi)?,
            leave: own(&progs.ps_rustls_leave_multi)?,
        },
        Tier::Perf => CallPrograms::Perf {
            enter: own(&progs.ps_rustls_enter_perf)?,
            leave: own(&progs.ps_rustls_leave_perf)?,
        },
    };
    Ok(Programs {
        calls,
        go: own(go)?,
        rustls,
    })
}

/// Handles of all that is loaded.
fn gauges(skel: &PlainspanSkel<'_>) -> Result<Gauges, KernelError> {
    let loaded = skel.object().progs().filter(|program| program.autoload());
    let program = |program: libbpf_rs::Program<'_>| {
        let name = program.name().to_string_lossy().into_owned();
        Ok((name, program.as_fd().try_clone_to_owned()?))
    };
    let programs = loaded.map(program).collect::<io::Result<_>>();
    let maps = &skel.maps;
    let maps = [
        ("connections", &maps.ps_conns),
        ("tls_sessions", &maps.ps_tls),
        ("tls_hellos", &maps.ps_hellos),
        ("goroutines", &maps.ps_goroutines),
        ("rustls_keys", &maps.ps_rustls),
        ("process_policies", &maps.ps_pid_policy),
        ("connection_policies", &maps.ps_conn_policy),
        ("own_connections", &maps.ps_own),
    ];
    let handle = |(name, map)| Ok((name, MapHandle::try_from(map).map_err(KernelError::Load)?));
    Ok(Gauges {
        programs: programs.map_err(|source| KernelError::Map {
            what: "the programs",
            source,
        })?,
        maps: maps.into_iter().map(handle).collect::<Result<_, _>>()?,
    })
}

fn attach_all(skel: &PlainspanSkel<'_>, sockets: &[&str]) -> Result<Vec<Link>, Failure> {
    let programs: Vec<ProgramMut<'_>> = skel.object().progs_mut().collect();
    let (connections, processes) = FOR_ALL.split_at(2);
    let order = [connections, sockets, processes].concat();
    let attach = |name: &str| {
        let program = programs.iter().find(|program| program.name() == name);
        let program = program.ok_or_else(|| KernelError::Map {
            what: "the programs",
            source: io::Error::other(format!("{name} is not among them")),
        })?;
        program.attach().map_err(|source| {
            let why = format!("{source:#}");
            let program = name.to_owned();
            Failure::of_program(name, why, KernelError::Attach { program, source })
        })
    };
    order.into_iter().map(attach).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_size_is_a_power_of_two_pages() {
        assert_eq!(ring_size(0), 64 << 10);
        assert_eq!(ring_size(65_537), 128 << 10);
        assert_eq!(ring_size(u32::MAX), 1 << 30);
    }

    #[test]
    fn a_program_belongs_to_the_part_that_has_it() {
        for (program, part) in [
            ("ps_sock_send", Some(Part::Sockets)),
            ("ps_tcp_recv_nonblock", Some(Part::Sockets)),
            ("ps_tcp_page_leave", Some(Part::Sockets)),
            ("ps_syscall_leave", Some(Part::Sockets)),
            ("ps_go_perf", Some(Part::Calls)),
            ("ps_tls_session", Some(Part::Calls)),
            ("ps_sock_state", None),
            ("ps_process_exec", None),
        ] {
            assert_eq!(part_of(program), part, "{program}");
        }
    }

    #[test]
    fn the_program_that_failed_is_told_from_what_libbpf_said() {
        let said = [
            "libbpf: prog 'ps_tcp_send': BPF program load failed: -EPERM\n",
            "libbpf: prog 'ps_tcp_send': -- BEGIN PROG LOAD LOG --\n0: (79) r6 = *(u64 *)(r1 +0)\ninvalid func \
             unknown#181\nprocessed 12 insns (limit 1000000)\n-- END PROG LOAD LOG --\n",
            "libbpf: prog 'ps_tcp_send': failed to load: -EPERM\n",
            "libbpf: failed to load object 'plainspan_bpf'\n",
        ]
        .map(str::to_owned);
        let (name, why) = failed_program(&said).expect("a program");
        assert_eq!(name, "ps_tcp_send");
        assert_eq!(
            why,
            "BPF program load failed: -EPERM (invalid func unknown#181)"
        );
        let missing = "libbpf: prog 'ps_sock_send': failed to find kernel BTF type ID of 'sock_send_length': -ESRCH\n";
        let (name, why) = failed_program(&[missing.to_owned()]).expect("a program");
        assert_eq!(name, "ps_sock_send");
        assert!(why.ends_with("'sock_send_length': -ESRCH"), "{why}");
        assert_eq!(
            failed_program(&["libbpf: map 'ps_conns': failed to create: -ENOMEM\n".to_owned()]),
            None
        );
    }
}
