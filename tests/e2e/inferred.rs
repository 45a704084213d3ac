//! A call belongs to the request that its thread handles, and to none where that is not certain.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::process::run_well;
use crate::harness::seen::{Seen, parent, target};
use crate::harness::servers::{self, Middle};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const REQUESTS: usize = 200;

/// What came out of 200 requests, 50 at a time, to a service in the middle that does other work beside.
struct Run {
    seen: Seen,
    /// In front of the number of each request.
    path: String,
    background: String,
    _work: Work,
}

fn run(mode: &str, scheme: &'static str, inferred: bool) -> Run {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let back = servers::nginx(&work);
    let background = work.url_path("background");
    let middle = Middle {
        mode,
        name: "middle",
        back: back.base(),
        sdk: None,
        background: Some(background.clone()),
        scheme,
    }
    .start(&work);
    let config = Config::new("summary")
        .grpc_traces(&sink.grpc_endpoint())
        .tap("trace", json!({"state_file": "off", "inferred": inferred}))
        .limit("memory", "1GiB");
    let agent = Agent::start(&work, &config.yaml());
    let path = work.url_path("call");
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--fail", "--parallel", "--parallel-max", "50"])
        .arg("--cacert")
        .arg(work.path("cert.pem"))
        .arg(format!("{}{path}/[1-{REQUESTS}]", middle.base()))
        .args(["-o", "/dev/null"]);
    run_well(&mut command, work.dir(), "curl", Duration::from_secs(60));
    let all = |sink: &OtlpSink| {
        let of_path = |s: &&SeenSpan| target(s).is_some_and(|t| t.starts_with(&path));
        sink.spans().iter().filter(of_path).count() >= 4 * REQUESTS
    };
    assert!(
        sink.wait_for(all, Duration::from_secs(30)),
        "{}",
        Seen::of(&sink).summary()
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    Run {
        seen: Seen::of(&sink),
        path,
        background,
        _work: work,
    }
}

fn mark(span: &SeenSpan) -> Option<String> {
    span.text("plainspan.trace.parent")
}

impl Run {
    /// Spans of the request `number`: its server's, and the client's and server's of the call that was made for it.
    fn spans(&self, number: usize) -> [&SeenSpan; 3] {
        let asked = format!("{}/{number}", self.path);
        let call = format!("{asked}?hop=2");
        [
            self.seen.one(&asked, SpanKind::Server),
            self.seen.one(&call, SpanKind::Client),
            self.seen.one(&call, SpanKind::Server),
        ]
    }

    /// Each call is the child of its own request, and its server's span the child of that.
    fn assert_inferred(&self) {
        let (mut wrong, mut missing) = (0, 0);
        for number in 1..=REQUESTS {
            let [request, client, server] = self.spans(number);
            match parent(client) {
                None => missing += 1,
                Some(id) if id == request.span_id() => {
                    assert_eq!(mark(client).as_deref(), Some("inferred"));
                    assert_eq!(client.span.flags, 0x103, "its parent is not remote");
                    assert_eq!(client.trace_id(), request.trace_id());
                    assert_eq!(server.trace_id(), request.trace_id());
                    assert_eq!(parent(server), Some(client.span_id()));
                    assert_eq!(mark(server).as_deref(), Some("computed"));
                }
                Some(_) => wrong += 1,
            }
        }
        assert_eq!((wrong, missing), (0, 0), "wrong, missing");
    }

    /// No call has a parent, and where client and server meet, it is in a trace of their own. How many met.
    fn assert_none(&self) -> usize {
        let mut met = 0;
        for number in 1..=REQUESTS {
            let [request, client, server] = self.spans(number);
            assert_eq!((parent(client), mark(client)), (None, None));
            assert!(client.span.links.is_empty());
            assert_ne!(client.trace_id(), request.trace_id());
            assert_ne!(server.trace_id(), request.trace_id());
            if let Some(parent) = parent(server) {
                assert_eq!(parent, client.span_id());
                assert_eq!(client.trace_id(), server.trace_id());
                met += 1;
            }
        }
        met
    }

    /// What belongs to no request has no parent.
    fn assert_background_alone(&self) {
        let calls = self.seen.spans_of(&self.background);
        let clients = calls.iter().filter(|s| s.span.kind() == SpanKind::Client);
        let mut seen = 0;
        for client in clients {
            assert_eq!((parent(client), mark(client)), (None, None));
            assert!(client.span.links.is_empty());
            seen += 1;
        }
        assert!(seen > 3, "{seen} calls in the background");
    }
}

#[test]
fn calls_of_blocking_threads_are_children_of_their_own_requests() {
    let run = run("wsgi", "http", true);
    run.assert_inferred();
    run.assert_background_alone();
}

#[test]
fn calls_of_blocking_threads_are_children_of_their_own_requests_over_tls_too() {
    let run = run("wsgi", "https", true);
    run.assert_inferred();
    run.assert_background_alone();
}

#[test]
fn where_it_is_switched_off_no_call_has_an_inferred_parent() {
    assert_eq!(run("wsgi", "http", false).assert_none(), REQUESTS);
}

#[test]
fn calls_of_an_asyncio_loop_have_no_inferred_parent() {
    let run = run("asyncio", "http", true);
    assert_eq!(run.assert_none(), REQUESTS);
    run.assert_background_alone();
}

#[test]
fn calls_of_nodes_loop_have_no_inferred_parent() {
    let run = run("node", "http", true);
    // Its connections are kept from before the agent came: whose hellos nobody saw does not meet.
    run.assert_none();
    run.assert_background_alone();
}
