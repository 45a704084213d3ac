//! The place of spans: headers that are believed, linked or left to others, and calls that were made for a request.

use super::super::JoinSettings;
use super::super::joining::tests::{
    Kept, SINCE, client_end, connection, give, ids as joined, stage_with,
};
use super::*;
use crate::config::Tap;
use crate::conn::Output;
use crate::rules::expr::Net;
use crate::rules::sample;
use crate::telemetry::ledger::LeftOut;
use crate::trace::CapSettings;
use std::sync::Arc;

/// A thread's request, and what it calls for it.
const REQUEST: Begin = Begin {
    pid: u32::MAX - 1,
    tid: 9,
    time: KernelTime(SINCE + 10),
};
const CALL: Begin = Begin {
    time: KernelTime(SINCE + 20),
    ..REQUEST
};
const SECOND: u64 = 1_000_000_000;

fn new(settings: JoinSettings) -> (Stage, Arc<Kept>) {
    stage_with(&Tap::default(), settings)
}

fn inferring() -> (Stage, Arc<Kept>) {
    new(JoinSettings {
        inferred: true,
        ..JoinSettings::default()
    })
}

fn header() -> TraceContext {
    sample::orders().transaction.context.expect("a context")
}

fn one(all: &[SpanIds]) -> &SpanIds {
    let [ids] = all else {
        panic!("one span, not {all:?}")
    };
    ids
}

fn with_header(transaction: &mut Transaction) {
    transaction.context = Some(header());
}

/// The request of the thread, on a connection of its own that nobody else has.
fn begin_request(stage: &mut Stage, context: Option<TraceContext>) {
    stage.begins(Begun {
        role: Role::Server,
        begin: REQUEST,
        connection: ConnectionInfo {
            join: None,
            ..connection()
        },
        position: None,
        context,
        tunnel: false,
    });
}

/// The call of the thread, which both ends can name.
fn begin_call(stage: &mut Stage) {
    assert!(stage.is_handling(CALL.pid, CALL.tid));
    let known = connection().join.expect("known");
    stage.begins(Begun {
        role: Role::Client,
        begin: CALL,
        connection: connection(),
        position: Some((known.key, Position::Http1(7))),
        context: None,
        tunnel: false,
    });
}

fn as_call(transaction: &mut Transaction) {
    transaction.tid = CALL.tid;
    transaction.timing.start = CALL.time;
}

fn as_request(transaction: &mut Transaction) {
    transaction.tid = REQUEST.tid;
    transaction.timing.start = REQUEST.time;
    transaction.connection.join = None;
}

fn request_ids(stage: &mut Stage, kept: &Kept) -> SpanIds {
    stage.answers(REQUEST, Some(REQUEST.tid), KernelTime(SINCE + 90));
    give(stage, Role::Server, SECOND, as_request);
    one(&kept.take()).clone()
}

#[test]
fn a_context_of_an_untrusted_peer_is_linked_and_the_clients_own_is_adopted() {
    let (mut stage, kept) = new(JoinSettings {
        untrusted: Net::parse("10.0.0.0/24").into_iter().collect(),
        ..JoinSettings::default()
    });
    stage.client_end(client_end());
    give(&mut stage, Role::Server, SECOND, with_header);
    let server = one(&kept.take()).clone();
    assert_eq!(server.trace_id, joined().trace_id);
    assert_eq!((server.parent_span_id, server.link), (None, Some(header())));
    give(&mut stage, Role::Client, SECOND, with_header);
    assert_eq!(one(&kept.take()).trace_id, header().trace_id);
    assert_eq!(stage.ledger.snapshot().traces.linked.untrusted, 1);
}

#[test]
fn past_its_cap_a_context_is_linked_at_both_ends_of_a_request_alike() {
    let (mut stage, kept) = new(JoinSettings {
        caps: CapSettings {
            requests: 1,
            ..CapSettings::default()
        },
        ..JoinSettings::default()
    });
    stage.client_end(client_end());
    let mut give_at = |role, offset| {
        give(&mut stage, role, SECOND, |t| {
            with_header(t);
            t.request.as_mut().expect("a request").offset = Some(offset);
        });
        one(&kept.take()).clone()
    };
    for role in [Role::Client, Role::Server] {
        let adopted = give_at(role, 7);
        assert_eq!(
            (adopted.trace_id, adopted.parent_span_id),
            (header().trace_id, Some(header().span_id))
        );
    }
    let client = give_at(Role::Client, 100);
    let server = give_at(Role::Server, 100);
    assert_eq!(client.link, Some(header()));
    assert_eq!((client.parent_span_id, server.link), (None, Some(header())));
    assert_eq!(server.trace_id, client.trace_id);
    assert_eq!(server.parent_span_id, Some(client.span_id));
    assert_eq!(stage.ledger.snapshot().traces.linked.capped, 2);
}

