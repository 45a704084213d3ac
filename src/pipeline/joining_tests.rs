//! Which parent a server's span has, and who waits for it.

use super::*;
use crate::config::{Direction, HttpCapture, Tap, TraceContextPolicy};
use crate::conn::Output;
use crate::enrich::{Clock, Ids, Processes};
use crate::join::{JoinedIds, Known, Position};
use crate::metrics::Metrics;
use crate::pipeline::{Audience, Policies};
use crate::redact::{Redactor, SpanIds};
use crate::rules::expr::Buffers;
use crate::rules::{Ruleset, sample};
use crate::sampling::Sampler;
use crate::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use crate::telemetry::Ledger;
use crate::transaction::ConnectionInfo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

/// Keeps the ids of what it gets.
#[derive(Default)]
pub(in crate::pipeline) struct Kept(Mutex<Vec<SpanIds>>);

impl Kept {
    pub(in crate::pipeline) fn take(&self) -> Vec<SpanIds> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }
}

impl Sink for Kept {
    fn offer(&self, delivery: Delivery) {
        let capture = &delivery.capture;
        assert!(
            capture.transaction.connection.join.is_none(),
            "keys never leave"
        );
        self.0
            .lock()
            .expect("not poisoned")
            .push(capture.ids.clone());
        delivery.ticket.taken();
    }

