//! Transactions that are over while the container of their process is still being asked for.
//!
//! Enters: a whole transaction whose process's identity is on its way. Leaves: the same, in the order in which they
//! came, when the answer is there or given up.
//! Holds: bounded by number and bytes; what finds no room goes on at once, its identity marked as pending. A look-up is
//! answered within [`crate::enrich::identity::TIMEOUT`], and given up after a second, so nothing stays.

use crate::redact::Raw;
use crate::telemetry::ledger::Ticket;
use crate::transaction::Transaction;
use std::collections::VecDeque;

/// Transactions held at the most.
const COUNT_MAX: usize = 1024;
/// Bytes held at the most.
const BYTES_MAX: usize = 8 << 20;

/// What waits.
#[derive(Default)]
pub struct Held {
    waiting: VecDeque<(Raw<Transaction>, Ticket)>,
    bytes: usize,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> u64 {
        self.bytes as u64
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, transaction: &Transaction) -> bool {
        self.waiting.len() < COUNT_MAX && self.bytes + transaction.memory() <= BYTES_MAX
    }

    pub fn push(&mut self, raw: Raw<Transaction>, ticket: Ticket) {
        self.bytes += raw.0.memory();
        self.waiting.push_back((raw, ticket));
    }

    /// Takes all out; who must wait on comes back by [`Held::push`].
    pub fn take(&mut self) -> VecDeque<(Raw<Transaction>, Ticket)> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}
