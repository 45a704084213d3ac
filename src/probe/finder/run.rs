//! The finder's thread.

use super::Options;
use super::attach::Attach;
use super::library::{Libraries, Look, is_tls_library};
use super::maps::{self, Mapping};
use super::perf::{Record, Rings};
use super::verdict::Verdicts;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After lost records, passes over /proc are at least this far apart.
const PASS_PAUSE: Duration = Duration::from_secs(1);

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
pub fn run<A: Attach>(attach: A, options: Options, rings: Rings, stop: &Stop, verdicts: Verdicts) {
    let libraries = Libraries::new(attach, options.proc.clone(), verdicts.clone());
    let mut watch = Watch {
        libraries,
        options,
        rings,
        stop,
        verdicts,
        last_pass: Instant::now(),
    };
    watch.directories();
    watch.pass();
    if stop.is_set() {
        return;
    }
    watch.verdicts.set_ready();
    watch.watch();
}

struct Watch<'s, A: Attach> {
    libraries: Libraries<A>,
    options: Options,
    rings: Rings,
    stop: &'s Stop,
    verdicts: Verdicts,
    last_pass: Instant,
}

impl<A: Attach> Watch<'_, A> {
    /// Probes what lies in the dynamic linker's directories, so that the first user is covered from its first byte.
    fn directories(&mut self) {
        for dir in std::mem::take(&mut self.options.library_dirs) {
            for path in libraries_in(&dir) {
                if self.stop.is_set() {
                    return;
                }
                self.libraries.in_directory(&path);
            }
        }
    }

    fn watch(&mut self) {
        let mut fds = self.poll_fds();
        let mut next_pass = self.last_pass + self.options.pass_interval;
        while !self.stop.is_set() {
            wait(
                &mut fds,
                next_pass.saturating_duration_since(Instant::now()),
            );
            if self.reported() {
                next_pass = next_pass.min(self.last_pass + PASS_PAUSE);
            }
            if !self.stop.is_set() && Instant::now() >= next_pass {
                self.pass();
                next_pass = self.last_pass + self.options.pass_interval;
            }
        }
    }

    fn poll_fds(&self) -> Vec<libc::pollfd> {
        let of = |fd: RawFd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        std::iter::once(self.stop.event.as_raw_fd())
            .chain(self.rings.fds())
            .map(of)
            .collect()
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
            if self.stop.is_set() {
                break;
            }
            self.libraries
                .mapped(&mapping, Look::Reported { generation });
        }
        full || lost > 0
    }

    /// Looks at the executable mappings of all processes, each file once.
    fn pass(&mut self) {
        let mut done: HashSet<(maps::MappedFile, PathBuf)> = HashSet::new();
        for pid in self.processes() {
            for mapping in self.mappings_of(pid) {
                if self.stop.is_set() {
                    return;
                }
                let file = (mapping.key, mapping.path.clone());
                if !done.contains(&file) && self.libraries.mapped(&mapping, Look::Closely) {
                    done.insert(file);
                }
            }
        }
        self.verdicts.count(|c| c.passes += 1);
        self.last_pass = Instant::now();
    }

    fn processes(&self) -> Vec<u32> {
        let entries = match std::fs::read_dir(&self.options.proc) {
            Ok(entries) => entries,
            Err(error) => {
                let proc = self.options.proc.display();
                tracing::error!(%proc, %error, "cannot list processes: only new mappings are found");
                return Vec::new();
            }
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn mappings_of(&self, pid: u32) -> Vec<Mapping> {
        let path = self.options.proc.join(pid.to_string()).join("maps");
        match std::fs::read(&path) {
            Ok(text) => maps::executable(pid, &text).collect(),
            Err(error) => {
                let gone = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT));
                if !gone {
                    self.verdicts.count(|c| c.processes_unreadable += 1);
                    tracing::debug!(pid, %error, "cannot read a process's mappings");
                }
                Vec::new()
            }
        }
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
