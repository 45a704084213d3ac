//! The finder with real processes and the kernel's real reports. Needs root, Python and Debian's libssl.so.3.

use plainspan::probe::finder::{
    Attach, AttachError, Finder, FinderHandle, Found, Options, Snapshot, State,
};
use plainspan::probe::target::Target;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LIBSSL: &str = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
const LIBCRYPTO: &str = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// Bytes behind the end of a private copy of a library, which tell it from all others: inode numbers are used again.
type Mark = [u8; 8];

/// One call of `attach`.
#[derive(Debug, Clone)]
struct Call {
    mark: Mark,
    targets: Vec<Target>,
    at: SystemTime,
}

/// Records what is attached and detached, and attaches nothing.
#[derive(Clone, Default)]
struct Recorder {
    calls: Arc<Mutex<Vec<Call>>>,
    detached: Arc<Mutex<Vec<Mark>>>,
    refuse: Option<&'static str>,
}

struct RecordedLink {
    mark: Mark,
    detached: Arc<Mutex<Vec<Mark>>>,
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
    fn of(&self, mark: Mark) -> Vec<Call> {
        let calls = self.calls.lock().expect("not poisoned");
        calls.iter().filter(|c| c.mark == mark).cloned().collect()
    }
}

/// A private copy of libssl and what it needs, so that no other process maps it.
struct Private {
    dir: tempfile::TempDir,
    mark: Mark,
}

impl Private {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::copy(LIBCRYPTO, dir.path().join("libcrypto.so.3")).expect("copied");
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let copy = u64::from(COPIES.fetch_add(1, Ordering::Relaxed));
        let mark = (copy << 32 | u64::from(std::process::id())).to_le_bytes();
        let private = Private { dir, mark };
        private.write();
        private
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("libssl.so.3")
    }

    /// The bytes of another copy of the library, with the mark at their end.
    fn write(&self) {
        let mut bytes = std::fs::read(LIBSSL).expect("Debian's libssl3 is installed");
        bytes.extend(self.mark);
        std::fs::write(self.path(), bytes).expect("written");
    }
}

