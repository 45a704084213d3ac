//! Trace context: adopted where the request carries one, never invented wrong where it does not.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Call, Client};
use crate::harness::seen::{Seen, parent};
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Makes the calls from curl to nginx; gives what came out.
fn seen_of(calls: &[Call], work: &Work) -> Seen {
    let sink = OtlpSink::start();
    let nginx = servers::nginx(work);
    let agent = Agent::start(
        work,
        &Config::new("headers").grpc(&sink.grpc_endpoint()).yaml(),
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
