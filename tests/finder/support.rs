//! What the tests share: a recording attacher, private copies of libssl, processes that map them.

use plainspan::probe::finder::{
    Attach, AttachError, Finder, FinderHandle, Found, Options, Snapshot, State,
};
use plainspan::probe::target::Target;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
pub const LIBCRYPTO: &str = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// Bytes behind the end of a private copy of a library, which tell it from all others: inode numbers are used again.
pub type Mark = [u8; 8];

/// One call of `attach`.
#[derive(Debug, Clone)]
pub struct Call {
    pub mark: Mark,
    pub targets: Vec<Target>,
    pub at: SystemTime,
}

/// Records what is attached and detached, and attaches nothing.
#[derive(Clone, Default)]
pub struct Recorder {
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub detached: Arc<Mutex<Vec<Mark>>>,
    pub refuse: Option<&'static str>,
}

pub struct RecordedLink {
    pub mark: Mark,
    pub detached: Arc<Mutex<Vec<Mark>>>,
}

impl Drop for RecordedLink {
    fn drop(&mut self) {
        self.detached.lock().expect("not poisoned").push(self.mark);
    }
}

impl Attach for Recorder {
    type Link = RecordedLink;

    fn attach(&self, path: &Path, targets: &[Target]) -> Result<RecordedLink, AttachError> {
        let bytes = std::fs::read(path).expect("the path leads to a file");
        let mark = bytes.last_chunk().copied().unwrap_or_default();
        self.calls.lock().expect("not poisoned").push(Call {
            mark,
            targets: targets.to_vec(),
            at: SystemTime::now(),
        });
        match self.refuse {
            Some(reason) => Err(AttachError(reason.into())),
            None => Ok(RecordedLink {
                mark,
                detached: self.detached.clone(),
            }),
        }
    }
}

impl Recorder {
    pub fn of(&self, mark: Mark) -> Vec<Call> {
        let calls = self.calls.lock().expect("not poisoned");
        calls.iter().filter(|c| c.mark == mark).cloned().collect()
    }
}

/// A private copy of libssl and what it needs, so that no other process maps it.
pub struct Private {
    pub dir: tempfile::TempDir,
    pub mark: Mark,
}

impl Private {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::copy(LIBCRYPTO, dir.path().join("libcrypto.so.3")).expect("copied");
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let copy = u64::from(COPIES.fetch_add(1, Ordering::Relaxed));
        let mark = (copy << 32 | u64::from(std::process::id())).to_le_bytes();
        let private = Private { dir, mark };
        private.write();
        private
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("libssl.so.3")
    }

    /// The bytes of another copy of the library, with the mark at their end.
    pub fn write(&self) {
        let mut bytes = std::fs::read(LIBSSL).expect("Debian's libssl3 is installed");
        bytes.extend(self.mark);
        std::fs::write(self.path(), bytes).expect("written");
    }
}

/// A Python process that maps a library when told, and then waits.
pub struct Python {
    pub child: Child,
    _stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

pub const LOAD: &str = "import ctypes, sys, time\n\
    sys.stdin.readline()\n\
    before = time.time_ns()\n\
    ctypes.CDLL(sys.argv[1])\n\
    print(before, flush=True)\n\
    sys.stdin.readline()\n";

impl Python {
    pub fn start(program: &mut Command, script: &str, library: &Path) -> Self {
        let libraries = library.parent().expect("in a directory");
        let mut child = program
            .args(["-c", script])
            .arg(library)
            .env("LD_LIBRARY_PATH", libraries)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Python {
            child,
            _stdin: stdin,
            stdout,
        }
    }

    /// Has it map `library` at once; answers when it began to.
    pub fn loaded(library: &Path) -> (Self, SystemTime) {
        let mut python = Python::start(&mut interpreter(), LOAD, library);
        let at = python.load();
        (python, at)
    }

    pub fn load(&mut self) -> SystemTime {
        use std::io::Write;
        self._stdin.write_all(b"\n").expect("it is alive");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it answers");
        let nanoseconds = line.trim().parse().expect("it loaded the library");
        UNIX_EPOCH + Duration::from_nanos(nanoseconds)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.child.kill().expect("ours to end");
        self.child.wait().expect("ours to wait for");
    }
}

pub fn interpreter() -> Command {
    Command::new("/usr/bin/python3")
}

/// A finder that looks at nothing but what is mapped.
pub fn options() -> Options {
    Options {
        library_dirs: Vec::new(),
        pass_interval: Duration::from_secs(3600),
        ..Options::default()
    }
}

pub fn started(attach: impl Attach + Send + 'static, options: Options) -> FinderHandle {
    let finder = Finder::start(attach, options).expect("this test needs root or CAP_PERFMON");
    until("the finder is ready", || finder.ready().then_some(()));
    finder
}

pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn state(snapshot: &Snapshot, path: &Path) -> Option<(State, Found)> {
    let found = snapshot
        .libraries
        .iter()
        .find(|v| Path::new(&v.path) == path)?;
    Some((found.state.clone(), found.found))
}
