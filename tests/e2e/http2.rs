//! HTTP/2 between real programs, over TLS and plain: every request is there once on each side, whole and right.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{Exchange, hundred_calls, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::process::run_well;
use crate::harness::seen::{Seen, header};
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

fn exchange(client: Client, server: impl Fn(&Work) -> Server, server_header: &'static str) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = server(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());
    let mut calls = hundred_calls(&work);
    if server.scheme == "http" {
        calls = alone(calls);
    }
    let programs = (client, &server);
    let exchange = Exchange::perform(&work, &agent, &sink, programs, &calls, server_header);
    agent.ledger().assert_nothing_lost();
    agent.stop();
    exchange.verify(&Seen::of(&sink));
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
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_http2(&work, "https");
    let config = Config::new("headers").grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());
    let target = work.url_path("get/load");
    let mut h2load = Command::new("h2load");
    h2load
        .args(["-n", "2000", "-c", "4", "-m", "32"])
        .arg(format!("{}{target}", nginx.base()));
    let output = run_well(&mut h2load, work.dir(), "h2load", Duration::from_secs(60));
    assert!(
        output.stdout.contains("2000 succeeded"),
        "{}",
        output.stdout
    );
    let arrived = |sink: &OtlpSink| Seen::of(sink).spans_of(&target).len() >= 4000;
    assert!(
        sink.wait_for(arrived, Duration::from_secs(30)),
        "{}",
        agent.ledger()
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    assert_complete(&Seen::of(&sink), &target, 2000);
}

#[test]
fn a_pushed_response_and_trailers_of_nghttpd_are_right() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nghttpd = servers::nghttpd(&work);
    let config = Config::new("headers").grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());
    let mut nghttp = Command::new("nghttp");
    nghttp
        .arg("--null-out")
        .arg(format!("{}/page", nghttpd.base()));
    run_well(&mut nghttp, work.dir(), "nghttp", Duration::from_secs(20));
    let calls = ["/page", "/pushed.css"].map(Call::get);
    wait_for_targets(&agent, &sink, &calls, 2);
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for (target, size) in [("/page", 20_000), ("/pushed.css", 3000)] {
        for span in assert_complete(&seen, target, 1) {
            assert_eq!(span.int("http.response.body.size"), Some(size), "{target}");
        }
    }
}

#[test]
fn http_2_after_an_upgrade_is_right() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let server = servers::h2c(&work);
    let config = Config::new("headers").grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("get/upgrade")).header("x-call", "7");
    let calls = [vec![call.clone()], vec![call.clone()]];
    let answers = Client::CurlHttp2.perform(&work, &server.base(), &calls);
    assert!(
        answers
            .iter()
            .all(|a| a.status == 200 && a.body.len() == 3000)
    );
    let arrived = |sink: &OtlpSink| Seen::of(sink).spans_of(&call.target).len() >= 4;
    assert!(
        sink.wait_for(arrived, Duration::from_secs(20)),
        "{}",
        agent.ledger()
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for span in assert_complete(&seen, &call.target, 2) {
        assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
        assert_eq!(span.int("http.response.body.size"), Some(3000));
    }
}
