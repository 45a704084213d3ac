//! HTTP/1.0 and 1.1 as old, careful and hurried programs speak it over TLS: one span a request and side, all of it right.

use crate::harness::exchange::{body_of, wait_for_targets};
use crate::harness::plan::Call;
use crate::harness::scene::{Scene, complete, payload};
use crate::harness::seen::{Seen, header};
use crate::harness::{pattern, servers, turn};
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::process::Command;

/// Method, status, sizes of both bodies and protocol version of a span, which is complete.
fn assert_span(span: &SeenSpan, want: (&str, i64, usize, usize, &str)) {
    let size = |name: &str| span.int(name).unwrap_or(0) as usize;
    let method = span.text("http.request.method").unwrap_or_default();
    let version = span.text("network.protocol.version").unwrap_or_default();
    let got = (
        method.as_str(),
        span.int("http.response.status_code").unwrap_or(0),
        size("http.request.body.size"),
        size("http.response.body.size"),
        version.as_str(),
    );
    assert_eq!(got, want, "{span:#?}");
    assert!(complete(span), "{:?}", span.attr("plainspan.marks"));
}

/// The two spans of a target, each as wanted.
fn assert_pair<'a>(
    seen: &'a Seen,
    target: &str,
    want: (&str, i64, usize, usize, &str),
) -> [&'a SeenSpan; 2] {
    let pair = seen.pair(target);
    let spans = [pair.client, pair.server];
    spans.iter().for_each(|span| assert_span(span, want));
    spans
}

/// curl's exit code after a POST of `size` bytes. From 1 MiB on it expects 100 by itself.
fn upload(scene: &Scene, target: &str, size: usize, options: &[&str]) -> Option<i32> {
    let body = scene.work.path("body");
    std::fs::write(&body, pattern(size)).expect("write a body");
    let data = format!("@{}", body.display());
    let options: Vec<&str> = [&["--data-binary", &data], options].concat();
    scene.curl(target, &options).code
}

const EXPECT: [&str; 2] = ["-H", "expect: 100-continue"];

#[test]
fn an_upload_that_expects_100_continue_is_whole_with_its_interim_response() {
    let _turn = turn();
    for start in [servers::nginx, servers::python, servers::node] {
        let scene = Scene::new(start);
        let target = scene.work.url_path("upload/expect");
        assert_eq!(upload(&scene, &target, 300_000, &EXPECT), Some(0));
        let (seen, _work) = scene.finish_all(&[&target], 2);
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            let answer = span.int("http.response.body.size").unwrap_or(0) as usize;
            assert_span(span, ("POST", 200, 300_000, answer, "1.1"));
            let document = payload(span);
            assert_eq!(document["response"]["interim"], json!([100]));
            assert!(
                body_of(&document["request"]) == pattern(300_000),
                "the body differs"
            );
        }
    }
}

#[test]
fn an_upload_that_is_refused_instead_of_continued_has_no_body_and_is_complete() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let target = scene.work.url_path("refuse/413");
    upload(&scene, &target, 300_000, &EXPECT);
    // curl asks again on the same connection, and then sends its body unasked (RFC 9110 §10.1.1).
    let again = scene.work.url_path("refuse/417");
    assert_eq!(upload(&scene, &again, 2_000_000, &[]), Some(0));
    wait_for_targets(&scene.agent, &scene.sink, &[Call::get(&again)], 4);
    let (seen, _work) = scene.finish_all(&[&target], 2);
    for span in assert_pair(&seen, &target, ("POST", 413, 0, 3, "1.1")) {
        assert_eq!(payload(span)["response"]["interim"], json!([]));
    }
    for kind in [SpanKind::Client, SpanKind::Server] {
        let spans = seen.spans_of(&again);
        let mut of: Vec<_> = spans
            .iter()
            .filter(|span| span.span.kind == kind as i32)
            .collect();
        of.sort_by_key(|span| span.span.start_time_unix_nano);
        assert_eq!(of.len(), 2, "{}", seen.summary());
        assert_span(of[0], ("POST", 417, 0, 3, "1.1"));
        let answer = of[1].int("http.response.body.size").unwrap_or(0) as usize;
        assert_span(of[1], ("POST", 200, 2_000_000, answer, "1.1"));
    }
}

