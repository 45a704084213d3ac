//! The store behind the stage: S3 and compatibles, Google Cloud Storage, Azure, a local folder, stdout.
//!
//! Enters: objects with their keys. Leaves: whether each is stored, and of what kind a failure is ([`StoreError`]).
//! Holds: a put tries again for a short time only; how long a payload is kept for a store that is away is for others to
//! decide. How the store is stands in [`StoreHealth`], and in the log: the first failure at once, then one warning in half
//! a minute, and when it is well again.

use super::StartError;
use super::client::{Answer, listen};
use super::disk::Folder;
use super::explain::{Failure, StoreError, Words, explain, not_implemented, was_there};
use super::multipart;
use super::prefix::Prefix;
use super::remote::{self, Client, Tries};
use crate::config::{ObjectStore as Settings, ObjectStoreKind};
use crate::telemetry::Ledger;
use crate::telemetry::queues::{StoreHealth, StoreState};
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{Attribute, Attributes, PutMode, PutOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Retries of one put, and how long they may take. A dead store holds a writer no longer than this and one attempt.
const RETRIES: u32 = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Before the first retry; three times as long before each that follows.
const BACKOFF: Duration = Duration::from_millis(200);
/// Of one attempt, and how many bytes lengthen it by a second.
const TIMEOUT: Duration = Duration::from_secs(10);
const SLOWEST: u64 = 512 << 10;
/// Between two warnings about the same store.
const WARN_EVERY: Duration = Duration::from_secs(30);
/// Without a failure, until a store is said to be well again.
const CALM: Duration = Duration::from_secs(5);
/// Between write probes of a store that fails: twice as long each time.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The object of the write probe: at the prefix's fixed part, always the same.
const PROBE: &str = "plainspan-write-probe";
const PROBE_TEXT: &[u8] = b"Plainspan writes this when it starts, to see that it may.\n";

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
    /// Key of the write probe.
    probe: String,
    kind: Kind,
    health: Mutex<Health>,
}

enum Kind {
    Remote(Remote),
    Folder(Folder),
    Stdout,
    Disabled,
}

struct Remote {
    client: Client,
    /// The store knows no conditional put: objects are overwritten, with the same bytes.
    overwrite: AtomicBool,
}

struct Health {
    now: StoreHealth,
    warned: Option<Instant>,
    /// Failures that no warning was written for.
    silent: u64,
    /// When the last failure was.
    last: Option<Instant>,
}

impl Store {
    /// # Errors
    /// When the store's settings cannot be used, or its folder is not safe. Nothing is asked or written yet.
    pub fn open(settings: &Settings, ledger: &Ledger) -> Result<Store, StartError> {
        let prefix = Prefix::parse(&settings.prefix).map_err(|problem| StartError::Prefix {
            id: settings.id.clone(),
            problem,
        })?;
        let kind = match (
            remote::connect(&settings.id, &settings.kind, Tries::One)?,
            &settings.kind,
        ) {
            (Some(client), _) => Kind::Remote(Remote::new(client)),
            (None, ObjectStoreKind::Disk(disk)) => {
                Kind::Folder(Folder::open(&settings.id, disk, &prefix, ledger)?)
            }
            (None, ObjectStoreKind::Stdout) => Kind::Stdout,
            (None, _) => Kind::Disabled,
        };
        let place = match &settings.kind {
            ObjectStoreKind::Disk(disk) => disk.path.display().to_string(),
            ObjectStoreKind::Stdout => "stdout".to_owned(),
            other => remote::place(other).unwrap_or_else(|| "nowhere".to_owned()),
        };
        let probe = format!("{}{PROBE}", prefix.fixed());
        Ok(Store::new(&settings.id, place, probe, kind))
    }

    fn new(id: &str, place: String, probe: String, kind: Kind) -> Store {
        Store {
            id: id.to_owned(),
            place,
            probe,
            kind,
            health: Mutex::new(Health {
                now: StoreHealth {
                    state: StoreState::Unknown,
                    since: SystemTime::now(),
                    error: None,
                },
                warned: None,
                silent: 0,
                last: None,
            }),
        }
    }

    /// A store that is reached through `store`.
    #[cfg(test)]
    pub fn remote(store: std::sync::Arc<dyn object_store::ObjectStore>) -> Store {
        let client = Client {
            store,
            words: super::explain::S3,
            tags: object_store::TagSet::default(),
        };
        let kind = Kind::Remote(Remote::new(client));
        Store::new("test", "test".to_owned(), PROBE.to_owned(), kind)
    }

    /// Stores a document, or a segment, under its key. Tries again for a short time what may succeed then
    /// ([`Failure::Unavailable`]), after what the store asks to wait for.
    ///
    /// # Errors
    /// When it was not stored, with the kind of the last failure.
    pub async fn put(
        &self,
        key: &str,
        document: Bytes,
        content_type: &'static str,
    ) -> Result<Put, StoreError> {
        let deadline = Instant::now() + RETRY_TIMEOUT;
        let mut retries = 0;
        loop {
            let error = match self.attempt(key, document.clone(), content_type).await {
                Ok(put) => {
                    self.works();
                    return Ok(put);
                }
                Err(error) => error,
            };
            let wait = error.retry_after().unwrap_or_else(|| backoff(retries));
            let over = retries >= RETRIES || Instant::now() + wait > deadline;
            if over || error.failure() != Failure::Unavailable {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            retries += 1;
        }
    }

    async fn attempt(
        &self,
        key: &str,
        document: Bytes,
        content_type: &'static str,
    ) -> Result<Put, StoreError> {
        match &self.kind {
            Kind::Remote(remote) => {
                let time = TIMEOUT + Duration::from_secs(document.len() as u64 / SLOWEST);
                let put = remote.put(key, document, content_type);
                let put = tokio::time::timeout(time, put).await;
                put.unwrap_or_else(|_| Err(StoreError::slow(time)))
            }
            Kind::Folder(folder) => folder.put(key, document).await,
            Kind::Stdout => print(document).await,
            Kind::Disabled => Err(StoreError::new(
                Failure::Refused,
                "the store is disabled",
                "this is a fault of the agent",
            )),
        }
    }

    /// Finds out whether the store takes payloads, and says so; asks again until it does, or has taken one. Then keeps
    /// a local store within its bounds, for as long as this runs.
    pub async fn look_after(&self) {
        let probing = async {
            let mut pause = PROBE_EVERY.0;
            while let Err(error) = self.probe().await {
                self.failed(&error, "the store does not take payloads");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PROBE_EVERY.1);
                if self.health().now.state == StoreState::Works {
                    return;
                }
            }
            self.works();
        };
        let bounds = async {
            if let Kind::Folder(folder) = &self.kind {
                folder.room().look_after().await;
            }
        };
        tokio::join!(probing, bounds);
    }

