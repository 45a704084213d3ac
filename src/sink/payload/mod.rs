//! Payloads: one object a transaction in an object store.
//!
//! Enters: a [`Redacted`] capture with its ticket. Leaves: an object whose key is the SHA-256 of its bytes, and the
//! capture with a [`PayloadLink`] for telemetry.
//! Holds: `offer` never blocks; captures that wait are bounded by count and bytes; telemetry goes on when the put ended
//! or [`PayloadOptions::patience`] is over, whichever is first, and always with its ticket: a lost payload loses no
//! transaction. Every payload wanted ends in the ledger as stored or lost.
//!
//! A capture goes through two pools. Encoders only compute, so that key and link are known soon even where the store
//! hangs; writers wait for the store. How documents become objects is the writers' part alone.

pub(super) mod document;
mod explain;
pub(super) mod grpc;
mod job;
mod link;
mod store;
mod target;
pub(super) mod websocket;

pub use super::folder::FolderError;
pub use crate::config::{ObjectStore, ObjectStoreKind};
use crate::redact::Redacted;
use crate::rules::Level;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use crate::telemetry::queues::{Fill, Watched};
pub use document::{VERSION, encode};
pub use explain::StoreError;
use job::{Budget, Job, Waiting};
pub use link::LinkTemplate;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Put, Store};
use tokio::runtime::Handle;
use tracing::Instrument;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::task::JoinHandle;

/// Takes a capture on to telemetry. The link is None where no payload is wanted. Must not block.
pub type Next = Arc<dyn Fn(Arc<Redacted>, Option<PayloadLink>, SharedTicket) + Send + Sync>;

/// Bounds of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadOptions {
    /// The lowest level at which an object is written.
    pub from_level: Level,
    /// Payloads that wait or are being written.
    pub max_queued: usize,
    /// Their size in all, in bytes: captures and documents.
    pub max_queued_bytes: usize,
    /// Puts at the same time; at least 1.
    pub writers: usize,
    /// The largest document that is stored, in bytes.
    pub max_object_bytes: usize,
    /// How long telemetry waits for the put's end.
    pub patience: Duration,
}

impl Default for PayloadOptions {
    fn default() -> Self {
        PayloadOptions {
            from_level: Level::Summary,
            max_queued: 4096,
            max_queued_bytes: 64 << 20,
            writers: 16,
            max_object_bytes: 32 << 20,
            patience: Duration::from_millis(700),
        }
    }
}

/// The store cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("object store `{id}`: {source}")]
    Client {
        id: String,
        source: object_store::Error,
    },
    #[error("object store `{id}`: prefix `{prefix}` cannot begin a key: {source}")]
    Prefix {
        id: String,
        prefix: String,
        source: object_store::path::Error,
    },
    #[error("object store `{id}`: {source}")]
    Folder { id: String, source: FolderError },
}

/// The running stage.
pub struct PayloadStage {
    shared: Arc<Shared>,
    /// None: the store is disabled, and captures pass by.
    entrance: Option<Entrance>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Entrance {
    jobs: mpsc::UnboundedSender<Job>,
    timer: mpsc::UnboundedSender<(Instant, Arc<Waiting>)>,
}

/// What all tasks and jobs of the stage share.
struct Shared {
    store: Store,
    link: LinkTemplate,
    options: PayloadOptions,
    ledger: Ledger,
    next: Next,
    budget: Mutex<Budget>,
    /// Told each time a job ends.
    ended: Notify,
}

type Jobs = Arc<AsyncMutex<mpsc::UnboundedReceiver<Job>>>;

impl PayloadStage {
    /// Opens the store and starts the tasks on `handle`. Nothing is written yet.
    ///
    /// # Errors
    /// When the store's settings cannot be used, or its folder is not safe. A store that cannot be reached is no error.
    pub fn start(
        store: &ObjectStore,
        options: PayloadOptions,
        ledger: Ledger,
        handle: &Handle,
        next: Next,
    ) -> Result<PayloadStage, StartError> {
        let opened = Store::open(store)?;
        let link = LinkTemplate::new(store);
        let enabled = store.kind != ObjectStoreKind::Disabled;
        let stage = Self::run(opened, link, enabled, options, ledger, handle, next);
        let name = format!("{}/payloads", store.id);
        stage.shared.ledger.queues().watch(&name, &stage.shared);
        Ok(stage)
    }

    fn run(
        store: Store,
        link: LinkTemplate,
        enabled: bool,
        options: PayloadOptions,
        ledger: Ledger,
        handle: &Handle,
        next: Next,
    ) -> PayloadStage {
        let shared = Arc::new(Shared {
            store,
            link,
            options,
            ledger,
            next,
            budget: Mutex::new(Budget::default()),
            ended: Notify::new(),
        });
        let mut tasks = Vec::new();
        let entrance = enabled.then(|| {
            let (jobs, encoding) = mpsc::unbounded_channel();
            let (encoded, writing) = mpsc::unbounded_channel();
            let (timer, times) = mpsc::unbounded_channel();
            let encoding: Jobs = Arc::new(AsyncMutex::new(encoding));
            let writing: Jobs = Arc::new(AsyncMutex::new(writing));
            for _ in 0..ENCODERS {
                tasks.push(handle.spawn(encoder(encoding.clone(), encoded.clone())));
            }
            for _ in 0..options.writers.max(1) {
                tasks.push(handle.spawn(writer(shared.clone(), writing.clone())));
            }
            tasks.push(handle.spawn(keep_time(shared.clone(), times)));
            Entrance { jobs, timer }
        });
        PayloadStage {
            shared,
            entrance,
            tasks: Mutex::new(tasks),
        }
    }