#[test]
fn a_response_that_comes_before_the_end_of_the_upload_is_told_with_what_was_sent() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let target = scene.work.url_path("early/413");
    // curl may or may not call it a success: the server answered, then closed.
    upload(
        &scene,
        &target,
        3_000_000,
        &["-H", "expect:", "--limit-rate", "1M"],
    );
    let (seen, _work) = scene.finish_all(&[&target], 2);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert_eq!(
            span.int("http.response.status_code"),
            Some(413),
            "{span:#?}"
        );
        assert_eq!(span.int("http.response.body.size"), Some(7));
        let sent = span.int("http.request.body.size").unwrap_or(0);
        assert!((1000..3_000_000).contains(&sent), "{sent}");
        assert!(!complete(span), "the rest of the request was never sent");
        let body = body_of(&payload(span)["request"]);
        assert!(!body.is_empty() && pattern(3_000_000).starts_with(&body));
    }
}

#[test]
fn each_request_of_apachebench_is_one_whole_span_on_each_side() {
    let _turn = turn();
    for (name, more) in [("close", &[][..]), ("keep", &["-k"][..])] {
        let scene = Scene::new(servers::nginx);
        let target = scene.work.url_path(&format!("get/ab-{name}"));
        let mut ab = Command::new("ab");
        ab.args(["-n", "300", "-c", "6"])
            .args(more)
            .arg(format!("{}{target}", scene.server.base()));
        let output = scene.run(&mut ab, "ab").stdout;
        assert!(output.contains("Complete requests:      300"), "{output}");
        assert!(output.contains("Failed requests:        0"), "{output}");
        let (seen, _work) = scene.finish_all(&[&target], 600);
        let spans = seen.spans_of(&target);
        let clients = spans
            .iter()
            .filter(|s| s.span.kind == SpanKind::Client as i32);
        assert_eq!((spans.len(), clients.count()), (600, 300));
        let answer = format!("asked GET {target}\n").len();
        for span in spans {
            assert_span(span, ("GET", 200, 0, answer, "1.0"));
        }
    }
}

/// Ten requests, the fourth with a body, the last one closing the connection.
fn ten_requests(scene: &Scene) -> (Vec<String>, Vec<u8>) {
    let target = |n: usize| scene.work.url_path(&format!("get/pipelined-{n}"));
    let targets: Vec<String> = (0..10).map(target).collect();
    let mut bytes = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        let (method, more) = match n {
            3 => ("POST", "content-length: 4\r\n"),
            9 => ("GET", "connection: close\r\n"),
            _ => ("GET", ""),
        };
        let head =
            format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\nx-number: {n}\r\n{more}\r\n");
        bytes.extend_from_slice(head.as_bytes());
        if n == 3 {
            bytes.extend_from_slice(b"four");
        }
    }
    (targets, bytes)
}

fn assert_pipelined(scene: Scene, targets: &[String], answers: &str, server: &str) {
    // The program's own view: all answers, in order.
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 10, "{answers}");
    let all: Vec<&str> = targets.iter().map(String::as_str).collect();
    let (seen, _work) = scene.finish_all(&all, 2);
    for (n, target) in targets.iter().enumerate() {
        let pair = seen.pair(target);
        for span in [pair.client, pair.server] {
            let method = if n == 3 { "POST" } else { "GET" };
            let sent = if n == 3 { 4 } else { 0 };
            let answer = body_of(&payload(span)["response"]);
            assert_span(span, (method, 200, sent, answer.len(), "1.1"));
            let number = header(span.attr("http.request.header.x-number"));
            assert_eq!(number, [n.to_string()]);
            assert_eq!(header(span.attr("http.response.header.x-server")), [server]);
            if method == "GET" {
                let want = format!("asked GET {target}\n");
                assert_eq!(String::from_utf8_lossy(&answer), want);
            }
        }
    }
}

#[test]
fn ten_requests_in_one_write_are_ten_right_pairs() {
    let _turn = turn();
    for (start, server) in [
        (servers::nginx as fn(&_) -> _, "nginx"),
        (servers::python, "python"),
        (servers::node, "node"),
    ] {
        let scene = Scene::new(start);
        let (targets, bytes) = ten_requests(&scene);
        let answers = scene.raw(&[&bytes]);
        assert_pipelined(scene, &targets, &answers, server);
    }
}

