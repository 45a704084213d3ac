//! What a signal is offered: encoded at once, while its memory is warm, and put on the shelf; never blocking.

use super::batch::Entry;
use super::books::Page;
use super::encode::{self, Common, EncodeOptions};
use super::room::Room;
use super::shelf::Shelf;
use crate::enrich::Process;
use crate::sink::{PayloadEvent, ProgressDelivery};
use crate::telemetry::ledger::SharedTicket;
use prost::Message as _;
use std::sync::Arc;
use std::time::SystemTime;

/// What is made of captures.
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

    fn encode(self, out: Vec<u8>, common: &Common<'_>) -> Vec<u8> {
        match self {
            Signal::Traces => encode::span_bytes(out, common),
            Signal::Logs => encode::log_record_bytes(out, common, SystemTime::now()),
        }
    }
}

/// The end of the shelf that is filled. Dropped, nothing more comes.
pub struct Queue {
    pub signal: Signal,
    pub options: Arc<EncodeOptions>,
    pub shelf: Arc<Shelf>,
}

impl Queue {
    pub fn room(&self) -> &Arc<Room> {
        self.shelf.room()
    }

    /// Takes a capture of the process, or counts it as lost. Never blocks.
    pub fn offer<'a, 'b: 'a>(
        &self,
        process: &Arc<Process>,
        ticket: SharedTicket,
        common: impl FnOnce() -> &'a Common<'b>,
    ) {
        let entry = Entry::of(Page::Items, Some(ticket));
        let encode = |out| self.signal.encode(out, common());
        self.shelf.put(process, entry, encode);
    }

    /// Takes a report of a transaction that lasts, or counts it as lost. Never blocks.
    pub fn offer_progress(&self, delivery: ProgressDelivery) {
        let ProgressDelivery { progress, ticket } = delivery;
        let entry = Entry::of(Page::Progress, Some(ticket));
        self.shelf.put(&progress.process, entry, |mut out| {
            let record = encode::progress_record(&progress, SystemTime::now(), &self.options);
            record.encode(&mut out).expect("a Vec takes all");
            out
        });
    }

    /// Takes an event, or counts it as lost. Never blocks.
    pub fn offer_event(&self, event: &PayloadEvent) {
        let entry = Entry::of(Page::Items, None);
        self.shelf.put(&event.process, entry, |out| {
            encode::payload_event(out, event, SystemTime::now())
        });
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shelf.close();
    }
}
