//! The store behind the stage: S3 and compatibles, a local folder, stdout.

use super::StartError;
use super::explain::{FOLDER_HINT, StoreError, explain, not_implemented};
use crate::config::{ObjectStore as Settings, ObjectStoreKind, S3Store};
use crate::sink::folder::{self, FolderError};
use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, ObjectStore, PutMode, PutOptions,
    RetryConfig,
};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Retries of one put, and how long they may take. A dead store holds a writer no longer than this and one request.
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two warnings about the same store.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Without a failure, until a store is said to be well again.
const CALM: Duration = Duration::from_secs(5);

/// How a put ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Stored,
    /// The same bytes were there.
    Deduplicated,
}

/// An open store.
pub(super) struct Store {
    id: String,
    /// Endpoint and bucket, or the folder, as messages say it.
    place: String,
    kind: Kind,
    failures: Mutex<Failures>,
}

enum Kind {
    Remote(Remote),
    Folder {
        path: PathBuf,
        files: LocalFileSystem,
    },
    Stdout,
    Disabled,
}

pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    /// The store knows no conditional put: objects are overwritten, with the same bytes.
    overwrite: AtomicBool,
}

#[derive(Default)]
struct Failures {
    warned: Option<Instant>,
    /// Failures that no warning was written for.
    silent: u64,
    /// When the last one was; None: all is well, or said to be.
    last: Option<Instant>,
}

impl Store {
    pub fn open(settings: &Settings) -> Result<Store, StartError> {
        let (kind, place) = match &settings.kind {
            ObjectStoreKind::S3(s3) => {
                let place = format!("{}, bucket {}", s3.endpoint, s3.bucket);
                let store = Arc::new(s3_client(&settings.id, s3)?);
                (Kind::Remote(Remote::new(store)), place)
            }
            ObjectStoreKind::Disk { path } => {
                let place = path.display().to_string();
                (open_folder(&settings.id, path)?, place)
            }
            ObjectStoreKind::Stdout => (Kind::Stdout, "stdout".to_owned()),
            ObjectStoreKind::Disabled => (Kind::Disabled, "nowhere".to_owned()),
        };
        Ok(Store::new(&settings.id, place, kind))
    }

    fn new(id: &str, place: String, kind: Kind) -> Store {
        Store {
            id: id.to_owned(),
            place,
            kind,
            failures: Mutex::default(),
        }
    }

    /// A store that is reached through `store`.
    #[cfg(test)]
    pub fn remote(store: Arc<dyn ObjectStore>) -> Store {
        Store::new("test", "test".to_owned(), Kind::Remote(Remote::new(store)))
    }

    /// Stores a document, or a segment, under its key.
    pub async fn put(
        &self,
        key: &str,
        document: Bytes,
        content_type: &'static str,
    ) -> Result<Put, StoreError> {
        let put = match &self.kind {
            Kind::Remote(remote) => remote.put(key, document, content_type).await,
            Kind::Folder { path, files } => put_file(path, files, key, document).await,
            Kind::Stdout => print(document).await,
            Kind::Disabled => Err(StoreError {
                what: "the store is disabled".to_owned(),
                hint: "this is a fault of the agent",
            }),
        };
        if put.is_ok() {
            self.works_again();
        }
        put
    }

    /// Writes a warning about a failed put: the first at once, then one in half a minute.
    pub fn report(&self, error: &StoreError) {
        let mut failures = self.failures();
        failures.last = Some(Instant::now());
        if failures.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            failures.silent += 1;
            return;
        }
        let silent = std::mem::take(&mut failures.silent);
        failures.warned = Some(Instant::now());
        drop(failures);
        tracing::warn!(
            store = self.id,
            place = self.place,
            failed_since_last_warning = silent,
            "a payload was not stored: {error}"
        );
    }

    /// A put succeeded: says so where puts had failed, once none has for a while. A store that is only too slow takes
    /// one payload and refuses the next.
    fn works_again(&self) {
        let mut failures = self.failures();
        if failures.last.is_none_or(|at| at.elapsed() < CALM) {
            return;
        }
        failures.last = None;
        let silent = std::mem::take(&mut failures.silent);
        drop(failures);
        tracing::info!(
            store = self.id,
            place = self.place,
            failed_since_last_warning = silent,
            "payloads are being stored again"
        );
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    fn new(store: Arc<dyn ObjectStore>) -> Remote {
        Remote {
            store,
            overwrite: AtomicBool::new(false),
        }
    }

    async fn put(
        &self,
        key: &str,
        document: Bytes,
        content_type: &'static str,
    ) -> Result<Put, StoreError> {
        let key = parse_key(key)?;
        let attributes = Attributes::from_iter([(Attribute::ContentType, content_type)]);
        if !self.overwrite.load(Ordering::Relaxed) {
            let create = (PutMode::Create, attributes.clone());
            match self.put_as(&key, document.clone(), create).await {
                Err(error) if not_implemented(&error) => {
                    tracing::info!(
                        "the object store has no conditional put: equal payloads are written again"
                    );
                    self.overwrite.store(true, Ordering::Relaxed);
                }
                result => return ended(result),
            }
        }
        let overwrite = (PutMode::Overwrite, attributes);
        ended(self.put_as(&key, document, overwrite).await)
    }

    async fn put_as(
        &self,
        key: &Key,
        document: Bytes,
        (mode, attributes): (PutMode, Attributes),
    ) -> object_store::Result<()> {
        let options = PutOptions {
            mode,
            attributes,
            ..PutOptions::default()
        };
        self.store.put_opts(key, document.into(), options).await?;
        Ok(())
    }
}

