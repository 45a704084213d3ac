//! rustls over a runtime of several threads: every request is on the connection that it was made on.
//!
//! One program is server and client over TLS, and server and client without, all on two threads. Each path has the
//! port of its client's end, which the server's span must have as its peer; and that both spans of a request are joined
//! says that the client's is on the same connection.

use crate::harness::config::Config;
use crate::harness::free_port;
use crate::harness::process::Running;
use crate::harness::scene::{Scene, complete, marks};
use crate::harness::seen::{Seen, parent, target};
use crate::harness::servers::Server;
use crate::harness::work::Work;
use crate::harness::{repository, turn, wait_until};
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// Requests of each kind. `PLAINSPAN_TEST_MIXED` says another number.
const REQUESTS: usize = 4000;

fn requests() -> usize {
    let said = std::env::var("PLAINSPAN_TEST_MIXED").ok();
    said.map_or(REQUESTS, |number| number.parse().expect("a number"))
}

/// The program; the port is that over TLS.
fn start(work: &Work, program: &str, how: &str) -> Server {
    let (port, plain) = (free_port(), free_port());
    let mut command = Command::new(repository("target/rustls").join(program));
    command.args(["mixed", how, &port.to_string(), &plain.to_string()]);
    command
        .arg(work.path("cert.pem"))
        .arg(requests().to_string());
    let mut running = Running::start(&mut command, work.dir(), "mixed");
    running.wait_for_output("ready", Duration::from_secs(20));
    Server::https(running, port)
}

fn no_request_is_on_the_wrong_connection(program: &str, how: &str) {
    let _turn = turn();
    let scene = Scene::with(
        |work| start(work, program, how),
        |work, sink, _| {
            let state = json!({"state_file": work.path("connections")});
            // Large numbers of requests come faster than a collector of a test takes them.
            Config::new("summary")
                .grpc_traces(&sink.grpc_endpoint())
                .spool(&work.path("spool"), "1GiB")
                .tap("trace", state)
        },
    );
    std::fs::write(scene.work.path("start"), "").expect("start the load");
    // Client and server, over TLS and without.
    let wanted = 4 * requests();
    wait_until(
        Duration::from_secs(60 + requests() as u64 / 200),
        "span of each request",
        || (scene.agent.ledger().exported() as usize >= wanted).then_some(()),
        || {
            format!(
                "{} of {wanted}\n{}",
                scene.agent.ledger().exported() as usize,
                scene.agent.ledger()
            )
        },
    );
    scene.agent.ledger().assert_nothing_lost();
    let (seen, _work) = scene.stop();
    check(&seen);
}

/// Spans of a connection's request, by path: the port of the client's end and a number are in it.
fn check(seen: &Seen) {
    let mut by_path: BTreeMap<String, Vec<&SeenSpan>> = BTreeMap::new();
    for span in seen.spans() {
        if let Some(path) = target(span).filter(|path| path.starts_with("/mixed/")) {
            by_path.entry(path).or_default().push(span);
        }
    }
    let of = |spans: &[&SeenSpan], kind: SpanKind| -> usize {
        spans.iter().filter(|s| s.span.kind == kind as i32).count()
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cut = Vec::new();
    for (path, spans) in &by_path {
        let words: Vec<&str> = path.split('/').collect();
        let [_, _, kind, port, _] = words[..] else {
            panic!("{path}")
        };
        // A port may be used by a second connection.
        let servers: Vec<_> = spans
            .iter()
            .filter(|s| s.span.kind == SpanKind::Server as i32)
            .collect();
        assert_eq!(servers.len(), of(spans, SpanKind::Client), "{path}");
        *counts
            .entry(if kind == "tls" { "tls" } else { "plain" })
            .or_default() += servers.len();
        for server in servers {
            let peer = server.int("network.peer.port").map(|p| p.to_string());
            assert_eq!(
                peer.as_deref(),
                Some(port),
                "{path} is on the wrong connection: {spans:#?}"
            );
            let client = spans.iter().find(|s| parent(server) == Some(s.span_id()));
            let client =
                client.unwrap_or_else(|| panic!("{path}: its ends are on different connections"));
            for span in [server, client] {
                if !complete(span) {
                    cut.push(format!("{} of {path}: {}", span.span.kind, marks(span)));
                }
            }
        }
    }
    assert!(cut.is_empty(), "not whole: {cut:#?}");
    assert_eq!(
        counts,
        BTreeMap::from([("plain", requests()), ("tls", requests())])
    );
}

#[test]
pub fn no_request_of_http_1_is_on_the_wrong_connection() {
    no_request_is_on_the_wrong_connection("peer", "aws-lc,1.3,1.1");
}

#[test]
pub fn no_request_of_http_2_is_on_the_wrong_connection() {
    no_request_is_on_the_wrong_connection("peer", "ring,1.3,2");
}

#[test]
fn no_request_of_http_1_over_rustls_0_22_is_on_the_wrong_connection() {
    no_request_is_on_the_wrong_connection("peer-0.22", "ring,1.3,1.1");
}

#[test]
fn no_request_of_http_2_over_rustls_0_20_is_on_the_wrong_connection() {
    no_request_is_on_the_wrong_connection("peer-0.20", "ring,1.3,2");
}
