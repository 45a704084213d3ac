//! Payloads: what was said, in an object store; one object a transaction, or many in one segment.
//!
//! Enters: a [`Redacted`] capture with its ticket. Leaves: an object, and the capture with a [`PayloadLink`] for telemetry;
//! where that said `pending`, an event behind it.
//! Holds: `offer` never blocks; captures that wait are bounded by count and bytes; telemetry goes on when the put ended
//! or [`PayloadOptions::patience`] is over, whichever is first, with segments that are open for longer as soon as the key
//! is known, and always with its ticket: a lost payload loses no transaction. Every payload wanted ends in the ledger as stored, left out or lost. A link says `stored` only after the
//! store did.
//!
//! A capture goes through two pools. Packers only compute ([`pack`]), and write ahead where there is a spool ([`keep`]), so
//! that key and link are known soon even where the store hangs; writers wait for the store. What a store does not take
//! stays in the spool, and one task puts it from there ([`backlog`]).

mod ahead;
#[cfg(test)]
mod answering;
mod backlog;
mod bundle;
mod client;
mod disk;
pub(super) mod document;
mod explain;
#[cfg(test)]
mod fake;
pub(super) mod grpc;
mod job;
mod keep;
mod link;
mod multipart;
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
use crate::enrich::{Process, ResourceValue};
use crate::redact::Redacted;
use crate::sink::{PayloadEvent, PayloadLink, PayloadStatus};
use crate::spool::SpoolError;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use crate::telemetry::queues::{Fill, Watched};
pub use document::{VERSION, encode, service_name};
pub(crate) use explain::chain;
pub use explain::{Failure, StoreError};
use job::{Budget, Job, Waiting};
use keep::Keep;
pub use link::LinkTemplate;
pub use prefix::{Prefix, check as check_prefix};
pub use read::reader;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Store;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Takes a capture on to telemetry. The link is None where no payload is wanted. Must not block.
pub type Next = Arc<dyn Fn(Arc<Redacted>, Option<PayloadLink>, SharedTicket) + Send + Sync>;

/// Takes an event to telemetry. Must not block.
pub type Tell = Arc<dyn Fn(PayloadEvent) + Send + Sync>;

/// The telemetry behind the stage.
#[derive(Clone)]
pub struct Telemetry {
    pub next: Next,
    pub tell: Tell,
    /// Has the agent's own resource: of events that are about no single transaction.
    pub agent: Arc<Process>,
}

impl Telemetry {
    /// `agent`: attributes of the agent's own resource.
    pub fn new(next: Next, tell: Tell, agent: &BTreeMap<String, String>) -> Telemetry {
        let attributes = agent.iter();
        let resource = attributes.map(|(k, v)| (k.clone(), ResourceValue::Str(v.clone())));
        Telemetry {
            next,
            tell,
            agent: Arc::new(Process {
                resource: resource.collect(),
                ..Process::default()
            }),
        }
    }
}

/// Without anyone who takes events.
impl From<Next> for Telemetry {
    fn from(next: Next) -> Telemetry {
        Telemetry::new(next, Arc::new(|_| {}), &BTreeMap::new())
    }
}

/// Bounds of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadOptions {
    /// Payloads that wait or are being written; those in segments are bounded by their size alone.
    pub max_queued: usize,
    /// Their size in all, in bytes: captures and documents.
    pub max_queued_bytes: usize,
    /// Puts at the same time; at least 1.
    pub writers: usize,
    /// The largest document that is stored, in bytes.
    pub max_object_bytes: usize,
    /// How long telemetry waits for the put's end, where that can come so soon.
    pub patience: Duration,
}

impl Default for PayloadOptions {
    fn default() -> Self {
        PayloadOptions {
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
    #[error("object store `{id}`: {source}")]
    Spool { id: String, source: SpoolError },
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
    telemetry: Telemetry,
    budget: Mutex<Budget>,
    /// There is little room: payloads of level full are left out.
    lowers: AtomicBool,
    keep: Keep,
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
    /// When the store's settings cannot be used, its folder or that of its spool is not safe, or another agent uses the
    /// spool. A store that cannot be reached is no error.
    pub fn start(
        store: &ObjectStore,
        options: PayloadOptions,
        ledger: Ledger,
        handle: &Handle,
        telemetry: impl Into<Telemetry>,
    ) -> Result<PayloadStage, StartError> {
        let opened = Store::open(store, &ledger)?;
        let link = LinkTemplate::new(store);
        let enabled = store.kind != ObjectStoreKind::Disabled;
        let opened = (opened, link, store.layout);
        let spool = store.spool.as_ref().filter(|_| enabled);
        let spool = spool.map(|spool| keep::Place::take(spool, &store.id));
        let spool = spool.transpose().map_err(|source| StartError::Spool {
            id: store.id.clone(),
            source,
        })?;
        let about = (ledger, telemetry.into());
        let stage = Self::run(opened, enabled, options, about, spool, handle);
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
        (ledger, telemetry): (Ledger, Telemetry),
        spool: Option<keep::Place>,
        handle: &Handle,
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
            keep: Keep::new(link.store(), spool.is_some()),
            store,
            layout,
            link,
            options,
            ledger,
            telemetry,
            budget: Mutex::new(Budget::default()),
            lowers: AtomicBool::new(false),
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
                        let packer =
                            pack::objects(shared.clone(), packing.clone(), parcels.clone());
                        tasks.push(handle.spawn(packer));
                    }
                }
                Layout::Segment { .. } => {
                    let packer = bundle::segments(shared.clone(), packing, parcels);
                    tasks.push(handle.spawn(packer));
                }
            }
            for _ in 0..options.writers.max(1) {
                tasks.push(handle.spawn(writer(shared.clone(), writing.clone())));
            }
            tasks.push(handle.spawn(keep_time(shared.clone(), times)));
            if let Some(spool) = spool {
                tasks.push(handle.spawn(backlog::run(shared.clone(), spool)));
            }
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

