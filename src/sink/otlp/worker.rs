//! The task of one signal: encodes what was offered, makes batches of it, and hands them over one at a time.

use super::batch::{Batch, BatchLimits};
use super::client::Client;
use super::encode::EncodeOptions;
use super::queue::{Encoded, Item, Signal};
use super::report::Report;
use super::retry::{Reply, RetryPolicy};
use crate::telemetry::ledger::Lost;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Items taken from the queue at once.
const TAKE: usize = 256;
/// Between attempts while the agent stops.
const STOPPING_WAIT: Duration = Duration::from_millis(500);

/// Says when to stop: None while running, then the moment by which all must be over.
pub type Stop = watch::Receiver<Option<Instant>>;

/// What a worker goes by.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    pub batch: BatchLimits,
    /// An item waits this long for others at the most.
    pub delay: Duration,
}

pub struct Worker {
    pub signal: Signal,
    pub encode: Arc<EncodeOptions>,
    pub options: WorkerOptions,
    pub queue: mpsc::UnboundedReceiver<Item>,
    pub stop: Stop,
    pub exporter: Exporter,
}

/// A request under way: gives the exporter back when it is done.
type Sending = Pin<Box<dyn Future<Output = Exporter> + Send>>;

/// What waits to be sent.
#[derive(Default)]
struct Pending {
    items: VecDeque<Encoded>,
    bytes: usize,
}

impl Pending {
    fn push(&mut self, item: Encoded) {
        self.bytes += item.message.len();
        self.items.push_back(item);
    }

    fn take(&mut self, limits: BatchLimits) -> Batch {
        let batch = Batch::take(&mut self.items, limits);
        self.bytes = self.bytes.saturating_sub(batch.message_bytes());
        batch
    }

    fn full(&self, limits: BatchLimits) -> bool {
        self.items.len() >= limits.items || self.bytes >= limits.bytes
    }

    /// When the item in front must be on its way.
    fn due(&self, delay: Duration) -> Option<Instant> {
        self.items.front().map(|item| item.since + delay)
    }
}

impl Worker {
    /// Runs until the queue is closed and empty, or the deadline has passed.
    pub async fn run(self) {
        let Worker {
            signal,
            encode,
            options,
            mut queue,
            mut stop,
            exporter,
        } = self;
        let mut idle = Some(exporter);
        let mut sending: Option<Sending> = None;
        let mut pending = Pending::default();
        let mut taken = Vec::with_capacity(TAKE);
        let (mut open, mut stopping) = (true, false);
        loop {
            let due = pending.due(options.delay);
            let late = due.is_some_and(|due| due <= Instant::now());
            let flush = late || !open || pending.full(options.batch);
            if flush
                && !pending.items.is_empty()
                && let Some(exporter) = idle.take()
            {
                let batch = pending.take(options.batch);
                sending = Some(Box::pin(exporter.deliver(batch, stop.clone())));
            }
            if !open && sending.is_none() && pending.items.is_empty() {
                return;
            }
            let wake = pending.due(options.delay).filter(|_| sending.is_none());
            tokio::select! {
                count = queue.recv_many(&mut taken, TAKE), if open => {
                    open = count > 0;
                    for item in taken.drain(..) {
                        pending.push(item.encode(signal, &encode));
                    }
                }
                exporter = progress(&mut sending), if sending.is_some() => {
                    sending = None;
                    idle = Some(exporter);
                }
                () = at(wake), if wake.is_some() => {}
                () = stopped(&mut stop), if !stopping => {
                    stopping = true;
                    // What was offered is still taken out; from now on nothing is added.
                    queue.close();
                }
            }
        }
    }
}

async fn progress(sending: &mut Option<Sending>) -> Exporter {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Ends when a stop was asked for. Without anyone left to ask it never does.
async fn stopped(stop: &mut Stop) {
    if stop.wait_for(Option::is_some).await.is_err() {
        std::future::pending().await
    }
}

/// Ends when the deadline of the stop has passed.
async fn overdue(mut stop: Stop) {
    stopped(&mut stop).await;
    let deadline = *stop.borrow();
    at(deadline).await;
}

/// Hands batches over, again and again until the destination takes them or all hope is gone.
pub struct Exporter {
    pub client: Client,
    pub retry: RetryPolicy,
    pub report: Report,
}

/// How a batch ended.
enum End {
    Accepted { rejected: u64, message: String },
    Lost(Lost, String),
}

impl Exporter {
    /// Settles every item of the batch.
    async fn deliver(mut self, batch: Batch, stop: Stop) -> Self {
        let overdue = overdue(stop.clone());
        let end = tokio::select! {
            // A deadline that has passed wins over a reply that might come.
            biased;
            () = overdue => End::Lost(Lost::Shutdown, "the agent is stopping".into()),
            end = self.attempts(&batch, stop) => end,
        };
        let items = batch.len();
        match end {
            End::Accepted { rejected, message } => {
                let rejected = usize::try_from(rejected).unwrap_or(usize::MAX).min(items);
                self.report.accepted(rejected, &message);
                batch.exported(rejected);
            }
            End::Lost(reason, error) => {
                self.report.lost(items, reason, &error);
                batch.lost(reason);
            }
        }
        self.report.remind();
        self
    }

    async fn attempts(&mut self, batch: &Batch, mut stop: Stop) -> End {
        let request = batch.encode();
        let started = Instant::now();
        let mut failures = 0;
        loop {
            let (error, after) = match self.client.send(request.clone()).await {
                Reply::Accepted { rejected, message } => {
                    return End::Accepted { rejected, message };
                }
                Reply::Refused { error } => return End::Lost(Lost::Rejected, error),
                Reply::Later { error, after } => (error, after),
            };
            failures += 1;
            self.report.failed(&error);
            let stopping = stop.borrow().is_some();
            let own = self.retry.wait(failures, fastrand::f64());
            let wait = match after {
                // Not even a server that says 0 is asked without a pause.
                Some(after) => after.max(self.retry.first / 5),
                None if stopping => own.min(STOPPING_WAIT),
                None => own,
            };
            if started.elapsed() + wait > self.retry.budget {
                return End::Lost(Lost::RetryExhausted, error);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // There is little time left: one more attempt at once, unless the server itself asked to wait.
                () = stopped(&mut stop), if !stopping && after.is_none() => {}
            }
        }
    }
}
