//! The finder: a thread that finds TLS libraries in the host's processes and has them probed.
//!
//! Enters: the kernel's reports of new executable mappings, /proc, the dynamic linker's directories. Leaves: probes
//! attached through [`Attach`], [`Verdicts`]. Holds: a file is probed once, whoever maps it; the agent's own program
//! never; a file that
//! nobody uses of whom anything may be wanted has none; a mapping that the kernel could not report is found by a pass over /proc; a file system that does not answer
//! holds up nothing but its own files.

mod attach;
pub mod cache;
mod choice;
mod decide;
mod file;
mod jvms;
mod lane;
mod library;
mod look;
mod maps;
mod perf;
mod run;
mod table;
mod trap;
mod unused;
mod verdict;
mod verify;

pub use attach::{Attach, AttachError};
pub use choice::{Choice, Choose};
pub use file::FileId;
pub(in crate::probe) use file::locate;
pub(in crate::probe) use maps::{Mapping, executable};
pub use perf::{PerfError, Reports};
pub use verdict::{
    Counts, Found, LibraryVerdict, ProcessState, ProcessVerdict, Snapshot, StackVerdict, State,
    TargetVerdict, Verdicts,
};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where the finder looks, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directories whose libraries are probed before anyone maps them.
    pub library_dirs: Vec<PathBuf>,
    /// The proc file system of the host.
    pub proc: PathBuf,
    /// Time between two passes over /proc, which find what the kernel's reports missed.
    pub pass_interval: Duration,
    /// How long no process has a file mapped before its probes go.
    pub unused: Duration,
    /// Where results of scans are kept; none: nowhere.
    pub scan_cache: Option<PathBuf>,
    /// JVMs are given a library that shows their plaintext: `tap.java`.
    pub java: bool,
    /// Of which processes anything may be wanted.
    pub choice: Choice,
    /// Return probes would end programs with a seccomp filter on this kernel: nothing is probed at its return.
    pub seccomp_trap: bool,
    /// Where verdicts go.
    pub verdicts: Verdicts,
}

impl Default for Options {
    fn default() -> Self {
        let dirs = [
            "/usr/lib/x86_64-linux-gnu",
            "/lib/x86_64-linux-gnu",
            "/usr/lib64",
            "/lib64",
            "/usr/local/lib",
            "/usr/local/lib64",
            "/usr/lib",
            "/lib",
        ];
        Options {
            library_dirs: dirs.map(PathBuf::from).to_vec(),
            proc: PathBuf::from("/proc"),
            pass_interval: Duration::from_secs(30),
            unused: Duration::from_secs(90),
            scan_cache: None,
            java: false,
            choice: Choice::default(),
            seccomp_trap: false,
            verdicts: Verdicts::default(),
        }
    }
}

/// Why the finder could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Perf(#[from] PerfError),
    #[error("cannot start the finder's thread: {0}")]
    Thread(io::Error),
    #[error("cannot make the finder's signals: {0}")]
    Signal(io::Error),
}

/// Time between two passes where the kernel reports no mappings: what starts in between is late by that much.
const BLIND_PASS_INTERVAL: Duration = Duration::from_secs(5);

/// Starts finders.
pub struct Finder;

impl Finder {
    /// Starts the thread `finder`. What maps a library from this call on is reported by the kernel.
    ///
    /// # Errors
    /// Where the kernel does not report mappings (no CAP_PERFMON), or no thread can be had.
    pub fn start<A>(attach: A, options: Options) -> Result<FinderHandle, StartError>
    where
        A: Attach + Send + 'static,
    {
        Finder::start_with(Reports::ask(), attach, options)
    }

    /// The same with reports that were asked for before.
    ///
    /// # Errors
    /// As [`Finder::start`].
    pub fn start_with<A>(
        reports: Reports,
        attach: A,
        mut options: Options,
    ) -> Result<FinderHandle, StartError>
    where
        A: Attach + Send + 'static,
    {
        let (rings, blind) = reports.rings()?;
        if let Some(why) = blind {
            options.pass_interval = options.pass_interval.min(BLIND_PASS_INTERVAL);
            tracing::warn!(
                "{why}. Until then programs are looked for every {:?}, and TLS of a program that nobody used before is missed \
                 until it is found",
                options.pass_interval
            );
        }
        let stop = Arc::new(run::Stop::new().map_err(StartError::Signal)?);
        let wake = lane::Wake::new().map_err(StartError::Signal)?;
        let cache = options.scan_cache.as_deref().and_then(open_cache);
        let lanes =
            look::Lanes::start(options.proc.clone(), cache, &wake).map_err(StartError::Thread)?;
        let verdicts = options.verdicts.clone();
        let jvms = jvms::Jvms::start(&options, &wake).map_err(StartError::Thread)?;
        let next = Arc::new(choice::Next::new(wake.clone()));
        let ways = run::Ways {
            verdicts: verdicts.clone(),
            lanes,
            jvms,
            wake,
            next: next.clone(),
        };
        let thread_stop = stop.clone();
        let thread = std::thread::Builder::new()
            .name("finder".into())
            .spawn(move || run::run(attach, options, rings, &thread_stop, ways))
            .map_err(StartError::Thread)?;
        Ok(FinderHandle {
            verdicts,
            stop,
            next,
            thread: Some(thread),
        })
    }
}

/// Without it every large program is scanned again when it starts: slower, and nothing else.
fn open_cache(path: &std::path::Path) -> Option<cache::Cache> {
    match cache::Cache::open(path) {
        Ok(cache) => Some(cache),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "results of scans are not kept: tap.scan_cache names a folder that cannot be used");
            None
        }
    }
}

/// A running finder. Dropping it stops the thread and detaches all probes.
pub struct FinderHandle {
    verdicts: Verdicts,
    stop: Arc<run::Stop>,
    next: Arc<choice::Next>,
    thread: Option<JoinHandle<()>>,
}

impl FinderHandle {
    pub fn verdicts(&self) -> Verdicts {
        self.verdicts.clone()
    }

    /// From now on something may be wanted of other processes. Probes of those that are wanted no more go as those of
    /// unused files do.
    pub fn choose(&self, choice: Choice) {
        self.next.set(choice);
    }

    /// Every library and process that was there at the start has been handled.
    pub fn ready(&self) -> bool {
        self.verdicts.ready()
    }

    /// The thread is at work. It ends before [`stop`](Self::stop) only by a panic.
    pub fn running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Ends the thread and detaches all probes; returns when that is done.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the finder had panicked: libraries loaded since were not probed");
        }
    }
}

impl Drop for FinderHandle {
    fn drop(&mut self) {
        self.end();
    }
}
