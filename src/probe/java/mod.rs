//! Java: a JVM is given a library that shows the plaintext of its TLS (`tap.java`, docs/java.md).
//!
//! JSSE is bytecode, so there is no file with its functions to probe. The library (`native/tap.c`, with the classes of
//! `agent/` inside) puts methods of ours in the place of three calls of JSSE, and has functions to probe
//! (`crate::probe::elf`, stack `jsse`). From there on a JVM is a process with a TLS library.
//!
//! Enters: a process that has a `libjvm.so` mapped. Leaves: that it has the library, or why not. Holds: only a HotSpot JVM
//! that waits for it gets a signal; each step has an end in time; what is written into the process's file system is
//! written below its own root, can be read by it, and is changed by nobody but the agent's user; only a JVM that says it
//! has not started yet is asked again.

mod files;
mod hotspot;
mod message;

use hotspot::Hotspot;
pub use hotspot::is_jvm;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The library; None where this program was built without the feature `java`.
#[cfg(feature = "java")]
pub const LIBRARY: Option<&[u8]> = Some(include_bytes!(concat!(
    env!("OUT_DIR"),
    "/java/libplainspan-jsse.so"
)));
#[cfg(not(feature = "java"))]
pub const LIBRARY: Option<&[u8]> = None;

/// The library's name, which a process that has it shows in its mappings.
const NAME: &str = "libplainspan-jsse.so";

/// The longest that [`give`] takes.
pub const MOST_TIME: Duration = Duration::from_secs(
    2 * hotspot::START.as_secs() + hotspot::LISTEN.as_secs() + 2 * message::ANSWER.as_secs(),
);

/// Between two requests to a JVM that has not started yet.
const AGAIN: Duration = Duration::from_millis(100);

/// What became of a JVM.
#[derive(Debug)]
pub enum Given {
    /// It has the library. The file is there until this is dropped.
    Now(Placed),
    /// It had it already: from an agent before this one.
    Before,
}

/// Files in the file system of a process. Dropping it removes them.
#[derive(Debug)]
pub struct Placed {
    _file: files::File,
    _dir: files::Dir,
}

/// Why a JVM was not given the library.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("Java: it is gone")]
    Gone,
    #[error("Java: {0}")]
    Process(io::Error),
    #[error("Java: its libjvm.so is not HotSpot's")]
    NotHotspot,
    #[error("Java: its JVM takes no attach requests (-Xrs, or it is not running yet)")]
    NotListening,
    #[error("Java: its JVM is told to take no attach requests (-XX:+DisableAttachMechanism)")]
    Disabled,
    #[error("Java: its JVM did not answer an attach request in time")]
    Silent,
    #[error("Java: no folder of it can take the library: {0}")]
    NoFolder(String),
    #[error("Java: cannot make an attach request: {0}")]
    Request(io::Error),
    #[error("Java: its JVM gives no environment to agents")]
    NoEnvironment,
    #[error("Java: {0}")]
    Refused(String),
    #[error("Java: this program was built without the feature `java`")]
    NotBuilt,
}

/// Gives the library to the JVM of a process. May take [`MOST_TIME`].
///
/// # Errors
/// Where the process is none, or its JVM refuses. It is as it was then, but for what its own answer says.
pub fn give(proc: &Path, pid: u32) -> Result<Given, Problem> {
    let library = LIBRARY.ok_or(Problem::NotBuilt)?;
    let jvm = Hotspot::find(proc, pid)?;
    if jvm.has(NAME)? {
        return Ok(Given::Before);
    }
    jvm.wait_ready(hotspot::START)?;
    let root = files::Root::open(&jvm.root()).map_err(Problem::Process)?;
    if jvm.is_disabled(&root) {
        return Err(Problem::Disabled);
    }
    let socket = jvm.listen(&root)?;
    let (placed, path) = place(&root, library)?;
    let request = message::load(&path);
    let until = Instant::now() + hotspot::START;
    loop {
        let answer = message::ask(&socket.path, jvm.credentials(), &request)?;
        match message::understood(&answer) {
            Ok(()) => return Ok(Given::Now(placed)),
            // JDK 25 listens before it has started (JVM TI, "Start Phase"), and unloads the library then.
            Err(Problem::NoEnvironment) if Instant::now() < until => std::thread::sleep(AGAIN),
            Err(problem) => return Err(problem),
        }
    }
}

/// Folders that may take the library, in the process's own file system.
const FOLDERS: [&str; 4] = ["tmp", "var/tmp", "dev/shm", "run"];

/// Writes the library, and gives its path as the process sees it.
fn place(root: &files::Root, library: &[u8]) -> Result<(Placed, PathBuf), Problem> {
    let mut problems = Vec::new();
    for folder in FOLDERS {
        match place_in(root, folder, library) {
            Ok((placed, name)) => {
                let path = Path::new("/").join(folder).join(name).join(NAME);
                return Ok((placed, path));
            }
            Err(error) => problems.push(format!("/{folder}: {error}")),
        }
    }
    Err(Problem::NoFolder(problems.join("; ")))
}

fn place_in(root: &files::Root, folder: &str, library: &[u8]) -> io::Result<(Placed, String)> {
    let folder = root.folder(folder)?;
    folder.runs_programs()?;
    let name = format!(".plainspan-{:016x}", fastrand::u64(..));
    let dir = folder.make_dir(&name)?;
    let file = dir.write(NAME, library)?;
    Ok((
        Placed {
            _file: file,
            _dir: dir,
        },
        name,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::elf;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    #[cfg(feature = "java")]
    fn the_librarys_functions_are_found_as_those_of_a_tls_library() {
        let scan = elf::scan(LIBRARY.expect("built")).expect("an ELF file");
        let names: Vec<&str> = scan.stacks.iter().map(|stack| stack.name).collect();
        assert_eq!(names, ["jsse"]);
        let mut symbols: Vec<&str> = scan.places().map(|(t, _)| &*t.symbol).collect();
        symbols.sort_unstable();
        let all = ["free", "new", "read", "write"].map(|name| format!("plainspan_jsse_{name}"));
        assert_eq!(symbols, all);
        assert!(scan.places().all(|(_, place)| place.emulated));
    }

    #[test]
    fn the_library_is_written_where_it_can_be_run_and_removed_after() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let outside = tempfile::tempdir().expect("a temporary directory");
        // It leads to another folder in the file system of who writes, and nowhere in the process's own.
        symlink(outside.path(), dir.path().join("tmp")).expect("linked");
        std::fs::create_dir_all(dir.path().join("var/tmp")).expect("made");
        let root = files::Root::open(dir.path()).expect("opened");
        let (placed, path) = place(&root, b"library").expect("written");
        assert!(path.starts_with("/var/tmp"), "{}", path.display());
        let written = dir.path().join(path.strip_prefix("/").expect("absolute"));
        assert_eq!(std::fs::read(&written).expect("read"), b"library");
        let mode =
            |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let folder = written.parent().expect("a folder").to_owned();
        assert_eq!((mode(&written), mode(&folder)), (0o555, 0o755));
        drop(placed);
        assert!(!folder.exists());
        let nothing = outside.path().read_dir().expect("listed").count();
        assert_eq!(nothing, 0, "written outside of the root");
    }

    #[test]
    fn where_no_folder_can_take_the_library_the_reason_names_each() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = files::Root::open(dir.path()).expect("opened");
        let problem = place(&root, b"library").expect_err("no folder").to_string();
        for folder in FOLDERS {
            assert!(problem.contains(&format!("/{folder}: ")), "{problem}");
        }
    }
}
