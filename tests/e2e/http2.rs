//! HTTP/2 between real programs, over TLS and plain: every request is there once on each side, whole and right.

use crate::harness::agent::{Launch, write_config};
use crate::harness::config::Config;
use crate::harness::exchange::hundred_calls;
use crate::harness::plan::{Call, Client};
use crate::harness::process::run_well;
use crate::harness::scene::Scene;
use crate::harness::seen::{Seen, header, target};
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

fn exchange(client: Client, server: impl FnOnce(&Work) -> Server, server_header: &'static str) {
    let _turn = turn();
    let scene = Scene::new(server);
    let mut calls = hundred_calls(&scene.work);
    if scene.server.scheme == "http" {
        calls = alone(calls);
    }
    scene.exchange(client, &calls, server_header);
}

/// Each call on a connection of its own: curl 7.88 cannot reuse one of HTTP/2 without TLS ("Error in the HTTP2 framing
/// layer", with no agent too).
fn alone(calls: Vec<Vec<Call>>) -> Vec<Vec<Call>> {
    calls.into_iter().flatten().map(|call| vec![call]).collect()
}

#[test]
fn requests_of_curl_to_nginx_over_tls_are_right() {
    exchange(
        Client::CurlHttp2,
        |w| servers::nginx_http2(w, "https"),
        "nginx",
    );
}

#[test]
fn requests_of_curl_to_nginx_with_prior_knowledge_are_right() {
    exchange(
        Client::CurlPriorKnowledge,
        |w| servers::nginx_http2(w, "http"),
        "nginx",
    );
}

#[test]
fn requests_of_curl_to_node_over_tls_are_right() {
    exchange(Client::CurlHttp2, servers::node_http2, "node");
}

/// Spans about `target` with the number wanted on each side, all complete.
fn assert_complete<'a>(seen: &'a Seen, target: &str, each: usize) -> Vec<&'a SeenSpan> {
    let spans = seen.spans_of(target);
    let of = |kind: SpanKind| spans.iter().filter(|s| s.span.kind == kind as i32).count();
    assert_eq!(
        (of(SpanKind::Client), of(SpanKind::Server)),
        (each, each),
        "{target}"
    );
    for span in &spans {
        assert_eq!(
            span.attr("plainspan.capture.complete"),
            Some(Value::Bool(true)),
            "{target}: {:?}",
            span.attr("plainspan.marks")
        );
        assert_eq!(
            span.text("network.protocol.version").as_deref(),
            Some("2"),
            "{target}"
        );
        assert_eq!(span.int("http.response.status_code"), Some(200), "{target}");
    }
    spans
}

#[test]
fn two_thousand_requests_on_4_connections_with_32_streams_each_are_2000_whole_spans_on_each_side() {
    let _turn = turn();
    let scene = Scene::at_level("headers", |work| servers::nginx_http2(work, "https"));
    let target = scene.work.url_path("get/load");
    let mut h2load = Command::new("h2load");
    h2load
        .args(["-n", "2000", "-c", "4", "-m", "32"])
        .arg(format!("{}{target}", scene.server.base()));
    let output = scene.run(&mut h2load, "h2load");
    assert!(
        output.stdout.contains("2000 succeeded"),
        "{}",
        output.stdout
    );
    let arrived = |sink: &OtlpSink| Seen::of(sink).spans_of(&target).len() >= 4000;
    assert!(
        scene.sink.wait_for(arrived, Duration::from_secs(30)),
        "{}",
        scene.agent.ledger()
    );
    scene.agent.ledger().assert_nothing_lost();
    let (seen, _work) = scene.stop();
    assert_complete(&seen, &target, 2000);
}

#[test]
fn a_pushed_response_and_trailers_of_nghttpd_are_right() {
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::nghttpd);
    let mut nghttp = Command::new("nghttp");
    nghttp
        .arg("--null-out")
        .arg(format!("{}/page", scene.server.base()));
    scene.run(&mut nghttp, "nghttp");
    let (seen, _work) = scene.finish_all(&["/page", "/pushed.css"], 2);
    for (target, size) in [("/page", 20_000), ("/pushed.css", 3000)] {
        for span in assert_complete(&seen, target, 1) {
            assert_eq!(span.int("http.response.body.size"), Some(size), "{target}");
        }
    }
}

