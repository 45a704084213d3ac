//! gRPC over TLS between grpcio's client and server: one span a call and side, with method, status and messages.

use crate::harness::config::Config;
use crate::harness::exchange::read_file_url;
use crate::harness::plan::Call;
use crate::harness::scene::Scene;
use crate::harness::seen::{Seen, header};
use crate::harness::servers::{self, PYTHON, program};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const SERVICE: &str = "plainspan.test.v1.Echo";

/// A call that `grpc_client.py` makes, and what its spans say.
struct Want {
    method: &'static str,
    status: &'static str,
    /// Messages and their sizes together; None: not looked at.
    from_client: Option<(i64, i64)>,
    from_server: Option<(i64, i64)>,
    /// The spans are in error: the client's, the server's.
    error: (bool, bool),
    /// The stream was broken off.
    broken_off: bool,
}

const fn want(
    method: &'static str,
    status: &'static str,
    from_client: (i64, i64),
    from_server: (i64, i64),
) -> Want {
    Want {
        method,
        status,
        from_client: Some(from_client),
        from_server: Some(from_server),
        error: (false, false),
        broken_off: false,
    }
}

fn wanted() -> Vec<Want> {
    vec![
        want("Unary", "OK", (1, 5), (1, 5)),
        Want {
            // As long as the compressor makes them.
            from_client: None,
            from_server: None,
            ..want("Packed", "OK", (1, 0), (1, 0))
        },
        want("ClientStream", "OK", (5, 10_000), (1, 5)),
        want("ServerStream", "OK", (1, 40_000), (4, 160_000)),
        want("Bidi", "OK", (6, 300), (6, 600)),
        Want {
            error: (true, false),
            ..want("Missing", "NOT_FOUND", (1, 5), (0, 0))
        },
        Want {
            error: (true, true),
            ..want("Broken", "UNAVAILABLE", (1, 5), (2, 10))
        },
        Want {
            error: (true, true),
            from_server: None,
            broken_off: true,
            ..want("Slow", "DEADLINE_EXCEEDED", (1, 4), (0, 0))
        },
        Want {
            error: (true, true),
            ..want("NoSuch", "UNIMPLEMENTED", (1, 4), (0, 0))
        },
    ]
}

/// One of the clients of gRPC, with these options.
fn run_client(scene: &Scene, name: &str, options: &[&str]) {
    let mut client = Command::new(PYTHON);
    client
        .arg(program(&format!("{name}.py")))
        .arg(format!("localhost:{}", scene.server.port))
        .arg(scene.work.path("cert.pem"))
        .args(options);
    scene.run(&mut client, name);
}

fn target(method: &str) -> String {
    format!("/{SERVICE}/{method}")
}

/// All calls once, at `level`.
fn calls(level: &str) -> (Work, Seen, u16) {
    let scene = Scene::with(servers::grpc, |work, sink, _| {
        Config::new(level)
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"))
    });
    run_client(&scene, "grpc_client", &[]);
    let calls: Vec<Call> = wanted()
        .iter()
        .map(|w| Call::post(target(w.method), Vec::new()))
        .collect();
    let port = scene.server.port;
    let (seen, work) = scene.finish_calls(&calls, 2);
    (work, seen, port)
}

fn check(span: &SeenSpan, want: &Want, port: u16) {
    let kind = span.span.kind().as_str_name();
    let of = format!("{kind} {}: {:#?}", want.method, span.span.attributes);
    let text = |name: &str| span.text(name).unwrap_or_default();
    assert_eq!(text("rpc.system.name"), "grpc", "{of}");
    let method = format!("{SERVICE}/{}", want.method);
    let (known, name, original) = match want.method {
        "NoSuch" => ("_OTHER", "grpc", Some(&*method)),
        _ => (&*method, &*method, None),
    };
    assert_eq!(text("rpc.method"), known, "{of}");
    assert_eq!(
        span.text("rpc.method_original").as_deref(),
        original,
        "{of}"
    );
    assert_eq!(span.span.name, name, "{of}");
    assert_eq!(text("rpc.response.status_code"), want.status, "{of}");
    assert_eq!(text("http.request.method"), "POST", "{of}");
    assert_eq!(text("network.protocol.version"), "2", "{of}");
    assert_eq!(text("plainspan.grpc.protocol"), "grpc", "{of}");
    let client = span.span.kind == SpanKind::Client as i32;
    let error = if client { want.error.0 } else { want.error.1 };
    let status = span.span.status.as_ref().map(|s| s.code());
    assert_eq!(status, error.then_some(StatusCode::Error), "{of}");
    let error_type = span.text("error.type");
    assert_eq!(error_type.as_deref(), error.then_some(want.status), "{of}");
    for (side, counts) in [
        ("from_client", want.from_client),
        ("from_server", want.from_server),
    ] {
        let count = |what: &str| span.int(&format!("plainspan.grpc.{side}.{what}"));
        if let Some((messages, size)) = counts {
            let got = (count("messages"), count("payload_size"));
            assert_eq!(got, (Some(messages), Some(size)), "{side} {of}");
        }
        let marks = span.attr(&format!("plainspan.grpc.{side}.marks"));
        assert_eq!(marks, None, "{side} {of}");
    }
    if !want.broken_off {
        let complete = span.attr("plainspan.capture.complete");
        assert_eq!(complete, Some(Value::Bool(true)), "{of}");
        assert_eq!(span.int("http.response.status_code"), Some(200), "{of}");
    }
    assert_eq!(text("network.peer.address"), "127.0.0.1", "{of}");
    if client {
        assert_eq!(span.int("network.peer.port"), Some(port.into()), "{of}");
    } else {
        assert_eq!(span.int("network.local.port"), Some(port.into()), "{of}");
    }
    assert_eq!(text("server.address"), "localhost", "{of}");
}

