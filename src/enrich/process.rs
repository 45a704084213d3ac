//! Processes and the service that each stands for.
//!
//! Enters: exec and exit events, process ids, `/proc`. Leaves: a shared [`Process`].
//! Holds: reads are bounded in size, and their number a process is fixed; a process is known for a minute after its
//! end; the number of processes is bounded; what cannot be read is absent.

mod host;
mod proc;
mod resource;
#[cfg(test)]
mod tests;

use crate::event::{Exec, KernelTime};
use host::Host;
use proc::{Proc, Stat};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// An observed process, as it was when it was first seen. Shared by all its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent_pid: Option<u32>,
    /// Path of the executable, as the process sees it.
    pub exe: Option<String>,
    /// Base name of the executable; the kernel's `comm` where the path is not known.
    pub name: String,
    pub uid: Option<u32>,
    /// Name of `uid` on the host.
    pub owner: Option<String>,
    pub started: Option<SystemTime>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// 64 hex digits, from the cgroup path.
    pub container_id: Option<String>,
    /// The process's own network traffic is the agent's.
    pub is_agent: bool,
    /// The attributes of its OTLP resource, `service.name` and `service.instance.id` included.
    pub resource: Vec<(String, ResourceValue)>,
}

/// Value of a resource attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceValue {
    Str(String),
    Int(i64),
}

/// Nanoseconds that a process is kept after its end.
const KEPT: u64 = 60_000_000_000;
/// Nanoseconds after which a look at `/proc` must confirm that a pid is still the same process: its end may have been
/// missed, and the kernel gives pids out again.
const CONFIRMED: u64 = 1_000_000_000;
/// Nanoseconds between two searches for processes that need not be kept any more.
const SWEEP: u64 = 10_000_000_000;
/// Processes that are kept at the most.
const MAX: usize = 16_384;

/// What [`Processes`] reads, and adds.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/etc`: `passwd` and `machine-id`.
    pub etc: PathBuf,
    /// Process id of the agent.
    pub agent_pid: u32,
    /// `resource.attributes` of the configuration.
    pub resource: BTreeMap<String, String>,
}

impl ProcessOptions {
    /// This host, this process as the agent.
    pub fn of_host(resource: BTreeMap<String, String>) -> Self {
        ProcessOptions {
            proc: Path::new("/proc").into(),
            etc: Path::new("/etc").into(),
            agent_pid: std::process::id(),
            resource,
        }
    }
}

/// Processes seen so far.
#[derive(Debug)]
pub struct Processes {
    proc: Proc,
    host: Host,
    agent_pid: u32,
    added: BTreeMap<String, String>,
    known: HashMap<u32, Known>,
    swept: KernelTime,
}

#[derive(Debug)]
struct Known {
    process: Arc<Process>,
    /// Start of the process in clock ticks since boot, as `/proc` says it.
    start: Option<u64>,
    confirmed: KernelTime,
    /// Asked for last, or seen first.
    used: KernelTime,
    ended: Option<KernelTime>,
}

impl Processes {
    /// Reads what is the same for all processes of the host.
    pub fn new(options: ProcessOptions) -> Self {
        Processes {
            host: Host::read(&options.proc, &options.etc),
            proc: Proc::new(options.proc),
            agent_pid: options.agent_pid,
            added: options.resource,
            known: HashMap::new(),
            swept: KernelTime::default(),
        }
    }

    /// A process runs a new program. It is looked at now: it may be gone in a moment.
    pub fn exec(&mut self, exec: &Exec<'_>) {
        let start = self.host.ticks(exec.start_boottime_ns);
        let before = self.known.remove(&exec.pid);
        // What does not change with the program: parent, user, namespaces.
        let before = before.filter(|k| k.start.is_none_or(|s| s == start));
        let stat = self.proc.stat(exec.pid).filter(|s| s.start == start);
        let process = match stat {
            Some(stat) => self.read(exec.pid, Some(stat)),
            None => self.departed(exec, start, before.as_ref().map(|k| &*k.process)),
        };
        self.remember(process, Some(start), exec.time);
    }

