//! curl and nginx over HTTPS: every request is there once on each side, whole and right.

use crate::harness::config::Config;
use crate::harness::exchange::{body_of, hundred_calls};
use crate::harness::plan::{Call, Client};
use crate::harness::scene::{Scene, payload};
use crate::harness::seen::header;
use crate::harness::servers;
use crate::harness::turn;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use std::slice::from_ref;

#[test]
pub fn every_https_request_of_curl_to_nginx_is_one_client_and_one_server_span_with_log_record_and_payload()
 {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let calls = hundred_calls(&scene.work);
    scene.exchange(Client::Curl, &calls, "nginx");
}

#[test]
fn level_headers_has_headers_and_no_bodies_and_level_summary_has_neither() {
    let _turn = turn();
    for level in ["headers", "summary"] {
        let scene = Scene::with(servers::nginx, |work, sink, _| {
            Config::new(level)
                .http(&sink.http_endpoint())
                .disk(&work.folder("payloads"))
        });
        let call = Call::post(
            scene.work.url_path("upload/level?x=1"),
            b"BODY-OF-THE-REQUEST".to_vec(),
        )
        .header("x-call", "7");
        scene.perform(Client::Curl, from_ref(&call));
        let (seen, _work) = scene.finish(&call.target);
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            assert_eq!(span.text("plainspan.capture.level").as_deref(), Some(level));
            assert_eq!(span.int("http.request.body.size"), Some(19));
            let lines = header(span.attr("http.request.header.x-call"));
            let wanted: &[&str] = if level == "headers" { &["7"] } else { &[] };
            assert_eq!(lines, wanted, "level {level}");
            let document = payload(span);
            assert!(
                body_of(&document["request"]).is_empty(),
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
    let scene = Scene::at_level("none", servers::nginx);
    let call = Call::get(scene.work.url_path("get/none"));
    scene.perform(Client::Curl, from_ref(&call));
    let (seen, _work) = scene.stop();
    assert!(seen.spans_of(&call.target).is_empty());
}

#[test]
fn an_include_filter_leaves_out_every_other_program() {
    let _turn = turn();
    let scene = Scene::with(servers::nginx, |_, sink, _| {
        let only_nginx = json!({"include": [{"exe": "/usr/sbin/nginx"}]});
        Config::new("headers")
            .grpc(&sink.grpc_endpoint())
            .tap("filters", only_nginx)
    });
    let call = Call::get(scene.work.url_path("get/filtered"));
    scene.perform(Client::Curl, from_ref(&call));
    scene.wait_for(from_ref(&call), 1);
    let (seen, _work) = scene.stop();
    assert_eq!(seen.spans_of(&call.target).len(), 1, "{}", seen.summary());
    // The agent's own spans are about itself, and internal.
    let mut http = seen
        .spans()
        .iter()
        .filter(|span| span.span.kind != SpanKind::Internal as i32);
    assert!(
        http.all(|span| span.service().is_some_and(|s| s.contains("nginx"))),
        "{}",
        seen.summary()
    );
}
