//! The place of a span in its trace (`crate::trace`).
//!
//! Enters: a transaction that is wanted. Leaves: the ids of its span.
//! Holds: header before inferred parent before what both ends compute. The ids of a request's span are made once: where
//! a call that was made for it leaves first, then. Of a call both of whose ends are seen here, both are in one trace.

use super::Stage;
use super::joining::position;
use crate::enrich::{Lookup, Made};
use crate::event::{KernelTime, Role};
use crate::join::{Hop, JoinedIds, Key, Position};
use crate::redact::{Origin, SpanIds};
use crate::rules::{Early, Level};
use crate::trace::{Asked, Begin, Begun, Header, Place, Together, Why};
use crate::transaction::{ConnectionInfo, TraceContext, TraceContextSource, Transaction};

/// Requests that were made for one another and are followed, at the most.
const DEPTH_MAX: u8 = 32;

/// What the place of a span is asked for.
struct Ask<'a> {
    role: Role,
    begin: Begin,
    connection: &'a ConnectionInfo,
    context: Option<&'a TraceContext>,
    position: Option<(Key, Position)>,
    tunnel: bool,
    now: KernelTime,
    /// Number of one that reported before its end.
    lasting: Option<u64>,
    depth: u8,
}

impl<'a> Ask<'a> {
    fn of(transaction: &'a Transaction) -> Self {
        let method = transaction.request.as_ref().map(|r| &r.method[..]);
        Ask {
            role: transaction.role,
            begin: begin(transaction),
            connection: &transaction.connection,
            context: transaction.context.as_ref(),
            position: position(transaction),
            tunnel: method == Some(b"CONNECT"),
            now: transaction.timing.end,
            lasting: transaction.lasting.map(|lasting| lasting.number),
            depth: 0,
        }
    }

    /// The same number for both ends of one request, where that can be.
    fn number(&self, joined: Option<&JoinedIds>) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        match joined {
            Some(ids) => u128::from_be_bytes(ids.trace_id) as u64,
            None => self.begin.time.0.wrapping_mul(ODD) ^ u64::from(self.begin.tid),
        }
    }
}

pub(super) fn begin(transaction: &Transaction) -> Begin {
    Begin {
        pid: transaction.pid,
        tid: transaction.tid,
        time: transaction.timing.start,
    }
}

impl Stage {
    /// Ids of the transaction's span.
    pub(super) fn identify(&mut self, transaction: &Transaction) -> SpanIds {
        let ask = Ask::of(transaction);
        let known = ask.role == Role::Server && self.joins.serving.request(ask.begin).is_some();
        match known {
            true => self.fix(ask.begin, ask.now, ask.lasting, 0),
            false => None,
        }
        .unwrap_or_else(|| self.make(&ask))
    }

    /// Whether the header of this transaction decides its trace, as far as is known before the caps are asked.
    pub(super) fn has_place(&self, transaction: &Transaction) -> bool {
        let place = crate::trace::place(self.asked(&Ask::of(transaction)));
        matches!(place, Place::Adopt | Place::NoSpan(_)) && transaction.context.is_some()
    }

    fn asked(&self, ask: &Ask<'_>) -> Asked {
        Asked {
            policy: self.ids.policy(),
            role: ask.role,
            header: Header::of(ask.context),
            has_sdk: self.joins.sdks.has(ask.begin.pid, ask.now),
            trusted: !self.joins.is_untrusted(ask.connection.remote),
            capped: false,
            tunnel: ask.tunnel,
        }
    }

    fn place(&mut self, ask: &Ask<'_>, joined: Option<&JoinedIds>) -> Place {
        let asked = self.asked(ask);
        let place = crate::trace::place(asked);
        let (Place::Adopt, Some(context)) = (place, ask.context) else {
            return place;
        };
        let number = ask.number(joined);
        match self.joins.caps.admits(context, number, ask.now) {
            true => place,
            false => crate::trace::place(Asked {
                capped: true,
                ..asked
            }),
        }
    }

    fn make(&mut self, ask: &Ask<'_>) -> SpanIds {
        let joined = ask
            .position
            .map(|(key, position)| self.joins.scheme().ids(&key, position));
        let place = self.place(ask, joined.as_ref());
        let hop = joined.map(|ids| Hop {
            ids,
            role: ask.role,
            has_client: self.has_parent(ask, place),
        });
        if let Place::Link(why) = place {
            self.ledger.linked(why);
        }
        let made = Made {
            place,
            context: ask.context,
            hop: hop.as_ref(),
        };
        let mut ids = self.ids.span(ask.lasting, made);
        if matches!(place, Place::Own | Place::Link(_)) {
            match ask.role {
                Role::Client => self.infer(ask, hop.is_some(), &mut ids),
                Role::Server => self.follow(ask, hop.as_ref(), &mut ids),
            }
        }
        ids
    }

