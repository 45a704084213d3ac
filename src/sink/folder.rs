//! The folder of a local store, or of a spool: for its owner alone.
//!
//! What is in it may hold personal data. A folder that is new gets mode 0700; one that others can look into is closed to
//! them, but only where it is clearly ours: empty, or with our files alone in it. The folder itself must not be a link.

use super::payload::segment::SUFFIX;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("folder {path}: cannot {action}: {source}; check that the agent may write there")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: io::Error,
    },
    #[error("{path} is a link; name the folder that it leads to")]
    Link { path: PathBuf },
    #[error("{path} is not a folder")]
    NotAFolder { path: PathBuf },
    #[error("folder {path} belongs to user {owner}; {what} needs a folder of the agent's own user")]
    Foreign {
        path: PathBuf,
        what: &'static str,
        owner: u32,
    },
    #[error(
        "folder {path} is open to others (mode {mode:04o}) and has more in it than {what}; \
         name a folder for it alone, or close this one with `chmod 700`"
    )]
    Open {
        path: PathBuf,
        what: &'static str,
        mode: u32,
    },
    #[error("folder {path}: {source}")]
    Store {
        path: PathBuf,
        source: object_store::Error,
    },
}

/// Makes sure that `path` is a folder for this user alone, and makes it where it is not there. `what` is kept in it, in
/// files whose names `ours` knows.
pub(crate) fn prepare(
    path: &Path,
    what: &'static str,
    ours: fn(&[u8]) -> bool,
) -> Result<(), FolderError> {
    let io = |action| {
        move |source| FolderError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(io("make it"))?;
            std::fs::symlink_metadata(path).map_err(io("look at it"))?
        }
        Err(source) => return Err(io("look at it")(source)),
    };
    if meta.file_type().is_symlink() {
        return Err(FolderError::Link { path: path.into() });
    }
    if !meta.is_dir() {
        return Err(FolderError::NotAFolder { path: path.into() });
    }
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    let own = unsafe { libc::geteuid() };
    if meta.uid() != own {
        let owner = meta.uid();
        return Err(FolderError::Foreign {
            path: path.into(),
            what,
            owner,
        });
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if !only_ours(path, ours).map_err(io("read it"))? {
        return Err(FolderError::Open {
            path: path.into(),
            what,
            mode,
        });
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io("close it to others"))
}

fn only_ours(path: &Path, ours: fn(&[u8]) -> bool) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        if !ours(entry?.file_name().as_encoded_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes sure of a folder of payloads.
pub(super) fn prepare_for_payloads(path: &Path) -> Result<(), FolderError> {
    prepare(path, "payloads", is_object)
}

/// The name of an object (64 hex digits) or of a segment, perhaps `#` and a number while it is written.
fn is_object(name: &[u8]) -> bool {
    let name = name.split(|b| *b == b'#').next().unwrap_or_default();
    name.ends_with(SUFFIX.as_bytes()) || name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
}

/// Takes a stored file away from others; the folder's mode keeps them off until then.
pub(super) fn close_file(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_folder_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        prepare_for_payloads(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        prepare_for_payloads(&path).unwrap();
    }

    #[test]
    fn an_open_folder_is_closed_where_it_holds_payloads_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(path.join("a".repeat(64)), "x").unwrap();
        prepare_for_payloads(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn an_open_folder_with_other_things_in_it_is_refused_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("srv");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(path.join("website.html"), "x").unwrap();
        let error = prepare_for_payloads(&path).unwrap_err();
        assert!(
            matches!(error, FolderError::Open { mode: 0o755, .. }),
            "{error}"
        );
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn links_and_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link, file) = (
            dir.path().join("r"),
            dir.path().join("l"),
            dir.path().join("f"),
        );
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        std::fs::write(&file, "").unwrap();
        assert!(matches!(
            prepare_for_payloads(&link),
            Err(FolderError::Link { .. })
        ));
        assert!(matches!(
            prepare_for_payloads(&file),
            Err(FolderError::NotAFolder { .. })
        ));
    }
}
