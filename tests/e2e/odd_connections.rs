//! Large, slow, interim and broken: each gives a right or a rightly marked transaction.

use crate::harness::exchange::{body_of, wait_for_targets};
use crate::harness::plan::{Call, Client};
use crate::harness::process::run;
use crate::harness::scene::{Scene, complete, failed, payload, seconds};
use crate::harness::seen::header;
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{pattern, turn};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_response_of_1_mib_is_whole() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let target = scene.work.url_path("file/1m.bin");
    let answers = Client::Curl.perform(
        &scene.work,
        &scene.server.base(),
        &[vec![Call::get(&target)]],
    );
    assert_eq!(answers[0].body.len(), 1 << 20);
    scene.agent.ledger().assert_nothing_lost();
    let (seen, _work) = scene.finish(&target);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{span:#?}");
        assert_eq!(span.int("http.response.body.size"), Some(1 << 20));
        assert!(
            body_of(&payload(span)["response"]) == pattern(1 << 20),
            "the body differs"
        );
    }
}

#[test]
fn a_body_above_the_bound_keeps_its_head_and_its_true_length() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let target = scene.work.url_path("size/3000000");
    scene.curl(&target, &[]);
    let (seen, _work) = scene.finish(&target);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert_eq!(span.int("http.response.body.size"), Some(3_000_000));
        assert!(
            body_of(&payload(span)["response"]) == pattern(1 << 20),
            "not the first MiB"
        );
    }
}

#[test]
fn a_response_that_takes_3_s_has_its_true_duration() {
    let _turn = turn();
    for start in [servers::python, servers::python_plain] {
        let scene = Scene::new(start);
        let target = scene.work.url_path("slow/3");
        assert_eq!(scene.curl(&target, &[]).code, Some(0));
        let (seen, _work) = scene.finish(&target);
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            assert!(complete(span), "{span:#?}");
            assert!((2.9..4.5).contains(&seconds(span)), "{} s", seconds(span));
            let first = span
                .attr("plainspan.ttfb")
                .and_then(|v| v.as_f64())
                .expect("plainspan.ttfb");
            assert!(first < 1.0, "first byte after {first} s");
            assert!(
                body_of(&payload(span)["response"]) == pattern(1000),
                "the body differs"
            );
        }
    }
}

#[test]
fn chunks_with_a_trailer_and_bodies_ended_by_the_connection_are_whole() {
    let _turn = turn();
    let scene = Scene::new(servers::python);
    let chunked = scene.work.url_path("chunked/5500");
    let closed = scene.work.url_path("close/4000");
    assert_eq!(scene.curl(&chunked, &[]).code, Some(0));
    assert_eq!(scene.curl(&closed, &[]).code, Some(0));
    wait_for_targets(&scene.agent, &scene.sink, &[Call::get(&chunked)], 2);
    let (seen, _work) = scene.finish(&closed);
    for (target, size) in [(chunked, 5500), (closed, 4000)] {
        let pair = seen.pair(&target);
        for span in [pair.client, pair.server] {
            assert!(complete(span), "{span:#?}");
            assert!(
                body_of(&payload(span)["response"]) == pattern(size),
                "the body of {target} differs"
            );
        }
    }
}

#[test]
fn head_204_and_an_interim_100_do_not_confuse_what_follows_on_the_connection() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let prefix = scene.work.url_path("");
    let base = scene.server.base();
    let url = |rest: &str| format!("{base}{prefix}{rest}");
    let ca = scene.work.path("cert.pem");
    let body = scene.work.path("body");
    std::fs::write(&body, pattern(50_000)).expect("write a body");
    let mut command = Command::new("curl");
    let common = ["-s", "-S", "--http1.1", "-o", "/dev/null"];
    let steps: [(&str, Vec<String>); 4] = [
        ("get/head", vec!["-I".into()]),
        ("status/204", vec![]),
        (
            "upload/expect",
            vec![
                "-H".into(),
                "expect: 100-continue".into(),
                "--data-binary".into(),
                format!("@{}", body.display()),
            ],
        ),
        ("get/after", vec![]),
    ];
    command.arg("-q");
    for (number, (path, options)) in steps.iter().enumerate() {
        if number > 0 {
            command.arg("--next");
        }
        command
            .args(common)
            .arg("--cacert")
            .arg(&ca)
            .args(options)
            .arg(url(path));
    }
    let output = run(
        &mut command,
        scene.work.dir(),
        "curl",
        Duration::from_secs(30),
    );
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let targets = steps.each_ref().map(|(path, _)| format!("{prefix}{path}"));
    let (seen, _work) = scene.finish(&targets[3]);
    for (target, (method, status)) in
        targets
            .iter()
            .zip([("HEAD", 200), ("GET", 204), ("POST", 200), ("GET", 200)])
    {
        let pair = seen.pair(target);
        for span in [pair.client, pair.server] {
            assert_eq!(
                span.text("http.request.method").as_deref(),
                Some(method),
                "{target}"
            );
            assert_eq!(
                span.int("http.response.status_code"),
                Some(status),
                "{target}"
            );
            assert!(complete(span), "{target}: {span:#?}");
        }
    }
    let upload = seen.pair(&targets[2]).client;
    assert!(
        body_of(&payload(upload)["request"]) == pattern(50_000),
        "the body after 100 Continue differs"
    );
}

