//! How many transactions nothing was seen of, by the turns of their connection.
//!
//! Enters: the turns of each exchange that is given, bytes that are missing, the connection's last turn. Leaves: numbers
//! of transactions lost.
//! Holds: the kernel programs count turns before an event can be lost. Without pipelining a transaction has two, its
//! request and its response, and a turn's number tells its direction; so what lies between two exchanges is known, also
//! where all of it was lost. Nothing is lost without missing bytes. More turns than two come with 100 (Continue) and with
//! answers that a request is still on its way to: of transactions that were lost as a whole the number is then too high.

use crate::transaction::{Exchange, Stamp};

/// The shortest request: what is missing of a transaction at the least.
const SHORTEST: u64 = b"GET / HTTP/1.0\r\n\r\n".len() as u64;
/// At a time; only a damaged recording says more.
const MOST: u64 = 1 << 16;

/// The turns of one connection.
#[derive(Debug)]
pub struct Turns {
    /// Turn in which the next request begins, if nothing is lost before it. None: not known.
    next: Option<u32>,
    /// The newest one that was seen.
    newest: u32,
    /// Missing bytes that no lost transaction stands for yet.
    missing: u64,
    /// Transactions that were seen to be lost since the last exchange: all that is known with pipelining.
    known: u64,
}

impl Turns {
    /// `late`: not seen from its first turn on.
    pub fn new(late: bool) -> Turns {
        Turns {
            next: (!late).then_some(0),
            newest: 0,
            missing: 0,
            known: 0,
        }
    }

    /// Something of this turn was seen.
    pub fn saw(&mut self, stamp: Stamp) {
        self.newest = self.newest.max(stamp.turn);
    }

    pub fn gap(&mut self, len: u64) {
        self.missing = self.missing.saturating_add(len);
    }

    /// A transaction of which nothing can be told is lost.
    pub fn lost(&mut self) {
        self.known += 1;
    }

    /// Not all turns before the next exchange are of transactions that should have been seen.
    pub fn forget(&mut self) {
        self.next = None;
        self.known = 0;
    }

    /// The number lost before this exchange, which is given now.
    pub fn before(&mut self, exchange: &Exchange, pipelined: bool) -> u64 {
        let first = exchange.first().turn;
        let begins = match &exchange.request {
            Some(request) => request.first.turn,
            None => first.saturating_sub(1),
        };
        let lost = self.until(begins, pipelined);
        let messages = [&exchange.request, &exchange.response];
        let ends = messages.into_iter().flatten().map(|m| m.last.turn).max();
        let over = ends.unwrap_or(first).max(begins).saturating_add(1);
        // Requests go in every other turn.
        let over = over.saturating_add(over.wrapping_sub(begins) & 1);
        self.next = Some(self.next.unwrap_or(0).max(over));
        lost
    }

    /// The number lost after the last exchange of a connection that ends. `last`: its last turn, where that is known.
    pub fn at_end(&mut self, last: u32, pipelined: bool) -> u64 {
        let last = last.max(self.newest);
        let lost = self.until(last.saturating_add(2), pipelined);
        self.forget();
        lost
    }

    /// The number lost up to the turn `begins`, in which a request begins.
    fn until(&mut self, begins: u32, pipelined: bool) -> u64 {
        let known = std::mem::take(&mut self.known);
        let lost = match self.next {
            Some(next) if !pipelined => u64::from(begins.saturating_sub(next) / 2),
            _ => known,
        };
        let lost = lost.min(self.missing / SHORTEST).min(MOST);
        self.missing -= lost * SHORTEST;
        lost
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