    /// Takes a capture: it goes on to telemetry with its link, at once where no payload is wanted or none can be
    /// taken. Never blocks.
    pub fn offer(&self, capture: Arc<Redacted>, ticket: SharedTicket) {
        let wanted = capture.decision.level >= self.shared.options.from_level
            && capture.decision.level > Level::None;
        let Some(entrance) = self.entrance.as_ref().filter(|_| wanted) else {
            return (self.shared.next)(capture, None, ticket);
        };
        self.shared.ledger.payload_wanted();
        let bytes = capture.transaction.memory() + document::size_hint(&capture);
        let taken = self.shared.budget().take(bytes, &self.shared.options);
        let waiting = Arc::new(Waiting::new(capture, ticket));
        if let Err(reason) = taken {
            self.shared.ledger.payload_lost(reason);
            if reason == PayloadLost::QueueFull {
                self.shared.store.report(&StoreError::queue_full());
            }
            return waiting.go(&self.shared.next, PayloadStatus::Lost);
        }
        let job = Job::new(self.shared.clone(), waiting.clone(), bytes);
        let due = Instant::now() + self.shared.options.patience;
        if let Err(stopped) = entrance.jobs.send(job) {
            stopped.0.lost(PayloadLost::Shutdown);
        }
        if let Err(stopped) = entrance.timer.send((due, waiting)) {
            stopped.0.1.due(&self.shared.next);
        }
    }

    /// Takes nothing more, and waits until all payloads are stored or lost; at `deadline` the rest is lost
    /// (`payloads.lost.shutdown`). All telemetry has gone on when this returns. Runs on a tokio runtime.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.budget().close();
        let empty = async {
            loop {
                let ended = self.shared.ended.notified();
                if self.shared.budget().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout_at(deadline.into(), empty)
            .await
            .is_err()
        {
            let left = self.shared.budget().count();
            tracing::warn!(
                store = self.shared.link.store(),
                left,
                "the object store did not take all payloads in time; what is left is lost"
            );
        }
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            if let Err(error) = task.await
                && !error.is_cancelled()
            {
                tracing::error!(%error, "a task of the payload stage had failed");
            }
        }
    }
}

/// Encoding is quick beside storing; two make use of a second core.
const ENCODERS: usize = 2;

impl Watched for Shared {
    fn fill(&self) -> Fill {
        let budget = self.budget();
        Fill {
            items: budget.count() as u64,
            bytes: budget.bytes() as u64,
            max_items: self.options.max_queued as u64,
            max_bytes: self.options.max_queued_bytes as u64,
            ..Fill::default()
        }
    }
}

impl Shared {
    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(jobs: &Jobs) -> Option<Job> {
    jobs.lock().await.recv().await
}

/// Turns captures into documents with key and link.
async fn encoder(jobs: Jobs, encoded: mpsc::UnboundedSender<Job>) {
    while let Some(mut job) = take(&jobs).await {
        let Some(document) = job.encode() else {
            continue;
        };
        let max = job.shared().options.max_object_bytes;
        if document.len() > max {
            let error = StoreError::too_large(document.len(), max);
            job.shared().store.report(&error);
            job.lost(PayloadLost::TooLarge);
            continue;
        }
        let digest = document::Hex(&Sha256::digest(&document)).to_string();
        job.encoded(document, digest);
        if let Err(stopped) = encoded.send(job) {
            stopped.0.lost(PayloadLost::Shutdown);
        }
        tokio::task::yield_now().await;
    }
}

/// Puts documents into the store.
async fn writer(shared: Arc<Shared>, jobs: Jobs) {
    while let Some(mut job) = take(&jobs).await {
        let Some((digest, document)) = job.document() else {
            continue;
        };
        let key = shared.link.key(&digest);
        let span = tracing::debug_span!(
            "payload.write",
            digest,
            size = document.len(),
            otel.status_code = tracing::field::Empty,
        );
        match shared.store.put(&key, document).instrument(span.clone()).await {
            Ok(put) => job.stored(put == Put::Deduplicated),
            Err(error) => {
                span.record("otel.status_code", "error");
                shared.store.report(&error);
                job.lost(PayloadLost::StoreFailed);
            }
        }
    }
}

/// Lets telemetry go whose payload takes too long. All wait equally long: the first in is the first due.
async fn keep_time(
    shared: Arc<Shared>,
    mut times: mpsc::UnboundedReceiver<(Instant, Arc<Waiting>)>,
) {
    while let Some((due, waiting)) = times.recv().await {
        if waiting.gone() {
            continue;
        }
        tokio::time::sleep_until(due.into()).await;
        waiting.due(&shared.next);
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