    /// Whether the client's span is there, in the trace that both ends compute.
    fn has_parent(&mut self, ask: &Ask<'_>, place: Place) -> bool {
        let (Role::Server, Some((key, _))) = (ask.role, ask.position) else {
            return false;
        };
        match place {
            // Its client is trusted to know its own trace, and is there.
            Place::Link(Why::Untrusted) => false,
            // Another agent counts for itself.
            Place::Link(Why::Capped) => self.has_client(&key),
            _ => self.joins.is_joined(ask.connection.remote) || self.has_client(&key),
        }
    }

    /// Ids of the span of a request that is being handled, from now on. None: it is not known.
    fn fix(
        &mut self,
        begin: Begin,
        now: KernelTime,
        lasting: Option<u64>,
        depth: u8,
    ) -> Option<SpanIds> {
        if let Some(ids) = self.joins.serving.fixed(begin) {
            return Some(ids.clone());
        }
        let begun = self.joins.serving.request(begin)?.clone();
        let ids = self.make(&Ask {
            role: begun.role,
            begin,
            connection: &begun.connection,
            context: begun.context.as_ref(),
            position: begun.position,
            tunnel: begun.tunnel,
            now,
            lasting,
            depth,
        });
        self.joins.serving.fix(begin, ids.clone());
        Some(ids)
    }

    /// The span of a request that a call was made for; None: it does not leave.
    fn parent(&mut self, begin: Begin, ask: &Ask<'_>) -> Option<SpanIds> {
        if ask.depth >= DEPTH_MAX {
            return None;
        }
        let begun = self.joins.serving.request(begin)?.clone();
        if !self.leaves(&begun) {
            return None;
        }
        let ids = self.fix(begin, ask.now, None, ask.depth + 1)?;
        ids.no_span.is_none().then_some(ids)
    }

    fn leaves(&mut self, begun: &Begun) -> bool {
        let process = self.processes.get(begun.begin.pid, begun.begin.time);
        let connection = &begun.connection;
        let facts = Early {
            process: &process,
            connection: Some((Role::Server, connection.local, connection.remote)),
        };
        process.identity.lookup != Lookup::Pending
            && !process.is_agent
            && self.filter.admits_end(Role::Server, connection, &process)
            && self.leaves_at(&facts) > Level::None
    }

    /// A client's span whose request was made for another one: its child, where the server's end follows too, or computes
    /// nothing; else linked to it.
    fn infer(&mut self, ask: &Ask<'_>, is_joined: bool, ids: &mut SpanIds) {
        let Some(call) = self.joins.inferred(ask.begin) else {
            return;
        };
        let Some(parent) = self.parent(call.parent, ask) else {
            return self.joins.serving.say(ask.begin, Together::Apart);
        };
        self.ledger.inferred();
        if is_joined && call.together != Some(Together::Follow) {
            self.joins.serving.say(ask.begin, Together::Apart);
            ids.link.get_or_insert_with(|| context(&parent));
            return;
        }
        ids.parent_span_id = Some(parent.span_id);
        ids.origin = Origin::Inferred;
        enter(ids, &parent);
    }

    /// A server's span whose client's is the child of another request: it goes with it.
    fn follow(&mut self, ask: &Ask<'_>, hop: Option<&Hop>, ids: &mut SpanIds) {
        let Some(hop) = hop else { return };
        let Some(call) = self.joins.inferred_at(&hop.ids.trace_id) else {
            return;
        };
        let parent = match (hop.has_client, call.together) {
            (true, None | Some(Together::Follow)) => self.parent(call.parent, ask),
            _ => None,
        };
        let Some(parent) = parent else {
            return self.joins.serving.say(call.begin, Together::Apart);
        };
        self.joins.serving.say(call.begin, Together::Follow);
        enter(ids, &parent);
    }
}

/// Into the trace of another span.
fn enter(ids: &mut SpanIds, other: &SpanIds) {
    ids.trace_id = other.trace_id;
    ids.flags = other.flags;
    ids.tracestate = other.tracestate.clone();
}

/// Another span as a link's end.
fn context(ids: &SpanIds) -> TraceContext {
    TraceContext {
        trace_id: ids.trace_id,
        span_id: ids.span_id,
        flags: ids.flags,
        tracestate: ids.tracestate.clone(),
        source: TraceContextSource::Inferred,
    }
}

#[cfg(test)]
#[path = "placing_tests.rs"]
mod tests;
