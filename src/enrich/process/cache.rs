//! Processes seen so far.

use super::directory::Directory;
use super::host::{self, Host};
use super::identity::{Identity, Lookup, Variables};
use super::procfs::{self, Facts};
use super::strategy::Strategy;
use super::{Process, STRATEGY_VARIABLE, TAGS_VARIABLE, resource};
use crate::config::{PrivateRanges, TagRule, TagSource};
use crate::enrich::identity::{Container, Lookups};
use crate::event::{Exec, KernelTime};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a process that is gone keeps its identity: its last transactions may still be on their way.
const KEEP: Duration = Duration::from_secs(60);
/// The same of one that had no transaction yet, which few have: a host that builds or tests software starts dozens of
/// processes a second, and each is some kilobytes here.
const KEEP_UNUSED: Duration = Duration::from_secs(10);
/// A process whose end was not seen is looked at again after this: its exit may have been lost, and the kernel gives
/// numbers out again.
const CONFIRM: Duration = Duration::from_secs(1);
/// Processes kept at the most; above it those that are gone go first, then those that were used longest ago.
const MAX: usize = 16_384;

/// Processes seen so far, by process id.
pub struct Processes {
    known: HashMap<u32, Entry>,
    host: Host,
    wanted: Wanted,
    containers: Directory,
    proc: PathBuf,
    etc: PathBuf,
    pruned: KernelTime,
}

/// What is made of processes beyond what `/proc` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Attributes that every resource gets.
    pub resource: BTreeMap<String, String>,
    pub tags: Vec<TagRule>,
    /// Networks that are internal.
    pub private: PrivateRanges,
    /// Variables of the environment that are kept, for rules.
    pub variables: Vec<String>,
}

impl Wanted {
    /// All variables to be read, each once.
    fn complete(mut self) -> Wanted {
        let of_tags = self.tags.iter().filter(|tag| tag.source == TagSource::Env);
        let of_tags: Vec<String> = of_tags.map(|tag| tag.location.clone()).collect();
        self.variables.extend(of_tags);
        let own = [STRATEGY_VARIABLE, TAGS_VARIABLE].map(str::to_owned);
        self.variables.extend(own);
        self.variables.sort();
        self.variables.dedup();
        self
    }
}

struct Entry {
    process: Arc<Process>,
    facts: Facts,
    start_boottime_ns: Option<u64>,
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

    /// Reads anew what was read when other variables were wanted, where the process is still there.
    fn refresh(&mut self, proc: &Path, pid: u32, variables: &[String]) {
        if !std::mem::take(&mut self.outdated) {
            return;
        }
        let facts = procfs::read(proc, pid, variables);
        let same = |facts: &Facts| facts.start_boottime_ns == self.start_boottime_ns;
        if let Some(facts) = facts.filter(same) {
            self.facts = facts;
        }
    }
}

impl Processes {
    /// `configured`: attributes that every resource gets. Containers are not asked for.
    pub fn new(configured: &BTreeMap<String, String>) -> Self {
        let wanted = Wanted {
            resource: configured.clone(),
            ..Wanted::default()
        };
        Processes::with(wanted, None)
    }

    /// `lookups`: whom containers are asked of.
    pub fn with(wanted: Wanted, lookups: Option<Lookups>) -> Self {
        Processes::at("/proc".into(), "/etc".into(), wanted, lookups)
    }

    /// Processes of another `/proc`.
    #[cfg(test)]
    pub(crate) fn at_root(proc: &Path, wanted: Wanted, lookups: Option<Lookups>) -> Self {
        Processes::at(proc.to_owned(), proc.to_owned(), wanted, lookups)
    }

    fn at(proc: PathBuf, etc: PathBuf, wanted: Wanted, lookups: Option<Lookups>) -> Self {
        Processes {
            known: HashMap::new(),
            host: Host::read(&proc, &etc),
            wanted: wanted.complete(),
            containers: Directory::new(lookups),
            proc,
            etc,
            pruned: KernelTime::default(),
        }
    }