/// A Python process that maps a library when told, and then waits.
struct Python {
    child: Child,
    _stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

const LOAD: &str = "import ctypes, sys, time\n\
    sys.stdin.readline()\n\
    before = time.time_ns()\n\
    ctypes.CDLL(sys.argv[1])\n\
    print(before, flush=True)\n\
    sys.stdin.readline()\n";

impl Python {
    fn start(program: &mut Command, script: &str, library: &Path) -> Self {
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
    fn loaded(library: &Path) -> (Self, SystemTime) {
        let mut python = Python::start(&mut interpreter(), LOAD, library);
        let at = python.load();
        (python, at)
    }

    fn load(&mut self) -> SystemTime {
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

fn interpreter() -> Command {
    Command::new("/usr/bin/python3")
}

/// A finder that looks at nothing but what is mapped.
fn options() -> Options {
    Options {
        library_dirs: Vec::new(),
        pass_interval: Duration::from_secs(3600),
        ..Options::default()
    }
}

fn started(attach: impl Attach + Send + 'static, options: Options) -> FinderHandle {
    let finder = Finder::start(attach, options).expect("this test needs root or CAP_PERFMON");
    until("the finder is ready", || finder.ready().then_some(()));
    finder
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
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

fn state(snapshot: &Snapshot, path: &Path) -> Option<(State, Found)> {
    let found = snapshot
        .libraries
        .iter()
        .find(|v| Path::new(&v.path) == path)?;
    Some((found.state.clone(), found.found))
}

#[test]
fn a_library_loaded_later_is_attached_within_milliseconds_of_its_mapping() {
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let mut latencies = Vec::new();
    for _ in 0..5 {
        let private = Private::new();
        let mut python = Python::start(&mut interpreter(), LOAD, &private.path());
        std::thread::sleep(Duration::from_millis(300));
        assert!(recorder.of(private.mark).is_empty());
        let mapped = python.load();
        let call = until("the library is attached", || {
            recorder.of(private.mark).pop()
        });
        let symbols: Vec<&str> = call.targets.iter().map(|t| t.symbol.as_str()).collect();
        assert!(
            symbols.contains(&"ssl_read_internal (from SSL_read)"),
            "{symbols:?}"
        );
        latencies.push(
            call.at
                .duration_since(mapped)
                .expect("attached after it was mapped"),
        );
        let verdict = state(&finder.verdicts().snapshot(), &private.path());
        assert_eq!(
            verdict,
            Some((State::Attached, Found::Process(python.child.id())))
        );
    }
    latencies.sort();
    eprintln!("from before dlopen to attach: {latencies:?}");
    assert!(latencies[2] < Duration::from_millis(250), "{latencies:?}");
}

#[test]
fn the_ssl_module_is_found_when_python_imports_it() {
    let private = Private::new();
    let recorder = Recorder::default();
    let _finder = started(recorder.clone(), options());
    let import = "import time; time.sleep(0.3); import ssl; print(0, flush=True); time.sleep(60)";
    let _python = Python::start(&mut interpreter(), import, &private.path());
    until("libssl is attached", || recorder.of(private.mark).pop());
}

#[test]
fn a_file_is_attached_once_however_many_map_it() {
    let private = Private::new();
    let alias = private.dir.path().join("other-name.so");
    std::fs::hard_link(private.path(), &alias).expect("linked");
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let _first = Python::loaded(&private.path());
    let _second = Python::loaded(&private.path());
    let _third = Python::loaded(&alias);
    let last = Private::new();
    let _last = Python::loaded(&last.path());
    until("a later library is attached", || {
        recorder.of(last.mark).pop()
    });
    assert_eq!(recorder.of(private.mark).len(), 1);
    finder.stop();
    let detached = recorder.detached.lock().expect("not poisoned").clone();
    assert_eq!(detached.iter().filter(|m| **m == private.mark).count(), 1);
}

#[test]
fn libraries_of_the_linkers_directories_are_attached_before_anyone_maps_them() {
    let private = Private::new();
    std::fs::copy(private.path(), private.dir.path().join("unrelated.so")).expect("copied");
    std::fs::write(private.dir.path().join("libssl.txt"), "no ELF file").expect("written");
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![private.dir.path().into(), "/no/such/directory".into()],
        ..options()
    };
    let finder = started(recorder.clone(), options);
    assert_eq!(recorder.of(private.mark).len(), 1);
    let snapshot = finder.verdicts().snapshot();
    let verdict = state(&snapshot, &private.path());
    assert_eq!(verdict, Some((State::Attached, Found::Directory)));
    let inside = |v: &str| Path::new(v).starts_with(private.dir.path());
    assert_eq!(
        snapshot
            .libraries
            .iter()
            .filter(|v| inside(&v.path))
            .count(),
        1
    );
}

#[test]
fn libraries_mapped_before_the_start_are_attached_even_if_deleted_since() {
    let (kept, deleted) = (Private::new(), Private::new());
    let (deleted_path, deleted_mark) = (deleted.path(), deleted.mark);
    let _kept = Python::loaded(&kept.path());
    let _deleted = Python::loaded(&deleted_path);
    drop(deleted);
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    assert_eq!(recorder.of(kept.mark).len(), 1);
    assert_eq!(recorder.of(deleted_mark).len(), 1);
    let verdict = state(&finder.verdicts().snapshot(), &deleted_path);
    assert!(matches!(
        verdict,
        Some((State::Attached, Found::Process(_)))
    ));
}

#[test]
fn a_library_in_another_mount_namespace_is_found() {
    let private = Private::new();
    let hidden = private.dir.path().join("hidden");
    std::fs::create_dir(&hidden).expect("made");
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    let mut inside = Command::new("unshare");
    let mount = "mount -t tmpfs none \"$1\" && cp \"$2\" \"$3\" \"$1\" && shift 3 && exec /usr/bin/python3 \"$@\"";
    inside.args(["--mount", "sh", "-c", mount, "sh"]);
    inside.arg(&hidden).args([LIBSSL, LIBCRYPTO]);
    let library = hidden.join("libssl.so.3");
    let mut python = Python::start(&mut inside, LOAD, &library);
    python.load();
    let (state, _) = until("it is attached", || {
        state(&finder.verdicts().snapshot(), &library)
    });
    assert_eq!(state, State::Attached);
    assert!(!library.exists());
}

#[test]
fn what_cannot_be_attached_is_tried_again_a_few_times_and_says_why() {
    let private = Private::new();
    let recorder = Recorder {
        refuse: Some("the kernel said no"),
        ..Recorder::default()
    };
    let options = Options {
        pass_interval: Duration::from_millis(50),
        ..options()
    };
    let finder = started(recorder.clone(), options);
    let _python = Python::loaded(&private.path());
    let passes = || finder.verdicts().snapshot().counts.passes;
    until("it is tried three times", || {
        (recorder.of(private.mark).len() == 3).then_some(())
    });
    let then = passes();
    until("passes go on", || (passes() > then + 3).then_some(()));
    assert_eq!(recorder.of(private.mark).len(), 3);
    let reason = "the kernel said no".to_owned();
    let (state, _) = state(&finder.verdicts().snapshot(), &private.path()).expect("a verdict");
    assert_eq!(state, State::Failed { reason });
}

#[test]
fn a_library_that_is_written_over_is_detached_and_attached_anew() {
    let private = Private::new();
    let inode = || std::fs::metadata(private.path()).expect("there").ino();
    let before = inode();
    let recorder = Recorder::default();
    let finder = started(recorder.clone(), options());
    drop(Python::loaded(&private.path()));
    until("it is attached", || recorder.of(private.mark).pop());
    private.write();
    assert_eq!(inode(), before);
    let _python = Python::loaded(&private.path());
    until("it is attached anew", || {
        (recorder.of(private.mark).len() == 2).then_some(())
    });
    assert!(
        recorder
            .detached
            .lock()
            .expect("not poisoned")
            .contains(&private.mark)
    );
    until("the verdict says so", || {
        let (state, _) = state(&finder.verdicts().snapshot(), &private.path())?;
        (state == State::Attached).then_some(())
    });
}

#[test]
fn the_agents_own_mappings_are_left_alone() {
    let (own, other) = (Private::new(), Private::new());
    let recorder = Recorder::default();
    let _finder = started(recorder.clone(), options());
    let file = std::fs::File::open(own.path()).expect("opened");
    // SAFETY: a new private mapping at an address of the kernel's choice, never read or run.
    let at = unsafe {
        use std::os::fd::AsRawFd;
        let access = libc::PROT_READ | libc::PROT_EXEC;
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            access,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED);
    let _python = Python::loaded(&other.path());
    until("a later library is attached", || {
        recorder.of(other.mark).pop()
    });
    assert!(recorder.of(own.mark).is_empty());
}

#[test]
fn it_stops_promptly_and_detaches() {
    let private = Private::new();
    let recorder = Recorder::default();
    let options = Options {
        library_dirs: vec![private.dir.path().into()],
        ..options()
    };
    let finder = started(recorder.clone(), options);
    assert!(finder.running());
    let began = Instant::now();
    finder.stop();
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert!(
        recorder
            .detached
            .lock()
            .expect("not poisoned")
            .contains(&private.mark)
    );
}

#[test]
fn verdicts_serialise_for_the_status_page_without_command_lines() {
    let private = Private::new();
    let options = Options {
        library_dirs: vec![private.dir.path().into()],
        ..options()
    };
    let finder = started(Recorder::default(), options);
    let json = serde_json::to_value(finder.verdicts().snapshot()).expect("serialises");
    assert_eq!(json["ready"], true);
    let library = json["libraries"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|v| v["path"] == private.path().to_string_lossy().as_ref());
    let library = library.expect("the private copy");
    assert_eq!(library["state"], "attached");
    assert_eq!(library["found"], "directory");
    assert_eq!(library["stack"], "openssl");
    assert_eq!(library["build_id"].as_str().map(str::len), Some(40));
    let target = &library["targets"][0];
    assert_eq!(target["symbol"], "ssl_read_internal (from SSL_read)");
    assert_eq!(target["method"], "internal");
    assert_eq!(target["instruction"], "push");
    assert_eq!(target["emulated"], true);
}

mod overlay {
    use super::*;
    use std::ffi::CString;
    use std::fs::File;
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;

    /// Puts real probes without a program into the file, as any tracer's would be.
    #[derive(Clone, Default)]
    struct Breakpoints {
        attached: Arc<Mutex<Vec<PathBuf>>>,
    }

    impl Attach for Breakpoints {
        type Link = Vec<OwnedFd>;

        fn attach(&self, path: &Path, targets: &[Target]) -> Result<Self::Link, AttachError> {
            let real = std::fs::read_link(path).expect("a link to the file");
            self.attached.lock().expect("not poisoned").push(real);
            Ok(targets
                .iter()
                .map(|t| breakpoint(path, t.file_offset))
                .collect())
        }
    }

    /// A perf uprobe for all processes (`perf_event_attr` of 72 bytes: path in config1, offset in config2).
    fn breakpoint(path: &Path, offset: u64) -> OwnedFd {
        let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
        let kind: u32 = kind.expect("uprobes").trim().parse().expect("a number");
        let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let mut attr = [0u64; 9];
        attr[0] = u64::from(kind) | 72 << 32;
        attr[7] = path.as_ptr() as u64;
        attr[8] = offset;
        // SAFETY: `attr` has the 72 bytes that it says, and the path that it points to outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), -1, 0, -1, 8) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the call has just made this descriptor.
        unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) }
    }

    /// An overlay mount of a directory; unmounted when dropped.
    struct Mount {
        merged: PathBuf,
        _dirs: tempfile::TempDir,
    }

    impl Mount {
        fn of(lower: &Path) -> Self {
            let dirs = tempfile::tempdir().expect("a temporary directory");
            let sub = |name: &str| dirs.path().join(name);
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                lower.display(),
                sub("backing/upper").display(),
                sub("backing/work").display()
            );
            // The upper directory must not lie on an overlay itself.
            for (kind, options, at) in [
                ("tmpfs", "mode=755", sub("backing")),
                ("overlay", options.as_str(), sub("merged")),
            ] {
                std::fs::create_dir_all(&at).expect("made");
                if kind == "overlay" {
                    std::fs::create_dir(sub("backing/upper")).expect("made");
                    std::fs::create_dir(sub("backing/work")).expect("made");
                }
                let mut mount = Command::new("mount");
                mount.args(["-t", kind, "-o", options, "none"]).arg(at);
                assert!(mount.status().expect("mount runs").success());
            }
            Mount {
                merged: sub("merged"),
                _dirs: dirs,
            }
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            for at in [self.merged.clone(), self.merged.with_file_name("backing")] {
                let status = Command::new("umount").arg("-l").arg(at).status();
                assert!(status.expect("umount runs").success());
            }
        }
    }

    #[test]
    fn one_layer_under_two_overlay_mounts_is_attached_once() {
        let private = Private::new();
        let (one, two) = (Mount::of(private.dir.path()), Mount::of(private.dir.path()));
        let breakpoints = Breakpoints::default();
        let finder = started(breakpoints.clone(), options());
        let library = |m: &Mount| m.merged.join("libssl.so.3");
        let states = |m: &Mount| state(&finder.verdicts().snapshot(), &library(m));
        let (_first, _) = Python::loaded(&library(&one));
        let (state, _) = until("the first is attached", || states(&one));
        assert_eq!(state, State::Attached);
        let (_second, _) = Python::loaded(&library(&two));
        let (state, _) = until("the second has a verdict", || states(&two));
        let path = library(&one).display().to_string();
        assert_eq!(state, State::AttachedThrough { path });
        // The same file in another file system has no probe in it: it gets its own.
        let attached = breakpoints.attached.lock().expect("not poisoned").clone();
        let ours = |p: &&PathBuf| p.ends_with("libssl.so.3") && p.starts_with(&one.merged);
        assert_eq!(attached.iter().filter(ours).count(), 1, "{attached:?}");
        assert!(File::open(library(&two)).is_ok());
    }
}
