//! Protocols: from bytes of both directions of a connection to messages and transactions.
//!
//! Enters: pieces of bytes in order, and gaps of known length. Leaves: exchanges.
//! Holds: nothing is copied but heads that are cut in two, and what of bodies is to be kept; any input is taken.

use crate::event::Dir;
use crate::telemetry::ledger::Lost;
use crate::transaction::{Exchange, Request, Stamp};

mod backlog;
pub mod detect;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod websocket;

pub use backlog::{Backlog, Held};

/// How long a response waits for its request, in nanoseconds of event time.
const WAIT_NS: u64 = 1_000_000_000;

/// How a direction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Reset,
    /// The agent stops.
    Unfinished,
}

/// Takes what a session gives.
pub trait Sink {
    /// An exchange ended. `requests`: the direction that requests went; `ordinal`: its number, from 0.
    fn exchange(&mut self, exchange: Exchange, requests: Dir, ordinal: u64);
    /// What is known of an exchange that goes on, without content; those who want none leave this as it is.
    fn progress(&mut self, _so_far: Exchange, _requests: Dir, _ordinal: u64) {}
    /// The head of a request has been read whose first byte is of `first`, and nothing else is open on its connection;
    /// those who want no such news leave this as it is.
    fn begins(&mut self, _first: Stamp, _requests: Dir, _request: &Request) {}
    /// The first byte of the response to such a request was written by the thread `by`; None: none comes.
    fn answers(&mut self, _first: Stamp, _by: Option<u32>) {}
    /// Whether requests that this thread sends are of interest.
    fn is_handling(&self, _pid: u32, _tid: u32) -> bool {
        false
    }
    /// Transactions that can't be told.
    fn lost(&mut self, reason: Lost, transactions: u64);
}

/// Bytes of one direction, in order, all moved by one operation.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    /// Offset of `bytes[0]` in the stream, where that is counted from the stream's first byte.
    pub offset: Option<u64>,
    /// `bytes[0]` is the first byte of its operation.
    pub op_start: bool,
    pub stamp: Stamp,
}

impl<'a> Piece<'a> {
    /// No bytes: what was read before may be over.
    pub fn nothing(stamp: Stamp) -> Self {
        Piece {
            bytes: &[],
            offset: None,
            op_start: false,
            stamp,
        }
    }

    /// Takes the first `n` bytes off; all where there are fewer.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.bytes.split_at(n.min(self.bytes.len()));
        self.bytes = rest;
        self.offset = self.offset.map(|o| o.saturating_add(head.len() as u64));
        self.op_start &= head.is_empty();
        head
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> &'a [u8] {
        self.take(self.bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Gives an exchange that ended its number; one of which nothing could be read can't be told. `gap`: bytes were lost that
/// may have been of it.
fn give(exchange: Exchange, requests: Dir, ordinal: &mut u64, gap: bool, sink: &mut impl Sink) {
    if exchange.is_empty() {
        return sink.lost(reason(gap || exchange.has_gap()), 1);
    }
    sink.exchange(exchange, requests, *ordinal);
    *ordinal += 1;
}

/// Why something can't be told.
fn reason(gap: bool) -> Lost {
    if gap {
        Lost::RingFull
    } else {
        Lost::Unparsable
    }
}