    /// Other things to be made of processes. Each is made anew when it is asked for next, one that is gone of what was
    /// read of it before.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        let wanted = wanted.complete();
        if self.wanted != wanted {
            self.wanted = wanted;
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

    /// Makes a process anew that was made of what is not wanted any more.
    fn update(&mut self, pid: u32, at: KernelTime) -> Arc<Process> {
        let Some(mut entry) = self.known.remove(&pid) else {
            return self.look(pid, at);
        };
        entry.refresh(&self.proc, pid, &self.wanted.variables);
        let (lookup, container) = self.container(&entry.facts, at);
        entry.process = Arc::new(self.process(pid, &entry.facts, lookup, container));
        let process = entry.process.clone();
        self.known.insert(pid, entry);
        process
    }

    /// What is known of the container of a process; asks where nothing is.
    fn container(&mut self, facts: &Facts, at: KernelTime) -> (Lookup, Option<Arc<Container>>) {
        match facts.cgroups.container() {
            Some(id) => self.containers.get(&id, at),
            None => (Lookup::None, None),
        }
    }

    /// A process has a new program: it is read at once, for it may be gone in a moment.
    pub fn exec(&mut self, exec: &Exec<'_>) {
        self.prune(exec.time);
        let facts = procfs::read(&self.proc, exec.pid, &self.wanted.variables)
            .unwrap_or_else(|| self.departed(exec));
        self.insert(exec.pid, facts, exec.time);
    }

    /// A process that is gone already: what the event says, and what a new program does not change.
    fn departed(&self, exec: &Exec<'_>) -> Facts {
        let ticks = |ns: u64| ns / procfs::TICK_NS;
        let before = self
            .known
            .get(&exec.pid)
            .filter(|entry| entry.exited.is_none())
            .filter(|entry| {
                let start = entry.start_boottime_ns;
                start.is_some_and(|start| ticks(start) == ticks(exec.start_boottime_ns))
            })
            .map(|entry| &entry.process);
        Facts {
            exe: Some(String::from_utf8_lossy(exec.path).into_owned())
                .filter(|path| path.starts_with('/')),
            comm: Some(String::from_utf8_lossy(exec.comm).into_owned()),
            start_boottime_ns: Some(ticks(exec.start_boottime_ns) * procfs::TICK_NS),
            parent_pid: before.and_then(|p| p.parent_pid),
            uid: before.and_then(|p| p.uid),
            netns: before.and_then(|p| p.netns),
            cgroups: before
                .map(|p| p.identity.cgroups.clone())
                .unwrap_or_default(),
            ..Facts::default()
        }
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

    /// The process that had the id `pid` at kernel time `at`, and a transaction then.
    pub fn get(&mut self, pid: u32, at: KernelTime) -> Arc<Process> {
        let process = self.look(pid, at);
        if let Some(entry) = self.known.get_mut(&pid) {
            entry.used = true;
        }
        process
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
                && procfs::start(&self.proc, pid)
                    .is_some_and(|start| Some(start) != entry.start_boottime_ns);
            if !reused {
                entry.confirmed = entry.confirmed.max(at);
                if entry.outdated {
                    return self.update(pid, at);
                }
                if let Some(id) = &entry.process.container_id {
                    // Asks again where that is due; the answer comes by itself.
                    self.containers.get(id, at);
                }
                return entry.process.clone();
            }
        }
        self.prune(at);
        let facts = procfs::read(&self.proc, pid, &self.wanted.variables).unwrap_or_default();
        self.insert(pid, facts, at)
    }

    /// Takes the answers of runtimes; returns the living processes of which more is known now.
    pub fn news(&mut self) -> Vec<Arc<Process>> {
        let mut changed = Vec::new();
        while let Some(id) = self.containers.news() {
            self.renew(&id, &mut changed);
        }
        changed
    }

    /// Gives up what no runtime answered in time; returns the living processes concerned.
    pub fn give_up(&mut self, now: KernelTime) -> Vec<Arc<Process>> {
        let mut changed = Vec::new();
        for id in self.containers.give_up(now) {
            self.renew(&id, &mut changed);
        }
        changed
    }

    /// Makes the processes of a container anew.
    fn renew(&mut self, container: &str, changed: &mut Vec<Arc<Process>>) {
        let mut known = std::mem::take(&mut self.known);
        for (pid, entry) in &mut known {
            if entry.process.container_id.as_deref() == Some(container) {
                entry.refresh(&self.proc, *pid, &self.wanted.variables);
                let (lookup, found) = self.containers.get(container, entry.confirmed);
                entry.process = Arc::new(self.process(*pid, &entry.facts, lookup, found));
                if entry.exited.is_none() {
                    changed.push(entry.process.clone());
                }
            }
        }
        self.known = known;
    }

    fn insert(&mut self, pid: u32, facts: Facts, at: KernelTime) -> Arc<Process> {
        let (lookup, container) = self.container(&facts, at);
        let process = Arc::new(self.process(pid, &facts, lookup, container));
        self.known.insert(
            pid,
            Entry {
                process: process.clone(),
                start_boottime_ns: facts.start_boottime_ns,
                facts,
                exited: None,
                used: false,
                confirmed: at,
                outdated: false,
            },
        );
        process
    }

    fn process(
        &self,
        pid: u32,
        facts: &Facts,
        lookup: Lookup,
        container: Option<Arc<Container>>,
    ) -> Process {
        let base = facts.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
        let name = base
            .filter(|base| !base.is_empty())
            .or(facts.comm.as_deref())
            .unwrap_or("unknown")
            .to_owned();
        let owner = facts.uid.and_then(|uid| host::user(&self.etc, uid));
        let started = facts.start_boottime_ns.and_then(|start| self.wall(start));
        let mut identity = Identity {
            cgroups: facts.cgroups.clone(),
            env: Variables(facts.variables.clone()),
            private: self.wanted.private.clone(),
            ..Identity::default()
        };
        identity.set(lookup, container, &self.wanted.tags);
        if let Some(text) = identity.env.get(STRATEGY_VARIABLE) {
            let exe = facts.exe.as_deref().unwrap_or(&name);
            match Strategy::parse(text, exe) {
                Ok(strategy) => identity.strategy = strategy,
                Err(error) => {
                    tracing::debug!(pid, %error, "{STRATEGY_VARIABLE} of a process is not followed");
                }
            }
        }
        let container_id = facts.cgroups.container();
        let resource = resource::attributes(&resource::Sources {
            pid,
            name: &name,
            facts,
            container_id: container_id.as_deref(),
            identity: &identity,
            owner: owner.as_deref(),
            started,
            host: &self.host,
            configured: &self.wanted.resource,
        });
        Process {
            pid,
            parent_pid: facts.parent_pid,
            exe: facts.exe.clone(),
            name,
            uid: facts.uid,
            owner,
            started,
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
            let proc = self.proc.clone();
            self.known
                .retain(|pid, _| procfs::start(&proc, *pid).is_some());
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn put(proc: &Path, pid: u32, exe: &str, start_ticks: u64) {
        let dir = proc.join(pid.to_string());
        std::fs::create_dir_all(&dir).expect("a folder");
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} 0 0");
        std::fs::write(dir.join("stat"), stat).expect("written");
        if !dir.join("exe").exists() {
            std::os::unix::fs::symlink(exe, dir.join("exe")).expect("linked");
        }
    }

    fn at(proc: &Path) -> Processes {
        Processes::at(proc.to_owned(), proc.to_owned(), Wanted::default(), None)
    }

    fn exec(pid: u32, path: &'static [u8]) -> Exec<'static> {
        Exec {
            time: KernelTime(SECOND),
            pid,
            start_boottime_ns: 5,
            comm: b"curl",
            path,
        }
    }

    #[test]
    fn a_process_that_is_gone_before_it_can_be_read_has_the_name_of_its_exec() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut processes = at(proc.path());
        processes.exec(&exec(7, b"/usr/bin/curl"));
        let process = processes.get(7, KernelTime(2 * SECOND));
        assert_eq!(process.exe.as_deref(), Some("/usr/bin/curl"));
        assert_eq!(process.name, "curl");
        processes.exec(&exec(8, b"./relative"));
        let process = processes.get(8, KernelTime(2 * SECOND));
        assert_eq!(
            (process.exe.as_deref(), process.name.as_str()),
            (None, "curl")
        );
    }

    #[test]
    fn identity_outlives_the_process_and_a_reused_number_is_another() {
        let proc = tempfile::tempdir().expect("a folder");
        put(proc.path(), 9, "/bin/first", 100);
        let mut processes = at(proc.path());
        assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
        processes.exit(9, KernelTime(2 * SECOND));
        std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
        assert_eq!(processes.get(9, KernelTime(3 * SECOND)).name, "first");
        put(proc.path(), 9, "/bin/second", 300);
        // A transaction of before the exit still belongs to the first.
        assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
        assert_eq!(processes.get(9, KernelTime(4 * SECOND)).name, "second");
    }

    #[test]
    fn what_is_gone_for_a_minute_is_forgotten() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut processes = at(proc.path());
        processes.exec(&exec(1, b"/a"));
        processes.exit(1, KernelTime(2 * SECOND));
        let mut later = exec(2, b"/b");
        later.time = KernelTime(100 * SECOND);
        processes.exec(&later);
        assert_eq!(processes.known.len(), 1);
    }

    #[test]
    fn what_had_no_transaction_is_forgotten_sooner() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut processes = at(proc.path());
        for pid in [1, 2] {
            processes.exec(&exec(pid, b"/a"));
            processes.look(pid, KernelTime(SECOND));
            processes.exit(pid, KernelTime(2 * SECOND));
        }
        processes.get(1, KernelTime(SECOND));
        let mut later = exec(3, b"/b");
        later.time = KernelTime(30 * SECOND);
        processes.exec(&later);
        let known = |pid| processes.known.contains_key(&pid);
        assert_eq!((known(1), known(2), known(3)), (true, false, true));
    }

