//! HTTP/2 of nghttp2's own programs and of Node: what nginx and curl don't do.

use crate::harness::exchange::body_of;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::{Scene, complete, payload};
use crate::harness::seen::{Seen, header};
use crate::harness::servers::{self, Server, program};
use crate::harness::work::Work;
use crate::harness::{pattern, turn};
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::process::Command;

/// The spans of a target: `each` on each side, all whole, with this status and size.
fn assert_spans<'a>(seen: &'a Seen, target: &str, each: usize, size: i64) -> Vec<&'a SeenSpan> {
    let spans = seen.spans_of(target);
    let of = |kind: SpanKind| spans.iter().filter(|s| s.span.kind == kind as i32).count();
    let sides = (of(SpanKind::Client), of(SpanKind::Server));
    assert_eq!(sides, (each, each), "{target}");
    for span in &spans {
        assert!(complete(span), "{:?}", span.attr("plainspan.marks"));
        let version = span.text("network.protocol.version");
        assert_eq!(version.as_deref(), Some("2"));
        assert_eq!(span.text("http.request.method").as_deref(), Some("GET"));
        assert_eq!(span.int("http.response.status_code"), Some(200));
        assert_eq!(span.int("http.response.body.size"), Some(size));
    }
    spans
}

fn h2load(scene: &Scene, target: &str) {
    let mut h2load = Command::new("h2load");
    h2load
        .args(["-n", "640", "-c", "2", "-m", "32"])
        .arg(format!("{}{target}", scene.server.base()));
    let output = scene.run(&mut h2load, "h2load").stdout;
    assert!(output.contains("640 succeeded"), "{output}");
}

fn nghttp(scene: &Scene, target: &str, more: &[&str]) {
    let mut nghttp = Command::new("nghttp");
    nghttp
        .arg("--null-out")
        .args(more)
        .arg(format!("{}{target}", scene.server.base()));
    scene.run(&mut nghttp, "nghttp");
}

#[test]
fn h2load_with_32_streams_against_nghttpd_gives_each_request_with_its_trailers() {
    let _turn = turn();
    for start in [
        servers::nghttpd as fn(&Work) -> Server,
        servers::nghttpd_plain,
    ] {
        let scene = Scene::new(start);
        let target = scene.work.url_path("load");
        h2load(&scene, &target);
        let (seen, _work) = scene.finish_all(&[&target], 1280);
        for span in assert_spans(&seen, &target, 640, 600) {
            let trailer = header(span.attr("plainspan.response.trailer.x-end"));
            assert_eq!(trailer, ["yes"]);
        }
    }
}

#[test]
fn curl_and_nghttp_against_nghttpd_are_right() {
    let _turn = turn();
    for (start, client) in [
        (servers::nghttpd as fn(&Work) -> Server, Client::CurlHttp2),
        (servers::nghttpd_plain, Client::CurlPriorKnowledge),
    ] {
        let scene = Scene::new(start);
        let target = scene.work.url_path("load");
        let call = Call::get(&target).header("x-call", "7");
        let answers = client.perform(&scene.work, &scene.server.base(), &[vec![call]]);
        assert!(answers[0].body == pattern(600));
        nghttp(&scene, &target, &["-H", "x-call: 7"]);
        let (seen, _work) = scene.finish_all(&[&target], 4);
        for span in assert_spans(&seen, &target, 2, 600) {
            assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
            let trailer = header(span.attr("plainspan.response.trailer.x-end"));
            assert_eq!(trailer, ["yes"]);
            assert!(body_of(&payload(span)["response"]) == pattern(600));
        }
    }
}

#[test]
fn nghttp_with_continued_headers_and_padding_against_nginx_is_right() {
    let _turn = turn();
    let scene = Scene::new(|w| servers::nginx_http2(w, "https"));
    let target = scene.work.url_path("get/nghttp");
    // A PRIORITY frame a stream, padded DATA and HEADERS, and CONTINUATION frames.
    nghttp(
        &scene,
        &target,
        &[
            "--multiply=5",
            "--padding=100",
            "--continuation",
            "-H",
            "x-call: 7",
        ],
    );
    let size = format!("asked GET {target}\n").len() as i64;
    let (seen, _work) = scene.finish_all(&[&target], 10);
    for span in assert_spans(&seen, &target, 5, size) {
        assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
    }
}

#[test]
fn bodies_that_node_codes_over_http_2_are_stored_decoded() {
    let _turn = turn();
    let scene = Scene::new(servers::node_http2);
    let target = |coding: &str| scene.work.url_path(&format!("coded/{coding}/100000"));
    let targets = ["gzip", "deflate", "br"].map(target);
    let calls = targets.each_ref().map(Call::get);
    let answers = Client::CurlHttp2.perform(&scene.work, &scene.server.base(), &[calls.to_vec()]);
    let sizes: Vec<i64> = answers.iter().map(|a| a.body.len() as i64).collect();
    let all = targets.each_ref().map(String::as_str);
    let (seen, _work) = scene.finish_all(&all, 2);
    for (target, size) in targets.iter().zip(sizes) {
        assert!((50..50_000).contains(&size), "not coded: {size}");
        for span in assert_spans(&seen, target, 1, size) {
            let response = &payload(span)["response"];
            assert!(body_of(response) == pattern(100_000), "{response}");
            assert_eq!(response["body_size"].as_i64(), Some(size));
        }
    }
}

#[test]
fn a_websocket_by_extended_connect_over_http_2_is_one_whole_transaction_on_each_side() {
    let _turn = turn();
    let scene = Scene::new(servers::node_http2);
    let target = scene.work.url_path("socket");
    let mut node = Command::new("node");
    node.arg(program("http2_connect.js"))
        .arg(scene.server.base())
        .arg(scene.work.path("cert.pem"))
        .arg(&target);
    let output = scene.run(&mut node, "http2_connect").stdout;
    assert!(output.contains("68656c6c6f"), "no echo: {output}");
    let (seen, _work) = scene.finish_all(&[&target], 2);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{:?}", span.attr("plainspan.marks"));
        let method = span.text("http.request.method");
        assert_eq!(method.as_deref(), Some("CONNECT"), "{span:#?}");
        assert_eq!(span.int("http.response.status_code"), Some(200));
        let version = span.text("network.protocol.version");
        assert_eq!(version.as_deref(), Some("2"));
        // What goes through is counted.
        assert_eq!(span.int("http.request.body.size"), Some(11));
        assert_eq!(span.int("http.response.body.size"), Some(11));
    }
}
