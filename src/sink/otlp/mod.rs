//! OTLP out: spans, log records and metrics to one store.
//!
//! Enters: deliveries. Leaves: OTLP requests over gRPC or HTTP, many resources in each; meanwhile, with a spool, files.
//! Holds: one task and one queue for each signal, bounded by count and by bytes; `offer` never waits, and what finds no
//! room is lost as `queue_full`; every delivery is counted once as exported or lost, with the reason.

mod batch;
mod books;
mod client;
mod compress;
mod connect;
mod courier;
mod disk;
pub mod encode;
mod frame;
mod grpc;
pub(super) mod health;
mod http;
mod metrics;
mod queue;
mod report;
mod retry;
mod room;
mod shelf;
mod split;
mod task;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod worker;

pub use crate::spool::SpoolError;
pub use batch::BatchLimits;
pub use courier::Courier;
pub use encode::{EncodeOptions, KnownMethods};
pub use metrics::OtlpMetrics;
pub use retry::RetryPolicy;

use super::{Delivery, PayloadEvent, ProgressDelivery, Sink};
use crate::config::Temporality;
use crate::config::{OtelStore, OtlpEndpoint, OtlpProtocol, SpoolSettings};
use crate::spool::{self, SpoolLimits, Usage};
use crate::telemetry::Ledger;
use books::Books;
use disk::Disk;
use encode::Common;
use queue::{Queue, Signal};
use room::Room;
use shelf::Shelf;
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use task::Task;
use tokio::runtime::Handle;
use worker::{Worker, WorkerOptions};

/// How a store is fed.
#[derive(Debug, Clone)]
pub struct OtlpOptions {
    pub known_methods: KnownMethods,
    /// Items that one signal holds at the most, the batch under way included.
    pub queue_items: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
    pub batch: BatchLimits,
    /// A span waits this long for others at the most.
    pub traces_delay: Duration,
    /// A log record waits this long for others at the most.
    pub logs_delay: Duration,
    /// Between two exports of metrics.
    pub metrics_interval: Duration,
    pub temporality: Temporality,
    pub retry: RetryPolicy,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        OtlpOptions {
            known_methods: KnownMethods::default(),
            queue_items: 262_144,
            queue_bytes: 32 << 20,
            batch: BatchLimits {
                items: 2048,
                // As much as a core's own cache holds. Collectors refuse 4 MiB, and refuse for good.
                bytes: 1 << 20,
            },
            traces_delay: Duration::from_secs(1),
            logs_delay: Duration::from_millis(500),
            metrics_interval: crate::metrics::INTERVAL,
            temporality: Temporality::default(),
            retry: RetryPolicy::default(),
        }
    }
}

/// Why a store cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("endpoint {url}: {error}; give it as http(s)://host:port")]
    Url { url: String, error: String },
    #[error(
        "header `{name}` has a name or a value that cannot be sent: use visible ASCII characters"
    )]
    Header { name: String },
    #[error("{0}")]
    Tls(String),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl StartError {
    fn url(url: &str, error: impl std::fmt::Display) -> Self {
        StartError::Url {
            url: report::shown(url),
            error: error.to_string(),
        }
    }
}

/// The signals of one store of type `otel`.
pub struct OtlpSink {
    lanes: Vec<Lane>,
    encode: Arc<EncodeOptions>,
}

struct Lane {
    queue: Queue,
    task: Task,
}

impl OtlpSink {
    /// Starts the workers of the signals that are on. Connections are made when there is something to send, so that a
    /// collector that is down now is no error.
    ///
    /// # Errors
    /// When a URL, a header or a TLS file cannot be used.
    pub fn start(
        store_id: &str,
        store: &OtelStore,
        options: OtlpOptions,
        ledger: Ledger,
        runtime: &Handle,
    ) -> Result<OtlpSink, StartError> {
        let signals = [
            (Signal::Traces, &store.traces, options.traces_delay),
            (Signal::Logs, &store.logs, options.logs_delay),
        ];
        let encode = Arc::new(EncodeOptions {
            known_methods: options.known_methods.clone(),
        });
        let usage = store.spool.as_ref().map(|s| Usage::new(s.max_bytes));
        let mut lanes = Vec::new();
        for (signal, endpoint, delay) in signals {
            if let Some(endpoint) = endpoint {
                let name = format!("{store_id}/{}", signal.name());
                let exporter = component_type(signal.name(), endpoint.protocol);
                let room = Room::new(Some(exporter), options.queue_items, options.queue_bytes);
                let books = Books {
                    ledger: ledger.clone(),
                    signal: name.into(),
                    progress: format!("{store_id}/progress").into(),
                };
                ledger.queues().watch(&books.signal, &room);
                let queue = Queue {
                    signal,
                    options: encode.clone(),
                    shelf: Arc::new(Shelf::new(options.batch, room, books.clone())),
                };
                let disk = match store.spool.as_ref().zip(usage.as_ref()) {
                    Some((spool, usage)) => disk(spool, usage, store_id, signal)?,
                    None => Disk::none(),
                };
                let settings = (endpoint, &options, delay);
                lanes.push(Lane::start(queue, settings, (books, disk), runtime)?);
            }
        }
        Ok(OtlpSink { lanes, encode })
    }