    #[test]
    fn a_number_used_again_is_found_out_when_the_exit_was_lost() {
        let proc = tempfile::tempdir().expect("a folder");
        put(proc.path(), 9, "/bin/first", 100);
        let mut processes = at(proc.path());
        assert_eq!(processes.get(9, KernelTime(SECOND)).name, "first");
        std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
        put(proc.path(), 9, "/bin/second", 300);
        assert_eq!(processes.get(9, KernelTime(3 * SECOND)).name, "second");
    }

    #[test]
    fn a_process_that_is_gone_at_its_exec_keeps_what_a_new_program_does_not_change() {
        let proc = tempfile::tempdir().expect("a folder");
        put(proc.path(), 9, "/bin/sh", 100);
        let mut processes = at(proc.path());
        processes.get(9, KernelTime(SECOND / 2));
        std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
        let mut gone = exec(9, b"/usr/bin/curl");
        // In the middle of the tick that `/proc` told.
        gone.start_boottime_ns = SECOND + 5_000_000;
        processes.exec(&gone);
        let process = processes.get(9, KernelTime(SECOND));
        assert_eq!((&*process.name, process.parent_pid), ("curl", Some(1)));
        // Another process of the number: nothing is taken over.
        gone.start_boottime_ns = 2 * SECOND;
        processes.exec(&gone);
        assert_eq!(processes.get(9, KernelTime(SECOND)).parent_pid, None);
    }

