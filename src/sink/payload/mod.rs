//! Payloads: what was said, in an object store; one object a transaction, or many in one segment.
//!
//! Enters: a [`Redacted`] capture with its ticket. Leaves: an object, and the capture with a [`PayloadLink`] for telemetry.
//! Holds: `offer` never blocks; captures that wait are bounded by count and bytes; telemetry goes on when the put ended
//! or [`PayloadOptions::patience`] is over, whichever is first, and always with its ticket: a lost payload loses no
//! transaction. Every payload wanted ends in the ledger as stored or lost.
//!
//! A capture goes through two pools. Packers only compute ([`pack`]), so that key and link are known soon even where the
//! store hangs; writers wait for the store.

#[cfg(test)]
mod answering;
mod client;
mod disk;
pub(super) mod document;
mod explain;
pub(super) mod grpc;
mod job;
mod link;
mod pack;
mod prefix;
mod read;
mod remote;
mod room;
pub mod segment;
mod store;
mod target;
pub(super) mod websocket;

pub use super::folder::FolderError;
use crate::config::Layout;
pub use crate::config::{ObjectStore, ObjectStoreKind};
use crate::redact::Redacted;
use crate::rules::Level;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use crate::telemetry::queues::{Fill, Watched};
pub use document::{VERSION, encode, service_name};
pub use explain::{Failure, StoreError};
use job::{Budget, Job, Waiting};
pub use link::LinkTemplate;
pub use prefix::{Prefix, check as check_prefix};
pub use read::reader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::{Put, Store};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Takes a capture on to telemetry. The link is None where no payload is wanted. Must not block.
pub type Next = Arc<dyn Fn(Arc<Redacted>, Option<PayloadLink>, SharedTicket) + Send + Sync>;

/// Bounds of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadOptions {
    /// The lowest level at which an object is written.
    pub from_level: Level,
    /// Payloads that wait or are being written; those in segments are bounded by their size alone.
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
    #[error("object store `{id}`: `prefix` {problem}")]
    Prefix { id: String, problem: String },
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
    layout: Layout,
    link: LinkTemplate,
    options: PayloadOptions,
    ledger: Ledger,
    next: Next,
    budget: Mutex<Budget>,
    /// Told each time a job ends.
    ended: Notify,
    /// Told when nothing more is taken.
    closing: Notify,
}

type Queue<T> = Arc<AsyncMutex<mpsc::UnboundedReceiver<T>>>;
type Jobs = Queue<Job>;
type Parcels = Queue<pack::Parcel>;

impl PayloadStage {
    /// Opens the store and starts the tasks on `handle`, which try whether it takes anything.
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
        let opened = Store::open(store, &ledger)?;
        let link = LinkTemplate::new(store);
        let enabled = store.kind != ObjectStoreKind::Disabled;
        let opened = (opened, link, store.layout);
        let stage = Self::run(opened, enabled, options, ledger, handle, next);
        let shared = stage.shared.clone();
        stage.spawn(handle, async move { shared.store.look_after().await });
        let name = format!("{}/payloads", store.id);
        stage.shared.ledger.queues().watch(&name, &stage.shared);
        Ok(stage)
    }

    fn run(
        (store, link, layout): (Store, LinkTemplate, Layout),
        enabled: bool,
        options: PayloadOptions,
        ledger: Ledger,
        handle: &Handle,
        next: Next,
    ) -> PayloadStage {
        let max_queued = match layout {
            Layout::Object => options.max_queued,
            Layout::Segment { .. } => usize::MAX,
        };
        let options = PayloadOptions {
            max_queued,
            ..options
        };
        let shared = Arc::new(Shared {
            store,
            layout,
            link,
            options,
            ledger,
            next,
            budget: Mutex::new(Budget::default()),
            ended: Notify::new(),
            closing: Notify::new(),
        });
        let mut tasks = Vec::new();
        let entrance = enabled.then(|| {
            let (jobs, packing) = mpsc::unbounded_channel();
            let (parcels, writing) = mpsc::unbounded_channel();
            let (timer, times) = mpsc::unbounded_channel();
            let writing: Parcels = Arc::new(AsyncMutex::new(writing));
            match layout {
                Layout::Object => {
                    let packing: Jobs = Arc::new(AsyncMutex::new(packing));
                    for _ in 0..PACKERS {
                        let packer = pack::objects(packing.clone(), parcels.clone());
                        tasks.push(handle.spawn(packer));
                    }
                }
                Layout::Segment { .. } => {
                    let packer = pack::segments(shared.clone(), packing, parcels);
                    tasks.push(handle.spawn(packer));
                }
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

    fn spawn(&self, handle: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(handle.spawn(task));
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
        self.shared.closing.notify_one();
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
const PACKERS: usize = 2;

impl Watched for Shared {
    fn fill(&self) -> Fill {
        let budget = self.budget();
        Fill {
            items: budget.count() as u64,
            bytes: budget.bytes() as u64,
            max_items: self.options.max_queued as u64,
            max_bytes: self.options.max_queued_bytes as u64,
            store: Some(self.store.state()),
            ..Fill::default()
        }
    }
}

impl Shared {
    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take<T>(queue: &Queue<T>) -> Option<T> {
    queue.lock().await.recv().await
}

/// Puts objects into the store.
async fn writer(shared: Arc<Shared>, parcels: Parcels) {
    while let Some(parcel) = take(&parcels).await {
        let pack::Parcel {
            key,
            bytes,
            content_type,
            jobs,
        } = parcel;
        let span = tracing::debug_span!(
            "payload.write",
            key,
            size = bytes.len(),
            otel.status_code = tracing::field::Empty,
        );
        let put = shared.store.put(&key, bytes, content_type);
        match put.instrument(span.clone()).await {
            Ok(put) => {
                // A segment is nobody else's: what is there is what an attempt has put whose answer was lost.
                let same = put == Put::Deduplicated && shared.layout == Layout::Object;
                jobs.into_iter().for_each(|job| job.stored(same));
            }
            Err(error) => {
                span.record("otel.status_code", "error");
                shared.store.report(&error);
                jobs.into_iter().for_each(|job| job.lost(error.lost()));
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
