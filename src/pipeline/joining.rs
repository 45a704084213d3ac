//! The ids of requests that both ends of a connection can name (`crate::join`).
//!
//! Enters: a transaction that is wanted. Leaves: where it stands in its connection, and whether the client's span is there.
//! Holds: the derived span of the client is a parent only where it leaves too: where this agent has the client's end, or
//! an agent beside it is said to. On one host the server's bytes may be read before the client's connection is
//! announced, so the first transactions of a connection whose client is not known are held for a moment, bounded by
//! number and bytes; what finds no room goes on at once.

use super::placing::begin;
use super::{Held, Stage};
use crate::enrich::{Lookup, Process};
use crate::event::{KernelTime, Role};
use crate::join::{ClientEnd, ClientEnds, Key, Scheme};
use crate::redact::Raw;
use crate::rules::expr::Net;
use crate::rules::{Early, Filter, Level};
use crate::telemetry::ledger::Ticket;
use crate::trace::{Begin, Begun, Call, CapSettings, Caps, Sdks, Serving};
use crate::transaction::Transaction;
use std::net::{IpAddr, SocketAddr};

/// How long what belongs to a transaction may still turn up on this host, in ns: a client that has just sent may have to
/// wait for a processor before its probe runs.
const SETTLED: u64 = 200_000_000;

/// What a configuration says of joining.
#[derive(Default)]
pub struct JoinSettings {
    pub scheme: Scheme,
    /// Networks with an agent of their own: a client there has its span.
    pub networks: Vec<Net>,
    /// Networks whose trace headers are linked to and never adopted.
    pub untrusted: Vec<Net>,
    pub caps: CapSettings,
    /// A call may be the child of the request that its thread handles.
    pub inferred: bool,
}

/// The state of joining.
#[derive(Default)]
pub struct Joins {
    settings: JoinSettings,
    ends: ClientEnds,
    held: Held,
    pub(super) caps: Caps,
    pub(super) sdks: Sdks,
    pub(super) serving: Serving,
}

impl Joins {
    pub fn new(settings: JoinSettings) -> Self {
        let mut joins = Joins::default();
        joins.set(settings);
        joins
    }

    /// Takes other settings.
    pub fn set(&mut self, settings: JoinSettings) {
        self.caps.set(settings.caps);
        self.settings = settings;
        self.ends.judge_anew();
    }

    pub(super) fn scheme(&self) -> &Scheme {
        &self.settings.scheme
    }

    pub fn open(&mut self, end: ClientEnd) {
        self.ends.open(end);
    }

    pub fn close(&mut self, key: &Key, time: KernelTime) {
        self.ends.close(key, time);
    }

    pub fn tick(&mut self, now: KernelTime) {
        self.ends.tick(now);
        self.sdks.tick(now);
        self.serving.tick(now);
    }

    /// The process has a new program.
    pub fn exec(&mut self, pid: u32, time: KernelTime) {
        self.sdks.exec(pid);
        self.serving.forget(pid, time);
    }

    /// The process is gone.
    pub fn exit(&mut self, pid: u32, time: KernelTime) {
        self.sdks.exit(pid, time);
        self.serving.forget(pid, time);
    }

    /// A request or a call begins.
    pub fn begins(&mut self, begun: Begun) {
        if !self.settings.inferred {
            return;
        }
        match begun.role {
            Role::Server => self.serving.begins(begun),
            Role::Client => {
                let ids = begun
                    .position
                    .map(|(key, position)| self.settings.scheme.ids(&key, position));
                self.serving.calls(begun.begin, ids.map(|ids| ids.trace_id));
            }
        }
    }

    /// The call that began so, where the request is known that it was made for.
    pub(super) fn inferred(&self, begin: Begin) -> Option<Call> {
        self.serving.call(begin).filter(|_| self.settings.inferred)
    }

