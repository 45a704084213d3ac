//! What waits for a signal's worker: bounded by count and by bytes, never blocking.

use super::encode::{self, EncodeOptions};
use crate::enrich::Process;
use crate::redact::{Capture, Redacted, RedactedProgress};
use crate::sink::claim::Claim;
use crate::sink::{Delivery, PayloadEvent, PayloadLink, ProgressDelivery};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use crate::telemetry::queues::{Fill, Watched};
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Captures above this many bytes are encoded when offered: the message holds no bodies, so the queue need not either.
const LARGE: usize = 64 << 10;
/// Bytes that an item takes beside its content.
pub const OVERHEAD: usize = 256;

/// What a worker makes of captures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Logs,
}

impl Signal {
    /// As in `STORE/SIGNAL`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
        }
    }

    /// The method of gRPC.
    pub fn service(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }

    fn encode(
        self,
        capture: &Capture,
        link: Option<&PayloadLink>,
        options: &EncodeOptions,
    ) -> Vec<u8> {
        match self {
            Signal::Traces => encode::span_bytes(capture, link, options),
            Signal::Logs => encode::log_record_bytes(capture, link, SystemTime::now(), options),
        }
    }
}

/// Room for what one signal holds, from the offer to the end of its export.
#[derive(Debug)]
pub struct Room {
    items: AtomicUsize,
    bytes: AtomicUsize,
    max_items: usize,
    max_bytes: usize,
    /// Items that found no room.
    refused: AtomicU64,
    /// Items in requests under way.
    sending: AtomicUsize,
    /// `otel.component.type` of the exporter.
    exporter: Option<&'static str>,
}

impl Room {
    /// `exporter`: the `otel.component.type` of what empties it.
    pub fn new(exporter: Option<&'static str>, max_items: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Room {
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_items,
            max_bytes,
            refused: AtomicU64::new(0),
            sending: AtomicUsize::new(0),
            exporter,
        })
    }

    /// So many items are under way until the result is dropped.
    pub fn sending(self: &Arc<Self>, items: usize) -> Sending {
        self.sending.fetch_add(items, Ordering::Relaxed);
        Sending {
            room: self.clone(),
            items,
        }
    }

    /// Items that found no room so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        // Added first, so that two at once cannot both take the last place.
        let reserved = Reserved {
            room: self.clone(),
            bytes,
        };
        let items = self.items.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if items < self.max_items && before.saturating_add(bytes) <= self.max_bytes {
            return Some(reserved);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl Watched for Room {
    fn fill(&self) -> Fill {
        let number = |n: &AtomicUsize| n.load(Ordering::Relaxed) as u64;
        Fill {
            items: number(&self.items),
            in_flight: number(&self.sending),
            bytes: number(&self.bytes),
            max_items: self.max_items as u64,
            max_bytes: self.max_bytes as u64,
            exporter: self.exporter,
            store: None,
        }
    }
}

/// Items in a request that is under way.
#[derive(Debug)]
pub struct Sending {
    room: Arc<Room>,
    items: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.room.sending.fetch_sub(self.items, Ordering::Relaxed);
    }
}

/// A part of the room; given back when dropped.
#[derive(Debug)]
struct Reserved {
    room: Arc<Room>,
    bytes: usize,
}

impl Reserved {
    fn resize(&mut self, bytes: usize) {
        self.room.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.items.fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One capture on its way to a worker.
pub struct Item {
    claim: Claim,
    reserved: Reserved,
    content: Content,
}

enum Content {
    Capture(Arc<Redacted>, Option<PayloadLink>),
    Progress(Arc<RedactedProgress>),
    Event(Arc<PayloadEvent>),
    Message(Arc<Process>, Vec<u8>),
}

/// One encoded span or log record.
pub struct Encoded {
    claim: Claim,
    pub process: Arc<Process>,
    pub message: Vec<u8>,
    /// A report of a transaction that lasts: it has books of its own.
    pub progress: bool,
    /// When the worker took it.
    pub since: Instant,
    _reserved: Reserved,
}

impl Encoded {
    pub fn exported(self) {
        self.claim.exported();
    }

    pub fn lost(self, reason: Lost) {
        self.claim.lost(reason);
    }

    pub fn spooled(self) {
        self.claim.spooled();
    }
}

impl Item {
    /// The message, and its true size taken from the room.
    pub fn encode(mut self, signal: Signal, options: &EncodeOptions) -> Encoded {
        let progress = matches!(self.content, Content::Progress(_));
        let (process, message) = match self.content {
            Content::Message(process, message) => (process, message),
            Content::Progress(progress) => {
                let record = encode::progress_record(&progress, SystemTime::now(), options);
                (progress.process.clone(), record.encode_to_vec())
            }
            Content::Event(event) => {
                let record = encode::payload_event(&event, SystemTime::now());
                (event.process.clone(), record)
            }
            Content::Capture(capture, link) => {
                let message = signal.encode(&capture, link.as_ref(), options);
                (capture.process.clone(), message)
            }
        };
        self.reserved.resize(message.len() + OVERHEAD);
        Encoded {
            claim: self.claim,
            process,
            message,
            progress,
            since: Instant::now(),
            _reserved: self.reserved,
        }
    }
}

/// The end of the queue that is filled.
pub struct Queue {
    pub signal: Signal,
    /// `STORE/SIGNAL`.
    pub name: Arc<str>,
    /// `STORE/progress`: reports go with the log records, and are counted apart.
    pub progress: Arc<str>,
    pub ledger: Ledger,
    pub options: Arc<EncodeOptions>,
    pub room: Arc<Room>,
    /// Unbounded in itself: [`Room`] is the bound.
    pub sender: mpsc::UnboundedSender<Item>,
}

impl Queue {
    /// Takes the delivery, or counts it as lost. Never blocks.
    pub fn offer(&self, delivery: Delivery) {
        let claim = Claim::offered(&self.ledger, &self.name, delivery.ticket);
        let capture = delivery.capture;
        let mut bytes = capture.transaction.memory() + OVERHEAD;
        let content = if bytes > LARGE {
            let message = self
                .signal
                .encode(&capture, delivery.link.as_ref(), &self.options);
            bytes = message.len() + OVERHEAD;
            Content::Message(capture.process.clone(), message)
        } else {
            Content::Capture(capture, delivery.link)
        };
        self.send(claim, bytes, content);
    }

    /// Takes a report of a transaction that lasts, or counts it as lost. Never blocks.
    pub fn offer_progress(&self, delivery: ProgressDelivery) {
        let claim = Claim::offered(&self.ledger, &self.progress, delivery.ticket);
        let bytes = delivery.progress.transaction.memory() + OVERHEAD;
        self.send(claim, bytes, Content::Progress(delivery.progress));
    }

    /// Takes an event, or counts it as lost. Never blocks.
    pub fn offer_event(&self, event: Arc<PayloadEvent>) {
        let claim = Claim::of_event(&self.ledger, &self.name);
        self.send(claim, 2 * OVERHEAD, Content::Event(event));
    }

    fn send(&self, claim: Claim, bytes: usize, content: Content) {
        let Some(reserved) = self.room.reserve(bytes) else {
            claim.lost(Lost::QueueFull);
            return;
        };
        let item = Item {
            claim,
            reserved,
            content,
        };
        if let Err(returned) = self.sender.send(item) {
            // The worker has ended, or takes no more: the agent is stopping.
            returned.0.claim.lost(Lost::Shutdown);
        }
    }
}
