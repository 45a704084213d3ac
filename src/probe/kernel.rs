//! Loader of the kernel programs.
//!
//! Enters: options, and what the kernel of this host offers. Leaves: [`Kernel`], which owns the attached socket and
//! process programs and gives out rings, counters and an [`Attacher`] for TLS libraries.

use super::attach::Attacher;
use super::gauges::Gauges;
use super::ring::{Ring, Rings};
use super::tier::{Chosen, Forced};
use crate::event::layout::stat;
use crate::event::{ConnId, Want};
use crate::telemetry::ledger::{Bytes, BytesSkipped, Capture};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, PrintLevel, libbpf_sys};
use std::io;
use std::sync::Arc;

mod load;
mod skel {
    include!(concat!(env!("OUT_DIR"), "/plainspan.skel.rs"));
}

/// What the loader may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelOptions {
    /// What is not forced is the best that the kernel has.
    pub tier: Forced,
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
            tier: Forced::default(),
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
    #[error(
        "kernel {release} cannot run the kernel programs: it has no {feature}, which came with {since}. Boot a kernel of \
         5.15 or later: Debian 11 has one in its backports, Ubuntu 20.04 its HWE kernel; RHEL and its kin from 9 on"
    )]
    Missing {
        release: String,
        feature: &'static str,
        since: &'static str,
    },
    #[error(
        "tier {tier} was asked for, and this kernel does not take it: {why}. Leave it out of --tier to use the best one \
         there is"
    )]
    NotForced { tier: &'static str, why: String },
    #[error(
        "this kernel takes none of the ways to see {what}:\n{refused}\nThe log at level debug has the whole answers"
    )]
    NoTier { what: &'static str, refused: String },
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
    chosen: Chosen,
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
        libbpf_rs::set_print(Some((PrintLevel::Debug, load::log_libbpf)));
        check_host()?;
        load::search(options).map_err(explain)
    }

    /// The tiers in use, and why not better ones.
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
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

/// What every tier needs, newest first, by the helper that shows it.
const NEEDED: [(libbpf_sys::bpf_func_id, &str, &str); 4] = [
    (
        libbpf_sys::BPF_FUNC_get_attach_cookie,
        "cookies of probes (bpf_get_attach_cookie)",
        "5.15",
    ),
    (
        libbpf_sys::BPF_FUNC_task_pt_regs,
        "the registers of a task (bpf_task_pt_regs)",
        "5.15",
    ),
    (
        libbpf_sys::BPF_FUNC_for_each_map_elem,
        "loops in kernel programs (bpf_for_each_map_elem)",
        "5.13",
    ),
    (
        libbpf_sys::BPF_FUNC_ringbuf_reserve,
        "rings for events (bpf_ringbuf_reserve)",
        "5.8",
    ),
];

/// Names the reason behind a refusal where the host shows one.
fn explain(error: KernelError) -> KernelError {
    // What was asked for is the reason.
    if matches!(error, KernelError::NotForced { .. }) {
        return error;
    }
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown");
    if lockdown.is_ok_and(|modes| modes.contains("[confidentiality]")) {
        return KernelError::Lockdown;
    }
    let missing = NEEDED
        .into_iter()
        .find(|(helper, ..)| !load::has_helper(*helper));
    match missing {
        Some((_, feature, since)) => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
            KernelError::Missing {
                release: release.unwrap_or_default().trim().to_owned(),
                feature,
                since,
            }
        }
        None => error,
    }
}
