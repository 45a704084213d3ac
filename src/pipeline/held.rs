//! Transactions that are over while something that they need is on its way: the container of their process, or the other
//! end of their connection.
//!
//! Enters: a whole transaction. Leaves: the same, in the order in which they came, when what they wait for is there or
//! given up.
//! Holds: bounded by number and bytes; what finds no room goes on at once, its identity marked as pending. A look-up is
//! answered within [`crate::enrich::identity::TIMEOUT`], and given up after a second; of another end nobody waits longer
//! than a moment (`joining`), so nothing stays.

use crate::redact::Raw;
use crate::telemetry::ledger::Ticket;
use crate::transaction::Transaction;
use std::collections::VecDeque;

/// Transactions held at the most.
const COUNT_MAX: usize = 1024;
/// Bytes held at the most.
const BYTES_MAX: usize = 8 << 20;

/// What waits.
pub struct Held {
    waiting: VecDeque<(Raw<Box<Transaction>>, Ticket)>,
    bytes: usize,
    most: usize,
}

impl Default for Held {
    fn default() -> Held {
        Held {
            waiting: VecDeque::new(),
            bytes: 0,
            most: BYTES_MAX,
        }
    }
}

impl Held {
    /// Holds an eighth of what connections and this may hold together, at the most.
    pub fn share(&mut self, total: u64) {
        let share = usize::try_from(total / 8).unwrap_or(usize::MAX);
        self.most = share.min(BYTES_MAX);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> u64 {
        self.bytes as u64
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, transaction: &Transaction) -> bool {
        self.waiting.len() < COUNT_MAX && self.bytes + transaction.memory() <= self.most
    }

    pub fn push(&mut self, raw: Raw<Box<Transaction>>, ticket: Ticket) {
        self.bytes += raw.0.memory();
        self.waiting.push_back((raw, ticket));
    }

    /// Takes the first out, unless it must wait on.
    pub fn pop_unless(
        &mut self,
        waits: impl FnOnce(&Transaction) -> bool,
    ) -> Option<(Raw<Box<Transaction>>, Ticket)> {
        let (raw, _) = self.waiting.front()?;
        if waits(&raw.0) {
            return None;
        }
        self.bytes = self.bytes.saturating_sub(raw.0.memory());
        self.waiting.pop_front()
    }

    /// Takes all out; who must wait on comes back by [`Held::push`].
    pub fn take(&mut self) -> VecDeque<(Raw<Box<Transaction>>, Ticket)> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}