/// Of its own export, half a second before all else.
fn exports(stage: &mut Stage, kept: &Kept) {
    give(stage, Role::Client, 0, |t| {
        let request = t.request.as_mut().expect("a request");
        request.method = b"POST".to_vec();
        request.target = b"/v1/traces".to_vec();
        t.response.as_mut().expect("a response").status = 200;
    });
    assert_eq!(one(&kept.take()).no_span, None, "nobody else makes it");
}

#[test]
fn a_process_with_an_sdk_gets_no_second_span_and_is_left_out_where_nothing_else_is_made() {
    let (mut stage, kept) = new(JoinSettings::default());
    exports(&mut stage, &kept);
    give(&mut stage, Role::Server, SECOND, with_header);
    give(&mut stage, Role::Client, SECOND, with_header);
    give(&mut stage, Role::Server, SECOND, |_| {});
    assert!(kept.take().is_empty());
    let counts = stage.ledger.snapshot();
    assert_eq!(counts.transactions.left_out.sdk_traced, 3);
    assert_eq!(counts.traces.no_span.sdk_traced, 3);
    assert_eq!(counts.imbalance(), 0);
    // The SDK made no span of it: it would have sent a header.
    give(&mut stage, Role::Client, SECOND, |_| {});
    assert_eq!(one(&kept.take()).trace_id, joined().trace_id);
}

#[test]
fn an_unsampled_trace_gets_no_span() {
    let (mut stage, kept) = new(JoinSettings::default());
    give(&mut stage, Role::Server, SECOND, |t| {
        t.context = Some(TraceContext {
            flags: 0,
            ..header()
        });
    });
    assert!(kept.take().is_empty());
    let counts = stage.ledger.snapshot();
    assert_eq!(counts.transactions.left_out.unsampled, 1);
    assert_eq!(counts.traces.no_span.unsampled, 1);
    assert_eq!(LeftOut::Unsampled.name(), "unsampled");
}

#[test]
fn a_call_whose_server_is_here_is_the_child_of_its_request_and_the_server_follows() {
    for context in [None, Some(header())] {
        let (mut stage, kept) = inferring();
        begin_request(&mut stage, context.clone());
        begin_call(&mut stage);
        stage.client_end(client_end());
        give(&mut stage, Role::Server, SECOND, |_| {});
        let server = one(&kept.take()).clone();
        give(&mut stage, Role::Client, SECOND, as_call);
        let client = one(&kept.take()).clone();
        let request = request_ids(&mut stage, &kept);
        assert_eq!(client.parent_span_id, Some(request.span_id));
        assert_eq!(client.origin, Origin::Inferred);
        assert_eq!((client.span_id, client.link), (joined().client_span, None));
        assert_eq!(server.parent_span_id, Some(client.span_id));
        assert_eq!(server.origin, Origin::Computed);
        for span in [&client.trace_id, &server.trace_id] {
            assert_eq!(*span, request.trace_id);
        }
        if let Some(context) = context {
            assert_eq!(request.trace_id, context.trace_id);
            assert_eq!(client.tracestate, context.tracestate);
        }
        assert_eq!(stage.ledger.snapshot().traces.inferred, 1);
    }
}

#[test]
fn a_server_that_answered_before_its_call_was_told_of_waits_for_it() {
    let (mut stage, kept) = inferring();
    begin_request(&mut stage, None);
    stage.client_end(client_end());
    give(&mut stage, Role::Server, SECOND, |_| {});
    stage.release_joins(Some(KernelTime(SINCE + SECOND + 1)));
    assert!(kept.take().is_empty());
    begin_call(&mut stage);
    stage.release_joins(Some(KernelTime(SINCE + SECOND + 2)));
    let server = one(&kept.take()).clone();
    give(&mut stage, Role::Client, SECOND, as_call);
    let client = one(&kept.take()).clone();
    let request = request_ids(&mut stage, &kept);
    assert_eq!(client.parent_span_id, Some(request.span_id));
    assert_eq!(
        (server.trace_id, server.parent_span_id),
        (request.trace_id, Some(client.span_id))
    );
}

