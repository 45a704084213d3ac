//! Loader of the kernel programs.
//!
//! Enters: options, and what the kernel of this host offers. Leaves: [`Kernel`], which owns the attached socket and
//! process programs and gives out rings, counters and an [`Attacher`] for TLS libraries.

use super::attach::{Attacher, CallPrograms, Programs};
use super::count::Numbers;
use super::gauges::Gauges;
use super::ring::{Ring, Rings};
use crate::event::layout::stat;
use crate::event::{ConnId, Want};
use crate::telemetry::ledger::{Bytes, BytesSkipped, Capture};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, PrintLevel, ProgramMut};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

mod skel {
    include!(concat!(env!("OUT_DIR"), "/plainspan.skel.rs"));
}

use skel::{OpenPlainspanSkel, PlainspanSkel, PlainspanSkelBuilder};

/// How TLS calls are probed, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// `uprobe.session`: one link a file, one program for entry and return (kernel 6.13).
    Session,
    /// `uprobe.multi`: two links a file (kernel 6.6).
    Multi,
    /// A perf event for each place, entry and return (kernel 5.15). Slow to detach, and needs CAP_SYS_ADMIN.
    Perf,
}

impl Tier {
    /// All, best first.
    pub const ALL: [Tier; 3] = [Tier::Session, Tier::Multi, Tier::Perf];
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Session => "session",
            Tier::Multi => "multi",
            Tier::Perf => "perf",
        })
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Tier, String> {
        Tier::ALL
            .into_iter()
            .find(|tier| tier.to_string() == text)
            .ok_or_else(|| format!("{text:?} is none of session, multi, perf"))
    }
}

/// What the loader may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelOptions {
    /// None: the best that the kernel has.
    pub tier: Option<Tier>,
    /// Size of the data ring in bytes; rounded up to a power of two, 64 KiB at least.
    pub ring_bytes: u32,
    /// Size of the control ring in bytes; the same.
    pub control_ring_bytes: u32,
    /// Bytes copied of one operation at most; above 0.
    pub op_max_bytes: u32,
    /// The most that anybody wants of anything.
    pub want: Want,
    /// Connections, and TLS sessions, that can be followed at a time.
    pub max_connections: u32,
    /// The process that is never captured, with the far ends of its connections: normally the agent's own.
    pub agent_pid: u32,
}

impl Default for KernelOptions {
    fn default() -> Self {
        KernelOptions {
            tier: None,
            ring_bytes: 16 << 20,
            control_ring_bytes: 1 << 20,
            op_max_bytes: 4 << 20,
            want: Want::All,
            max_connections: 65_536,
            agent_pid: std::process::id(),
        }
    }
}

/// Why the kernel programs do not run on this host.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error(
        "this kernel has no type information: /sys/kernel/btf/vmlinux is missing. Use a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as those of the large distributions are"
    )]
    NoBtf,
    #[error(
        "not allowed to load kernel programs: {0} is missing. Run as root, or give the binary CAP_BPF and \
         CAP_PERFMON (in a container: add both capabilities)"
    )]
    NoCapability(&'static str),
    #[error(
        "the kernel is locked down (mode confidentiality), which forbids reading its memory. Boot with lockdown=integrity"
    )]
    Lockdown,
    #[error("kernel {0} is too old: the socket tracepoints that are needed came with 6.3")]
    TooOld(String),
    #[error(
        "tier {0} was asked for, and this kernel does not have it: leave out --tier to use the best one there is"
    )]
    NoTier(Tier),
    #[error(
        "cannot load the kernel programs: {0:#}. The log at level debug has the verifier's answer"
    )]
    Load(libbpf_rs::Error),
    #[error("cannot attach the kernel program {program}: {source:#}")]
    Attach {
        program: String,
        source: libbpf_rs::Error,
    },
    #[error("cannot open {what} of the kernel programs: {source}")]
    Map {
        what: &'static str,
        source: io::Error,
    },
}

/// The kernel's counters as the ledger has them. They only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelCounters {
    pub bytes: Bytes,
    /// All but `events_undecodable` and `policies_not_told`, which the kernel cannot know.
    pub capture: Capture,
}

/// The loaded programs. Dropping it detaches those of sockets and processes; probes of TLS libraries belong to their
/// [`super::attach::Attachment`].
pub struct Kernel {
    tier: Tier,
    attacher: Attacher,
    data_ring: MapHandle,
    control_ring: MapHandle,
    sessions: MapHandle,
    goroutines: MapHandle,
    rustls: MapHandle,
    policies: MapHandle,
    policy_on: MapHandle,
    conn_policies: MapHandle,
    conn_policy_on: MapHandle,
    want: MapHandle,
    stats: MapHandle,
    gauges: Arc<Gauges>,
    // Never read: they hold the programs in their places.
    _links: Vec<Link>,
}

