//! curl and nginx over HTTPS: every request is there once on each side, whole and right.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::exchange::{Exchange, hundred_calls, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::seen::{Seen, header};
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::json;

#[test]
fn every_https_request_of_curl_to_nginx_is_one_client_and_one_server_span_with_log_record_and_payload()
 {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"));
    let agent = Agent::start(&work, &config.yaml());

    let calls = hundred_calls(&work);
    let exchange = Exchange::perform(
        &work,
        &agent,
        &sink,
        (Client::Curl, &nginx),
        &calls,
        "nginx",
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    exchange.verify(&Seen::of(&sink));
}

#[test]
fn level_headers_has_headers_and_no_bodies_and_level_summary_has_neither() {
    let _turn = turn();
    for level in ["headers", "summary"] {
        let work = Work::new();
        let sink = OtlpSink::start();
        let nginx = servers::nginx(&work);
        let payloads = work.folder("payloads");
        let config = Config::new(level)
            .http(&sink.http_endpoint())
            .disk(&payloads);
        let agent = Agent::start(&work, &config.yaml());
        let call = Call::post(
            work.url_path("upload/level?x=1"),
            b"BODY-OF-THE-REQUEST".to_vec(),
        )
        .header("x-call", "7");
        Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
        wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 2);
        agent.stop();

        let seen = Seen::of(&sink);
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            assert_eq!(span.text("plainspan.capture.level").as_deref(), Some(level));
            assert_eq!(span.int("http.request.body.size"), Some(19));
            let lines = header(span.attr("http.request.header.x-call"));
            let wanted: &[&str] = if level == "headers" { &["7"] } else { &[] };
            assert_eq!(lines, wanted, "level {level}");
            let document = crate::harness::exchange::read_file_url(
                &span.text("plainspan.payload.url").expect("a link"),
            );
            let document: serde_json::Value =
                serde_json::from_slice(&document).expect("a payload is JSON");
            assert!(
                crate::harness::exchange::body_of(&document["request"]).is_empty(),
                "level {level}: {document}"
            );
            let headers = document["request"]["headers"]
                .as_object()
                .is_some_and(|headers| !headers.is_empty());
            assert_eq!(headers, level == "headers", "level {level}: {document}");
        }
    }
}

#[test]
fn level_none_lets_nothing_leave() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("none").grpc(&sink.grpc_endpoint());
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("get/none"));
    Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    agent.stop();
    assert!(Seen::of(&sink).spans_of(&call.target).is_empty());
}

#[test]
fn an_include_filter_leaves_out_every_other_program() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let only_nginx = json!({"include": [{"exe": "/usr/sbin/nginx"}]});
    let config = Config::new("headers")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", only_nginx);
    let agent = Agent::start(&work, &config.yaml());
    let call = Call::get(work.url_path("get/filtered"));
    Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    wait_for_targets(&agent, &sink, std::slice::from_ref(&call), 1);
    agent.stop();
    let seen = Seen::of(&sink);
    let services: Vec<_> = seen
        .spans()
        .iter()
        .map(|span| span.text("url.path"))
        .collect();
    assert_eq!(seen.spans_of(&call.target).len(), 1, "{services:?}");
    assert!(
        seen.spans()
            .iter()
            .all(|span| span.service().is_some_and(|s| s.contains("nginx"))),
        "{}",
        seen.summary()
    );
}
