//! One request: encoded items grouped by resource.
//!
//! `ExportTraceServiceRequest` and `ExportLogsServiceRequest` have the same shape and field numbers (OTLP 1.x), so the
//! frame around spans and log records is written once, by hand, around messages that are encoded already ([`frame`]).

use super::books::{Books, Page};
use super::encode;
use super::frame::{self, FIELD, Frame, Pool};
use super::room::{Held, Room};
use crate::enrich::Process;
use crate::spool::Tally;
use crate::telemetry::ledger::{Lost, SharedTicket};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes that an item takes beside its message: its place in the books, and its transaction's.
pub const OVERHEAD: usize = 128;

/// Bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    pub items: usize,
    /// Bytes before compression. One item that is larger goes alone.
    pub bytes: usize,
}

/// An item's place in the books.
pub struct Entry {
    page: Page,
    /// None: it is about no transaction in flight.
    ticket: Option<SharedTicket>,
}

impl Entry {
    pub fn of(page: Page, ticket: Option<SharedTicket>) -> Entry {
        Entry { page, ticket }
    }

    pub fn page(&self) -> Page {
        self.page
    }

    pub fn into_ticket(self) -> Option<SharedTicket> {
        self.ticket
    }
}

/// Items of one request. Dropped without an end they are lost as `shutdown`.
pub struct Batch {
    groups: Vec<Group>,
    /// The group of the last item.
    last: usize,
    entries: Vec<Entry>,
    scope: Vec<u8>,
    pool: Arc<Pool>,
    /// Bytes of items that it is made for.
    room: usize,
    /// Upper bound of the request's bytes.
    bytes: usize,
    since: Instant,
    held: Held,
    books: Books,
}

struct Group {
    process: Arc<Process>,
    frame: Frame,
}

impl Batch {
    /// An empty one, with memory of the pool for as much as the limits allow.
    pub fn new(pool: &Arc<Pool>, limits: BatchLimits, room: &Arc<Room>, books: &Books) -> Batch {
        Batch {
            groups: Vec::new(),
            last: 0,
            entries: Vec::new(),
            scope: encode::scope().encode_to_vec(),
            pool: pool.clone(),
            room: limits.bytes,
            bytes: 0,
            since: Instant::now(),
            held: Held::of(room.clone()),
            books: books.clone(),
        }
    }

    /// Whether it takes an item of `message` bytes. An empty one takes any.
    pub fn has_room(
        &mut self,
        process: &Arc<Process>,
        message: usize,
        limits: BatchLimits,
    ) -> bool {
        if self.entries.is_empty() {
            return true;
        }
        let head = match self.group(process) {
            Some(_) => 0,
            None => {
                let resource = encode::resource(process).encode_to_vec();
                Frame::overhead(&resource, &self.scope)
            }
        };
        self.entries.len() < limits.items && self.bytes + head + message + FIELD <= limits.bytes
    }

    /// The group of a process, which is that of the last item now.
    fn group(&mut self, process: &Arc<Process>) -> Option<&mut Group> {
        let is = |group: &Group| Arc::ptr_eq(&group.process, process);
        if !self.groups.get(self.last).is_some_and(is) {
            self.last = self.groups.iter().position(is)?;
        }
        self.groups.get_mut(self.last)
    }

    pub fn add(&mut self, process: &Arc<Process>, message: &[u8], entry: Entry) {
        if self.group(process).is_none() {
            let resource = encode::resource(process).encode_to_vec();
            self.bytes += Frame::overhead(&resource, &self.scope);
            self.last = self.groups.len();
            // The first may get all; the others grow, and what they grew to comes back to the pool.
            let room = if self.groups.is_empty() { self.room } else { 0 };
            self.groups.push(Group {
                process: process.clone(),
                frame: Frame::new(resource, &self.scope, &self.pool, room),
            });
        }
        if let Some(group) = self.groups.get_mut(self.last) {
            group.frame.add(message);
        }
        self.bytes += message.len() + FIELD;
        self.held.add(message.len() + OVERHEAD);
        self.entries.push(entry);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes, with what the items take beside their messages.
    pub fn held(&self) -> usize {
        self.held.bytes()
    }

    /// When its first item came.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What is in it, for the books.
    pub fn tally(&self) -> Tally {
        tally(&self.entries)
    }

    /// The request, which has the messages from now on.
    pub fn encode(&mut self) -> Bytes {
        let frames = self.groups.drain(..).map(|group| group.frame);
        frame::request(frames, &self.scope, &self.pool)
    }

    /// The destination took all but the last `rejected` items: which ones it refused it does not say.
    pub fn exported(mut self, rejected: usize) {
        let taken = self.entries.len().saturating_sub(rejected);
        let rejected = self.entries.split_off(taken);
        self.books.taken(std::mem::take(&mut self.entries));
        self.books.lost(rejected, Lost::Rejected);
    }

    pub fn lost(mut self, reason: Lost) {
        self.books.lost(std::mem::take(&mut self.entries), reason);
    }

    /// A spool has it: the transactions are done with, and the signal has them in flight until the spool is through.
    pub fn spooled(mut self) {
        let entries = std::mem::take(&mut self.entries);
        SharedTicket::end_all(entries.into_iter().filter_map(Entry::into_ticket), None);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            let entries = std::mem::take(&mut self.entries);
            self.books.lost(entries, Lost::Shutdown);
        }
    }
}

/// How many of each page.
pub fn tally(entries: &[Entry]) -> Tally {
    let progress = entries.iter().filter(|e| e.page == Page::Progress).count() as u64;
    Tally {
        batches: 1,
        items: entries.len() as u64 - progress,
        progress,
    }
}