    /// The last thread of the process is gone. It stays known for a minute.
    pub fn exit(&mut self, pid: u32, time: KernelTime) {
        if let Some(known) = self.known.get_mut(&pid) {
            known.ended = Some(time);
        }
        self.sweep(time);
    }

    /// The process of this id at this moment. One that cannot be read any more, and was not seen before, has a pid alone.
    pub fn get(&mut self, pid: u32, now: KernelTime) -> Arc<Process> {
        if let Some(known) = self.known.get_mut(&pid) {
            known.used = now;
            let sure = known.ended.is_none() && now.since(known.confirmed) < CONFIRMED;
            if sure {
                return known.process.clone();
            }
            let start = self.proc.stat(pid).map(|s| s.start);
            let same = start.is_none() || start == known.start;
            if same {
                known.confirmed = now;
                return known.process.clone();
            }
        }
        let stat = self.proc.stat(pid);
        let start = stat.as_ref().map(|s| s.start);
        let process = self.read(pid, stat);
        self.remember(process, start, now)
    }

    /// Processes known now.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn remember(&mut self, process: Process, start: Option<u64>, now: KernelTime) -> Arc<Process> {
        self.sweep(now);
        if self.known.len() >= MAX {
            self.make_room();
        }
        let process = Arc::new(process);
        let known = Known {
            process: process.clone(),
            start,
            confirmed: now,
            used: now,
            ended: None,
        };
        self.known.insert(process.pid, known);
        process
    }

    /// Forgets those that ended more than a minute ago.
    fn sweep(&mut self, now: KernelTime) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.known
            .retain(|_, known| known.ended.is_none_or(|end| now.since(end) <= KEPT));
    }

    /// Forgets the eighth that nobody asked for longest. They are read anew when they talk again.
    fn make_room(&mut self) {
        let mut used: Vec<_> = self.known.values().map(|k| k.used).collect();
        let (_, limit, _) = used.select_nth_unstable(MAX / 8);
        let limit = *limit;
        self.known.retain(|_, known| known.used > limit);
    }

    /// Everything that `/proc` says of a process.
    fn read(&self, pid: u32, stat: Option<Stat>) -> Process {
        let exe = self.proc.exe(pid);
        let comm = stat.as_ref().map(|s| s.comm.clone());
        let name = exe
            .as_deref()
            .and_then(base_name)
            .map(str::to_owned)
            .or(comm)
            .unwrap_or_default();
        let uid = self.proc.uid(pid);
        let process = Process {
            pid,
            parent_pid: stat.as_ref().and_then(|s| s.parent),
            exe,
            name,
            owner: uid.and_then(|uid| self.host.owner(uid)),
            uid,
            started: stat.as_ref().and_then(|s| self.host.time(s.start)),
            netns: self.proc.netns(pid),
            container_id: self.proc.container(pid),
            is_agent: pid == self.agent_pid,
            resource: Vec::new(),
        };
        let said = self.proc.said(pid);
        self.with_resource(process, stat.map(|s| s.start), &said)
    }

    /// A process that was gone before it could be looked at: what the event says, and what it was before.
    fn departed(&self, exec: &Exec<'_>, start: u64, before: Option<&Process>) -> Process {
        let path = String::from_utf8_lossy(exec.path);
        let comm = String::from_utf8_lossy(exec.comm);
        let name = base_name(&path).map_or_else(|| comm.to_string(), str::to_owned);
        let process = Process {
            pid: exec.pid,
            parent_pid: before.and_then(|p| p.parent_pid),
            // A relative path is relative to a folder that is not known.
            exe: path.starts_with('/').then(|| path.to_string()),
            name,
            uid: before.and_then(|p| p.uid),
            owner: before.and_then(|p| p.owner.clone()),
            started: self.host.time(start),
            netns: before.and_then(|p| p.netns),
            container_id: before.and_then(|p| p.container_id.clone()),
            is_agent: exec.pid == self.agent_pid,
            resource: Vec::new(),
        };
        self.with_resource(process, Some(start), &proc::Said::default())
    }

    fn with_resource(
        &self,
        mut process: Process,
        start: Option<u64>,
        said: &proc::Said,
    ) -> Process {
        process.resource = resource::attributes(&process, start, said, &self.host, &self.added);
        process
    }
}

fn base_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !name.is_empty())
}