    async fn probe(&self) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Remote(_) => {
                let text = Bytes::from_static(PROBE_TEXT);
                self.attempt(&self.probe, text, "text/plain")
                    .await
                    .map(drop)
            }
            Kind::Folder(folder) => folder.probe(),
            Kind::Stdout | Kind::Disabled => Ok(()),
        }
    }

    /// A payload was not stored. Writes a warning: the first at once, then one in half a minute.
    pub fn report(&self, error: &StoreError) {
        self.failed(error, "a payload was not stored");
    }

    fn failed(&self, error: &StoreError, what: &str) {
        let mut health = self.health();
        health.last = Some(Instant::now());
        // One payload that no store takes says nothing of the store.
        if error.failure() != Failure::Unfit {
            health.enter(StoreState::Fails);
            health.now.error = Some(error.to_string());
        }
        if health.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            health.silent += 1;
            return;
        }
        let silent = std::mem::take(&mut health.silent);
        health.warned = Some(Instant::now());
        drop(health);
        tracing::warn!(
            store = self.id,
            place = self.place,
            failed_since_last_warning = silent,
            "{what}: {error}"
        );
    }

    /// A put succeeded: says so where puts had failed, once none has for a while. A store that is only too slow takes
    /// one payload and refuses the next.
    fn works(&self) {
        let mut health = self.health();
        if health.now.state == StoreState::Unknown {
            health.enter(StoreState::Works);
        }
        if health.last.is_none_or(|at| at.elapsed() < CALM) {
            return;
        }
        health.enter(StoreState::Works);
        health.now.error = None;
        health.last = None;
        let silent = std::mem::take(&mut health.silent);
        drop(health);
        tracing::info!(
            store = self.id,
            place = self.place,
            failed_since_last_warning = silent,
            "payloads are being stored again"
        );
    }

    /// How the store is, as far as is known.
    pub fn state(&self) -> StoreHealth {
        self.health().now.clone()
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn enter(&mut self, state: StoreState) {
        if self.now.state != state {
            self.now.state = state;
            self.now.since = SystemTime::now();
        }
    }
}

impl Remote {
    fn new(client: Client) -> Remote {
        Remote {
            client,
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
        let words = self.client.words;
        if document.len() >= multipart::FROM {
            let put = multipart::put(
                &*self.client.store,
                &key,
                document,
                content_type,
                &self.client.tags,
            );
            let (result, answer) = listen(put).await;
            return ended(result, &answer, words);
        }
        if !self.overwrite.load(Ordering::Relaxed) {
            let create = (PutMode::Create, content_type);
            let (result, answer) = listen(self.put_as(&key, document.clone(), create)).await;
            match result {
                Err(error) if not_implemented(&error) => {
                    tracing::info!(
                        "the object store has no conditional put: equal payloads are written again"
                    );
                    self.overwrite.store(true, Ordering::Relaxed);
                }
                result => return ended(result, &answer, words),
            }
        }
        let overwrite = (PutMode::Overwrite, content_type);
        let (result, answer) = listen(self.put_as(&key, document, overwrite)).await;
        ended(result, &answer, words)
    }

    /// One attempt.
    async fn put_as(
        &self,
        key: &Key,
        document: Bytes,
        (mode, content_type): (PutMode, &'static str),
    ) -> object_store::Result<()> {
        let options = PutOptions {
            mode,
            attributes: Attributes::from_iter([(Attribute::ContentType, content_type)]),
            tags: self.client.tags.clone(),
            ..PutOptions::default()
        };
        let put = self.client.store.put_opts(key, document.into(), options);
        put.await.map(drop)
    }
}

/// With a share by chance, so that writers do not come back all at once.
fn backoff(retries: u32) -> Duration {
    (BACKOFF * 3_u32.saturating_pow(retries)).mul_f64(0.5 + fastrand::f64() / 2.0)
}

pub(super) fn ended(
    result: object_store::Result<()>,
    answer: &Answer,
    words: Words,
) -> Result<Put, StoreError> {
    match result {
        Ok(()) => Ok(Put::Stored),
        Err(error) if was_there(&error) => Ok(Put::Deduplicated),
        Err(error) => Err(explain(&error, answer, words)),
    }
}

pub(super) fn parse_key(key: &str) -> Result<Key, StoreError> {
    Key::parse(key).map_err(|e| StoreError::new(Failure::Unfit, e.to_string(), "correct `prefix`"))
}

async fn print(document: Bytes) -> Result<Put, StoreError> {
    let failed = |reason: &dyn std::fmt::Display| {
        let what = format!("stdout: {reason}");
        StoreError::new(Failure::Unavailable, what, "check what stdout leads to")
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
