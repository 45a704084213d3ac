//! What a JVM is asked over its attach socket, and what it answers.
//!
//! The request (HotSpot, attachListener_linux.cpp): version, command and three arguments, each with a NUL behind. The
//! answer: a line with a number, 0 if the command was carried out, and text.

use super::Problem;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long one read or write of the socket may take: the library is loaded meanwhile.
pub const ANSWER: Duration = Duration::from_secs(10);

/// The longest answer that is looked at, bytes.
const LONGEST: u64 = 16 << 10;

/// Effective user and group of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
}

/// The request to load a native agent library from `path`.
pub fn load(path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_encoded_bytes();
    // `true`: the path is absolute. No options.
    let words: [&[u8]; 5] = [b"1", b"load", path, b"true", b""];
    let mut request = Vec::new();
    for word in words {
        request.extend_from_slice(word);
        request.push(0);
    }
    request
}

/// Asks as the process's own user, for whom alone a JVM works.
///
/// # Errors
/// Where the socket fails, or the JVM closes it without a word.
pub fn ask(socket: &Path, asker: Credentials, request: &[u8]) -> Result<String, Problem> {
    let mut stream = connect_as(socket, asker).map_err(Problem::Request)?;
    let exchange = |stream: &mut UnixStream| {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        stream.shutdown(Shutdown::Both)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    exchange(&mut stream).map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Problem::Silent,
        _ => Problem::Request(error),
    })
}

/// HotSpot looks at who has connected. Credentials are of a thread, so that the agent's other threads go on as before.
fn connect_as(socket: &Path, asker: Credentials) -> io::Result<UnixStream> {
    // SAFETY: no arguments, and these cannot fail.
    let own = unsafe {
        Credentials {
            uid: libc::geteuid(),
            gid: libc::getegid(),
        }
    };
    if own == asker {
        return UnixStream::connect(socket);
    }
    // SAFETY: takes no pointers.
    let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) };
    if let Err(error) = set_effective(asker) {
        set_effective(own)?;
        return Err(error);
    }
    let connected = UnixStream::connect(socket);
    set_effective(own)?;
    // The kernel takes a process for one that hides something when a thread changes its user: as it was before.
    // SAFETY: takes no pointers.
    if unsafe {
        libc::prctl(
            libc::PR_SET_DUMPABLE,
            libc::c_ulong::from(dumpable == 1),
            0,
            0,
            0,
        )
    } != 0
    {
        return Err(io::Error::last_os_error());
    }
    connected
}

/// Of this thread alone: the system calls, for libc's functions change all threads.
fn set_effective(to: Credentials) -> io::Result<()> {
    const SAME: libc::c_long = -1;
    let (uid, gid) = (libc::c_long::from(to.uid), libc::c_long::from(to.gid));
    let set = |call: libc::c_long, id: libc::c_long| {
        // SAFETY: takes no pointers.
        match unsafe { libc::syscall(call, SAME, id, SAME) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // To change the group takes a right that goes with the user.
    // SAFETY: no arguments, and it cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        set(libc::SYS_setresgid, gid)?;
        set(libc::SYS_setresuid, uid)
    } else {
        set(libc::SYS_setresuid, uid)?;
        set(libc::SYS_setresgid, gid)
    }
}

/// What `Agent_OnAttach` returns where the JVM gives it no environment, which one that has not started yet does not.
const NO_ENVIRONMENT: i32 = 100;

/// The other numbers that `Agent_OnAttach` returns (`native/tap.c`), and what they mean.
const RESULTS: [(i32, &str); 5] = [
    (101, "its JVM does not let classes be changed"),
    (
        102,
        "it has the library of another version of Plainspan: it is captured again when it is restarted",
    ),
    (103, "its JVM did not take the classes"),
    (104, "its JSSE is not one that is known"),
    (105, "its JVM did not change JSSE's classes"),
];

/// Whether the library was loaded.
///
/// # Errors
/// Where the answer says that it was not, or is none.
pub fn understood(answer: &str) -> Result<(), Problem> {
    let (first, text) = answer.split_once('\n').unwrap_or((answer, ""));
    let mut lines = text.lines();
    let returned: Option<i32> = match text.trim().is_empty() {
        // Before Java 9 nothing else is said.
        true => Some(0),
        false => lines.find_map(|line| line.strip_prefix("return code: ")?.trim().parse().ok()),
    };
    match (first.trim(), returned) {
        ("0", Some(0)) => Ok(()),
        ("0", Some(NO_ENVIRONMENT)) => Err(Problem::NoEnvironment),
        ("0", Some(number)) => {
            let known = RESULTS.iter().find(|(result, _)| *result == number);
            let what = known.map_or("the library returned an unknown result", |(_, what)| what);
            Err(Problem::Refused(what.to_owned()))
        }
        ("", _) => Err(Problem::Refused("its JVM closed the connection".to_owned())),
        _ => {
            let said = text.lines().map(str::trim).find(|line| !line.is_empty());
            let said = said.unwrap_or("no reason given");
            let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
            Err(Problem::Refused(format!(
                "its JVM did not load the library: {said}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(answer: &str) -> String {
        understood(answer).expect_err("not loaded").to_string()
    }

    #[test]
    fn a_request_names_the_library_by_its_absolute_path() {
        assert_eq!(
            load(Path::new("/tmp/a/b.so")),
            b"1\0load\0/tmp/a/b.so\0true\0\0"
        );
    }

    #[test]
    fn answers_say_whether_the_library_was_loaded() {
        for answer in ["0\nreturn code: 0\n", "0\n"] {
            understood(answer).expect("loaded");
        }
        assert!(refused("0\nreturn code: 104\n").contains("JSSE is not one"));
        assert!(refused("0\nreturn code: 7\n").contains("unknown result"));
        assert!(refused("").contains("closed"));
        let error = "0\n/tmp/a.so was not loaded.\n/tmp/a.so: failed to map segment";
        assert!(refused(error).contains("/tmp/a.so was not loaded."));
        let off = "0\nDynamic agent loading is not enabled. Use -XX:+EnableDynamicAgentLoading to launch target VM.";
        assert!(refused(off).contains("EnableDynamicAgentLoading"));
        assert!(refused("101\n").contains("no reason given"));
        assert!(refused("x\u{1b}[2J").contains("no reason given"));
    }
}