#[test]
fn requests_in_writes_of_one_byte_are_right_pairs() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let (targets, bytes) = ten_requests(&scene);
    let writes: Vec<&[u8]> = bytes.chunks(1).collect();
    let answers = scene.raw(&writes);
    assert_pipelined(scene, &targets, &answers, "nginx");
}

#[test]
fn a_chunked_upload_with_extensions_and_trailers_and_folded_headers_are_right() {
    let _turn = turn();
    let chunked = Scene::new(servers::nginx);
    let target = chunked.work.url_path("upload/chunked");
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         trailer: x-sum\r\n\r\n5;a=b\r\nhello\r\n6 ; c\r\n world\r\n0\r\nx-sum: 11\r\n\r\n"
    );
    let answers = chunked.raw(&[request.as_bytes()]);
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    let (seen, _work) = chunked.finish_all(&[&target], 2);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        let document = payload(span);
        let answer = body_of(&document["response"]).len();
        assert_span(span, ("POST", 200, 11, answer, "1.1"));
        assert_eq!(body_of(&document["request"]), b"hello world");
        assert_eq!(header(span.attr("plainspan.request.trailer.x-sum")), ["11"]);
    }

    let folded = Scene::new(servers::python);
    let target = folded.work.url_path("fold/x");
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\nx-asked: one\r\n  two\r\nconnection: close\r\n\r\n"
    );
    let answers = folded.raw(&[request.as_bytes()]);
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    let (seen, _work) = folded.finish_all(&[&target], 2);
    for span in assert_pair(&seen, &target, ("GET", 200, 0, 5, "1.1")) {
        for name in [
            "http.request.header.x-asked",
            "http.response.header.x-folded",
        ] {
            assert_eq!(header(span.attr(name)), ["one two"], "{name}");
        }
    }
}

#[test]
fn a_response_with_connection_close_ends_with_the_connection() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let target = scene.work.url_path("close/70000");
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let answer = scene.raw(&[request.as_bytes()]);
    assert!(answer.contains("connection: close"), "no such server");
    let (seen, _work) = scene.finish_all(&[&target], 2);
    for span in assert_pair(&seen, &target, ("GET", 200, 0, 70_000, "1.1")) {
        assert!(body_of(&payload(span)["response"]) == pattern(70_000));
    }
}

/// What broken and clever clients send: marked, and the request on the next connection is right.
#[test]
fn requests_that_servers_may_read_in_two_ways_are_marked_and_disturb_nothing_else() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let shapes = [
        (
            "both",
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "twice",
            "content-length: 4\r\ncontent-length: 9\r\n",
            "four",
        ),
        (
            "size",
            "transfer-encoding: chunked\r\n",
            "zz\r\nabc\r\n0\r\n\r\n",
        ),
    ];
    let mut targets = Vec::new();
    for (name, fields, body) in shapes {
        let odd = scene.work.url_path(&format!("get/odd-{name}"));
        let right = scene.work.url_path(&format!("get/right-{name}"));
        let hidden = scene.work.url_path(&format!("get/hidden-{name}"));
        let first = format!("GET {odd} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n{body}");
        let smuggled =
            format!("GET {hidden} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        scene.raw(&[format!("{first}{smuggled}").as_bytes()]);
        let last = format!("GET {right} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        scene.raw(&[last.as_bytes()]);
        targets.push((odd, hidden, right));
    }
    let (seen, _work) = scene.finish(&targets[2].2);
    for (odd, hidden, right) in &targets {
        let answer = format!("asked GET {right}\n").len();
        assert_pair(&seen, right, ("GET", 200, 0, answer, "1.1"));
        let spans = seen.spans_of(odd);
        assert_eq!(spans.len(), 2, "{}", seen.summary());
        for span in spans.iter().chain(&seen.spans_of(hidden)) {
            assert_eq!(
                span.attr("plainspan.capture.complete"),
                Some(Value::Bool(false)),
                "{span:#?}"
            );
        }
    }
}
