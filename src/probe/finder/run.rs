//! The finder's thread.

use super::Options;
use super::attach::Attach;
use super::choice::{Choice, Next};
use super::jvms::Jvms;
use super::lane::Wake;
use super::library::{Libraries, Look, is_tls_library};
use super::look::Lanes;
use super::maps::{self, MappedFile, Mapping};
use super::perf::{Record, Rings};
use super::table::Pass;
use super::verdict::Verdicts;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// After lost records, passes over /proc are at least this far apart.
const PASS_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked at what the probes gave.
const VERIFY_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked at what the pipeline says of JVMs that wait for it.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// How long the thread waits at the most while files are looked at or scanned.
const TICK: Duration = Duration::from_millis(500);

/// Tells the thread to end, and wakes it.
pub struct Stop {
    flag: AtomicBool,
    event: OwnedFd,
}

impl Stop {
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Stop {
            flag: AtomicBool::new(false),
            // SAFETY: the call has just made this descriptor, and nothing else owns it.
            event: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    pub fn set(&self) {
        self.flag.store(true, Ordering::Release);
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` has the eight bytes that an eventfd takes.
        let written =
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if written < 0 {
            // The thread then sees the flag after its next pass.
            tracing::warn!(error = %io::Error::last_os_error(), "cannot wake the finder to stop it");
        }
    }

    fn is_set(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// Runs until told to stop. Links are dropped at the end.
pub fn run<A: Attach>(attach: A, options: Options, rings: Rings, stop: &Stop, ways: Ways) {
    let Ways {
        verdicts,
        lanes,
        jvms,
        wake,
        next,
    } = ways;
    let mut libraries = Libraries::new(
        attach,
        options.proc.clone(),
        verdicts.clone(),
        lanes,
        options.java,
    );
    libraries.choice = options.choice.clone();
    libraries.seccomp_trap = options.seccomp_trap;
    let directories = options.library_dirs.iter().map(|dir| (dir.clone(), None));
    let mut watch = Watch {
        libraries,
        jvms,
        directories: directories.collect(),
        options,
        rings,
        stop,
        wake,
        next,
        verdicts,
        last_pass: Instant::now(),
        found: None,
    };
    watch.pass();
    while !watch.is_settled() && !stop.is_set() {
        watch.wait_answers();
    }
    if stop.is_set() {
        return;
    }
    watch.verdicts.set_ready();
    watch.watch();
}

/// What the thread works with.
pub struct Ways {
    pub verdicts: Verdicts,
    pub lanes: Lanes,
    pub jvms: Jvms,
    pub wake: Arc<Wake>,
    pub next: Arc<Next>,
}

struct Watch<'s, A: Attach> {
    libraries: Libraries<A>,
    jvms: Jvms,
    /// Directories of the dynamic linker, and when they were changed last.
    directories: Vec<(PathBuf, Option<SystemTime>)>,
    options: Options,
    rings: Rings,
    stop: &'s Stop,
    wake: Arc<Wake>,
    next: Arc<Next>,
    verdicts: Verdicts,
    last_pass: Instant,
    /// What the last pass found, until all of its files are decided on.
    found: Option<Pass>,
}

impl<A: Attach> Watch<'_, A> {
    /// Probes what lies in the dynamic linker's directories, so that the first user is covered from its first byte.
    fn directories(&mut self) {
        if !self.libraries.choice.anyone() {
            return;
        }
        let mut directories = std::mem::take(&mut self.directories);
        for (dir, seen) in &mut directories {
            // A directory that does not tell is listed each time.
            let changed = std::fs::metadata(&*dir).and_then(|m| m.modified()).ok();
            if seen.is_some() && *seen == changed {
                continue;
            }
            *seen = changed;
            for path in libraries_in(dir) {
                self.make_room();
                if self.stop.is_set() {
                    break;
                }
                self.libraries.in_directory(&path);
            }
        }
        self.directories = directories;
    }

    fn watch(&mut self) {
        let mut fds = self.poll_fds();
        let mut next_pass = self.last_pass + self.options.pass_interval;
        let mut next_verify = Instant::now() + VERIFY_INTERVAL;
        while !self.stop.is_set() {
            let until = next_pass.min(next_verify);
            let until = until.saturating_duration_since(Instant::now());
            // What hangs is given up by looking at the clock.
            let until = match (self.jvms.is_waiting(), self.is_settled()) {
                (true, _) => until.min(ASK_INTERVAL),
                (false, false) => until.min(TICK),
                (false, true) => until,
            };
            wait(&mut fds, until);
            self.settle();
            if let Some(choice) = self.next.take() {
                self.chosen(choice);
                next_pass = Instant::now();
            }
            if Instant::now() >= next_verify {
                self.libraries.verify();
                next_verify = Instant::now() + VERIFY_INTERVAL;
            }
            if self.reported() {
                next_pass = next_pass.min(self.last_pass + PASS_PAUSE);
            }
            if !self.stop.is_set() && Instant::now() >= next_pass {
                self.pass();
                next_pass = self.last_pass + self.options.pass_interval;
            }
        }
    }

    /// What was passed over may be wanted now, in directories too.
    fn chosen(&mut self, choice: Choice) {
        self.libraries.choice = choice;
        for (_, seen) in &mut self.directories {
            *seen = None;
        }
    }

    fn poll_fds(&self) -> Vec<libc::pollfd> {
        [self.stop.event.as_raw_fd(), self.wake.fd()]
            .into_iter()
            .chain(self.rings.fds())
            .map(readable)
            .collect()
    }

    /// Every file that was met is decided on, and the table of processes is of the last pass.
    fn is_settled(&self) -> bool {
        self.libraries.is_idle() && self.found.is_none()
    }

    /// Takes answers; after the last one that a pass asked for, what the pass found is told.
    fn settle(&mut self) {
        self.wake.clear();
        self.jvms.answers();
        self.libraries.answers();
        if self.libraries.is_idle()
            && let Some(pass) = self.found.take()
        {
            self.jvms.forget_gone();
            let table = (self.libraries).table(&pass, &self.jvms);
            self.verdicts.set_processes(table);
            if pass.complete {
                self.libraries.drop_unused(self.options.unused, &pass);
            }
            self.verdicts.count(|c| c.passes += 1);
        }
    }

    fn wait_answers(&mut self) {
        let fds = [self.stop.event.as_raw_fd(), self.wake.fd()];
        wait(&mut fds.map(readable), TICK);
        self.settle();
    }

    /// Waits while too much is looked at or scanned.
    fn make_room(&mut self) {
        while self.libraries.is_full() && !self.stop.is_set() {
            self.wait_answers();
        }
    }

    /// Handles what the kernel reported; true: some of it may be lost.
    fn reported(&mut self) -> bool {
        let mut mapped = Vec::new();
        let mut lost = 0u64;
        let mut full = false;
        self.rings.drain(|record| match record {
            Record::Mapped {
                mapping,
                generation,
            } => mapped.push((mapping, generation)),
            Record::Lost(count) => lost = lost.saturating_add(count),
            Record::Full => full = true,
        });
        if lost > 0 {
            self.verdicts.count(|c| c.records_lost += lost);
            tracing::debug!(
                lost,
                "the kernel could not report all mappings: passing over /proc"
            );
        }
        for (mapping, generation) in mapped {
            self.make_room();
            if self.stop.is_set() {
                break;
            }
            self.jvms.started(&mapping);
            self.libraries
                .mapped(&mapping, Look::Reported { generation });
        }
        full || lost > 0
    }

    /// Looks at the executable mappings of all processes, each file once.
    fn pass(&mut self) {
        self.directories();
        let mut done: HashSet<(MappedFile, PathBuf)> = HashSet::new();
        let mut pass = Pass {
            complete: true,
            ..Pass::default()
        };
        for pid in self.processes(&mut pass) {
            let mut files = Vec::new();
            for mapping in self.mappings_of(pid, &mut pass) {
                self.make_room();
                if self.stop.is_set() {
                    return;
                }
                files.push(mapping.key);
                self.jvms.met(&mapping);
                if done.insert((mapping.key, mapping.path.clone())) {
                    self.libraries.mapped(&mapping, Look::Closely);
                } else {
                    self.libraries.also_mapped(&mapping);
                }
            }
            // A thread of the kernel has none.
            if !files.is_empty() {
                files.sort_unstable();
                files.dedup();
                pass.processes.push((pid, files));
            }
        }
        self.found = Some(pass);
        self.last_pass = Instant::now();
        self.settle();
    }

    fn processes(&self, pass: &mut Pass) -> Vec<u32> {
        let entries = match std::fs::read_dir(&self.options.proc) {
            Ok(entries) => entries,
            Err(error) => {
                let proc = self.options.proc.display();
                tracing::error!(%proc, %error, "cannot list processes: only new mappings are found");
                pass.complete = false;
                return Vec::new();
            }
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn mappings_of(&self, pid: u32, pass: &mut Pass) -> Vec<Mapping> {
        let path = self.options.proc.join(pid.to_string()).join("maps");
        match std::fs::read(&path) {
            Ok(text) => maps::executable(pid, &text).collect(),
            Err(error) => {
                let gone = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT));
                if !gone {
                    self.verdicts.count(|c| c.processes_unreadable += 1);
                    tracing::debug!(pid, %error, "cannot read a process's mappings");
                    pass.unreadable.push((pid, error.to_string()));
                }
                Vec::new()
            }
        }
    }
}

fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// The files named like a TLS library in a directory of the dynamic linker, by their own names and not those of links
/// to them; none where there is no such directory.
fn libraries_in(dir: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(dir = %dir.display(), %error, "cannot look for TLS libraries");
            }
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_tls_library(path) && !path.is_dir())
        // A dangling link is kept, to be counted as unreadable.
        .map(|path| path.canonicalize().unwrap_or(path))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Waits for a descriptor, or for `timeout`.
fn wait(fds: &mut [libc::pollfd], timeout: Duration) {
    // Rounded up, so that the time is over when it returns.
    let timeout = i32::try_from(timeout.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
    let count = fds.len() as libc::nfds_t;
    // SAFETY: `fds` is a slice of `count` structures that outlives the call.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), count, timeout) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            tracing::error!(%error, "cannot wait for mappings");
            std::thread::sleep(PASS_PAUSE);
        }
    }
    for fd in fds {
        // A CPU that went away; a descriptor below zero is not waited for (poll(2)).
        if fd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
            tracing::warn!(
                "one CPU no longer reports mappings: passes over /proc find what it maps"
            );
            fd.fd = -1;
        }
    }
}
