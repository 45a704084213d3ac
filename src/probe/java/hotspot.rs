//! Whether a process is a HotSpot JVM that takes attach requests, and having it listen for them.
//!
//! A JVM listens from its first SIGQUIT on, if there is a file of a certain name. SIGQUIT ends a program that is not
//! prepared for it, so before it is sent the process must have HotSpot's code mapped, have a handler for it, and have the
//! thread that HotSpot handles it in.

use super::message::Credentials;
use super::{Problem, files};
use crate::probe::finder::{Mapping, executable, locate};
use memchr::memmem::Finder;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a JVM may take from the mapping of its code to its readiness for signals.
pub const START: Duration = Duration::from_secs(3);
/// How long it may take to listen.
pub const LISTEN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// What every HotSpot exports for debuggers, whoever built it.
const TABLE: &[u8] = b"gHotSpotVMStructs";
/// The thread that handles its signals, `Signal Dispatcher` as far as the kernel keeps names.
const DISPATCHER: &str = "Signal Dispatch";

/// What is read of files at the most, bytes.
const MOST: usize = 1 << 20;

/// A process with HotSpot's code.
pub struct Hotspot {
    /// Its folder in /proc.
    process: PathBuf,
    pid: u32,
    /// As the process itself sees it.
    inner_pid: u32,
    credentials: Credentials,
    /// It names the process and no other that may have its number later.
    handle: OwnedFd,
}

/// A JVM's attach socket.
pub struct Socket {
    /// Leads to exactly this one.
    pub path: PathBuf,
    _open: OwnedFd,
}

