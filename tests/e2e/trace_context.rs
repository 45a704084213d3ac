//! Trace context: adopted where the request carries one, never invented wrong where it does not.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::{Seen, parent, target_of_log};
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan, hex};
use serde_json::{Value, json};
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const LIMIT: Duration = Duration::from_secs(20);

/// Makes the calls from curl to nginx; gives what came out.
fn seen_of(calls: &[Call], work: &Work) -> Seen {
    seen_with(calls, work, json!({}))
}

/// The same with other settings of `tap.trace`.
fn seen_with(calls: &[Call], work: &Work, trace: Value) -> Seen {
    let sink = OtlpSink::start();
    let nginx = servers::nginx(work);
    let agent = Agent::start(
        work,
        &Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .tap("trace", trace)
            .yaml(),
    );
    Client::Curl.perform(work, &nginx.base(), &[calls.to_vec()]);
    wait_for_targets(&agent, &sink, calls, 2);
    agent.stop();
    Seen::of(&sink)
}

#[test]
fn a_request_with_traceparent_becomes_a_span_of_that_trace_with_that_parent() {
    let _turn = turn();
    let work = Work::new();
    let call = Call::get(work.url_path("get/traced"))
        .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "vendor=value");
    let seen = seen_of(std::slice::from_ref(&call), &work);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        assert_eq!(span.trace_id(), TRACE);
        assert_eq!(parent(span).as_deref(), Some(PARENT));
        assert_eq!(span.span.trace_state, "vendor=value");
        assert_eq!(span.span.flags & 0xff, 1, "the sampled flag");
        assert_ne!(span.span_id(), PARENT);
        let log = &seen.log_of(span).record;
        assert_eq!(
            (&log.trace_id, &log.span_id),
            (&span.span.trace_id, &span.span.span_id)
        );
    }
}

#[test]
fn b3_in_one_header_is_adopted_as_well() {
    let _turn = turn();
    let work = Work::new();
    let call = Call::get(work.url_path("get/b3")).header("b3", &format!("{TRACE}-{PARENT}-1"));
    let seen = seen_of(std::slice::from_ref(&call), &work);
    let pair = seen.pair(&call.target);
    for span in [pair.client, pair.server] {
        assert_eq!(
            (span.trace_id().as_str(), parent(span).as_deref()),
            (TRACE, Some(PARENT))
        );
    }
}

#[test]
fn a_malformed_traceparent_is_not_adopted() {
    let _turn = turn();
    let work = Work::new();
    let zero = "00000000000000000000000000000000";
    let bad = [
        format!("00-{zero}-{PARENT}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        "00-xyz".to_owned(),
    ];
    let calls: Vec<Call> = bad
        .iter()
        .enumerate()
        .map(|(number, value)| {
            Call::get(work.url_path(&format!("get/bad/{number}"))).header("traceparent", value)
        })
        .collect();
    let seen = seen_of(&calls, &work);
    for call in &calls {
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            assert_ne!(span.trace_id(), TRACE, "{}", call.target);
            assert_ne!(parent(span).as_deref(), Some(PARENT), "{}", call.target);
        }
    }
}

/// The caller's context, where the span is linked to it and has it not for a parent.
fn is_linked(span: &SeenSpan) -> bool {
    let ids = |trace: &[u8], id: &[u8]| (hex(trace), hex(id));
    let [link] = &span.span.links[..] else {
        return false;
    };
    ids(&link.trace_id, &link.span_id) == (TRACE.to_owned(), PARENT.to_owned())
        && span.trace_id() != TRACE
}

#[test]
fn a_context_of_an_untrusted_peer_is_linked_and_never_adopted() {
    let _turn = turn();
    let work = Work::new();
    let call = Call::get(work.url_path("get/stranger"))
        .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    let trace = json!({"untrusted": ["127.0.0.0/8", "::1/128"]});
    let seen = seen_with(std::slice::from_ref(&call), &work, trace);
    let pair = seen.pair(&call.target);
    assert_eq!(pair.client.trace_id(), TRACE, "what it sends is its own");
    assert!(is_linked(pair.server), "{:#?}", pair.server);
    assert_eq!(parent(pair.server), None);
}

#[test]
fn a_context_that_is_sent_for_ever_is_adopted_so_often_and_linked_from_then_on() {
    let _turn = turn();
    let work = Work::new();
    let calls: Vec<Call> = (0..8)
        .map(|n| {
            Call::get(work.url_path(&format!("get/loop/{n}")))
                .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
        })
        .collect();
    let seen = seen_with(&calls, &work, json!({"adopt_max": 3}));
    let mut adopted = 0;
    for call in &calls {
        let pair = seen.pair(&call.target);
        assert_eq!(pair.client.trace_id(), pair.server.trace_id());
        if pair.client.trace_id() == TRACE {
            adopted += 1;
            continue;
        }
        assert!(is_linked(pair.client) && is_linked(pair.server));
        assert_eq!(parent(pair.server), Some(pair.client.span_id()));
    }
    assert_eq!(adopted, 3);
}

#[test]
fn an_unsampled_context_makes_events_and_no_span_unless_policy_says_always() {
    let _turn = turn();
    for (policy, spans) in [("auto", 0), ("adopt", 2)] {
        let work = Work::new();
        let call = Call::get(work.url_path("get/unsampled"))
            .header("traceparent", &format!("00-{TRACE}-{PARENT}-00"));
        let sink = OtlpSink::start();
        let nginx = servers::nginx(&work);
        let config = Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .tap("trace", json!({"context": policy}));
        let agent = Agent::start(&work, &config.yaml());
        Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
        let events = |sink: &OtlpSink| {
            let of_call = |log: &SeenLog| target_of_log(log).as_ref() == Some(&call.target);
            sink.logs().into_iter().filter(of_call).collect::<Vec<_>>()
        };
        assert!(sink.wait_for(|sink| events(sink).len() == 2, LIMIT));
        agent.stop();
        let seen = Seen::of(&sink);
        assert_eq!(seen.spans_of(&call.target).len(), spans, "{policy}");
        for event in events(&sink) {
            assert_eq!(hex(&event.record.trace_id), TRACE);
            assert_eq!(event.record.flags, 0);
            let own = hex(&event.record.span_id) != PARENT;
            assert_eq!(own, spans > 0, "{policy}");
            let why = event.attr("plainspan.no_span");
            let wanted = (spans == 0).then(|| json!("unsampled"));
            assert_eq!(why, wanted);
        }
    }
}

#[test]
fn without_a_header_both_sides_are_in_one_trace_and_no_two_requests_share_one() {
    let _turn = turn();
    let work = Work::new();
    let calls: Vec<Call> = (0..10)
        .map(|n| Call::get(work.url_path(&format!("get/untraced/{n}"))))
        .collect();
    let seen = seen_of(&calls, &work);
    let mut traces = std::collections::BTreeSet::new();
    let mut spans = std::collections::BTreeSet::new();
    for call in &calls {
        let pair = seen.pair(&call.target);
        let (client, server) = (pair.client, pair.server);
        assert_eq!(
            parent(client),
            None,
            "the client is a root: nobody called it"
        );
        assert_eq!(
            (parent(server), server.trace_id()),
            (Some(client.span_id()), client.trace_id()),
            "the client's span is here too"
        );
        for span in [client, server] {
            assert!(
                spans.insert(span.span_id()),
                "span id {} twice",
                span.span_id()
            );
            assert!(
                span.trace_id().bytes().any(|b| b != b'0'),
                "a trace id of zeros"
            );
        }
        assert!(
            traces.insert(client.trace_id()),
            "two requests in trace {}",
            client.trace_id()
        );
    }
}
