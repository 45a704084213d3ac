//! Batches of encoded items: one that is being filled, and those that are full.
//!
//! Enters: items of any thread. Leaves: batches, oldest first, to the signal's worker.
//! Holds: bounded by its [`Room`]; what finds no room, or comes after the end, is lost and counted at once. The lock is
//! held for as long as it takes to encode one item, or to take a batch out.

use super::batch::{Batch, BatchLimits, Entry, OVERHEAD};
use super::books::Books;
use super::frame::Pool;
use super::room::Room;
use crate::enrich::Process;
use crate::telemetry::ledger::Lost;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A buffer for one item is kept up to this size, bytes.
const SCRATCH: usize = 256 << 10;

/// What one signal holds, up to the batches that are taken.
pub struct Shelf {
    state: Mutex<State>,
    changed: Notify,
    limits: BatchLimits,
    pool: Arc<Pool>,
    room: Arc<Room>,
    books: Books,
}

#[derive(Default)]
struct State {
    filling: Option<Batch>,
    full: VecDeque<Batch>,
    /// Items in all of them.
    items: usize,
    /// Bytes, with what they take beside their messages.
    bytes: usize,
    closed: bool,
    /// Memory of one item that is being encoded.
    scratch: Vec<u8>,
}

/// What there is, at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    pub items: usize,
    pub bytes: usize,
    /// There is a batch that takes no more.
    pub full: bool,
    /// Since when the oldest item is there.
    pub since: Option<Instant>,
    /// Nothing more comes.
    pub closed: bool,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// It is more than `limits`.
    pub fn beyond(&self, limits: BatchLimits) -> bool {
        self.items > limits.items || self.bytes > limits.bytes
    }

    /// When the oldest item must be on its way.
    pub fn due(&self, delay: Duration) -> Option<Instant> {
        self.since.map(|since| since + delay)
    }
}

impl Shelf {
    pub fn new(limits: BatchLimits, room: Arc<Room>, books: Books) -> Shelf {
        Shelf {
            state: Mutex::default(),
            changed: Notify::new(),
            limits,
            pool: Arc::default(),
            room,
            books,
        }
    }

    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    // A panic elsewhere leaves whole batches behind, and one item less.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item of the process, or counts it as lost. `encode` writes its message behind what it is given.
    pub fn put(
        &self,
        process: &Arc<Process>,
        entry: Entry,
        encode: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) {
        self.books.offered(entry.page());
        // Nothing is encoded for nothing.
        if !self.room.fits(OVERHEAD) {
            return self.refuse(entry);
        }
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return self.books.lost([entry], Lost::Shutdown);
        }
        let mut scratch = std::mem::take(&mut state.scratch);
        scratch.clear();
        let message = encode(scratch);
        let refused = match self.room.fits(message.len() + OVERHEAD) {
            true => {
                if self.add(&mut state, process, &message, entry) {
                    self.changed.notify_one();
                }
                None
            }
            false => Some(entry),
        };
        if message.capacity() <= SCRATCH {
            state.scratch = message;
        }
        drop(state);
        if let Some(entry) = refused {
            self.refuse(entry);
        }
    }

    fn refuse(&self, entry: Entry) {
        self.room.refuse();
        self.books.lost([entry], Lost::QueueFull);
    }

    /// Whether the worker has to know.
    fn add(&self, state: &mut State, process: &Arc<Process>, message: &[u8], entry: Entry) -> bool {
        let room = |batch: &mut Batch| batch.has_room(process, message.len(), self.limits);
        let closes = state.filling.as_mut().is_some_and(|batch| !room(batch));
        if closes {
            state.full.extend(state.filling.take());
        }
        let begins = state.filling.is_none();
        let batch = state
            .filling
            .get_or_insert_with(|| Batch::new(&self.pool, self.limits, &self.room, &self.books));
        batch.add(process, message, entry);
        state.items += 1;
        state.bytes += message.len() + OVERHEAD;
        begins || closes
    }

    /// The next batch: full, or what there is.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = match state.full.pop_front() {
            Some(full) => Some(full),
            None => state.filling.take(),
        };
        if let Some(batch) = &batch {
            state.items -= batch.len();
            state.bytes -= batch.held();
        }
        batch
    }

    pub fn waiting(&self) -> Waiting {
        let state = self.lock();
        let oldest = state.full.front().or(state.filling.as_ref());
        Waiting {
            items: state.items,
            bytes: state.bytes,
            full: !state.full.is_empty(),
            since: oldest.map(Batch::since),
            closed: state.closed,
        }
    }

    /// Nothing more is taken. What is there stays.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Something came that the worker has to know, since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