impl Hotspot {
    /// # Errors
    /// Where the process is gone, or is no HotSpot JVM.
    pub fn find(proc: &Path, pid: u32) -> Result<Hotspot, Problem> {
        let handle = pidfd(pid).map_err(|_| Problem::Gone)?;
        let process = proc.join(pid.to_string());
        let status = read(&process, "status")?;
        let ids = |name| field(&status, name).and_then(|line| word(line, 1));
        let inner = field(&status, "NSpid").and_then(|line| line.split_whitespace().last());
        let described = || io::Error::other("its status cannot be understood");
        let jvm = Hotspot {
            inner_pid: inner
                .and_then(|pid| pid.parse().ok())
                .ok_or_else(|| Problem::Process(described()))?,
            credentials: Credentials {
                uid: ids("Uid").ok_or_else(|| Problem::Process(described()))?,
                gid: ids("Gid").ok_or_else(|| Problem::Process(described()))?,
            },
            process,
            pid,
            handle,
        };
        let library = jvm.mappings()?.into_iter().find(is_jvm);
        let library = library.ok_or(Problem::NotHotspot)?;
        let found = locate(proc, &library).and_then(|located| contains(located.open()?, TABLE));
        match found {
            Ok(true) => Ok(jvm),
            Ok(false) => Err(Problem::NotHotspot),
            Err(error) => Err(Problem::Process(error)),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.process.join("root")
    }

    pub fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// It has a library of this name mapped.
    pub fn has(&self, name: &str) -> Result<bool, Problem> {
        let named = |m: &Mapping| m.path.file_name().is_some_and(|n| n == name);
        Ok(self.mappings()?.iter().any(named))
    }

    fn mappings(&self) -> Result<Vec<Mapping>, Problem> {
        let text = fs::read(self.process.join("maps")).map_err(Problem::Process)?;
        Ok(executable(self.pid, &text).collect())
    }

    /// Waits until its signal handling is there.
    ///
    /// # Errors
    /// Where it is not, which a JVM that is told to leave signals alone (-Xrs) never has.
    pub fn wait_ready(&self, within: Duration) -> Result<(), Problem> {
        let until = Instant::now() + within;
        while !(self.catches_quit()? && self.has_dispatcher()?) {
            if Instant::now() >= until {
                return Err(Problem::NotListening);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn catches_quit(&self) -> Result<bool, Problem> {
        let status = read(&self.process, "status")?;
        let caught =
            field(&status, "SigCgt").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        Ok(caught.is_some_and(|set| set & (1 << (libc::SIGQUIT - 1)) != 0))
    }

    fn has_dispatcher(&self) -> Result<bool, Problem> {
        let tasks = fs::read_dir(self.process.join("task")).map_err(Problem::Process)?;
        let mut names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.any(|name| name.trim_end() == DISPATCHER))
    }

    /// It says, or was told, that it takes no attach requests.
    pub fn is_disabled(&self, root: &files::Root) -> bool {
        self.says_disabled(root)
            .unwrap_or_else(|| self.told_disabled())
    }

    /// What its performance data say; None where it has none.
    fn says_disabled(&self, root: &files::Root) -> Option<bool> {
        let tmp = root.folder("tmp").ok()?;
        let names = tmp.names().ok()?;
        let own = self.inner_pid.to_string();
        let folders = names.iter().filter(|name| name.starts_with("hsperfdata_"));
        let mut data = folders.filter_map(|f| tmp.read([f, &own], self.credentials.uid, MOST).ok());
        data.find_map(|data| Some(!can_attach(&data)?))
    }

    fn told_disabled(&self) -> bool {
        let option = Finder::new("+DisableAttachMechanism");
        ["cmdline", "environ"].iter().any(|file| {
            let text = fs::read(self.process.join(file)).unwrap_or_default();
            option.find(&text).is_some()
        })
    }

    /// Has it listen, where it does not yet, and gives its socket.
    ///
    /// # Errors
    /// Where it does not within [`LISTEN`].
    pub fn listen(&self, root: &files::Root) -> Result<Socket, Problem> {
        let tmp = root.folder("tmp");
        let tmp = tmp.map_err(|error| Problem::NoFolder(format!("/tmp: {error}")))?;
        let Credentials { uid, gid } = self.credentials;
        let name = format!(".java_pid{}", self.inner_pid);
        let socket = || tmp.socket(&name, uid);
        let socket = || socket().map(|(_open, path)| Socket { path, _open });
        if let Ok(found) = socket() {
            return Ok(found);
        }
        let asks = tmp.make_file(&format!(".attach_pid{}", self.inner_pid), uid, gid);
        // It goes at the end of this function; one that another asker has left is as good.
        let _asks = match asks {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            made => Some(made.map_err(Problem::Request)?),
        };
        self.quit()?;
        let until = Instant::now() + LISTEN;
        loop {
            match socket() {
                Ok(found) => return Ok(found),
                Err(_) if Instant::now() >= until => return Err(Problem::Silent),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Sends SIGQUIT.
    fn quit(&self) -> Result<(), Problem> {
        // It may have become another program since.
        self.wait_ready(Duration::ZERO)?;
        let none = std::ptr::null::<libc::siginfo_t>();
        let (handle, signal) = (self.handle.as_raw_fd(), libc::SIGQUIT);
        // SAFETY: an open descriptor; no information of our own is passed.
        match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, signal, none, 0) } {
            0 => Ok(()),
            _ => Err(Problem::Request(io::Error::last_os_error())),
        }
    }
}

/// The file of a mapping has the name of a JVM.
pub fn is_jvm(mapping: &Mapping) -> bool {
    mapping
        .path
        .file_name()
        .is_some_and(|name| name == "libjvm.so")
}

fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn read(process: &Path, file: &str) -> Result<String, Problem> {
    fs::read_to_string(process.join(file)).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Problem::Gone,
        _ => Problem::Process(error),
    })
}

/// What stands behind `name:` in proc(5)'s status.
fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    let mut lines = status.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn word(line: &str, index: usize) -> Option<u32> {
    line.split_whitespace().nth(index)?.parse().ok()
}

fn contains(mut file: fs::File, what: &[u8]) -> io::Result<bool> {
    let finder = Finder::new(what);
    let mut piece = vec![0; MOST];
    let mut kept = 0;
    loop {
        let read = file.read(piece.get_mut(kept..).unwrap_or_default())?;
        if read == 0 {
            return Ok(false);
        }
        let end = kept + read;
        if finder.find(piece.get(..end).unwrap_or_default()).is_some() {
            return Ok(true);
        }
        // What may be the beginning of it.
        kept = end.min(what.len());
        piece.copy_within(end - kept..end, 0);
    }
}

/// What performance data (HotSpot, perfMemory.hpp and PerfDataEntry) say of attach requests: the first character of
/// `sun.rt.jvmCapabilities`. None where they do not.
fn can_attach(data: &[u8]) -> Option<bool> {
    let number = |at: usize| {
        let bytes = data.get(at..at.checked_add(4)?)?;
        let value = u32::from_le_bytes(bytes.try_into().ok()?);
        usize::try_from(value).ok()
    };
    if data.get(..4)? != [0xca, 0xfe, 0xc0, 0xc0] {
        return None;
    }
    let mut at = number(24)?;
    for _ in 0..number(28)? {
        let length = number(at)?;
        let name = data.get(at.checked_add(number(at + 4)?)?..)?;
        if name.starts_with(b"sun.rt.jvmCapabilities\0") {
            let value = at.checked_add(number(at + 16)?)?;
            return Some(*data.get(value)? == b'1');
        }
        at = at.checked_add(length.max(1))?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn performance_data(capabilities: &[u8]) -> Vec<u8> {
        let entry = |name: &[u8], value: &[u8]| {
            let name = [name, b"\0"].concat();
            let data_at = 20 + name.len();
            let length = data_at + value.len();
            let numbers = [length, 20, value.len()].map(|n| (n as u32).to_le_bytes());
            let mut entry = numbers.concat();
            entry.extend([b'B', 0, 0, 0]);
            entry.extend((data_at as u32).to_le_bytes());
            entry.extend(name);
            entry.extend(value);
            entry
        };
        let mut data = vec![0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1];
        data.extend([0; 16]);
        data.extend(32u32.to_le_bytes());
        data.extend(2u32.to_le_bytes());
        data.extend(entry(b"java.rt.vmArgs", b"-Xmx1g\0"));
        data.extend(entry(b"sun.rt.jvmCapabilities", capabilities));
        data
    }

    #[test]
    fn performance_data_say_whether_a_jvm_takes_requests() {
        assert_eq!(can_attach(&performance_data(b"1100")), Some(true));
        assert_eq!(can_attach(&performance_data(b"0100")), Some(false));
        let whole = performance_data(b"1");
        for end in 0..whole.len() {
            assert_eq!(can_attach(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_process_that_is_no_jvm_is_none() {
        let own = std::process::id();
        let found = Hotspot::find(Path::new("/proc"), own);
        assert!(matches!(found.err(), Some(Problem::NotHotspot)));
        let gone = Hotspot::find(Path::new("/proc"), i32::MAX as u32);
        assert!(matches!(gone.err(), Some(Problem::Gone)));
    }

    #[test]
    fn text_is_found_in_a_file_wherever_it_stands() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        for at in [0, 7, MOST - 9, MOST - TABLE.len(), MOST, MOST + 3] {
            let mut content = vec![b'x'; at];
            content.extend(TABLE);
            fs::write(&path, &content).expect("written");
            let file = || fs::File::open(&path).expect("opened");
            assert!(contains(file(), TABLE).expect("read"), "{at}");
            assert!(!contains(file(), b"gOther").expect("read"));
        }
    }
}
