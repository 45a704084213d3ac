//! The ids of requests that both ends of a connection can name (`crate::join`).
//!
//! Enters: a transaction that is wanted. Leaves: its hop, where one can be made.
//! Holds: the derived span of the client is a parent only where it leaves too: where this agent has the client's end, or
//! an agent beside it is said to. On one host the server's bytes may be read before the client's connection is
//! announced, so the first transactions of a connection whose client is not known are held for a moment, bounded by
//! number and bytes; what finds no room goes on at once.

use super::{Held, Stage};
use crate::enrich::{Ids, Lookup, Process};
use crate::event::{KernelTime, Role};
use crate::join::{ClientEnd, ClientEnds, Hop, Key, Scheme};
use crate::redact::Raw;
use crate::rules::expr::Net;
use crate::rules::{Early, Filter, Level};
use crate::telemetry::ledger::Ticket;
use crate::transaction::Transaction;

/// How long after a connection was met its client's end may still turn up on this host, in ns: a client that has just
/// sent may have to wait for a processor before its probe runs.
const SETTLED: u64 = 200_000_000;

/// What a configuration says of joining.
#[derive(Default)]
pub struct JoinSettings {
    pub scheme: Scheme,
    /// Networks with an agent of their own: a client there has its span.
    pub networks: Vec<Net>,
}

/// The state of joining.
#[derive(Default)]
pub struct Joins {
    settings: JoinSettings,
    ends: ClientEnds,
    held: Held,
}

impl Joins {
    pub fn new(settings: JoinSettings) -> Self {
        Joins {
            settings,
            ..Joins::default()
        }
    }

    /// Takes other settings.
    pub fn set(&mut self, settings: JoinSettings) {
        self.settings = settings;
        self.ends.judge_anew();
    }

    pub fn open(&mut self, end: ClientEnd) {
        self.ends.open(end);
    }

    pub fn close(&mut self, key: &Key, time: KernelTime) {
        self.ends.close(key, time);
    }

    pub fn tick(&mut self, now: KernelTime) {
        self.ends.tick(now);
    }

    /// Bytes held.
    pub fn memory(&self) -> u64 {
        self.held.memory() + self.ends.memory()
    }

    /// Whether the client of this transaction may turn up yet.
    fn must_wait(&self, transaction: &Transaction, ids: &Ids) -> bool {
        let Some(until) = settled(transaction) else {
            return false;
        };
        transaction.role == Role::Server
            && transaction.timing.end < until
            && position(transaction).is_some()
            && !ids.adopts(transaction.context.as_ref())
            && !self.is_joined_network(transaction)
            && !transaction
                .connection
                .join
                .is_some_and(|known| self.ends.knows(&known.key))
            && self.held.has_room(transaction)
    }

    fn is_joined_network(&self, transaction: &Transaction) -> bool {
        let remote = transaction.connection.remote;
        let networks = &self.settings.networks;
        remote.is_some_and(|remote| networks.iter().any(|net| net.contains(remote.ip())))
    }
}

fn position(transaction: &Transaction) -> Option<(Key, crate::join::Position)> {
    let known = transaction.connection.join?;
    let position = known.position(transaction.request.as_ref()?)?;
    Some((known.key, position))
}

/// When the client's end of its connection is known, if it is here.
fn settled(transaction: &Transaction) -> Option<KernelTime> {
    let since = transaction.connection.join?.since;
    Some(KernelTime(since.0.saturating_add(SETTLED)))
}

impl Stage {
    /// Holds a transaction whose client may turn up yet; else gives it back.
    pub(super) fn await_client(
        &mut self,
        raw: Raw<Transaction>,
        ticket: Ticket,
    ) -> Option<(Raw<Transaction>, Ticket)> {
        if !self.joins.must_wait(&raw.0, &self.ids) {
            return Some((raw, ticket));
        }
        self.joins.held.push(raw, ticket);
        None
    }

    /// Lets those go on who have waited long enough, or all.
    pub(super) fn release_joins(&mut self, now: Option<KernelTime>) {
        if self.joins.held.is_empty() {
            return;
        }
        let waits = |t: &Transaction| {
            let until = settled(t).filter(|_| now.is_some());
            until.is_some_and(|until| now.is_some_and(|now| now < until))
        };
        while let Some((raw, ticket)) = self.joins.held.pop_unless(waits) {
            let process = self.processes.get(raw.0.pid, raw.0.timing.end);
            self.leave(raw, ticket, process);
        }
    }

    /// The hop of a request; None: its ids are its own.
    pub(super) fn hop(&mut self, transaction: &Transaction) -> Option<Hop> {
        let (key, position) = position(transaction)?;
        let ids = self.joins.settings.scheme.ids(&key, position);
        let has_client = transaction.role == Role::Server
            && (self.joins.is_joined_network(transaction) || self.has_client(&key));
        Some(Hop {
            ids,
            role: transaction.role,
            has_client,
        })
    }

    /// Whether the client's end is on this host, and its spans leave.
    fn has_client(&mut self, key: &Key) -> bool {
        // What judges needs the rest of the stage.
        let mut ends = std::mem::take(&mut self.joins.ends);
        let covers = ends.covers(key, |end| self.judge_client(end));
        self.joins.ends = ends;
        covers
    }

    fn judge_client(&mut self, end: &ClientEnd) -> Option<bool> {
        let process = self.processes.get(end.pid, end.time);
        if process.identity.lookup == Lookup::Pending {
            return None;
        }
        let connection = &end.connection;
        let facts = Early {
            process: &process,
            connection: Some((Role::Client, connection.local, connection.remote)),
        };
        Some(admits(&self.filter, end, &process) && self.leaves_at(&facts) > Level::None)
    }
}

fn admits(filter: &Filter, end: &ClientEnd, process: &Process) -> bool {
    !process.is_agent && filter.admits_end(Role::Client, &end.connection, process)
}

#[cfg(test)]
#[path = "joining_tests.rs"]
mod tests;
