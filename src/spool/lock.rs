//! Who may use a folder: one agent, and in it one lane.

use super::SpoolError;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Name of the file that is locked. It stays; the lock goes with the process.
pub const NAME: &str = "lock";

/// Folders that this process uses: another configuration of the same agent may have to wait for one.
static OURS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that nobody else uses until this is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Lock {
    /// None: another part of this process uses the folder.
    ///
    /// # Errors
    /// When another process uses it, or the file cannot be made.
    pub fn take(folder: &Path) -> Result<Option<Lock>, SpoolError> {
        let mut ours = ours();
        if ours.contains(folder) {
            return Ok(None);
        }
        let path = folder.join(NAME);
        let io = |source| SpoolError::Io {
            path: path.clone(),
            action: "lock it",
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // It only makes the message better.
                if let Err(error) = (&file).take(20).read_to_string(&mut holder) {
                    tracing::debug!(%error, "the lock file cannot be read");
                }
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                let folder = folder.to_owned();
                return Err(SpoolError::InUse { folder, holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // Who has it is for the message alone: a full disk must not keep the agent from its spool.
        let pid = format!("{}\n", std::process::id());
        if let Err(error) = file
            .set_len(0)
            .and_then(|()| file.write_all(pid.as_bytes()))
        {
            tracing::debug!(%error, "the lock file does not say who holds it");
        }
        ours.insert(folder.to_owned());
        Ok(Some(Lock {
            folder: folder.to_owned(),
            _file: file,
        }))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        ours().remove(&self.folder);
    }
}