    #[test]
    fn the_number_of_live_processes_is_bounded_too() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut processes = at(proc.path());
        for pid in 0..MAX as u32 {
            let facts = Facts::default();
            processes.insert(pid, facts, KernelTime(pid.into()));
        }
        processes.make_room();
        assert!(processes.known.len() < MAX);
        // The oldest went.
        assert!(!processes.known.contains_key(&0));
        assert!(processes.known.contains_key(&(MAX as u32 - 1)));
    }

    /// Process 9 in a container, with a variable.
    fn put_in_container(proc: &Path) -> String {
        let id = "0123456789abcdef".repeat(4);
        put(proc, 9, "/bin/web", 100);
        let dir = proc.join("9");
        std::fs::write(dir.join("cgroup"), format!("0::/docker/{id}\n")).expect("written");
        std::fs::write(dir.join("environ"), "STAGE=prod\0").expect("written");
        id
    }

    fn stage_tag() -> Wanted {
        Wanted {
            resource: [("team".to_owned(), "shop".to_owned())].into(),
            tags: vec![TagRule {
                key: "stage".into(),
                source: TagSource::Env,
                location: "STAGE".into(),
            }],
            private: PrivateRanges::new(crate::rules::expr::Net::parse("100.64.0.0/10")),
            variables: Vec::new(),
        }
    }

    #[test]
    fn what_is_wanted_of_processes_can_change() {
        let proc = tempfile::tempdir().expect("a folder");
        put_in_container(proc.path());
        let mut processes = at(proc.path());
        let before = processes.get(9, KernelTime(1));
        processes.set_wanted(Wanted::default());
        assert!(Arc::ptr_eq(&before, &processes.get(9, KernelTime(2))));
        assert!(before.identity.tags.is_empty());

        processes.set_wanted(stage_tag());
        let after = processes.get(9, KernelTime(3));
        assert!(processes.lives(&after) && !processes.lives(&before));
        let tags: Vec<&str> = after.identity.tags.iter().map(|tag| tag.text()).collect();
        assert_eq!(tags, ["stage:prod"]);
        let shared = "100.64.0.1".parse().expect("an address");
        assert!(after.identity.private.contain(shared));
        assert!(!before.identity.private.contain(shared));
        assert!(after.resource.iter().any(|(name, _)| name == "team"));
        assert!(Arc::ptr_eq(&after, &processes.get(9, KernelTime(4))));
    }

    #[test]
    fn a_process_that_is_gone_is_made_anew_of_what_was_read_of_it() {
        let proc = tempfile::tempdir().expect("a folder");
        put_in_container(proc.path());
        let mut processes = at(proc.path());
        processes.get(9, KernelTime(1));
        processes.exit(9, KernelTime(5));
        std::fs::remove_dir_all(proc.path().join("9")).expect("removed");
        processes.set_wanted(stage_tag());
        let process = processes.get(9, KernelTime(2));
        assert_eq!((&*process.name, process.parent_pid), ("web", Some(1)));
        assert!(process.resource.iter().any(|(name, _)| name == "team"));
    }

    #[test]
    fn others_are_asked_for_containers_anew_and_of_a_question_to_nobody_nothing_is_pending() {
        let proc = tempfile::tempdir().expect("a folder");
        let id = put_in_container(proc.path());
        let root = proc.path();
        let (first, mut asked_first) = Lookups::pair();
        let mut processes = Processes::at_root(root, Wanted::default(), Some(first));
        let lookup =
            |processes: &mut Processes, at| processes.get(9, KernelTime(at)).identity.lookup;
        assert_eq!(lookup(&mut processes, 1), Lookup::Pending);
        assert!(asked_first.questions.try_recv().is_ok());

        let (second, mut asked) = Lookups::pair();
        drop(processes.set_lookups(Some(second)));
        assert_eq!(lookup(&mut processes, 2), Lookup::Pending);
        assert_eq!(asked.questions.try_recv().as_ref(), Ok(&id));
        let named = Container {
            name: Some("web".into()),
            ..Container::default()
        };
        let answer = crate::enrich::identity::Answer::Known(Arc::new(named));
        asked.answers.send((id, answer)).expect("sent");
        assert_eq!(processes.news().len(), 1);
        assert_eq!(lookup(&mut processes, 3), Lookup::Known);

        // Gone, and nobody to ask.
        processes.exit(9, KernelTime(5));
        std::fs::remove_dir_all(root.join("9")).expect("removed");
        drop(processes.set_lookups(None));
        assert_eq!(lookup(&mut processes, 4), Lookup::None);
    }

    #[test]
    fn news_of_a_container_come_with_the_variables_that_are_wanted_now() {
        let proc = tempfile::tempdir().expect("a folder");
        let id = put_in_container(proc.path());
        let (lookups, asked) = Lookups::pair();
        let mut processes = Processes::at_root(proc.path(), Wanted::default(), Some(lookups));
        processes.get(9, KernelTime(1));
        processes.set_wanted(Wanted {
            variables: vec!["STAGE".into()],
            ..Wanted::default()
        });
        let answer = crate::enrich::identity::Answer::NotFound;
        asked.answers.send((id, answer)).expect("sent");
        let changed = processes.news();
        let stage = |process: &Arc<Process>| process.identity.env.get("STAGE").map(str::to_owned);
        let stages: Vec<_> = changed.iter().map(stage).collect();
        assert_eq!(stages, [Some("prod".to_owned())]);
    }

    #[test]
    fn an_unknown_process_is_unknown_and_no_error() {
        let proc = tempfile::tempdir().expect("a folder");
        assert_eq!(at(proc.path()).get(3, KernelTime(1)).name, "unknown");
    }
}