#[test]
fn statuses_make_errors_by_the_conventions_and_severities_of_their_own() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let not_found = scene.work.url_path("status/404");
    let unavailable = scene.work.url_path("status/503");
    scene.curl(&not_found, &[]);
    scene.curl(&unavailable, &[]);
    wait_for_targets(&scene.agent, &scene.sink, &[Call::get(&not_found)], 2);
    let (seen, _work) = scene.finish(&unavailable);

    let pair = seen.pair(&not_found);
    assert!(
        failed(pair.client) && !failed(pair.server),
        "a 404 is the client's error alone"
    );
    assert_eq!(pair.client.text("error.type").as_deref(), Some("404"));
    assert_eq!(pair.server.text("error.type"), None);
    let pair = seen.pair(&unavailable);
    assert!(
        failed(pair.client) && failed(pair.server),
        "a 503 is an error on both sides"
    );
    assert_eq!(pair.server.text("error.type").as_deref(), Some("503"));
    for (target, severity) in [(&not_found, 13), (&unavailable, 17)] {
        let pair = seen.pair(target);
        for span in [pair.client, pair.server] {
            assert_eq!(
                seen.log_of(span).record.severity_number,
                severity,
                "{target}"
            );
        }
    }
}

#[test]
fn a_response_cut_in_the_middle_is_marked_and_says_how() {
    let _turn = turn();
    for (what, start) in [
        ("half", servers::python as fn(&Work) -> Server),
        ("reset", servers::python),
        ("die", servers::python),
        ("half", servers::python_plain),
        ("reset", servers::python_plain),
    ] {
        let scene = Scene::new(start);
        let target = scene.work.url_path(&format!("{what}/100000"));
        let code = scene.curl(&target, &[]).code;
        assert!(
            matches!(code, Some(18 | 56)),
            "curl was told that the body is cut: {code:?}"
        );
        let scheme = scene.server.scheme;
        let (seen, _work) = scene.finish(&target);
        let client = seen.pair(&target).client;
        assert!(!complete(client), "{scheme} {what}: {client:#?}");
        assert!(failed(client), "{scheme} {what}: {client:#?}");
        assert_eq!(
            client.int("http.response.status_code"),
            Some(200),
            "the status did arrive"
        );
        let kind = client.text("error.type").expect("error.type");
        assert!(
            ["incomplete_response", "connection_reset"].contains(&kind.as_str()),
            "{kind}"
        );
        let body = body_of(&payload(client)["response"]);
        assert!(
            pattern(50_000).starts_with(&body),
            "what was kept is a true prefix"
        );
        let server = seen.pair(&target).server;
        assert!(!complete(server), "{scheme} {what}: {server:#?}");
    }
}

#[test]
fn a_client_that_gives_up_leaves_a_span_without_status() {
    let _turn = turn();
    for start in [servers::python, servers::python_plain] {
        let scene = Scene::new(start);
        let target = scene.work.url_path("wait/3");
        assert_eq!(
            scene.curl(&target, &["--max-time", "1"]).code,
            Some(28),
            "curl gives up"
        );
        let (seen, _work) = scene.finish(&target);
        let client = seen.one(&target, SpanKind::Client);
        assert_eq!(client.int("http.response.status_code"), None);
        assert!(
            failed(client) && client.text("error.type").is_some(),
            "{client:#?}"
        );
        assert!(
            (0.8..2.5).contains(&seconds(client)),
            "{} s",
            seconds(client)
        );
        // The server may have answered into the void, whole as it saw it; it must not be counted twice.
        seen.one(&target, SpanKind::Server);
    }
}

#[test]
fn repeated_header_lines_stay_apart_and_in_order() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let target = scene.work.url_path("get/lines");
    scene.curl(
        &target,
        &[
            "-H",
            "X-Line: one",
            "-H",
            "X-Line: two, three",
            "-H",
            "x-line: four",
        ],
    );
    let (seen, _work) = scene.finish(&target);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert_eq!(
            header(span.attr("http.request.header.x-line")),
            ["one", "two, three", "four"]
        );
    }
}
