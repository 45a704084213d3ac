//! Connections and their streams.
//!
//! Enters: kernel events. Leaves: raw transactions, and the fate of each connection.
//! Holds: no I/O and no clock (time comes with the events); memory is bounded for each connection and in all;
//! any cutting of the bytes into events gives the same transactions.
//!
//! [`assemble`] puts each direction's bytes in order, [`pair`] joins the two directions of a stream and holds the session
//! of its protocol, [`finish`] makes a transaction of each exchange that a session gives, with what [`call`] reads in it
//! of gRPC, [`socket`] keeps what is known of the connection below, [`hello`] reads TLS hellos, [`table`] owns all.

mod assemble;
mod call;
mod finish;
mod hello;
mod pair;
mod socket;
mod table;

pub use table::Table;

use crate::event::{ConnOpen, KernelTime};
use crate::join::{ClientEnd, Key};
use crate::redact::Raw;
use crate::telemetry::ledger::{Lost, Uncaptured};
use crate::trace::{Begin, Begun};
use crate::transaction::{BodyLimits, Progress, Transaction};

/// Bounds of what a [`Table`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub body: BodyLimits,
    /// Memory of one stream, in bytes, bodies included; leave room for the bodies of a request and its response.
    pub connection_memory: usize,
    /// Memory of all, in bytes.
    pub total_memory: u64,
}

/// What became of a connection. Each is `Seen` first, then `Captured` or `Uncaptured` once, or neither while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFate {
    Seen,
    /// It gave its first transaction.
    Captured,
    /// It ended without a transaction.
    Uncaptured(Uncaptured),
}

/// Takes what a [`Table`] gives.
pub trait Output {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>);
    /// A transaction that goes on reports; those who want no reports leave this as it is.
    fn progress(&mut self, _progress: Raw<Progress>) {}
    /// Transactions that began and can't be told.
    fn lost(&mut self, reason: Lost, transactions: u64);
    fn connection(&mut self, fate: ConnectionFate);
    /// A connection gave nothing, for this reason by what is known of it alone; `open`: whose it was, where it was announced.
    fn uncaptured(&mut self, reason: Uncaptured, _open: Option<&ConnOpen>) {
        self.connection(ConnectionFate::Uncaptured(reason));
    }
    /// This host has the client's end of a connection, with its requests in the clear.
    fn client_end(&mut self, _end: ClientEnd) {}
    /// That end was closed.
    fn client_gone(&mut self, _key: &Key, _time: KernelTime) {}
    /// A thread begins to handle a request, waiting for nothing else, or makes a call while it does.
    fn begins(&mut self, _begun: Begun) {}
    /// The first byte of the answer was written, by the thread `by`; None: there will be no answer.
    fn answers(&mut self, _begin: Begin, _by: Option<u32>, _time: KernelTime) {}
    /// Whether calls of this thread are of interest.
    fn is_handling(&self, _pid: u32, _tid: u32) -> bool {
        false
    }
}
