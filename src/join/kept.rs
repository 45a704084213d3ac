//! Keys of connections that outlive the agent: without them a connection of HTTP/2 that goes on for days would have no
//! key after a restart or an upgrade, because hellos are sent once.
//!
//! Enters: keys with what finds their connection again. Leaves: the same, in the next agent's life.
//! Holds: bounded in number; the file is its owner's alone and is replaced whole, so a torn one is never read; a line
//! that is damaged gives no key. No kernel object is pinned: initial sequence numbers can be read off a socket at any
//! time, and with the addresses they tell a connection from every other one.

use super::Key;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// Connections that are kept at the most.
pub const KEPT_MAX: usize = 16_384;
/// The file's first line.
const HEAD: &str = "plainspan connections 1";
/// Longest line: two addresses with ports, numbers, 128 hex digits.
const LINE_MAX: usize = 400;

/// The key of a connection over TLS, and how to find the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub netns: u32,
    pub local_isn: u32,
    pub remote_isn: u32,
    /// This end sent the ClientHello.
    pub client: bool,
    pub key: Key,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{0} is not a file that this program wrote: remove it, or set another tap.trace.state_file"
    )]
    Foreign(PathBuf),
    #[error("{0} can be written by others, who would decide which spans meet: run `chmod 600 {0}`")]
    OthersCanWrite(PathBuf),
}

/// The file.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    pub fn new(path: PathBuf) -> Self {
        Store { path }
    }

    fn error(&self, what: &'static str) -> impl FnOnce(io::Error) -> KeptError {
        let path = self.path.clone();
        move |source| KeptError::Io { what, path, source }
    }

    /// What an earlier agent kept, and how many lines were damaged. Nothing where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, is not ours, or others can write it.
    pub fn load(&self) -> Result<(Vec<Kept>, usize), KeptError> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path);
        let file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            opened => opened.map_err(self.error("open"))?,
        };
        let metadata = file.metadata().map_err(self.error("look at"))?;
        // SAFETY: geteuid has no arguments, changes nothing and cannot fail.
        let own = unsafe { libc::geteuid() };
        if !metadata.is_file() {
            return Err(KeptError::Foreign(self.path.clone()));
        }
        if metadata.mode() & 0o022 != 0 || metadata.uid() != own {
            return Err(KeptError::OthersCanWrite(self.path.clone()));
        }
        let limit = (KEPT_MAX + 1) * LINE_MAX;
        let mut lines = BufReader::new(file.take(limit as u64)).lines();
        match lines.next() {
            Some(Ok(head)) if head == HEAD => {}
            _ => return Err(KeptError::Foreign(self.path.clone())),
        }
        let (mut kept, mut damaged) = (Vec::new(), 0);
        for line in lines.take(KEPT_MAX) {
            match parse(&line.map_err(self.error("read"))?) {
                Some(one) => kept.push(one),
                None => damaged += 1,
            }
        }
        Ok((kept, damaged))
    }

    /// Writes all of `kept` in the place of what was there.
    ///
    /// # Errors
    /// When the folder or the file cannot be made, or written.
    pub fn save(&self, kept: &[Kept]) -> Result<(), KeptError> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(self.error("make the folder of"))?;
        }
        let mut new = self.path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let written = write(Path::new(&new), kept)
            .and_then(|()| std::fs::rename(&new, &self.path))
            .map_err(self.error("write"));
        if written.is_err()
            && let Err(error) = std::fs::remove_file(&new)
        {
            tracing::debug!(%error, "no unfinished file to remove");
        }
        written
    }
}

fn write(path: &Path, kept: &[Kept]) -> io::Result<()> {
    // What an agent left that was killed while it wrote, and had this number.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let mut out = BufWriter::new(file);
    writeln!(out, "{HEAD}")?;
    for one in kept.iter().take(KEPT_MAX) {
        // A key of TCP needs no keeping: the kernel has it.
        let Key::Tls { client, server } = one.key else {
            continue;
        };
        let side = if one.client { "client" } else { "server" };
        write!(
            out,
            "{side} {} {} {} {} {} ",
            one.local, one.remote, one.netns, one.local_isn, one.remote_isn
        )?;
        for byte in client.iter().chain(&server) {
            write!(out, "{byte:02x}")?;
        }
        writeln!(out)?;
    }
    out.flush()
}

fn parse(line: &str) -> Option<Kept> {
    let mut words = line.split(' ');
    let client = match words.next()? {
        "client" => true,
        "server" => false,
        _ => return None,
    };
    let kept = Kept {
        client,
        local: words.next()?.parse().ok()?,
        remote: words.next()?.parse().ok()?,
        netns: words.next()?.parse().ok()?,
        local_isn: words.next()?.parse().ok()?,
        remote_isn: words.next()?.parse().ok()?,
        key: key(words.next()?)?,
    };
    words.next().is_none().then_some(kept)
}