    /// The same by the trace that both ends compute.
    pub(super) fn inferred_at(&self, trace: &[u8; 16]) -> Option<Call> {
        self.serving
            .call_of(trace)
            .filter(|_| self.settings.inferred)
    }

    /// Transactions that wait here are of this memory, which connections have too.
    pub fn share(&mut self, total: u64) {
        self.held.share(total);
    }

    /// Bytes held.
    pub fn memory(&self) -> u64 {
        let traces = self.caps.memory() + self.sdks.memory() + self.serving.memory();
        self.held.memory() + self.ends.memory() + traces
    }

    /// Until when what this transaction's place depends on may turn up; None: it is there, or does not come. For a server
    /// that is its client's end, and the call that it answers where the client's process makes calls for requests: an
    /// operation is told of when it returns, which may be after its answer. For a call it is what its server says.
    fn open_until(&self, transaction: &Transaction) -> Option<KernelTime> {
        let (key, position) = position(transaction)?;
        let connection = &transaction.connection;
        let end = transaction.timing.end;
        let since = match transaction.role {
            Role::Client => {
                let call = self.inferred(begin(transaction))?;
                call.together.is_none().then_some(end)?
            }
            Role::Server => match self.ends.client(&key) {
                None if self.is_joined(connection.remote) => return None,
                // The first request may be answered before the client's end has had the processor again.
                None if transaction.ordinal == 0 => {
                    connection.join?.since.max(transaction.timing.start)
                }
                None => connection.join?.since,
                Some(client) if self.serving.is_handling_any(client.pid) => {
                    let trace = self.settings.scheme.ids(&key, position).trace_id;
                    self.inferred_at(&trace).is_none().then_some(end)?
                }
                Some(_) => return None,
            },
        };
        Some(KernelTime(since.0.saturating_add(SETTLED)))
    }

    fn must_wait(&self, transaction: &Transaction) -> bool {
        let open = self.open_until(transaction);
        open.is_some_and(|until| transaction.timing.end < until) && self.held.has_room(transaction)
    }

    /// Whether there is an agent beside this peer.
    pub(super) fn is_joined(&self, remote: Option<SocketAddr>) -> bool {
        is_in(&self.settings.networks, remote)
    }

    /// Whether this peer's trace headers are not believed.
    pub(super) fn is_untrusted(&self, remote: Option<SocketAddr>) -> bool {
        is_in(&self.settings.untrusted, remote)
    }
}

/// An IPv4 address that is mapped into IPv6 is in the networks of IPv4.
fn is_in(networks: &[Net], remote: Option<SocketAddr>) -> bool {
    let contains = |ip: IpAddr| networks.iter().any(|net| net.contains(ip));
    !networks.is_empty() && remote.is_some_and(|remote| contains(remote.ip().to_canonical()))
}

pub(super) fn position(transaction: &Transaction) -> Option<(Key, crate::join::Position)> {
    let known = transaction.connection.join?;
    let position = known.position(transaction.request.as_ref()?)?;
    Some((known.key, position))
}

impl Stage {
    /// Holds a transaction whose other end may turn up yet; else gives it back.
    pub(super) fn await_other_end(
        &mut self,
        raw: Raw<Box<Transaction>>,
        ticket: Ticket,
    ) -> Option<(Raw<Box<Transaction>>, Ticket)> {
        if !self.joins.must_wait(&raw.0) || self.has_place(&raw.0) {
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
        loop {
            let mut held = std::mem::take(&mut self.joins.held);
            let next = held.pop_unless(|t| {
                let open = now.zip(self.joins.open_until(t));
                open.is_some_and(|(now, until)| now < until)
            });
            self.joins.held = held;
            let Some((raw, ticket)) = next else { return };
            let process = self.processes.get(raw.0.pid, raw.0.timing.end);
            self.leave(raw, ticket, process);
        }
    }

    /// Whether the client's end is on this host, and its spans leave.
    pub(super) fn has_client(&mut self, key: &Key) -> bool {
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
pub(super) mod tests;
