//! A local folder as a store.
//!
//! Holds: files are 0600 in folders 0700 of this user; links are not followed; a file is there whole or not at all.

use super::StartError;
use super::client::Answer;
use super::explain::{self, FOLDER_HINT, Failure, StoreError, explain};
use super::prefix::Prefix;
use super::room::Room;
use super::store::{Put, ended, parse_key};
use crate::config::DiskStore;
use crate::sink::folder::{self, FolderError};
use crate::telemetry::Ledger;
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutMode, PutOptions};
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Written and removed to see that the folder takes files.
const PROBE: &str = ".plainspan-write-probe";

pub(super) struct Folder {
    path: PathBuf,
    /// Made when the folder is there, which may be after the start.
    files: OnceLock<LocalFileSystem>,
    room: Arc<Room>,
}

impl Folder {
    /// # Errors
    /// When the folder is not safe, or is none. One that cannot be made, or used, may become good: that is no error here.
    pub fn open(
        id: &str,
        disk: &DiskStore,
        prefix: &Prefix,
        ledger: &Ledger,
    ) -> Result<Folder, StartError> {
        match folder::prepare_for_payloads(&disk.path) {
            // The write probe says it, and each put tries again.
            Ok(()) | Err(FolderError::Io { .. }) => {}
            Err(source) => {
                return Err(StartError::Folder {
                    id: id.to_owned(),
                    source,
                });
            }
        }
        let root = disk.path.join(prefix.fixed());
        Ok(Folder {
            path: disk.path.clone(),
            files: OnceLock::new(),
            room: Room::of(root, prefix.depth(), disk, ledger),
        })
    }

    pub fn room(&self) -> Arc<Room> {
        self.room.clone()
    }

    pub async fn put(&self, key: &str, document: Bytes) -> Result<Put, StoreError> {
        let files = self.files()?;
        let key = parse_key(key)?;
        let room = self.room.take(document.len()).await?;
        let put = self.write(files, &key, document).await;
        if let Ok(Put::Stored) = put {
            room.stored();
        }
        put
    }

    /// It may have been removed, or replaced by a link, since the start.
    fn files(&self) -> Result<&LocalFileSystem, StoreError> {
        folder::prepare_for_payloads(&self.path).map_err(|error| match &error {
            FolderError::Io { source, .. } => StoreError::file(error.to_string(), source),
            _ => StoreError::new(Failure::Refused, error.to_string(), FOLDER_HINT),
        })?;
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let files = LocalFileSystem::new_with_prefix(&self.path)
            .map_err(|e| explain(&e, &Answer::default(), explain::FILES))?;
        Ok(self.files.get_or_init(|| files))
    }

    async fn write(
        &self,
        files: &LocalFileSystem,
        key: &Key,
        document: Bytes,
    ) -> Result<Put, StoreError> {
        let none = Answer::default();
        let file = files
            .path_to_filesystem(key)
            .map_err(|e| explain(&e, &none, explain::FILES))?;
        let failed = |e: io::Error| {
            StoreError::file(format!("{}: cannot set its mode: {e}", file.display()), &e)
        };
        make_folders(&self.path, &file)?;
        // Files have no attributes: asking for some is an error.
        let options = PutOptions::from(PutMode::Create);
        let result = files.put_opts(key, document.into(), options).await;
        let put = ended(result.map(drop), &none, explain::FILES)?;
        match folder::close_file(&file) {
            // Already removed again, to make room.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            closed => closed.map_err(failed)?,
        }
        Ok(put)
    }

    /// Writes a file, and removes it.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.files()?;
        let path = self.path.join(PROBE);
        let failed = |e: io::Error| StoreError::file(format!("{}: {e}", path.display()), &e);
        let mut options = std::fs::File::options();
        options.write(true).create(true).truncate(true);
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let write = options.open(&path).and_then(|mut file| {
            file.write_all(&[b'x'; 4096])?;
            file.sync_data()
        });
        let remove = std::fs::remove_file(&path);
        write.and(remove).map_err(failed)
    }
}

/// The folders between `root` and the file, for this user alone.
fn make_folders(root: &Path, file: &Path) -> Result<(), StoreError> {
    let inside = file.strip_prefix(root).ok().and_then(Path::parent);
    let mut folder = root.to_owned();
    for part in inside.into_iter().flat_map(Path::iter) {
        folder.push(part);
        let failed = |e: &io::Error| StoreError::file(format!("{}: {e}", folder.display()), e);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => continue,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&error)),
        }
        let meta = std::fs::symlink_metadata(&folder).map_err(|e| failed(&e))?;
        if !meta.is_dir() {
            let what = format!("{} is no folder, or a link", folder.display());
            return Err(StoreError::new(Failure::Refused, what, FOLDER_HINT));
        }
    }
    Ok(())
}