/// Port of `ipv4:ADDRESS:PORT`, as the server saw its client.
fn peer_port(span: &SeenSpan) -> i64 {
    let lines = header(span.attr("plainspan.response.trailer.x-peer"));
    let port = lines
        .first()
        .and_then(|l| l.rsplit(':').next()?.parse().ok());
    port.unwrap_or_else(|| panic!("no peer in {lines:?}"))
}

#[test]
fn calls_on_many_connections_at_once_are_whole_and_their_addresses_are_right_or_unknown() {
    const CALLS: usize = 8 * 4 * 25;
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::grpc);
    run_client(&scene, "grpc_load", &["8", "4", "25"]);
    let target = target("Unary");
    let arrived = |sink: &OtlpSink| Seen::of(sink).spans_of(&target).len() >= 2 * CALLS;
    let all = scene.sink.wait_for(arrived, Duration::from_secs(20));
    assert!(all, "{}", scene.agent.ledger());
    scene.agent.ledger().assert_nothing_lost();
    let (seen, _work) = scene.stop();
    let spans = seen.spans_of(&target);
    let mut told: Vec<(String, i32)> = Vec::new();
    let mut unknown = 0;
    for span in spans {
        told.push((
            header(span.attr("http.request.header.x-call")).concat(),
            span.span.kind,
        ));
        let complete = span.attr("plainspan.capture.complete");
        assert_eq!(complete, Some(Value::Bool(true)));
        assert_eq!(span.int("plainspan.grpc.from_client.messages"), Some(1));
        assert_eq!(span.int("plainspan.grpc.from_server.messages"), Some(1));
        assert_eq!(span.text("rpc.response.status_code").as_deref(), Some("OK"));
        let client = span.span.kind == SpanKind::Client as i32;
        let own = if client {
            "network.local.port"
        } else {
            "network.peer.port"
        };
        match span.int(own) {
            Some(port) => assert_eq!(port, peer_port(span), "{:#?}", span.span),
            None => unknown += 1,
        }
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 2 * CALLS, "one span a call and side");
    assert!(unknown * 20 <= 2 * CALLS, "{unknown} spans know no address");
}

fn document(span: &SeenSpan) -> Value {
    let url = span.text("plainspan.payload.url").expect("a payload link");
    serde_json::from_slice(&read_file_url(&url)).expect("a payload is JSON")
}

#[test]
fn calls_of_every_kind_are_right_on_both_sides() {
    let _turn = turn();
    let (_work, seen, port) = calls("full");
    for want in wanted() {
        let pair = seen.pair(&target(want.method));
        for span in [pair.client, pair.server] {
            check(span, &want, port);
            check_document(span, &want);
            assert!(
                seen.log_of(span).attr("rpc.method").is_some(),
                "{}",
                want.method
            );
        }
    }
}

fn check_document(span: &SeenSpan, want: &Want) {
    let document = document(span);
    let grpc = &document["grpc"];
    assert_eq!(grpc["status"], want.status, "{grpc:#}");
    let messages = grpc["messages"].as_array().expect("messages");
    let of = |from: &str| -> Vec<Vec<u8>> {
        let own = messages.iter().filter(|m| m["from"] == from);
        own.map(|m| {
            let text = m["base64"].as_str().expect("bytes in base64");
            STANDARD.decode(text).expect("base64")
        })
        .collect()
    };
    let (client, server) = (of("client"), of("server"));
    match want.method {
        "Unary" => {
            assert_eq!(
                (client, server),
                (vec![b"hello".to_vec()], vec![b"hello".to_vec()])
            );
            assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
            let masked = header(span.attr("http.request.header.authorization"));
            assert_eq!(masked, ["REDACTED"]);
            assert!(!document.to_string().contains("secret-of-the-call"));
            let end = header(span.attr("plainspan.response.trailer.x-end"));
            assert_eq!(end, ["yes"]);
        }
        "Packed" => {
            let long = vec![b'a'; 5000];
            assert_eq!(
                (client, server),
                (vec![long.clone()], vec![long]),
                "{grpc:#}"
            );
            for message in messages {
                assert_eq!(message["compressed"], true, "{message:#}");
                assert_eq!(message["encoding"], "gzip", "{message:#}");
                assert!(message["size"].as_u64() < Some(500), "{message:#}");
            }
        }
        "Missing" => {
            let said = "no cart of Zoë: 100 %\nnone";
            assert_eq!(grpc["message"], said);
            assert_eq!(span.text("plainspan.grpc.message").as_deref(), Some(said));
        }
        "ServerStream" => {
            let sizes: Vec<usize> = server.iter().map(Vec::len).collect();
            assert_eq!(sizes, [40_000; 4]);
        }
        _ => {}
    }
}

#[test]
fn messages_are_counted_where_bodies_are_not_kept() {
    let _turn = turn();
    let (_work, seen, port) = calls("summary");
    for want in wanted() {
        let pair = seen.pair(&target(want.method));
        for span in [pair.client, pair.server] {
            check(span, &want, port);
            assert_eq!(span.attr("plainspan.grpc.message"), None);
            let grpc = &document(span)["grpc"];
            assert_eq!(grpc["status"], want.status, "{grpc:#}");
            assert!(grpc.get("messages").is_none() && grpc.get("message").is_none());
        }
    }
}
