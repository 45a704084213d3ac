//! Results of scans on disk, so that a program that was scanned once is probed at once when it starts again.
//!
//! Enters: what a file is ([`Identity`]), its scan. Leaves: the scan of the same content. Holds: only what this user alone
//! can write is believed, of this scanner alone; an entry that is damaged, foreign or of another file is not; where a
//! probe would stand, the file has the bytes that it had when it was scanned. What is not believed is scanned anew.

mod entry;

use crate::probe::elf::{Identity, Scan};
use entry::Entry;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Entries that are kept. A host has some dozens of large programs.
const MAX_ENTRIES: usize = 512;
/// An entry has some kilobytes.
const MAX_ENTRY: u64 = 256 << 10;
/// A scan that takes less is not worth an entry.
const SLOW: Duration = Duration::from_millis(20);

/// What a file is called in the cache: by its build id and headers; without a build id also by where it is and when it
/// was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
}

impl Key {
    /// # Errors
    /// Where the file's times cannot be read.
    pub fn new(identity: &Identity, file: &File) -> io::Result<Key> {
        let mut digest = Sha256::new();
        // Results of another scanner have other names, and make room when they are old.
        digest.update(entry::SCANNER);
        digest.update(identity.headers);
        digest.update(identity.size.to_le_bytes());
        match &identity.build_id {
            Some(id) => digest.update(id),
            None => {
                let now = file.metadata()?;
                for number in [now.dev(), now.ino()] {
                    digest.update(number.to_le_bytes());
                }
                for number in [now.mtime(), now.mtime_nsec(), now.ctime(), now.ctime_nsec()] {
                    digest.update(number.to_le_bytes());
                }
            }
        }
        Ok(Key {
            name: entry::hex(&digest.finalize()),
        })
    }
}

/// Why an entry is not believed, or the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("{0}")]
    Foreign(&'static str),
    #[error("{0}")]
    Damaged(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A folder with entries. For any thread.
#[derive(Debug)]
pub struct Cache {
    /// Held open: a folder that takes its name later is not looked into.
    dir: File,
    slow: Duration,
}

impl Cache {
    /// Opens the folder, and makes it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made, or others may write to it.
    pub fn open(path: &Path) -> Result<Cache, CacheError> {
        Cache::open_for(path, SLOW)
    }

    /// The same for scans that take longer than `slow`.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_for(path: &Path, slow: Duration) -> Result<Cache, CacheError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if let Err(error) = DirBuilder::new().mode(0o700).create(path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error.into());
        }
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        let metadata = dir.metadata()?;
        if metadata.uid() != own_uid() {
            return Err(CacheError::Foreign("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(CacheError::Foreign("others may write to it"));
        }
        Ok(Cache { dir, slow })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.dir.as_raw_fd()))
    }

    /// The scan of the file with this key, where it is known.
    ///
    /// # Errors
    /// Where there is an entry that is not believed, or it cannot be read.
    pub fn get(&self, key: &Key, file: &File) -> Result<Option<Scan>, CacheError> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(self.path().join(&key.name));
        let cached = match opened {
            Ok(cached) => cached,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = cached.metadata()?;
        if !metadata.is_file() || metadata.uid() != own_uid() || metadata.mode() & 0o077 != 0 {
            return Err(CacheError::Foreign("it is not this user's alone"));
        }
        if metadata.len() > MAX_ENTRY {
            return Err(CacheError::Damaged("it is too large"));
        }
        let mut bytes = Vec::new();
        (&cached).take(MAX_ENTRY).read_to_end(&mut bytes)?;
        let Some(scan) = Entry::read(&bytes, &key.name)?.scan(file)? else {
            return Ok(None);
        };
        // What is used stays longest. An entry that looks older is only removed sooner.
        if let Err(error) = cached.set_modified(SystemTime::now()) {
            tracing::debug!(%error, "cannot mark an entry of the cache of scans as used");
        }
        Ok(Some(scan))
    }

    /// Keeps a scan that took so long.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn put(
        &self,
        key: &Key,
        file: &File,
        scan: &Scan,
        took: Duration,
    ) -> Result<(), CacheError> {
        if took < self.slow {
            return Ok(());
        }
        let bytes = Entry::new(scan, file)?.write(&key.name)?;
        if bytes.len() as u64 > MAX_ENTRY {
            return Err(CacheError::Damaged("it would be too large"));
        }
        self.bound()?;
        let (whole, part) = (&key.name, format!("{}.part", key.name));
        let part = self.path().join(part);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&part)
            .and_then(|mut out| {
                out.set_permissions(Permissions::from_mode(0o600))?;
                out.write_all(&bytes)
            })
            .and_then(|()| std::fs::rename(&part, self.path().join(whole)));
        Ok(written?)
    }

    /// Removes the entries that were used longest ago where there are too many.
    fn bound(&self) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, OsString)> = Vec::new();
        for entry in std::fs::read_dir(self.path())? {
            let entry = entry?;
            let used = entry.metadata().and_then(|m| m.modified());
            entries.push((used.unwrap_or(SystemTime::UNIX_EPOCH), entry.file_name()));
        }
        if entries.len() < MAX_ENTRIES {
            return Ok(());
        }
        entries.sort();
        let surplus = entries.len() - MAX_ENTRIES * 7 / 8;
        for (_, name) in entries.iter().take(surplus) {
            std::fs::remove_file(self.path().join(name))?;
        }
        Ok(())
    }
}

fn own_uid() -> u32 {
    // SAFETY: geteuid has no arguments, changes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests;
