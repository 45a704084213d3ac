//! Bytes of objects, out of files and stores.
//!
//! Holds: no more is read than was asked for, and no more memory taken than it needs; a file is opened without following
//! a link, and only a regular one.

use super::error::PayloadError;
use crate::payload::escaped;
use crate::sink::payload::chain;
use crate::sink::payload::segment::MAX_DOCUMENT;
use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{Error, GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The longest part of an object that is read at once: a frame of a document of the largest size.
pub const MAX_PART: u64 = MAX_DOCUMENT + (1 << 20);
/// Attempts of one read.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(200);
/// Reads from a store at the same time.
const AT_ONCE: usize = 16;

/// Where an object is.
#[derive(Debug, Clone)]
pub enum Object {
    File(PathBuf),
    Remote { store: Arc<Remote>, key: Key },
}

/// A store that is reached by its credentials.
#[derive(Debug)]
pub struct Remote {
    pub id: String,
    pub client: Arc<dyn ObjectStore>,
}

/// Part of an object, as numbers of its first and last byte; None: the whole, of [`MAX_DOCUMENT`] bytes at the most.
pub type Part = Option<(u64, u64)>;

impl Object {
    /// As messages say it.
    pub fn place(&self) -> String {
        match self {
            Object::File(path) => path.display().to_string(),
            Object::Remote { store, key } => format!("object store `{}`, {key}", store.id),
        }
    }

    /// The last part of its path, or its key. None: it is no text.
    pub fn name(&self) -> Option<&str> {
        match self {
            Object::File(path) => path.file_name().and_then(|name| name.to_str()),
            Object::Remote { key, .. } => Some(key.as_ref()),
        }
    }

    fn unfit(&self, what: &'static str) -> PayloadError {
        let place = self.place();
        PayloadError::Unfit { place, what }
    }
}

/// Reads, one thing after another or a few at the same time.
pub struct Fetch {
    runtime: Runtime,
}

impl Fetch {
    /// # Errors
    /// When the system has no room for it.
    pub fn new() -> Result<Fetch, PayloadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PayloadError::Runtime)?;
        Ok(Fetch { runtime })
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// One read.
    ///
    /// # Errors
    /// When the part is not there, is too long, or cannot be read.
    pub fn part(&self, object: &Object, part: Part) -> Result<Vec<u8>, PayloadError> {
        match object {
            Object::File(path) => file(path, object, part),
            Object::Remote { .. } => self.wait(remote(object, part)),
        }
    }

    /// Many reads; from a store some of them at the same time. Their results stand in the same order.
    pub fn parts(&self, wanted: Vec<(Object, Part)>) -> Vec<Result<Vec<u8>, PayloadError>> {
        let mut results = Vec::with_capacity(wanted.len());
        for group in wanted.chunks(AT_ONCE) {
            let running: Vec<_> = group
                .iter()
                .map(|(object, part)| match object {
                    Object::File(path) => Err(file(path, object, *part)),
                    Object::Remote { .. } => {
                        let (object, part) = (object.clone(), *part);
                        Ok(self
                            .runtime
                            .spawn(async move { remote(&object, part).await }))
                    }
                })
                .collect();
            for read in running {
                results.push(match read {
                    Err(read) => read,
                    Ok(task) => self.wait(task).unwrap_or_else(|error| {
                        Err(PayloadError::Runtime(io::Error::other(error)))
                    }),
                });
            }
        }
        results
    }

    /// Length of an object, in bytes.
    ///
    /// # Errors
    /// When it is not there.
    pub fn size(&self, object: &Object) -> Result<u64, PayloadError> {
        match object {
            Object::File(path) => Ok(open(path, object)?.1),
            Object::Remote { store, key } => {
                let head = self.wait(store.client.head(key));
                head.map(|meta| meta.size).map_err(|e| explain(object, &e))
            }
        }
    }
}