impl Kernel {
    /// Loads the programs, and attaches those of sockets and processes.
    ///
    /// # Errors
    /// When this host cannot run them. The text says what is missing and what to do.
    pub fn load(options: &KernelOptions) -> Result<Kernel, KernelError> {
        libbpf_rs::set_print(Some((PrintLevel::Debug, log_libbpf)));
        check_host()?;
        if let Some(tier) = options.tier {
            return match load_tier(tier, options)? {
                Some(kernel) => Ok(kernel),
                None => Err(KernelError::NoTier(tier)),
            };
        }
        let mut failed = KernelError::NoTier(Tier::Perf);
        for tier in Tier::ALL {
            match load_tier(tier, options) {
                Ok(Some(kernel)) => return Ok(kernel),
                Ok(None) => tracing::debug!(%tier, "the kernel does not have this kind of probe"),
                Err(error) => {
                    tracing::debug!(%tier, %error, "the kernel does not take this kind of probe");
                    failed = error;
                }
            }
        }
        Err(explain(failed))
    }

    /// How TLS calls are probed.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// What the kernel says of the programs and maps.
    pub fn gauges(&self) -> Arc<Gauges> {
        self.gauges.clone()
    }

    /// For the thread that finds TLS libraries.
    pub fn attacher(&self) -> Attacher {
        self.attacher.clone()
    }

    /// The rings' reader. There must be only one at a time: a second one would take the first one's records.
    ///
    /// # Errors
    /// When they cannot be mapped.
    pub fn rings(&self) -> Result<Rings, KernelError> {
        let ring = |map, what| Ring::new(map).map_err(|source| KernelError::Map { what, source });
        let data = ring(&self.data_ring, "the data ring")?;
        let control = ring(&self.control_ring, "the control ring")?;
        Rings::new(data, control).map_err(|source| KernelError::Map {
            what: "the rings",
            source,
        })
    }

    /// The counters, summed over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<KernelCounters, KernelError> {
        let mut n = [0u64; stat::MAX];
        for (index, sum) in (0u32..).zip(&mut n) {
            let values = self
                .stats
                .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
                .map_err(|e| map_error("the counters", e))?;
            *sum = values.iter().flatten().map(|cpu| number(cpu)).sum();
        }
        Ok(KernelCounters {
            bytes: Bytes {
                seen: n[stat::BYTES_SEEN],
                copied: n[stat::BYTES_COPIED],
                skipped_on_purpose: n[stat::BYTES_SKIPPED],
                skipped: BytesSkipped {
                    content: n[stat::SKIPPED_CONTENT],
                    level_none: n[stat::SKIPPED_NONE],
                    unfollowed: n[stat::SKIPPED_UNFOLLOWED],
                    // Read one after another while they grow.
                    unseen: n[stat::BYTES_SKIPPED]
                        .saturating_sub(n[stat::SKIPPED_CONTENT])
                        .saturating_sub(n[stat::SKIPPED_NONE] + n[stat::SKIPPED_UNFOLLOWED]),
                },
                lost: n[stat::BYTES_LOST],
            },
            capture: Capture {
                data_events_lost: n[stat::DATA_RING_FULL],
                control_events_lost: n[stat::CONTROL_RING_FULL],
                connections_not_tracked: n[stat::CONN_MAP_FULL],
                tls_sessions_not_tracked: n[stat::TLS_MAP_FULL],
                user_memory_faults: n[stat::FAULT],
                tls_calls_not_followed: n[stat::NESTED_LOST] + n[stat::NO_TASK],
                tls_sessions_rebound: n[stat::REBOUND],
                tls_sessions_doubted: n[stat::DOUBTED],
                events_undecodable: 0,
                policies_not_told: 0,
            },
        })
    }

    /// From now on this is the most that is copied of anything. What was not followed goes on to be copied whole until
    /// a message of HTTP/1 begins on it; HTTP/2 until it ends.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn want(&self, want: Want) -> Result<(), KernelError> {
        switch(&self.want, want.code(), "what is copied")
    }

    /// From now on nothing of the process is captured, not even counted.
    ///
    /// # Errors
    /// When the map is full or cannot be written.
    pub fn ignore_process(&self, pid: u32) -> Result<(), KernelError> {
        const IGNORE: [u8; 4] = 1u32.to_ne_bytes();
        self.set_policy(pid, IGNORE)
    }

    /// From now on this is the most that is copied of the process; [`Want::All`] takes back what was said before.
    ///
    /// # Errors
    /// When the map is full or cannot be written.
    pub fn want_of_process(&self, pid: u32, want: Want) -> Result<(), KernelError> {
        if want == Want::All {
            return remove(&self.policies, &pid.to_ne_bytes(), "the process policies");
        }
        self.set_policy(pid, want.policy())
    }

    fn set_policy(&self, pid: u32, policy: [u8; 4]) -> Result<(), KernelError> {
        self.policies
            .update(&pid.to_ne_bytes(), &policy, MapFlags::ANY)
            .map_err(|e| map_error("the process policies", e))?;
        switch(&self.policy_on, 1, "the process policies")
    }

    /// From now on this is the most that is copied of the connection; [`Want::All`] takes back what was said before.
    ///
    /// # Errors
    /// When the map is full or cannot be written.
    pub fn want_of_connection(&self, conn: ConnId, want: Want) -> Result<(), KernelError> {
        const WHAT: &str = "the connection policies";
        let key = conn.0.to_ne_bytes();
        if want == Want::All {
            return remove(&self.conn_policies, &key, WHAT);
        }
        self.conn_policies
            .update(&key, &want.policy(), MapFlags::ANY)
            .map_err(|e| map_error(WHAT, e))?;
        switch(&self.conn_policy_on, 1, WHAT)
    }

    /// Removes what is kept of a process that is gone: its policy, TLS sessions that it did not free, and TLS calls that
    /// its goroutines were in. Walks all TLS sessions, so it is meant for processes that had any.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub fn forget_process(&self, pid: u32) -> Result<(), KernelError> {
        remove(&self.policies, &pid.to_ne_bytes(), "the process policies")?;
        for (map, what) in [
            (&self.sessions, SESSIONS),
            (&self.goroutines, GOROUTINES),
            (&self.rustls, RUSTLS),
        ] {
            for key in keys_of(map, pid, what)? {
                remove(map, &key, what)?;
            }
        }
        Ok(())
    }

    /// Keys of the TLS sessions that the process has not freed, as the kernel programs store them.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn sessions_of(&self, pid: u32) -> Result<Vec<Vec<u8>>, KernelError> {
        keys_of(&self.sessions, pid, SESSIONS)
    }
}