#[test]
fn a_call_whose_server_is_elsewhere_keeps_its_trace_and_is_linked_to_its_request() {
    let (mut stage, kept) = inferring();
    begin_request(&mut stage, None);
    begin_call(&mut stage);
    give(&mut stage, Role::Client, SECOND, as_call);
    assert!(kept.take().is_empty(), "its server may turn up");
    stage.release_joins(Some(KernelTime(SINCE + 2 * SECOND)));
    let client = one(&kept.take()).clone();
    // A server that turns up later goes the same way.
    stage.client_end(client_end());
    give(&mut stage, Role::Server, SECOND, |_| {});
    let server = one(&kept.take()).clone();
    let request = request_ids(&mut stage, &kept);
    assert_eq!(client.trace_id, joined().trace_id);
    assert_eq!((client.parent_span_id, client.origin), (None, Origin::Root));
    let link = client.link.expect("a link");
    assert_eq!(
        (link.trace_id, link.span_id, link.source),
        (
            request.trace_id,
            request.span_id,
            TraceContextSource::Inferred
        )
    );
    assert_eq!(
        (server.trace_id, server.parent_span_id),
        (client.trace_id, Some(client.span_id))
    );
}

#[test]
fn a_call_that_nobody_else_can_name_is_the_child_of_its_request() {
    let (mut stage, kept) = inferring();
    begin_request(&mut stage, None);
    begin_call(&mut stage);
    give(&mut stage, Role::Client, SECOND, |t| {
        as_call(t);
        t.connection.join = None;
    });
    let client = one(&kept.take()).clone();
    let request = request_ids(&mut stage, &kept);
    assert_eq!(
        (client.trace_id, client.parent_span_id),
        (request.trace_id, Some(request.span_id))
    );
}

#[test]
fn a_header_goes_before_the_request_that_a_call_was_made_for() {
    let (mut stage, kept) = inferring();
    begin_request(&mut stage, None);
    begin_call(&mut stage);
    give(&mut stage, Role::Client, SECOND, |t| {
        as_call(t);
        with_header(t);
    });
    let client = one(&kept.take()).clone();
    assert_eq!(
        (client.trace_id, client.parent_span_id, client.origin),
        (header().trace_id, Some(header().span_id), Origin::Header)
    );
}

#[test]
fn a_request_whose_span_does_not_leave_is_nobodys_parent() {
    // Its caller keeps no span; a process with an SDK makes its own.
    for sdk in [false, true] {
        let (mut stage, kept) = inferring();
        let mut context = header();
        context.flags = 0;
        if sdk {
            exports(&mut stage, &kept);
            context.flags = 1;
        }
        begin_request(&mut stage, Some(context));
        begin_call(&mut stage);
        give(&mut stage, Role::Client, SECOND, as_call);
        stage.release_joins(None);
        let client = one(&kept.take()).clone();
        assert_eq!((client.trace_id, client.link), (joined().trace_id, None));
        assert_eq!(client.parent_span_id, None);
    }
}

#[test]
fn switched_off_nothing_is_inferred() {
    let (mut stage, kept) = new(JoinSettings::default());
    begin_request(&mut stage, None);
    assert!(!stage.is_handling(CALL.pid, CALL.tid));
    give(&mut stage, Role::Client, SECOND, as_call);
    let client = one(&kept.take()).clone();
    assert_eq!((client.trace_id, client.link), (joined().trace_id, None));
}

#[test]
fn repeated_headers_and_tunnels_are_linked_and_counted() {
    let (mut stage, kept) = new(JoinSettings::default());
    give(&mut stage, Role::Server, SECOND, |t| {
        t.context = Some(TraceContext {
            source: TraceContextSource::W3cRepeated,
            ..header()
        });
    });
    give(&mut stage, Role::Server, SECOND, |t| {
        with_header(t);
        t.request.as_mut().expect("a request").method = b"CONNECT".to_vec();
    });
    for ids in kept.take() {
        assert_eq!(ids.trace_id, joined().trace_id);
        assert!(ids.link.is_some() && ids.origin == Origin::Root);
    }
    let linked = stage.ledger.snapshot().traces.linked;
    assert_eq!((linked.repeated, linked.tunnel), (1, 1));
}