fn open(path: &std::path::Path, object: &Object) -> Result<(File, u64), PayloadError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::ELOOP) => object.unfit("it is a link: name the file that it leads to"),
        _ => PayloadError::File {
            place: object.place(),
            source,
        },
    };
    let file = File::options()
        .read(true)
        // A pipe would make the opening wait.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => Err(object.unfit("it is no file")),
    }
}

fn file(path: &std::path::Path, object: &Object, part: Part) -> Result<Vec<u8>, PayloadError> {
    let (file, size) = open(path, object)?;
    let failed = |source| PayloadError::File {
        place: object.place(),
        source,
    };
    let Some((first, last)) = part else {
        if size > MAX_DOCUMENT {
            return Err(object.unfit(TOO_LARGE));
        }
        let mut bytes = Vec::new();
        // It may grow while it is read.
        file.take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        return Ok(bytes);
    };
    let length = length(object, first, last)?;
    if last >= size {
        return Err(object.unfit(ENDS));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, first).map_err(failed)?;
    Ok(bytes)
}

const TOO_LARGE: &str = "it is larger than a document can be";
const ENDS: &str = "it ends before the last of these bytes";

fn length(object: &Object, first: u64, last: u64) -> Result<usize, PayloadError> {
    let length = last.checked_sub(first).filter(|rest| *rest < MAX_PART);
    let length = length.and_then(|rest| usize::try_from(rest + 1).ok());
    length.ok_or_else(|| {
        object.unfit("its link, or index, names more bytes than a document can have")
    })
}

async fn remote(object: &Object, part: Part) -> Result<Vec<u8>, PayloadError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match once(object, part).await {
            Err(Failed::Store(error)) if attempt < ATTEMPTS && may_pass(&error) => {
                tokio::time::sleep(BACKOFF * attempt).await;
            }
            Err(Failed::Store(error)) => return Err(explain(object, &error)),
            Err(Failed::Other(error)) => return Err(error),
            Ok(bytes) => return Ok(bytes),
        }
    }
}

enum Failed {
    Store(Error),
    Other(PayloadError),
}

fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Generic { .. })
}

async fn once(object: &Object, part: Part) -> Result<Vec<u8>, Failed> {
    let Object::Remote { store, key } = object else {
        return Err(Failed::Other(object.unfit("it is no object of a store")));
    };
    let (range, most) = match part {
        Some((first, last)) => {
            let length = length(object, first, last).map_err(Failed::Other)?;
            (
                Some(GetRange::Bounded(first..last.saturating_add(1))),
                length,
            )
        }
        None => (None, usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX)),
    };
    let options = GetOptions {
        range,
        ..GetOptions::default()
    };
    let got = store
        .client
        .get_opts(key, options)
        .await
        .map_err(Failed::Store)?;
    let bytes = collect(object, got.payload, most).await?;
    match part {
        Some(_) if bytes.len() < most => Err(Failed::Other(object.unfit(ENDS))),
        _ => Ok(bytes),
    }
}

/// All bytes, of which there must be no more than `most`, whatever the store said before.
async fn collect(
    object: &Object,
    payload: GetResultPayload,
    most: usize,
) -> Result<Vec<u8>, Failed> {
    let GetResultPayload::Stream(mut stream) = payload else {
        return Err(Failed::Other(object.unfit("it is a file, not an object")));
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(Failed::Store)?;
        if chunk.len() > most - bytes.len() {
            return Err(Failed::Other(object.unfit(TOO_LARGE)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What the store said, and what to do about it, in one line.
pub fn explain(object: &Object, error: &Error) -> PayloadError {
    let what = match error {
        Error::NotFound { .. } => {
            "it is not there: not stored yet (`pending`), lost, or removed since".to_owned()
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            format!(
                "the credentials of the configuration may not read it: {}",
                line(error)
            )
        }
        _ => line(error),
    };
    PayloadError::Store {
        place: object.place(),
        what,
    }
}

/// The error with its causes, in one line.
fn line(error: &dyn std::error::Error) -> String {
    let text: String = chain(error).chars().take(400).collect();
    escaped(text.as_bytes())
}
