//! Opening the file behind a mapping, without trusting the process that mapped it.
//!
//! Enters: a mapping. Leaves: a regular file, held open. Holds: a container's links lead nowhere outside it; nothing
//! but a regular file is ever opened for reading.

use super::maps::Mapping;
use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file by the numbers of `stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// Changes when a file's content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub size: u64,
    modified: (i64, i64),
}

/// A regular file, found but not yet opened for reading.
pub struct Located {
    handle: File,
    metadata: Metadata,
}

impl Located {
    fn new(handle: File) -> io::Result<Self> {
        let metadata = handle.metadata()?;
        if !metadata.file_type().is_file() {
            let what = if metadata.file_type().is_char_device() {
                "a device"
            } else {
                "not a regular file"
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(Located { handle, metadata })
    }

    /// The file at a path of this process's own file system.
    pub fn at(path: &Path) -> io::Result<Self> {
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
            .open(path)?;
        Located::new(handle)
    }

    pub fn id(&self) -> FileId {
        FileId {
            device: self.metadata.dev(),
            inode: self.metadata.ino(),
        }
    }

    pub fn version(&self) -> Version {
        Version {
            size: self.metadata.len(),
            modified: (self.metadata.mtime(), self.metadata.mtime_nsec()),
        }
    }

    /// A path that leads to exactly this file for as long as `self` lives, whatever happens to its names.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }

    pub fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }

    /// Whether `file`, which is this one opened, still has the content that it had when it was located.
    pub fn is_unchanged(&self, file: &File) -> io::Result<bool> {
        let handle = file.try_clone()?;
        Ok(Located::new(handle)?.version() == self.version())
    }
}

/// Finds the file that is mapped: by its path in the process's root, else through `map_files`, which needs
/// CAP_CHECKPOINT_RESTORE and leads to deleted files too, else by the same path in our own root (a process in a
/// `chroot`, or one that has just ended).
///
/// # Errors
/// What went wrong at the first way that was tried.
pub fn locate(proc: &Path, mapping: &Mapping) -> io::Result<Located> {
    let process = proc.join(mapping.pid.to_string());
    let same = |located: &Located| located.metadata.ino() == mapping.key.inode;
    let named = if mapping.deleted {
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the file is deleted",
        ))
    } else {
        in_root(&process.join("root"), &mapping.path)
    };
    let named = match named {
        Ok(located) if same(&located) => return Ok(located),
        other => other,
    };
    let range = format!("map_files/{:x}-{:x}", mapping.start, mapping.end);
    if let Ok(located) = Located::at(&process.join(range)) {
        return Ok(located);
    }
    // An overlay file system may show another inode number to `stat` than to the mapping.
    named.or_else(|error| {
        if mapping.deleted {
            return Err(error);
        }
        match Located::at(&mapping.path) {
            Ok(located) if same(&located) => Ok(located),
            _ => Err(error),
        }
    })
}

/// Opens `path` as a process sees it whose root directory is `root`: links inside lead no further than that root.
fn in_root(root: &Path, path: &Path) -> io::Result<Located> {
    let root = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(root)?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `open_how` is plain data, for which zeros are valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: `path` ends with NUL and `how` has the size given; both outlive the call, which keeps neither.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call has just made this descriptor, and nothing else owns it.
    Located::new(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::finder::maps::MappedFile;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_a_container_do_not_lead_out_of_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("lib")).expect("made");
        std::fs::write(dir.path().join("secret"), "outside").expect("written");
        std::fs::write(root.join("lib/x.so"), "inside").expect("written");
        symlink(dir.path().join("secret"), root.join("lib/absolute")).expect("linked");
        symlink("../../secret", root.join("lib/relative")).expect("linked");
        symlink("/lib/x.so", root.join("lib/own")).expect("linked");
        let text = |path: &str| {
            let located = in_root(&root, Path::new(path)).ok()?;
            std::io::read_to_string(located.open().expect("opened")).ok()
        };
        assert_eq!(text("/lib/x.so").as_deref(), Some("inside"));
        assert_eq!(text("/lib/own").as_deref(), Some("inside"));
        assert_eq!(text("/lib/absolute"), None);
        assert_eq!(text("/lib/relative"), None);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fifo = dir.path().join("fifo");
        let name = CString::new(fifo.as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: the name ends with NUL and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(Located::at(&fifo).is_err());
        assert!(Located::at(Path::new("/dev/null")).is_err());
        assert!(Located::at(dir.path()).is_err());
    }

    #[test]
    fn a_replaced_file_is_told_from_the_mapped_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        std::fs::write(&path, "new").expect("written");
        let mapping = Mapping {
            // No such process: only the path in our own root is left.
            pid: u32::MAX,
            start: 0,
            end: 4096,
            file_offset: 0,
            key: MappedFile {
                major: 0,
                minor: 0,
                inode: std::fs::metadata(&path).expect("there").ino(),
            },
            path,
            deleted: false,
        };
        assert!(locate(Path::new("/proc"), &mapping).is_ok());
        let mut other = mapping;
        other.key.inode += 1;
        assert!(locate(Path::new("/proc"), &other).is_err());
    }
}