    fn logs(&self) -> Option<&Lane> {
        self.lanes
            .iter()
            .find(|lane| lane.queue.signal == Signal::Logs)
    }

    /// Sends what waits, until `deadline` at the latest; what is left then goes to the spool, or is lost as `shutdown`.
    /// From the call on nothing more is taken.
    pub async fn drain(&self, deadline: Instant) {
        for lane in &self.lanes {
            lane.task.stop(deadline);
        }
        for lane in &self.lanes {
            lane.task.ended().await;
        }
    }
}

/// `otel.component.type` of an exporter (semantic conventions, "OpenTelemetry SDK metrics").
fn component_type(signal: &str, protocol: OtlpProtocol) -> &'static str {
    match (signal, protocol) {
        ("traces", OtlpProtocol::Grpc) => "otlp_grpc_span_exporter",
        ("traces", OtlpProtocol::Http) => "otlp_http_span_exporter",
        ("logs", OtlpProtocol::Grpc) => "otlp_grpc_log_exporter",
        ("logs", OtlpProtocol::Http) => "otlp_http_log_exporter",
        (_, OtlpProtocol::Grpc) => "otlp_grpc_metric_exporter",
        (_, OtlpProtocol::Http) => "otlp_http_metric_exporter",
    }
}

/// The spool of one signal. Its folder is looked at now, what is in it later.
fn disk(
    spool: &SpoolSettings,
    usage: &Arc<Usage>,
    store_id: &str,
    signal: Signal,
) -> Result<Disk, SpoolError> {
    let folder = spool::prepare(&spool.dir, store_id, signal.name())?;
    let lock = spool::Lock::take(&folder)?;
    let limits = SpoolLimits {
        usage: usage.clone(),
        max_age: spool.max_age,
    };
    Ok(Disk::open(folder, lock, limits))
}

impl Lane {
    fn start(
        queue: Queue,
        (endpoint, options, delay): (&OtlpEndpoint, &OtlpOptions, Duration),
        (books, disk): (Books, Disk),
        runtime: &Handle,
    ) -> Result<Lane, StartError> {
        let client = {
            // The gRPC channel starts a task of its own.
            let _inside = runtime.enter();
            client::Client::new(queue.signal.service(), split::items, endpoint)?
        };
        let parts = worker::Parts {
            options: WorkerOptions {
                delay,
                spill: BatchLimits {
                    items: options.queue_items / 2,
                    bytes: options.queue_bytes / 2,
                },
                retry: options.retry,
            },
            shelf: queue.shelf.clone(),
            client,
            report: report::Report::new(&books.signal, &endpoint.url, queue.room().clone()),
            books: books.clone(),
            disk,
        };
        let task = Task::start(books.signal, runtime, |stop| Worker::new(parts, stop).run());
        Ok(Lane { queue, task })
    }
}

impl Sink for OtlpSink {
    fn offer(&self, delivery: Delivery) {
        let Delivery {
            capture,
            link,
            ticket,
        } = delivery;
        let no_span = capture.ids.no_span.is_some();
        let common = OnceCell::new();
        let make = || Common::new(&capture, link.as_ref(), &self.encode);
        for lane in &self.lanes {
            if !no_span || lane.queue.signal != Signal::Traces {
                let common = || common.get_or_init(make);
                lane.queue.offer(&capture.process, ticket.clone(), common);
            }
        }
        // The signals have tickets of their own.
        ticket.taken();
    }

    fn takes_without_span(&self) -> bool {
        self.logs().is_some()
    }

    fn takes_progress(&self) -> bool {
        self.logs().is_some()
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        match self.logs() {
            Some(lane) => lane.queue.offer_progress(delivery),
            // Nobody was to take it.
            None => delivery.ticket.taken(),
        }
    }

    fn offer_event(&self, event: &Arc<PayloadEvent>) {
        if let Some(lane) = self.logs() {
            lane.queue.offer_event(event);
        }
    }
}