    /// Whether there is so little room that payloads of level full are to be left out and their transactions lowered,
    /// before any is lost. With hysteresis: it stays so until there is plenty.
    pub fn lowers(&self) -> bool {
        self.entrance.is_some() && self.shared.lowers()
    }

    /// Takes a capture: it goes on to telemetry with its link, at once where none can be taken. Never blocks.
    pub fn offer(&self, capture: Arc<Redacted>, ticket: SharedTicket) {
        let Some(entrance) = self.entrance.as_ref() else {
            return (self.shared.telemetry.next)(capture, None, ticket);
        };
        self.shared.ledger.payload_wanted();
        let bytes = capture.transaction.memory() + document::size_hint(&capture);
        let taken = self.shared.budget().take(bytes, &self.shared.options);
        let at_once = self.shared.knows_later();
        let waiting = Arc::new(Waiting::new(capture, ticket, at_once));
        if let Err(reason) = taken {
            self.shared.ledger.payload_lost(reason);
            if reason == PayloadLost::QueueFull {
                self.shared.store.report(&StoreError::queue_full());
            }
            waiting.go(&self.shared.telemetry.next, PayloadStatus::Lost);
            return;
        }
        let job = Job::new(self.shared.clone(), waiting.clone(), bytes);
        if let Err(stopped) = entrance.jobs.send(job) {
            stopped.0.lost(PayloadLost::Shutdown);
        }
        if at_once {
            return;
        }
        let due = Instant::now() + self.shared.options.patience;
        if let Err(stopped) = entrance.timer.send((due, waiting)) {
            stopped.0.1.due(&self.shared.telemetry.next);
        }
    }

    /// Takes nothing more, and waits until all payloads are stored, in the spool or lost; what is left at `deadline`
    /// stays in the spool, or is lost (`payloads.lost.shutdown`). All telemetry has gone on when this returns, events
    /// included. Runs on a tokio runtime.
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
                "the object store did not take all payloads in time; what is not in the spool is lost"
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
        self.close_spool().await;
    }

    async fn close_spool(&self) {
        let Some(journals) = self.shared.keep.close().await else {
            return;
        };
        backlog::publish(&self.shared, &journals);
        let left = journals.state().left.items;
        if left > 0 {
            tracing::info!(
                store = self.shared.link.store(),
                folder = %journals.folder().display(),
                payloads = left,
                "spool: payloads stay for the next start"
            );
        }
    }
}

/// From when it could be put, a payload that is in memory alone is given up after this time, unless the store works.
const BUDGET: Duration = Duration::from_secs(20);
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

/// From which part of the room on transactions are lowered, and down to which they stay so.
const HIGH: f64 = 0.75;
const LOW: f64 = 0.5;

impl Shared {
    /// A segment stays open for longer than telemetry waits: waiting would hold each capture for nothing.
    fn knows_later(&self) -> bool {
        match self.layout {
            Layout::Object => false,
            Layout::Segment { time, .. } => time >= self.options.patience,
        }
    }

    fn lowers(&self) -> bool {
        let fill = self.budget().fill(&self.options).max(self.keep.fill());
        let before = self.lowers.load(Ordering::Relaxed);
        let now = fill >= if before { LOW } else { HIGH };
        if now != before {
            self.lowers.store(now, Ordering::Relaxed);
            match now {
                true => tracing::warn!(
                    store = self.link.store(),
                    "there is little room for payloads: those of level full are left out, and their transactions are lowered to level headers, until the store has taken more"
                ),
                false => tracing::info!(
                    store = self.link.store(),
                    "there is room for payloads of level full again"
                ),
            }
        }
        now
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take<T>(queue: &Queue<T>) -> Option<T> {
    queue.lock().await.recv().await
}

/// One at least, and what else is there, `most` in all; None: the end.
async fn take_some<T>(queue: &Queue<T>, most: usize) -> Option<Vec<T>> {
    let mut queue = queue.lock().await;
    let mut some = Vec::new();
    (queue.recv_many(&mut some, most).await > 0).then_some(some)
}

/// Puts objects into the store.
async fn writer(shared: Arc<Shared>, parcels: Parcels) {
    while let Some(parcel) = take(&parcels).await {
        // Where the spool has it, one task asks the store whether it takes anything again. What is in memory alone is tried
        // for a short time.
        if shared.keep.failing() && (parcel.is_kept() || parcel.since.elapsed() > BUDGET) {
            parcel.put_off(&shared, None).await;
            continue;
        }
        let span = tracing::debug_span!(
            "payload.write",
            key = parcel.key,
            size = parcel.bytes.len(),
            otel.status_code = tracing::field::Empty,
        );
        let round = shared.keep.round();
        let put = shared
            .store
            .put(&parcel.key, parcel.bytes.clone(), parcel.content_type);
        match put.instrument(span.clone()).await {
            Ok(put) => {
                shared.keep.works();
                parcel.stored(&shared, put).await;
            }
            Err(error) => {
                span.record("otel.status_code", "error");
                shared.store.report(&error);
                if error.failure() != Failure::Unfit {
                    shared.keep.failed(round, &error);
                }
                parcel.put_off(&shared, Some(&error)).await;
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
        waiting.due(&shared.telemetry.next);
    }
}

#[cfg(test)]
mod spool_tests;
#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
