//! Processes seen so far.

use super::Process;
use super::directory::Directory;
use super::maker::{Maker, Told};
use super::procfs::Facts;
use super::publication::Publication;
use super::wanted::Wanted;
use crate::enrich::identity::Lookups;
use crate::enrich::published::{Ask, Reader};
use crate::event::{Exec, KernelTime};
use std::collections::{BTreeMap, HashMap, VecDeque};
#[cfg(test)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a process that is gone keeps its identity: its last transactions may still be on their way.
const KEEP: Duration = Duration::from_secs(60);
/// The same of one that had no transaction yet, which few have: a host that builds or tests software starts dozens of
/// processes a second, and each is some kilobytes here.
const KEEP_UNUSED: Duration = Duration::from_secs(10);
/// A process whose end was not seen is looked at again after this: its exit may have been lost, and the kernel gives
/// numbers out again.
const CONFIRM: Duration = Duration::from_secs(1);
/// What a process publishes is not waited for longer; as a rule it is there in less than a millisecond.
const GIVEN_UP: Duration = Duration::from_millis(200);
/// Processes kept at the most; above it those that are gone go first, then those that were used longest ago.
const MAX: usize = 16_384;

/// Processes seen so far, by process id.
pub struct Processes {
    known: HashMap<u32, Entry>,
    maker: Maker,
    containers: Directory,
    /// Who reads what processes publish; None: nobody.
    reader: Option<Reader>,
    /// Processes that were asked for the first time, and when: the first came first.
    reading: VecDeque<(KernelTime, u32)>,
    questions: u64,
    latest: KernelTime,
    pruned: KernelTime,
}

struct Entry {
    process: Arc<Process>,
    facts: Facts,
    publication: Publication,
    exited: Option<KernelTime>,
    /// A transaction was its.
    used: bool,
    /// When `/proc` was asked last whether this is still the process of the number.
    confirmed: KernelTime,
    /// It was made of what is not wanted any more.
    outdated: bool,
}

impl Entry {
    /// Whether it may still be asked for at `now`.
    fn is_wanted(&self, now: KernelTime) -> bool {
        let keep = if self.used { KEEP } else { KEEP_UNUSED };
        self.exited
            .is_none_or(|at| u128::from(now.since(at)) < keep.as_nanos())
    }

    /// Makes the process anew of what is known and wanted now.
    fn renew(&mut self, maker: &Maker, containers: &mut Directory, at: KernelTime) {
        let pid = self.process.pid;
        if std::mem::take(&mut self.outdated)
            && let Some(facts) = maker.read(pid).filter(|facts| facts.is_of(&self.facts))
        {
            let started = self.facts.started;
            self.facts = Facts { started, ..facts };
        }
        let (lookup, container) = self.facts.container(containers, at);
        let told = Told {
            lookup,
            container,
            reading: self.process.identity.reading,
            published: self.publication.published.as_deref(),
        };
        self.process = Arc::new(maker.process(pid, &self.facts, told));
    }

    /// Says in the process whether what it publishes is being read.
    fn set_reading(&mut self, reading: bool) {
        let mut process = (*self.process).clone();
        process.identity.reading = reading;
        self.process = Arc::new(process);
    }
}

impl Processes {
    /// `configured`: attributes that every resource gets. Neither containers nor what processes publish are asked for.
    pub fn new(configured: &BTreeMap<String, String>) -> Self {
        let wanted = Wanted {
            resource: configured.clone(),
            ..Wanted::default()
        };
        Processes::with(wanted, None, None)
    }

    /// `lookups`: whom containers are asked of; `reader`: who reads what processes publish.
    pub fn with(wanted: Wanted, lookups: Option<Lookups>, reader: Option<Reader>) -> Self {
        let maker = Maker::new("/proc".into(), "/etc".into(), wanted);
        Processes::made_by(maker, lookups, reader)
    }

    /// Processes of another `/proc`.
    #[cfg(test)]
    pub(crate) fn at_root(proc: &Path, wanted: Wanted, lookups: Option<Lookups>) -> Self {
        let maker = Maker::new(proc.to_owned(), proc.to_owned(), wanted);
        Processes::made_by(maker, lookups, None)
    }

