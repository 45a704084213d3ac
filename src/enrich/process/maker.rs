//! Processes, made of what was read of them.

use super::host::{self, Host};
use super::identity::{Identity, Lookup, Variables};
use super::procfs::{self, Facts, RESOURCE_ATTRIBUTES, SERVICE_NAME, TICK_NS};
use super::strategy::Strategy;
use super::wanted::Wanted;
use super::{Process, STRATEGY_VARIABLE, TAGS_VARIABLE, resource};
use crate::enrich::identity::Container;
use crate::enrich::published::Published;
use crate::event::Exec;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What others said of a process.
#[derive(Default)]
pub(super) struct Told<'a> {
    pub lookup: Lookup,
    pub container: Option<Arc<Container>>,
    /// What its SDK publishes is being read.
    pub reading: bool,
    pub published: Option<&'a Published>,
}

impl Process {
    /// What its files below `proc` say of a process alone, for filters: of a container nothing is known yet. None: there
    /// is no such process.
    pub fn glance(proc: &Path, pid: u32) -> Option<Process> {
        let wanted = Wanted::default().complete();
        let facts = procfs::read(proc, pid, &wanted.variables)?;
        let lookup = match facts.cgroups.container() {
            Some(_) => Lookup::Pending,
            None => Lookup::None,
        };
        let told = Told {
            lookup,
            ..Told::default()
        };
        let name = name(&facts);
        Some(Process {
            pid,
            parent_pid: facts.parent_pid,
            exe: facts.exe.clone(),
            uid: facts.uid,
            netns: facts.netns,
            container_id: facts.cgroups.container(),
            identity: identity(pid, &facts, &name, told, &wanted),
            name,
            ..Process::default()
        })
    }
}

fn name(facts: &Facts) -> String {
    let base = facts.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    base.filter(|base| !base.is_empty())
        .or(facts.comm.as_deref())
        .unwrap_or("unknown")
        .to_owned()
}

fn identity(pid: u32, facts: &Facts, name: &str, told: Told<'_>, wanted: &Wanted) -> Identity {
    let mut identity = Identity {
        cgroups: facts.cgroups.clone(),
        env: Variables(facts.variables.clone()),
        private: wanted.private.clone(),
        reading: told.reading,
        ..Identity::default()
    };
    identity.set(told.lookup, told.container, &wanted.tags);
    if let Some(text) = identity.env.get(STRATEGY_VARIABLE) {
        let exe = facts.exe.as_deref().unwrap_or(name);
        match Strategy::parse(text, exe) {
            Ok(strategy) => identity.strategy = strategy,
            Err(error) => {
                tracing::debug!(pid, %error, "{STRATEGY_VARIABLE} of a process is not followed");
            }
        }
    }
    identity
}

/// Reads `/proc` and makes processes.
pub(super) struct Maker {
    proc: PathBuf,
    etc: PathBuf,
    host: Host,
    wanted: Wanted,
}

impl Maker {
    pub fn new(proc: PathBuf, etc: PathBuf, wanted: Wanted) -> Maker {
        Maker {
            host: Host::read(&proc, &etc),
            wanted: wanted.complete(),
            proc,
            etc,
        }
    }

    /// False: that is what is wanted already.
    pub fn set_wanted(&mut self, wanted: Wanted) -> bool {
        let wanted = wanted.complete();
        let other = self.wanted != wanted;
        self.wanted = wanted;
        other
    }

    /// What `/proc` says. None: there is no such process.
    pub fn read(&self, pid: u32) -> Option<Facts> {
        let mut facts = procfs::read(&self.proc, pid, &self.wanted.variables)?;
        facts.started = facts.start_boottime_ns.and_then(|start| self.wall(start));
        Some(facts)
    }

    /// Start of a process, nanoseconds of CLOCK_BOOTTIME. None: there is no such process.
    pub fn start(&self, pid: u32) -> Option<u64> {
        procfs::start(&self.proc, pid)
    }

    /// A process with a new program. It may be gone, or on its way out, before all of it can be read: then the event
    /// says the rest, and the process `before` with the same number what a new program does not change.
    pub fn executed(&self, exec: &Exec<'_>, before: Option<&Facts>) -> Facts {
        let facts = self.read(exec.pid);
        let mut facts = facts.unwrap_or_else(|| self.departed(exec, before));
        if facts.exe.is_none() {
            let path = String::from_utf8_lossy(exec.path);
            facts.exe = Some(path.into_owned()).filter(|path| path.starts_with('/'));
        }
        let said = |name: &str| {
            let all = exec.environ.iter();
            all.into_iter().find_map(|own| procfs::variable(own, name))
        };
        let fill = |mine: &mut Option<String>, name: &str| {
            if mine.is_none() {
                *mine = said(name);
            }
        };
        fill(&mut facts.service_name, SERVICE_NAME);
        fill(&mut facts.resource_attributes, RESOURCE_ATTRIBUTES);
        for name in [STRATEGY_VARIABLE, TAGS_VARIABLE] {
            let known = facts.variables.iter().any(|(known, _)| known == name);
            if let Some(value) = said(name).filter(|_| !known) {
                facts.variables.push((name.to_owned(), value));
            }
        }
        facts
    }

    fn departed(&self, exec: &Exec<'_>, before: Option<&Facts>) -> Facts {
        let ticks = |ns: u64| ns / TICK_NS;
        let start_boottime_ns = Some(ticks(exec.start_boottime_ns) * TICK_NS);
        let same = |facts: &&Facts| facts.start_boottime_ns == start_boottime_ns;
        let before = before.filter(same).cloned().unwrap_or_else(|| Facts {
            started: start_boottime_ns.and_then(|start| self.wall(start)),
            ..Facts::default()
        });
        Facts {
            exe: None,
            comm: Some(String::from_utf8_lossy(exec.comm).into_owned()),
            start_boottime_ns,
            service_name: None,
            resource_attributes: None,
            variables: Vec::new(),
            ..before
        }
    }

    pub fn process(&self, pid: u32, facts: &Facts, told: Told<'_>) -> Process {
        let name = name(facts);
        let owner = facts.uid.and_then(|uid| host::user(&self.etc, uid));
        let published = told.published;
        let identity = identity(pid, facts, &name, told, &self.wanted);
        let container_id = facts.cgroups.container();
        let resource = resource::attributes(&resource::Sources {
            pid,
            name: &name,
            facts,
            published,
            container_id: container_id.as_deref(),
            identity: &identity,
            owner: owner.as_deref(),
            host: &self.host,
            wanted: &self.wanted,
        });
        Process {
            pid,
            parent_pid: facts.parent_pid,
            exe: facts.exe.clone(),
            name,
            uid: facts.uid,
            owner,
            started: facts.started,
            netns: facts.netns,
            container_id,
            identity,
            is_agent: pid == std::process::id(),
            resource,
        }
    }

    /// Wall-clock time of a moment of CLOCK_BOOTTIME.
    fn wall(&self, boottime_ns: u64) -> Option<SystemTime> {
        let uptime = std::fs::read_to_string(self.proc.join("uptime")).ok()?;
        let seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
        let booted = SystemTime::now().checked_sub(Duration::try_from_secs_f64(seconds).ok()?)?;
        booted.checked_add(Duration::from_nanos(boottime_ns))
    }
}
