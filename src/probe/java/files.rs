//! Files in the file system of another process, as that process sees it.
//!
//! Holds: no link leads out of the process's root; nothing that is there is opened for writing; what was made is removed.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The root directory of a process.
pub struct Root(OwnedFd);

/// A folder in it.
pub struct Folder(OwnedFd);

/// A folder that was made, and goes when this is dropped.
#[derive(Debug)]
pub struct Dir {
    parent: OwnedFd,
    name: CString,
    own: OwnedFd,
}

/// A file that was made, and goes when this is dropped.
#[derive(Debug)]
pub struct File {
    parent: OwnedFd,
    name: CString,
}

impl Root {
    /// `path`: `/proc/PID/root`.
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        // SAFETY: `path` ends with NUL and outlives the call.
        Ok(Root(owned(unsafe { libc::open(path.as_ptr(), flags) })?))
    }

    /// `path` below the root; links in it lead no further than that root.
    pub fn folder(&self, path: &str) -> io::Result<Folder> {
        let path = CString::new(path)?;
        // SAFETY: `open_how` is plain data, for which zeros are valid.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (libc::O_DIRECTORY | libc::O_RDONLY | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        // SAFETY: `path` ends with NUL and `how` has the size given; both outlive the call, which keeps neither.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                self.0.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        Ok(Folder(owned(fd)?))
    }
}

impl Folder {
    /// # Errors
    /// Where programs and libraries that lie here cannot be run, or nothing can be written.
    pub fn runs_programs(&self) -> io::Result<()> {
        // SAFETY: `statvfs` is plain data, for which zeros are valid.
        let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: `about` is of the kind that the call fills, and outlives it.
        if unsafe { libc::fstatvfs(self.0.as_raw_fd(), &raw mut about) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if about.f_flag & libc::ST_NOEXEC != 0 {
            return Err(io::Error::other("mounted noexec"));
        }
        if about.f_flag & libc::ST_RDONLY != 0 {
            return Err(io::Error::other("mounted read-only"));
        }
        Ok(())
    }

    /// A new folder that everyone may look into and nobody but this user may change.
    pub fn make_dir(&self, name: &str) -> io::Result<Dir> {
        let name = CString::new(name)?;
        let parent = self.0.try_clone()?;
        // SAFETY: `name` ends with NUL and outlives the call.
        check(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) })?;
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: as above.
        let own = owned(unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags) })?;
        // Whatever the agent's umask is.
        // SAFETY: takes no pointers.
        check(unsafe { libc::fchmod(own.as_raw_fd(), 0o755) })?;
        Ok(Dir { parent, name, own })
    }

    /// A new empty file of this user and group.
    pub fn make_file(&self, name: &str, uid: u32, gid: u32) -> io::Result<File> {
        let (file, made) = create(&self.0, name)?;
        // SAFETY: takes no pointers.
        check(unsafe { libc::fchown(made.as_raw_fd(), uid, gid) })?;
        Ok(file)
    }

    /// A socket of this user's with this name: a path that leads to exactly that one for as long as the descriptor is
    /// open.
    pub fn socket(&self, name: &str, uid: u32) -> io::Result<(OwnedFd, PathBuf)> {
        let name = CString::new(name)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: `name` ends with NUL and outlives the call.
        let fd = owned(unsafe { libc::openat(self.0.as_raw_fd(), name.as_ptr(), flags) })?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let about = fs::metadata(&path)?;
        if about.mode() & libc::S_IFMT != libc::S_IFSOCK || about.uid() != uid {
            return Err(io::Error::other("something else has the socket's name"));
        }
        Ok((fd, path))
    }

    /// The content of a file of this user's, as far as `most`; names are one word each.
    pub fn read(&self, names: [&str; 2], uid: u32, most: usize) -> io::Result<Vec<u8>> {
        let path = CString::new(names.join("/"))?;
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: `path` ends with NUL and outlives the call.
        let fd = owned(unsafe { libc::openat(self.0.as_raw_fd(), path.as_ptr(), flags) })?;
        let file = fs::File::from(fd);
        let about = file.metadata()?;
        if !about.is_file() || about.uid() != uid {
            return Err(io::Error::other("not a file of its user"));
        }
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, most as u64), &mut content)?;
        Ok(content)
    }

    /// Names in it, as far as they are text.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let entries = fs::read_dir(path)?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect())
    }
}

impl Dir {
    /// A new file that everyone may read and run.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<File> {
        let (file, made) = create(&self.own, name)?;
        let mut made = fs::File::from(made);
        made.write_all(content)?;
        // SAFETY: takes no pointers.
        check(unsafe { libc::fchmod(made.as_raw_fd(), 0o555) })?;
        Ok(file)
    }
}

/// A file that was not there before.
fn create(parent: &OwnedFd, name: &str) -> io::Result<(File, OwnedFd)> {
    let name = CString::new(name)?;
    let parent = parent.try_clone()?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `name` ends with NUL and outlives the call.
    let fd = unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags, 0o600) };
    let made = owned(fd)?;
    Ok((File { parent, name }, made))
}

impl Drop for File {
    fn drop(&mut self) {
        remove(&self.parent, &self.name, 0);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        remove(&self.parent, &self.name, libc::AT_REMOVEDIR);
    }
}

fn remove(parent: &OwnedFd, name: &CString, flags: i32) {
    // SAFETY: `name` ends with NUL and outlives the call.
    let result = check(unsafe { libc::unlinkat(parent.as_raw_fd(), name.as_ptr(), flags) });
    if let Err(error) = result {
        let name = name.to_string_lossy();
        tracing::debug!(%name, %error, "cannot remove what a JVM was given");
    }
}

fn check(result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a system call has just made this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