fn ended(result: object_store::Result<()>) -> Result<Put, StoreError> {
    match result {
        Ok(()) => Ok(Put::Stored),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Deduplicated),
        Err(error) => Err(explain(&error)),
    }
}

fn parse_key(key: &str) -> Result<Key, StoreError> {
    Key::parse(key).map_err(|e| StoreError {
        what: e.to_string(),
        hint: "correct `prefix`",
    })
}

pub(super) fn s3_client(id: &str, s3: &S3Store) -> Result<impl ObjectStore + use<>, StartError> {
    let probe = format!("{}0", s3.prefix);
    Key::parse(&probe).map_err(|source| StartError::Prefix {
        id: id.to_owned(),
        prefix: s3.prefix.clone(),
        source,
    })?;
    let builder = match &s3.credentials {
        Some((access, secret)) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(access.expose())
                .with_secret_access_key(secret.expose());
            match session_token(access.expose()) {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        None => AmazonS3Builder::from_env(),
    };
    let client = ClientOptions::new()
        .with_allow_http(s3.insecure)
        .with_timeout(TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT);
    builder
        .with_client_options(client)
        .with_allow_http(s3.insecure)
        // Goes before all that the environment says of endpoints.
        .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint(s3))
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_virtual_hosted_style_request(false)
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        })
        .build()
        .map_err(|source| StartError::Client {
            id: id.to_owned(),
            source,
        })
}

/// Temporary keys come with a token beside them in the environment. It belongs to the key that stands there only.
fn session_token(access_key: &str) -> Option<String> {
    let same = std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|key| key == access_key);
    let token = std::env::var("AWS_SESSION_TOKEN").ok()?;
    (same && !token.is_empty()).then_some(token)
}

/// URL of the endpoint. AWS's global name knows buckets of one region only; the region's own name is asked instead.
fn endpoint(s3: &S3Store) -> String {
    let scheme = if s3.insecure { "http" } else { "https" };
    match s3.endpoint.as_str() {
        "s3.amazonaws.com" => format!("{scheme}://s3.{}.amazonaws.com", s3.region),
        other => format!("{scheme}://{other}"),
    }
}

fn open_folder(id: &str, path: &std::path::Path) -> Result<Kind, StartError> {
    let failed = |source| StartError::Folder {
        id: id.to_owned(),
        source,
    };
    folder::prepare_for_payloads(path).map_err(failed)?;
    let files = LocalFileSystem::new_with_prefix(path).map_err(|source| {
        failed(FolderError::Store {
            path: path.to_owned(),
            source,
        })
    })?;
    Ok(Kind::Folder {
        path: path.to_owned(),
        files,
    })
}

async fn put_file(
    path: &std::path::Path,
    files: &LocalFileSystem,
    key: &str,
    document: Bytes,
) -> Result<Put, StoreError> {
    // It may have been removed, or replaced by a link, since the start.
    folder::prepare_for_payloads(path).map_err(|e| StoreError {
        what: e.to_string(),
        hint: FOLDER_HINT,
    })?;
    let key = parse_key(key)?;
    let put = ended(put_new(files, &key, document).await)?;
    let file = files.path_to_filesystem(&key).map_err(|e| explain(&e))?;
    folder::close_file(&file).map_err(|e| StoreError {
        what: format!("{}: cannot set its mode: {e}", file.display()),
        hint: FOLDER_HINT,
    })?;
    Ok(put)
}

async fn put_new(files: &LocalFileSystem, key: &Key, document: Bytes) -> object_store::Result<()> {
    // Files have no attributes: asking for some is an error.
    let options = PutOptions::from(PutMode::Create);
    files.put_opts(key, document.into(), options).await?;
    Ok(())
}

async fn print(document: Bytes) -> Result<Put, StoreError> {
    let failed = |reason: &dyn std::fmt::Display| StoreError {
        what: format!("stdout: {reason}"),
        hint: "check what stdout leads to",
    };
    let print = move || write_line(&mut std::io::stdout().lock(), &document);
    match tokio::task::spawn_blocking(print).await {
        Ok(Ok(())) => Ok(Put::Stored),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

fn write_line(out: &mut impl Write, document: &[u8]) -> std::io::Result<()> {
    out.write_all(document)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