/// A key of 128 hex digits.
fn key(digits: &str) -> Option<Key> {
    let mut bytes = [0; 64];
    if digits.len() != 128 || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Key::Tls {
        client: bytes[..32].try_into().ok()?,
        server: bytes[32..].try_into().ok()?,
    })
}

/// A thread that writes: the capture thread never waits for a disk.
pub struct Keeper {
    sender: SyncSender<Vec<Kept>>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// # Errors
    /// When no thread can be had.
    pub fn start(store: Store) -> io::Result<Keeper> {
        let (sender, receiver) = sync_channel::<Vec<Kept>>(1);
        let work = move || {
            let mut works = true;
            for kept in receiver {
                let saved = store.save(&kept);
                if let (Err(error), true) = (&saved, works) {
                    tracing::warn!(%error, "after a restart, requests on connections that are open now will have no common trace; set tap.trace.state_file to a path that can be written, or to `off`");
                }
                works = saved.is_ok();
            }
        };
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(work)?;
        Ok(Keeper { sender, thread })
    }

    /// Where [`Kept`]s go; [`offer`] puts them in.
    pub fn sender(&self) -> SyncSender<Vec<Kept>> {
        self.sender.clone()
    }

    /// Waits until the last ones are written. All other senders must be gone.
    pub fn finish(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!(
                "the thread that keeps connections panicked: the next agent will not know them"
            );
        }
    }
}

/// Gives them to be written. False: the ones before are still being written; come again.
pub fn offer(sender: &SyncSender<Vec<Kept>>, kept: Vec<Kept>) -> bool {
    match sender.try_send(kept) {
        Ok(()) => true,
        Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn kept(client: bool, port: u16) -> Kept {
        Kept {
            local: SocketAddr::from(([10, 0, 0, 1], port)),
            remote: "[2001:db8::1]:443".parse().expect("an address"),
            netns: 4_026_531_840,
            local_isn: u32::MAX,
            remote_isn: 0,
            client,
            key: Key::Tls {
                client: [0xab; 32],
                server: std::array::from_fn(|at| at as u8),
            },
        }
    }

    #[test]
    fn what_was_kept_comes_back_and_the_file_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/er/connections");
        let store = Store::new(path.clone());
        assert_eq!(store.load().expect("no file"), (vec![], 0));
        let all = vec![kept(true, 1), kept(false, 2)];
        store.save(&all).expect("saved");
        store.save(&all).expect("saved again");
        assert_eq!(store.load().expect("loaded"), (all, 0));
        let mode = |path: &Path| std::fs::metadata(path).expect("metadata").mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
        let files = std::fs::read_dir(path.parent().expect("a folder")).expect("listed");
        assert_eq!(files.count(), 1);
    }

    #[test]
    fn damage_costs_one_line_and_never_more() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("connections");
        let store = Store::new(path.clone());
        store
            .save(&[kept(true, 1), kept(true, 2), kept(true, 3)])
            .expect("saved");
        let text = std::fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        for bad in [
            &lines[2][..40],
            &lines[2].replace("abab", "xyxy"),
            &format!("{} more", lines[2]),
            &lines[2].replace("client", "neither"),
            "",
        ] {
            let damaged = [lines[0], lines[1], bad, lines[3]].join("\n");
            std::fs::write(&path, damaged).expect("written");
            let (kept, lost) = store.load().expect("loaded");
            assert_eq!((kept.len(), lost), (2, 1), "{bad}");
        }
    }

    #[test]
    fn files_of_others_are_refused_and_say_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("connections");
        let store = Store::new(path.clone());
        std::fs::write(&path, "something else\n").expect("written");
        assert!(matches!(store.load(), Err(KeptError::Foreign(_))));
        store.save(&[]).expect("saved");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("mode");
        assert!(matches!(store.load(), Err(KeptError::OthersCanWrite(_))));
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", &path).expect("linked");
        assert!(matches!(store.load(), Err(KeptError::Io { .. })));
    }

    #[test]
    fn what_the_keeper_takes_is_there_when_it_has_finished() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::new(dir.path().join("connections"));
        let keeper = Keeper::start(store.clone()).expect("started");
        let sender = keeper.sender();
        assert!(offer(&sender, vec![kept(true, 1)]));
        drop(sender);
        keeper.finish();
        assert_eq!(store.load().expect("loaded").0, [kept(true, 1)]);
    }
}
