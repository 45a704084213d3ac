//! Configuration files and the key files that they name, on disk. The only part of `config` that does I/O.

use super::model::{Config, EventStoreKind, HashKeySource, Secret};
use super::problem::{Problem, Severity};
use super::tree::MAX_TEXT;
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Who runs the program: decides whose files can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// Effective user id.
    pub uid: u32,
    /// Who became root through sudo (`SUDO_UID`): may do as root anyway.
    pub sudo_uid: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0} is not a file")]
    NotAFile(PathBuf),
    #[error("{0} is larger than a configuration can be ({MAX_TEXT} bytes)")]
    TooLarge(PathBuf),
    #[error("{0} is not UTF-8 text")]
    NotText(PathBuf),
    #[error("{0} has less than 16 bytes: as a key it could be guessed")]
    ShortKey(PathBuf),
    #[error(
        "everyone can write {0}, so anyone can decide what is captured and where it goes: run `chmod o-w {0}`"
    )]
    OthersCanWrite(PathBuf),
    #[error(
        "{path} belongs to user {owner}, who would decide what root captures and where it goes: run `chown root {path}`"
    )]
    OthersOwn { path: PathBuf, owner: u32 },
}

/// Text of a configuration file; `-` is standard input.
///
/// # Errors
/// What the system says, or why the file is not trusted.
pub fn read(path: &Path, reader: Reader) -> Result<String, FileError> {
    let io = |source| FileError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(io)?;
    } else {
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() && !metadata.file_type().is_fifo() {
            return Err(FileError::NotAFile(path.to_owned()));
        }
        trust(path, &metadata, reader)?;
        file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    }
    if bytes.len() > MAX_TEXT {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText(path.to_owned()))
}

/// Reads the keys of redaction and of the site that are in files, and puts them in place of their paths. White space
/// around a key does not count.
///
/// # Errors
/// What the system says, why a file is not trusted, or what is wrong with its key.
pub fn load_hash_keys(config: &mut Config, reader: Reader) -> Result<(), FileError> {
    let captures = config.stacks.values_mut().flat_map(|s| &mut s.http_capture);
    let keys = captures
        .flat_map(|capture| &mut capture.hash_key)
        .chain(&mut config.tap.join.site_key);
    for source in keys {
        if let HashKeySource::File(path) = source {
            let text = read(path, reader)?;
            let key = text.trim();
            if key.len() < 16 {
                return Err(FileError::ShortKey(path.clone()));
            }
            *source = HashKeySource::Text(Secret::new(key));
        }
    }
    Ok(())
}

/// Refuses what others can write. Looks at the open file, so that nobody can swap it in between.
fn trust(path: &Path, metadata: &Metadata, reader: Reader) -> Result<(), FileError> {
    if metadata.is_file() && metadata.mode() & 0o002 != 0 {
        return Err(FileError::OthersCanWrite(path.to_owned()));
    }
    let owner = metadata.uid();
    if reader.uid == 0 && owner != 0 && Some(owner) != reader.sudo_uid {
        return Err(FileError::OthersOwn {
            path: path.to_owned(),
            owner,
        });
    }
    Ok(())
}

/// Problems of the certificate and key files that the configuration names. A file that is missing is a warning: a
/// configuration may be checked on another machine than the one it is for.
pub fn key_file_problems(config: &Config, reader: Reader) -> Vec<Problem> {
    let mut files = BTreeSet::new();
    for store in &config.event_stores {
        let EventStoreKind::Otel(otel) = &store.kind else {
            continue;
        };
        for endpoint in [&otel.traces, &otel.logs, &otel.metrics]
            .into_iter()
            .flatten()
        {
            let tls = &endpoint.tls;
            files.extend(
                [&tls.ca_file, &tls.cert_file, &tls.key_file]
                    .into_iter()
                    .flatten(),
            );
        }
    }
    for stack in config.stacks.values() {
        let capture = stack.http_capture.as_ref();
        if let Some(HashKeySource::File(path)) = capture.and_then(|c| c.hash_key.as_ref()) {
            files.insert(path);
        }
    }
    if let Some(HashKeySource::File(path)) = &config.tap.join.site_key {
        files.insert(path);
    }
    files
        .into_iter()
        .filter_map(|path| key_file_problem(path, reader))
        .collect()
}

fn key_file_problem(path: &Path, reader: Reader) -> Option<Problem> {
    let checked = std::fs::metadata(path)
        .map_err(|source| FileError::Io {
            path: path.to_owned(),
            source,
        })
        .and_then(|metadata| trust(path, &metadata, reader));
    match checked {
        Ok(()) => None,
        Err(error @ FileError::Io { .. }) => Some(Problem::general(
            Severity::Warning,
            error.to_string(),
            "needed where the agent runs",
        )),
        Err(error) => Some(Problem::general(
            Severity::Error,
            error.to_string(),
            "key files must be safe from others",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "version: 2\n").expect("written");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("mode");
        file
    }

    fn owner(file: &tempfile::NamedTempFile) -> u32 {
        file.as_file().metadata().expect("metadata").uid()
    }

    #[test]
    fn a_file_that_everyone_can_write_is_refused() {
        let file = file(0o666);
        let error = read(
            file.path(),
            Reader {
                uid: owner(&file),
                sudo_uid: None,
            },
        )
        .expect_err("refused");
        assert!(error.to_string().contains("chmod o-w"), "{error}");
    }

    #[test]
    fn root_reads_no_file_of_another_user_but_of_the_one_who_called_sudo() {
        let file = file(0o644);
        let metadata = file.as_file().metadata().expect("metadata");
        let root = Reader {
            uid: 0,
            sudo_uid: None,
        };
        assert_eq!(
            trust(file.path(), &metadata, root).is_ok(),
            metadata.uid() == 0
        );
        assert!(
            trust(
                file.path(),
                &metadata,
                Reader {
                    uid: 0,
                    sudo_uid: Some(metadata.uid())
                }
            )
            .is_ok()
        );
        assert!(
            trust(
                file.path(),
                &metadata,
                Reader {
                    uid: 1234,
                    sudo_uid: None
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn folders_and_bytes_that_are_no_text_are_refused() {
        let file = file(0o600);
        let reader = Reader {
            uid: owner(&file),
            sudo_uid: None,
        };
        assert_eq!(read(file.path(), reader).expect("text"), "version: 2\n");
        std::fs::write(file.path(), [0xff, 0xfe]).expect("written");
        assert!(matches!(
            read(file.path(), reader),
            Err(FileError::NotText(_))
        ));
        assert!(matches!(
            read(Path::new("/"), reader),
            Err(FileError::NotAFile(_))
        ));
    }
}