#[test]
fn http_2_after_an_upgrade_is_right() {
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::h2c);
    let call = Call::get(scene.work.url_path("get/upgrade")).header("x-call", "7");
    let calls = [vec![call.clone()], vec![call.clone()]];
    let answers = Client::CurlHttp2.perform(&scene.work, &scene.server.base(), &calls);
    assert!(
        answers
            .iter()
            .all(|a| a.status == 200 && a.body.len() == 3000)
    );
    let (seen, _work) = scene.finish_calls(std::slice::from_ref(&call), 4);
    for span in assert_complete(&seen, &call.target, 2) {
        assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
        assert_eq!(span.int("http.response.body.size"), Some(3000));
    }
}

/// Every request of a burst that takes both cores. The queues are made to hold it: what is looked for are losses in the
/// kernel's ring and in what reads it.
#[test]
fn h2load_100k_requests_on_10_connections_with_32_streams_each_are_100k_whole_spans_on_each_side() {
    const REQUESTS: usize = 100_000;
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start().unread();
    let nginx = servers::nginx_http2(&work, "https");
    let config = Config::new("headers")
        .grpc_traces(&sink.grpc_endpoint())
        .limit("memory", "4GiB");
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .quiet()
        .start(&work);
    // What h2load asks for in turn: path, status, bytes of the answer.
    let file = work.url_path("file/small.txt");
    let echo = work.url_path("get/load");
    let missing = work.url_path("status/404");
    let wanted = [
        (&file, 200, 1024),
        (&echo, 200, 11 + echo.len() as i64),
        (&missing, 404, 14),
    ];
    let mut h2load = Command::new("h2load");
    h2load.args(["-n", &REQUESTS.to_string(), "-c", "10", "-m", "32"]);
    h2load.args(
        wanted
            .iter()
            .map(|(path, ..)| format!("{}{path}", nginx.base())),
    );
    let output = run_well(&mut h2load, work.dir(), "h2load", Duration::from_secs(120));
    assert!(
        output.stdout.contains("100000 done") && output.stdout.contains("0 errored"),
        "{}",
        output.stdout
    );
    agent.wait_ledger("end of the export", Duration::from_secs(120), |ledger| {
        ledger.seen() >= 2 * REQUESTS as u64 && ledger.in_flight() == 0
    });
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let mut burst = Burst::default();
    sink.read(|span| burst.add(span, &wanted));
    for counts in [burst.client, burst.server] {
        assert_eq!(counts.iter().sum::<usize>(), REQUESTS, "{counts:?}");
        // Each of the 10 connections takes the targets in turn.
        let fair = |count: &usize| count.abs_diff(REQUESTS / 3) <= 20;
        assert!(counts.iter().all(fair), "{counts:?}");
    }
}

/// Spans of each side by target.
#[derive(Default)]
struct Burst {
    ids: HashSet<Vec<u8>>,
    client: [usize; 3],
    server: [usize; 3],
}

impl Burst {
    /// Counts a span, which must be about one of `wanted` (target, status, bytes of content), whole and right.
    fn add(&mut self, span: &SeenSpan, wanted: &[(&String, i64, i64); 3]) {
        let counts = match span.span.kind() {
            SpanKind::Client => &mut self.client,
            SpanKind::Server => &mut self.server,
            // The agent's own.
            _ => return,
        };
        let new = self.ids.insert(span.span.span_id.clone());
        assert!(new, "a span came twice: {span:?}");
        let path = target(span).expect("a target");
        let index = wanted.iter().position(|(p, ..)| **p == path);
        let index = index.unwrap_or_else(|| panic!("nobody asked for {path}"));
        let (_, status, size) = wanted[index];
        let told = (
            span.int("http.response.status_code"),
            span.int("http.response.body.size"),
            span.attr("plainspan.capture.complete"),
        );
        let right = (Some(status), Some(size), Some(Value::Bool(true)));
        assert_eq!(told, right, "{path}: {:?}", span.attr("plainspan.marks"));
        counts[index] += 1;
    }
}