    fn made_by(maker: Maker, lookups: Option<Lookups>, reader: Option<Reader>) -> Self {
        Processes {
            known: HashMap::new(),
            maker,
            containers: Directory::new(lookups),
            reader,
            reading: VecDeque::new(),
            questions: 0,
            latest: KernelTime::default(),
            pruned: KernelTime::default(),
        }
    }

    /// Other things to be made of processes. Each is made anew when it is asked for next, one that is gone of what was
    /// read of it before.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        if self.maker.set_wanted(wanted) {
            self.outdate();
        }
    }

    /// Others whom containers are asked of: for each container anew, when a process of it is asked for next. Gives back
    /// what was known of containers.
    pub fn set_lookups(&mut self, lookups: Option<Lookups>) -> Directory {
        self.outdate();
        std::mem::replace(&mut self.containers, Directory::new(lookups))
    }

    fn outdate(&mut self) {
        for entry in self.known.values_mut() {
            entry.outdated = true;
        }
    }

    /// A process has a new program: it is read at once, for it may be gone in a moment.
    pub fn exec(&mut self, exec: &Exec<'_>) {
        self.prune(exec.time);
        let before = self.known.get(&exec.pid);
        let before = before.filter(|entry| entry.exited.is_none());
        let facts = self.maker.executed(exec, before.map(|entry| &entry.facts));
        self.insert(exec.pid, facts, exec.time);
    }

    /// Whether this is the process of its number now, as far as is known.
    pub fn lives(&self, process: &Arc<Process>) -> bool {
        let entry = self.known.get(&process.pid);
        entry.is_some_and(|entry| entry.exited.is_none() && Arc::ptr_eq(&entry.process, process))
    }

    /// The process is gone.
    pub fn exit(&mut self, pid: u32, time: KernelTime) {
        if let Some(entry) = self.known.get_mut(&pid) {
            entry.exited = Some(time);
        }
    }

    /// The process that had the id `pid` at kernel time `at`, and a transaction then: what it publishes is asked for.
    pub fn get(&mut self, pid: u32, at: KernelTime) -> Arc<Process> {
        let process = self.look(pid, at);
        self.latest = self.latest.max(at);
        let Some(entry) = self.known.get_mut(&pid) else {
            return process;
        };
        entry.used = true;
        let Some(reader) = &mut self.reader else {
            return process;
        };
        if !entry.publication.is_due(at) || entry.exited.is_some() || process.is_agent {
            return process;
        }
        self.questions += 1;
        let ask = Ask {
            number: self.questions,
            pid,
            start_boottime_ns: entry.facts.start_boottime_ns,
            known: entry.publication.published.clone(),
        };
        let asked = reader.ask(ask, at).then_some(self.questions);
        if entry.publication.asked(asked, at) && asked.is_some() {
            entry.set_reading(true);
            self.reading.push_back((at, pid));
        }
        entry.process.clone()
    }

    /// As [`Processes::get`], where nothing is known of transactions.
    pub fn look(&mut self, pid: u32, at: KernelTime) -> Arc<Process> {
        if let Some(entry) = self.known.get_mut(&pid) {
            // After its exit the number may be another process's, one that forked and made no exec. An exit can be lost.
            let doubtful = match entry.exited {
                Some(exited) => at > exited,
                None => u128::from(at.since(entry.confirmed)) >= CONFIRM.as_nanos(),
            };
            let reused = doubtful
                && self
                    .maker
                    .start(pid)
                    .is_some_and(|start| Some(start) != entry.facts.start_boottime_ns);
            if !reused {
                entry.confirmed = entry.confirmed.max(at);
                if entry.outdated {
                    entry.renew(&self.maker, &mut self.containers, at);
                } else if let Some(id) = &entry.process.container_id {
                    // Asks again where that is due; the answer comes by itself.
                    self.containers.get(id, &entry.facts.cgroups, at);
                }
                return entry.process.clone();
            }
        }
        self.prune(at);
        let facts = self.maker.read(pid).unwrap_or_default();
        self.insert(pid, facts, at)
    }

    /// Takes what runtimes and processes answered; returns the living processes of which more is known now.
    pub fn news(&mut self) -> Vec<Arc<Process>> {
        let mut changed = Vec::new();
        while let Some(id) = self.containers.news() {
            self.renew(&id, &mut changed);
        }
        self.publications(&mut changed);
        changed
    }

    /// Gives up what was not answered in time; returns the living processes concerned.
    pub fn give_up(&mut self, now: KernelTime) -> Vec<Arc<Process>> {
        self.latest = self.latest.max(now);
        let mut changed = Vec::new();
        for id in self.containers.give_up(now) {
            self.renew(&id, &mut changed);
        }
        while let Some((asked, pid)) = self.reading.front().copied()
            && u128::from(now.since(asked)) >= GIVEN_UP.as_nanos()
        {
            self.reading.pop_front();
            if let Some(entry) = self.known.get_mut(&pid)
                && entry.process.identity.reading
            {
                tracing::debug!(pid, "what a process publishes was not read in time");
                entry.publication.give_up();
                entry.set_reading(false);
                living(entry, &mut changed);
            }
        }
        changed
    }

    /// Takes what processes have published.
    fn publications(&mut self, changed: &mut Vec<Arc<Process>>) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        while let Some(answer) = reader.answer(self.latest) {
            let Some(entry) = self.known.get_mut(&answer.pid) else {
                continue;
            };
            let Some(news) = entry.publication.answered(answer.number, answer.found) else {
                continue;
            };
            let first = entry.process.identity.reading;
            if first {
                entry.set_reading(false);
            }
            if news {
                entry.renew(&self.maker, &mut self.containers, entry.confirmed);
            }
            if news || first {
                living(entry, changed);
            }
        }
    }

    /// Makes the processes of a container anew.
    fn renew(&mut self, container: &str, changed: &mut Vec<Arc<Process>>) {
        for entry in self.known.values_mut() {
            if entry.process.container_id.as_deref() == Some(container) {
                entry.renew(&self.maker, &mut self.containers, entry.confirmed);
                living(entry, changed);
            }
        }
    }

    fn insert(&mut self, pid: u32, facts: Facts, at: KernelTime) -> Arc<Process> {
        let (lookup, container) = facts.container(&mut self.containers, at);
        let told = Told {
            lookup,
            container,
            ..Told::default()
        };
        let process = Arc::new(self.maker.process(pid, &facts, told));
        self.known.insert(
            pid,
            Entry {
                process: process.clone(),
                facts,
                publication: Publication::default(),
                exited: None,
                used: false,
                confirmed: at,
                outdated: false,
            },
        );
        process
    }

    /// Forgets those that are gone for long; called when one is added, and does something once in
    /// [`KEEP_UNUSED`].
    fn prune(&mut self, now: KernelTime) {
        let full = self.known.len() >= MAX;
        if !full && u128::from(now.since(self.pruned)) < KEEP_UNUSED.as_nanos() {
            return;
        }
        self.pruned = now;
        self.known.retain(|_, entry| match full {
            true => entry.exited.is_none(),
            false => entry.is_wanted(now),
        });
        if self.known.len() >= MAX {
            // An exit can be lost: ask who is alive.
            let maker = &self.maker;
            self.known.retain(|pid, _| maker.start(*pid).is_some());
        }
        self.make_room();
    }

    /// Forgets the eighth that was confirmed longest ago. They are read anew when they talk again.
    fn make_room(&mut self) {
        if self.known.len() < MAX {
            return;
        }
        let mut times: Vec<_> = self
            .known
            .iter()
            .map(|(pid, e)| (e.confirmed, *pid))
            .collect();
        let (old, _, _) = times.select_nth_unstable(MAX / 8);
        for (_, pid) in old {
            self.known.remove(pid);
        }
    }
}

fn living(entry: &Entry, changed: &mut Vec<Arc<Process>>) {
    if entry.exited.is_none() {
        changed.push(entry.process.clone());
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