/// The keys of a process in a map whose keys are an address and then the process: `struct ps_session_key`,
/// `struct ps_goroutine_key`; for keys of rustls the first.
fn keys_of(map: &MapHandle, pid: u32, what: &'static str) -> Result<Vec<Vec<u8>>, KernelError> {
    let of_process = |key: &Vec<u8>| key.get(8..12) == Some(&pid.to_ne_bytes()[..]);
    let entries = map
        .lookup_batch(1024, MapFlags::ANY, MapFlags::ANY)
        .map_err(|e| map_error(what, e))?;
    Ok(entries.map(|(key, _)| key).filter(of_process).collect())
}

const SESSIONS: &str = "the TLS sessions";
const GOROUTINES: &str = "the goroutines";
const RUSTLS: &str = "the keys of rustls";

fn remove(map: &MapHandle, key: &[u8], what: &'static str) -> Result<(), KernelError> {
    match map.delete(key) {
        Err(e) if e.kind() != libbpf_rs::ErrorKind::NotFound => Err(map_error(what, e)),
        _ => Ok(()),
    }
}

/// Writes a variable that has a map of its own.
fn switch(map: &MapHandle, value: u32, what: &'static str) -> Result<(), KernelError> {
    map.update(&0u32.to_ne_bytes(), &value.to_ne_bytes(), MapFlags::ANY)
        .map_err(|e| map_error(what, e))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_ne_bytes)
}

fn map_error(what: &'static str, error: libbpf_rs::Error) -> KernelError {
    KernelError::Map {
        what,
        source: io::Error::other(error),
    }
}

fn log_libbpf(level: PrintLevel, text: String) {
    // A tier that does not load is no failure of the agent, so nothing here is above debug: errors are returned too.
    tracing::debug!(target: "libbpf", ?level, "{}", text.trim_end());
}

/// None: the kernel does not know this kind of link.
fn load_tier(tier: Tier, options: &KernelOptions) -> Result<Option<Kernel>, KernelError> {
    let mut storage = MaybeUninit::uninit();
    let mut open = PlainspanSkelBuilder::default()
        .open(&mut storage)
        .map_err(KernelError::Load)?;
    configure(&mut open, tier, options).map_err(KernelError::Load)?;
    let skel = open.load().map_err(KernelError::Load)?;
    let programs = programs(&skel, tier).map_err(|source| KernelError::Map {
        what: "the programs",
        source,
    })?;
    let handle = |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(map).map_err(KernelError::Load);
    let maps = &skel.maps;
    let numbers = Numbers::new(
        handle(&maps.ps_libraries)?,
        handle(&maps.ps_library_counts)?,
    );
    let attacher = Attacher::new(programs).counting(numbers);
    if !attacher.is_supported() {
        return Ok(None);
    }
    let kernel = Kernel {
        tier,
        attacher,
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
        _links: attach_tracepoints(&skel)?,
    };
    kernel.want(options.want)?;
    Ok(Some(kernel))
}

