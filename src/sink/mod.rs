//! Sinks: where redacted captures go.
//!
//! Enters: [`Redacted`](crate::redact::Redacted) captures with their ticket of the ledger.
//! Leaves: OTLP requests, payload objects, lines on stdout, and what viewers of the moment are shown.
//! Holds: every queue is bounded and never blocks the one who fills it; a destination that fails stalls no other;
//! each capture's end is told to the ledger, by every signal that was to take it.

use crate::enrich::Process;
use crate::redact::{Redacted, RedactedProgress};
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use std::sync::Arc;
use std::time::SystemTime;

mod claim;
mod fanout;
pub(crate) mod folder;
mod json;
pub mod live;
pub mod otlp;
pub mod payload;
pub mod stdout;
#[cfg(test)]
mod testing;

pub use fanout::Fanout;

/// Where the payload of a capture is, as span and log record say it.
///
/// `digest` and `size` are absent together: in a payload that was lost before it was encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadLink {
    /// The filled `access_url` template, or the store's own URL. Never presigned. None: lost before its key was known,
    /// or the store has no URLs (stdout).
    pub url: Option<String>,
    /// Hex SHA-256 of the document's bytes.
    pub digest: Option<String>,
    /// Bytes of the document.
    pub size: Option<u64>,
    pub status: PayloadStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadStatus {
    Stored,
    Pending,
    Lost,
}

impl PayloadStatus {
    /// `plainspan.payload.status`.
    pub fn name(self) -> &'static str {
        match self {
            PayloadStatus::Stored => "stored",
            PayloadStatus::Pending => "pending",
            PayloadStatus::Lost => "lost",
        }
    }
}

/// What became of payloads whose spans left before it was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadEvent {
    /// Whose resource it has: the agent's where they are stored, the observed process's where one is lost.
    pub process: Arc<Process>,
    pub time: SystemTime,
    /// Trace and span id of the transaction, where it is about one that has any.
    pub span: Option<([u8; 16], [u8; 8])>,
    /// Of the transaction, where it is about one.
    pub transaction: Option<String>,
    /// Of the object; of the payload in it, where it is about one transaction.
    pub url: Option<String>,
    /// Where it is about one transaction.
    pub digest: Option<String>,
    /// Bytes of the object that is stored, or of the document that is lost.
    pub size: Option<u64>,
    pub fate: PayloadFate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadFate {
    /// The payloads of so many transactions are in the store.
    Stored {
        transactions: u64,
    },
    Lost(PayloadLost),
}

/// One capture on its way to one telemetry sink.
#[derive(Clone)]
pub struct Delivery {
    pub capture: Arc<Redacted>,
    pub link: Option<PayloadLink>,
    pub ticket: SharedTicket,
}

/// One report of a transaction that lasts, on its way to one telemetry sink.
#[derive(Clone)]
pub struct ProgressDelivery {
    pub progress: Arc<RedactedProgress>,
    pub ticket: SharedTicket,
}

/// A telemetry sink: takes deliveries without blocking.
pub trait Sink: Send + Sync {
    /// Takes the delivery, or tells its ticket why not. Never blocks.
    fn offer(&self, delivery: Delivery);

    /// Whether it makes more of a capture than its span.
    fn takes_without_span(&self) -> bool {
        true
    }

    /// Whether it shows transactions before they end.
    fn takes_progress(&self) -> bool;

    /// Takes a report, or tells its ticket why not. Never blocks.
    fn offer_progress(&self, delivery: ProgressDelivery);

    /// Takes an event, or counts it as lost. One that shows no such events lets it go. Never blocks.
    fn offer_event(&self, _event: &Arc<PayloadEvent>) {}
}