    fn takes_without_span(&self) -> bool {
        false
    }

    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

pub(in crate::pipeline) const KEY: Key = Key::Tcp {
    client: 1,
    server: 2,
};
/// When the connection was met.
pub(in crate::pipeline) const SINCE: u64 = 1_000_000_000;

pub(in crate::pipeline) fn stage(tap: &Tap, networks: &[&str]) -> (Stage, Arc<Kept>) {
    let networks = networks.iter().filter_map(|n| Net::parse(n)).collect();
    stage_with(
        tap,
        JoinSettings {
            networks,
            ..JoinSettings::default()
        },
    )
}

pub(in crate::pipeline) fn stage_with(tap: &Tap, join: JoinSettings) -> (Stage, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let telemetry = Audience {
        rules: Ruleset::compile(Level::Headers, &[], &[]).expect("rules compile"),
        least: Level::None,
        counts_all: false,
        sampler: Sampler::new(&HttpCapture::default(), &[]).expect("a sampler"),
        redactor: Redactor::new(&HttpCapture::default()).expect("a redactor"),
        payloads: None,
        sinks: Fanout::new(vec![kept.clone()]),
    };
    let stage = Stage {
        ledger: Ledger::new(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(tap).expect("a filter"),
        telemetry: Some(telemetry),
        access: None,
        metrics: Metrics::new(Default::default(), Ledger::new(), UNIX_EPOCH),
        stacks: Default::default(),
        routes: Default::default(),
        measures: Default::default(),
        held: Default::default(),
        joins: Joins::new(join),
        policies: Policies::default(),
        buffers: Buffers::default(),
        verdicts: Default::default(),
    };
    (stage, kept)
}

pub(in crate::pipeline) fn connection() -> ConnectionInfo {
    ConnectionInfo {
        conn: None,
        tls: None,
        local: Some("10.0.0.2:80".parse().expect("an address")),
        remote: Some("10.0.0.1:40000".parse().expect("an address")),
        netns: 0,
        tls_info: None,
        join: Some(Known {
            key: KEY,
            counted: true,
            since: KernelTime(SINCE),
        }),
    }
}

/// A request without a trace header, at offset 7, that ended so many ns after its connection was met.
pub(in crate::pipeline) fn give(
    stage: &mut Stage,
    role: Role,
    after: u64,
    change: impl FnOnce(&mut Transaction),
) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    transaction.role = role;
    transaction.context = None;
    transaction.connection = connection();
    transaction.timing.end = KernelTime(SINCE + after);
    let request = transaction.request.as_mut().expect("a request");
    (request.offset, request.h2_stream) = (Some(7), None);
    change(&mut transaction);
    stage.transaction(Raw::new(Box::new(transaction)));
}

pub(in crate::pipeline) fn client_end() -> ClientEnd {
    ClientEnd {
        key: KEY,
        pid: u32::MAX - 1,
        time: KernelTime(SINCE),
        connection: connection(),
    }
}

pub(in crate::pipeline) fn ids() -> JoinedIds {
    Scheme::default().ids(&KEY, Position::Http1(7))
}

fn assert_server(all: &[SpanIds], parent: Option<[u8; 8]>) {
    let [server] = all else {
        panic!("one span, not {all:?}")
    };
    assert_eq!(
        (server.trace_id, server.span_id, server.parent_span_id),
        (ids().trace_id, ids().server_span, parent)
    );
}

#[test]
fn the_client_here_is_the_parent_at_once_and_after_its_close() {
    let (mut stage, kept) = stage(&Tap::default(), &[]);
    give(&mut stage, Role::Client, 1, |_| {});
    let client = kept.take();
    assert_eq!(
        (client[0].span_id, client[0].parent_span_id),
        (ids().client_span, None)
    );
    stage.client_end(client_end());
    give(&mut stage, Role::Server, 1, |_| {});
    assert_server(&kept.take(), Some(ids().client_span));
    stage.client_gone(&KEY, KernelTime(SINCE));
    give(&mut stage, Role::Server, 1, |_| {});
    assert_server(&kept.take(), Some(ids().client_span));
}

#[test]
fn a_client_that_turns_up_a_moment_later_is_the_parent_and_one_that_does_not_is_none() {
    for turns_up in [true, false] {
        let (mut stage, kept) = stage(&Tap::default(), &[]);
        give(&mut stage, Role::Server, 1, |_| {});
        stage.release_joins(Some(KernelTime(SINCE + SETTLED - 1)));
        assert!(kept.take().is_empty() && stage.joins.memory() > 0);
        if turns_up {
            stage.client_end(client_end());
        }
        stage.release_joins(Some(KernelTime(SINCE + SETTLED)));
        assert_server(&kept.take(), turns_up.then_some(ids().client_span));
        // What comes later on this connection waits no more.
        give(&mut stage, Role::Server, SETTLED, |_| {});
        assert_server(&kept.take(), turns_up.then_some(ids().client_span));
    }
}

#[test]
fn who_waits_goes_on_when_the_agent_stops() {
    let (mut stage, kept) = stage(&Tap::default(), &[]);
    give(&mut stage, Role::Server, 1, |_| {});
    stage.release_joins(None);
    assert_server(&kept.take(), None);
}

#[test]
fn a_client_in_a_listed_network_is_the_parent() {
    let (mut stage, kept) = stage(&Tap::default(), &["10.0.0.0/24"]);
    give(&mut stage, Role::Server, 1, |_| {});
    assert_server(&kept.take(), Some(ids().client_span));
    give(&mut stage, Role::Server, 1, |t| {
        t.connection.remote = Some("10.0.1.1:40000".parse().expect("an address"));
    });
    assert!(kept.take().is_empty(), "it may turn up");
}

#[test]
fn a_client_whose_spans_do_not_leave_is_no_parent() {
    let tap = Tap {
        direction: Direction::Ingress,
        ..Tap::default()
    };
    let (mut stage, kept) = stage(&tap, &[]);
    stage.client_end(client_end());
    give(&mut stage, Role::Server, 1, |_| {});
    assert_server(&kept.take(), None);
}

#[test]
fn what_has_a_header_or_no_certain_place_waits_for_nobody() {
    let (mut stage, kept) = stage(&Tap::default(), &[]);
    let context = sample::orders().transaction.context.expect("a context");
    give(&mut stage, Role::Server, 1, |t| {
        t.context = Some(context.clone())
    });
    let [span] = &kept.take()[..] else {
        panic!("one span")
    };
    assert_eq!(
        (span.trace_id, span.parent_span_id, span.span_id),
        (context.trace_id, Some(context.span_id), ids().server_span)
    );
    give(&mut stage, Role::Server, 1, |t| {
        t.request.as_mut().expect("a request").offset = None;
    });
    give(&mut stage, Role::Server, 1, |t| t.connection.join = None);
    let spans = kept.take();
    assert_eq!(spans.len(), 2);
    assert!(
        spans
            .iter()
            .all(|s| s.trace_id != ids().trace_id && s.parent_span_id.is_none())
    );
}