fn ring_size(bytes: u32) -> u32 {
    bytes.clamp(64 << 10, 1 << 30).next_power_of_two()
}

fn configure(
    open: &mut OpenPlainspanSkel<'_>,
    tier: Tier,
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
    if let Some(data) = &mut maps.rodata_data {
        data.ps_cfg.agent_tgid = options.agent_pid;
        data.ps_cfg.op_max = options.op_max_bytes;
        data.ps_cfg.wake_shift = (ring_bytes / 8).trailing_zeros();
    }
    let progs = &mut open.progs;
    let session = &mut progs.ps_tls_session;
    session.set_autoload(tier == Tier::Session);
    let session = &mut progs.ps_rustls_session;
    session.set_autoload(tier == Tier::Session);
    for program in [
        &mut progs.ps_tls_enter_multi,
        &mut progs.ps_tls_leave_multi,
        &mut progs.ps_rustls_enter_multi,
        &mut progs.ps_rustls_leave_multi,
    ] {
        program.set_autoload(tier == Tier::Multi);
    }
    for program in [
        &mut progs.ps_tls_enter_perf,
        &mut progs.ps_tls_leave_perf,
        &mut progs.ps_rustls_enter_perf,
        &mut progs.ps_rustls_leave_perf,
    ] {
        program.set_autoload(tier == Tier::Perf);
    }
    progs.ps_go_multi.set_autoload(tier != Tier::Perf);
    progs.ps_go_perf.set_autoload(tier == Tier::Perf);
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

fn attach_tracepoints(skel: &PlainspanSkel<'_>) -> Result<Vec<Link>, KernelError> {
    let progs = &skel.progs;
    // Ends before beginnings: what is entered is sure to be removed.
    let order = [
        &progs.ps_sock_destroy,
        &progs.ps_sock_state,
        &progs.ps_sock_send,
        &progs.ps_sock_recv,
        &progs.ps_process_exec,
        &progs.ps_process_exit,
    ];
    let attach = |program: &ProgramMut<'_>| {
        program.attach().map_err(|source| KernelError::Attach {
            program: program.name().to_string_lossy().into_owned(),
            source,
        })
    };
    order.into_iter().map(attach).collect()
}

/// What can be told before a load is tried.
fn check_host() -> Result<(), KernelError> {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_PERFMON: u32 = 38;
    const CAP_BPF: u32 = 39;
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(KernelError::NoBtf);
    }
    let status = std::fs::read_to_string("/proc/self/status");
    let effective = status.ok().and_then(|text| {
        let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    // Without /proc the load itself will tell.
    if let Some(mask) = effective {
        let has = |cap: u32| mask & (1 << cap) != 0 || mask & (1 << CAP_SYS_ADMIN) != 0;
        if !has(CAP_BPF) {
            return Err(KernelError::NoCapability("CAP_BPF"));
        }
        if !has(CAP_PERFMON) {
            return Err(KernelError::NoCapability("CAP_PERFMON"));
        }
    }
    Ok(())
}

/// Names the reason behind a refusal where the host shows one.
fn explain(error: KernelError) -> KernelError {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown");
    if lockdown.is_ok_and(|modes| modes.contains("[confidentiality]")) {
        return KernelError::Lockdown;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if is_before(&release, (6, 3)) {
        return KernelError::TooOld(release.trim().to_owned());
    }
    error
}

fn is_before(release: &str, version: (u32, u32)) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|n| n.parse::<u32>().ok());
    matches!((part(), part()), (Some(major), Some(minor)) if (major, minor) < version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_read_as_it_is_written() {
        for tier in Tier::ALL {
            assert_eq!(tier.to_string().parse(), Ok(tier));
        }
        assert!("kprobe".parse::<Tier>().is_err());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_before("6.1.0-26-amd64\n", (6, 3)));
        assert!(is_before("5.15.0", (6, 3)));
        assert!(!is_before("6.12.3+deb13", (6, 3)));
        assert!(!is_before("6.3.0", (6, 3)));
        assert!(!is_before("", (6, 3)));
    }

    #[test]
    fn a_ring_size_is_a_power_of_two_pages() {
        assert_eq!(ring_size(0), 64 << 10);
        assert_eq!(ring_size(65_537), 128 << 10);
        assert_eq!(ring_size(u32::MAX), 1 << 30);
    }
}
