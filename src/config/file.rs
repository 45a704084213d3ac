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
        "{who} can write {path} (mode {mode:04o}), and so decide what is captured and where it goes: run `chmod go-w {path}`"
    )]
    OthersCanWrite {
        path: PathBuf,
        who: &'static str,
        mode: u32,
    },
    #[error(
        "everyone can read {path} (mode {mode:04o}), which holds a key: run `chmod o-rwx {path}` (in Kubernetes: \
         `defaultMode: 0400` of the volume)"
    )]
    OthersCanRead { path: PathBuf, mode: u32 },
    #[error(
        "{path} belongs to user {owner}, who could decide what user {reader} captures and where it goes: run `chown {reader} {path}`"
    )]
    OthersOwn {
        path: PathBuf,
        owner: u32,
        reader: u32,
    },
}

/// Text of a configuration file; `-` is standard input.
///
/// # Errors
/// What the system says, or why the file is not trusted.
pub fn read(path: &Path, reader: Reader) -> Result<String, FileError> {
    read_as(path, reader, Holds::Settings)
}

fn read_as(path: &Path, reader: Reader, holds: Holds) -> Result<String, FileError> {
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
        trust(path, &metadata, reader, holds)?;
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
            let text = read_as(path, reader, Holds::Key)?;
            let key = text.trim();
            if key.len() < 16 {
                return Err(FileError::ShortKey(path.clone()));
            }
            *source = HashKeySource::Text(Secret::new(key));
        }
    }
    Ok(())
}

/// What a file has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// What nobody else may change.
    Settings,
    /// What nobody else may know either; a group may (`ssl-cert` of Debian).
    Key,
}

/// Refuses what others can write, keys that everyone can read, and what belongs to neither root nor the one who reads it.
/// Looks at the open file, so that nobody can swap it in between.
fn trust(path: &Path, metadata: &Metadata, reader: Reader, holds: Holds) -> Result<(), FileError> {
    let path = || path.to_owned();
    let mode = metadata.mode() & 0o7777;
    // A pipe, as of `<(...)`, is whose it is.
    if metadata.is_file() && mode & 0o022 != 0 {
        let who = match mode & 0o002 {
            0 => "its group",
            _ => "everyone",
        };
        let path = path();
        return Err(FileError::OthersCanWrite { path, who, mode });
    }
    if metadata.is_file() && holds == Holds::Key && mode & 0o004 != 0 {
        let path = path();
        return Err(FileError::OthersCanRead { path, mode });
    }
    let owner = metadata.uid();
    let trusted = [Some(0), Some(reader.uid), reader.sudo_uid];
    if !trusted.contains(&Some(owner)) {
        let (path, reader) = (path(), reader.uid);
        return Err(FileError::OthersOwn {
            path,
            owner,
            reader,
        });
    }
    Ok(())
}

/// Problems of the certificate and key files that the configuration names. A file that is missing is a warning: a
/// configuration may be checked on another machine than the one it is for.
pub fn key_file_problems(config: &Config, reader: Reader) -> Vec<Problem> {
    let mut files = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for store in &config.event_stores {
        let EventStoreKind::Otel(otel) = &store.kind else {
            continue;
        };
        for endpoint in [&otel.traces, &otel.logs, &otel.metrics]
            .into_iter()
            .flatten()
        {
            let tls = &endpoint.tls;
            files.extend([&tls.ca_file, &tls.cert_file].into_iter().flatten());
            keys.extend(&tls.key_file);
        }
    }
    for stack in config.stacks.values() {
        let capture = stack.http_capture.as_ref();
        if let Some(HashKeySource::File(path)) = capture.and_then(|c| c.hash_key.as_ref()) {
            keys.insert(path);
        }
    }
    if let Some(HashKeySource::File(path)) = &config.tap.join.site_key {
        keys.insert(path);
    }
    // Tokens of Kubernetes are readable for all of a pod: that is Kubernetes' choice.
    let identity = &config.tap.identity;
    let kubernetes = identity.kubernetes.as_ref().map(|of| &of.server);
    for server in identity.kubelet.iter().chain(kubernetes) {
        files.extend([&server.token_file, &server.ca_file].into_iter().flatten());
    }
    let files = files.into_iter().map(|path| (path, Holds::Settings));
    let keys = keys.into_iter().map(|path| (path, Holds::Key));
    files
        .chain(keys)
        .filter_map(|(path, holds)| key_file_problem(path, reader, holds))
        .collect()
}

fn key_file_problem(path: &Path, reader: Reader, holds: Holds) -> Option<Problem> {
    let checked = std::fs::metadata(path)
        .map_err(|source| FileError::Io {
            path: path.to_owned(),
            source,
        })
        .and_then(|metadata| trust(path, &metadata, reader, holds));
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

    fn reader(uid: u32) -> Reader {
        Reader {
            uid,
            sudo_uid: None,
        }
    }

    #[test]
    fn a_file_that_its_group_or_everyone_can_write_is_refused() {
        for (mode, who) in [
            (0o666, "everyone"),
            (0o646, "everyone"),
            (0o664, "its group"),
        ] {
            let file = file(mode);
            let error = read(file.path(), reader(owner(&file))).expect_err("refused");
            let path = file.path().display();
            let said = format!("{who} can write {path} (mode {mode:04o})");
            assert!(error.to_string().starts_with(&said), "{error}");
            let fix = format!("run `chmod go-w {path}`");
            assert!(error.to_string().ends_with(&fix), "{error}");
        }
    }

    #[test]
    fn a_key_that_everyone_can_read_is_refused() {
        for (mode, holds, fine) in [
            (0o644, Holds::Settings, true),
            (0o644, Holds::Key, false),
            (0o604, Holds::Key, false),
            (0o640, Holds::Key, true),
            (0o400, Holds::Key, true),
        ] {
            let file = file(mode);
            let metadata = file.as_file().metadata().expect("metadata");
            let trusted = trust(file.path(), &metadata, reader(owner(&file)), holds);
            assert_eq!(trusted.is_ok(), fine, "{mode:o} {holds:?}");
            if let Err(error) = trusted {
                assert!(error.to_string().contains("chmod o-rwx"), "{error}");
            }
        }
    }

    #[test]
    fn a_file_belongs_to_root_or_to_who_reads_it_or_called_sudo() {
        let file = file(0o644);
        let metadata = file.as_file().metadata().expect("metadata");
        let owner = metadata.uid();
        let trusted = |reader| trust(file.path(), &metadata, reader, Holds::Settings);
        let stranger = owner + 1234;
        assert_eq!(trusted(reader(stranger)).is_ok(), owner == 0);
        assert_eq!(trusted(reader(0)).is_ok(), owner == 0);
        assert!(trusted(reader(owner)).is_ok());
        let sudo = Reader {
            uid: 0,
            sudo_uid: Some(owner),
        };
        assert!(trusted(sudo).is_ok());
        if owner != 0 {
            let error = trusted(reader(0)).expect_err("refused");
            assert!(error.to_string().contains("chown 0"), "{error}");
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        // Where the tests run as root a file can be given away.
        let file = file(0o644);
        let metadata = file.as_file().metadata().expect("metadata");
        if metadata.uid() != 0 {
            return;
        }
        std::os::unix::fs::chown(file.path(), Some(1234), None).expect("given away");
        let error = read(file.path(), reader(0)).expect_err("refused");
        assert!(
            error.to_string().contains("belongs to user 1234"),
            "{error}"
        );
        assert!(read(file.path(), reader(1234)).is_ok());
        assert!(read(file.path(), reader(1235)).is_err());
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
