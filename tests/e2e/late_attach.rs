//! An agent that starts in the middle: from the next request on, all that can be known is right, and what cannot is named.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::process::Running;
use crate::harness::seen::{Seen, header, target};
use crate::harness::servers::{self, PYTHON, Server, program};
use crate::harness::work::Work;
use crate::harness::{turn, venv};
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SIDES: [SpanKind; 2] = [SpanKind::Client, SpanKind::Server];

/// A client that was at work before the agent, and what was seen of it since.
struct Late {
    seen: Seen,
    /// Of the server.
    port: i64,
    /// The wall clock when the agent said that it was running, in ns.
    running: i64,
    /// What the client printed.
    lines: Vec<Value>,
    status: Value,
}

impl Late {
    /// Starts the client, the agent 2 s later, and waits for the client's end, and until nothing more comes.
    fn watch(work: &Work, server: &Server, name: &str, command: &mut Command) -> Late {
        let sink = OtlpSink::start();
        let mut client = Running::start(command, work.dir(), name);
        std::thread::sleep(Duration::from_secs(2));
        assert!(client.is_running(), "{}", client.outputs());
        let config = Config::new("headers").grpc(&sink.grpc_endpoint());
        let agent = Agent::start(work, &config.yaml());
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let running = since.expect("after 1970").as_nanos() as i64;
        let ended = client.wait(Duration::from_secs(40));
        assert!(ended.success(), "{}", client.outputs());
        // Halves wait for the other one for a second.
        std::thread::sleep(Duration::from_millis(1500));
        let status = agent.status();
        agent.ledger().assert_nothing_lost();
        agent.stop();
        let lines = client.stdout();
        let lines = lines
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect();
        Late {
            seen: Seen::of(&sink),
            port: server.port.into(),
            running,
            lines,
            status,
        }
    }

    /// Spans of the server's port: the agent sees the whole host.
    fn spans(&self) -> Vec<&SeenSpan> {
        let ports = ["network.peer.port", "network.local.port"];
        let of = |s: &&SeenSpan| ports.iter().any(|name| s.int(name) == Some(self.port));
        self.seen.spans().iter().filter(of).collect()
    }

    /// Calls that began when the agent was running; there were some, and some before.
    fn calls(&self) -> Vec<&Value> {
        let calls = self.lines.iter().filter(|l| l["n"].is_u64());
        let (after, before): (Vec<_>, Vec<_>) =
            calls.partition(|l| l["at"].as_i64().expect("a time") > self.running);
        assert!(
            before.len() >= 10 && after.len() >= 10,
            "{} {}",
            before.len(),
            after.len()
        );
        after
    }
}

fn marks(span: &SeenSpan) -> Vec<String> {
    header(span.attr("plainspan.capture.marks"))
}

fn is_complete(span: &SeenSpan) -> bool {
    span.attr("plainspan.capture.complete") == Some(Value::Bool(true))
}

fn number(value: Option<Value>) -> Option<u64> {
    header(value).first().and_then(|text| text.parse().ok())
}

fn keep_alive(server: impl Fn(&Work) -> Server) {
    let _turn = turn();
    let work = Work::new();
    let server = server(&work);
    let mut client = Command::new(PYTHON);
    client.arg(program("late_client.py")).arg(server.base());
    client.arg(work.url_path("")).arg("9");
    let late = Late::watch(
        &work,
        &server,
        "late_client",
        client.arg(work.path("cert.pem")),
    );
    for call in late.calls() {
        let wanted = call["target"].as_str().expect("a target");
        let pair = late.seen.pair(wanted);
        for span in [pair.client, pair.server] {
            assert!(is_complete(span), "{wanted}: {:?}", marks(span));
        }
        let peer = |span: &SeenSpan| span.int("network.peer.port");
        assert_eq!(peer(pair.client), Some(server.port.into()));
        assert_eq!(peer(pair.server), call["port"].as_i64());
    }
    // Of what was under way at the start only what is true is told.
    for span in late.spans() {
        let Some(target) = target(span) else {
            assert_half(span);
            continue;
        };
        let call = late.lines.iter().find(|l| l["target"] == *target);
        let call = call.unwrap_or_else(|| panic!("nobody asked for {target}"));
        assert_eq!(span.text("http.request.method").as_deref(), Some("GET"));
        let status = span.int("http.response.status_code");
        assert!(status.is_none() && !is_complete(span) || status == call["status"].as_i64());
        assert_eq!(
            number(span.attr("http.request.header.x-call")),
            call["n"].as_u64()
        );
        let size = span.int("http.response.body.size");
        assert!(!is_complete(span) || size == call["size"].as_i64());
    }
}

/// A span without a target is of what was under way when the agent started.
fn assert_half(span: &SeenSpan) {
    assert!(
        marks(span).contains(&"request_missing".into()),
        "{:?}",
        marks(span)
    );
}

#[test]
fn requests_on_a_connection_of_http_1_over_tls_that_is_older_than_the_agent_are_right() {
    keep_alive(servers::nginx);
}

#[test]
fn requests_on_a_connection_to_rustls_that_is_older_than_the_agent_are_right() {
    keep_alive(crate::stacks::rustls_ring);
}

#[test]
fn requests_on_a_connection_to_rustls_over_tls_1_2_that_is_older_than_the_agent_are_right() {
    keep_alive(crate::stacks::rustls_tls_1_2);
}

#[test]
fn requests_on_a_plain_connection_of_http_1_that_is_older_than_the_agent_are_right() {
    keep_alive(servers::nginx_plain);
}

/// What the fields of a span say of which call it is; none where they say nothing.
fn told(span: &SeenSpan) -> Vec<u64> {
    let path = target(span).and_then(|t| t.rsplit('/').next()?.parse().ok());
    let headers = ["request.header.x-call", "response.header.x-answer"];
    let headers = headers.map(|name| number(span.attr(&format!("http.{name}"))));
    path.into_iter()
        .chain(headers.into_iter().flatten())
        .collect()
}

/// Everything that a span says fits together.
fn assert_consistent(span: &SeenSpan) {
    let told = told(span);
    assert!(told.iter().all(|n| *n == told[0]), "{span:#?}");
    let status = span.int("http.response.status_code");
    if let (Some(n), Some(status)) = (told.first(), status) {
        assert_eq!(status, 200 + (n % 3) as i64, "{span:#?}");
    }
    if let Some(method) = span.text("http.request.method").filter(|m| m != "_OTHER") {
        assert_eq!(method, "GET");
    }
}

fn node(server: impl Fn(&Work) -> Server) {
    let _turn = turn();
    let work = Work::new();
    let server = server(&work);
    let mut client = Command::new("node");
    client.arg(program("late_http2_client.js"));
    client.arg(server.base()).arg(work.url_path("")).arg("9");
    let late = Late::watch(
        &work,
        &server,
        "late_http2_client",
        client.arg(work.path("cert.pem")),
    );
    let (streams, calls): (Vec<_>, Vec<_>) = late
        .spans()
        .into_iter()
        .partition(|s| s.int("http.response.body.size") > Some(5000));
    for span in &calls {
        assert_consistent(span);
        assert!(is_complete(span) || !marks(span).is_empty());
    }
    // The path is sent anew with each request, so every one is known by it.
    for call in late.calls() {
        let pair = late.seen.pair(call["path"].as_str().expect("a path"));
        for span in [pair.client, pair.server] {
            let allowed = marks(span).iter().all(|m| m == "headers_unknown");
            assert!(allowed, "{:?}", marks(span));
            assert_eq!(
                span.int("http.response.status_code"),
                call["status"].as_i64().filter(|s| {
                    // Others than those of the static table may have been sent before the agent.
                    *s == 200 || span.int("http.response.status_code").is_some()
                })
            );
            if call["flush"] == 4 {
                assert!(is_complete(span), "{:?}", marks(span));
                assert_eq!(told(span).len(), 3, "{span:#?}");
            }
        }
    }
    assert!(calls.iter().any(|s| !is_complete(s)), "some are unknown");
    // The stream that was open: one half a side, with what it still brought.
    for kind in SIDES {
        let of = |s: &&SeenSpan| s.span.kind == kind as i32;
        let found: Vec<_> = streams.iter().copied().filter(of).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        let span = found[0];
        assert_eq!(
            marks(span),
            ["response_gap", "request_missing", "headers_unknown"]
        );
        let missing = ["url.path", "url.full", "http.response.status_code"];
        assert!(
            missing.iter().all(|name| span.attr(name).is_none()),
            "{span:#?}"
        );
        assert_eq!(
            span.text("network.protocol.version").as_deref(),
            Some("2"),
            "{span:#?}"
        );
    }
}

#[test]
fn streams_of_an_http_2_connection_over_tls_that_is_older_than_the_agent_are_right() {
    node(servers::late_http2_tls);
}

#[test]
fn streams_of_a_plain_http_2_connection_that_is_older_than_the_agent_are_right() {
    node(servers::late_http2_plain);
}

fn load(scheme: &'static str) {
    let _turn = turn();
    let work = Work::new();
    let server = servers::nginx_http2(&work, scheme);
    let path = work.url_path("get/load");
    let mut client = Command::new("h2load");
    client.args(["-c", "2", "-m", "8", "-D", "9", "--rps", "100"]);
    client.arg(format!("{}{path}", server.base()));
    let late = Late::watch(&work, &server, "h2load", &mut client);
    for kind in SIDES {
        let of = |s: &&SeenSpan| s.span.kind == kind as i32;
        let spans: Vec<_> = late.spans().into_iter().filter(of).collect();
        // 200 a second for 7 s, less the time that the agent takes to start.
        assert!(spans.len() >= 400, "{kind:?}: {}", spans.len());
        let whole = spans.iter().filter(|s| target(s).is_some());
        let whole = whole.inspect(|s| assert_eq!(target(s).as_deref(), Some(&path[..])));
        assert!(whole.count() + 32 >= spans.len(), "more than were open");
        for span in spans {
            let status = span.int("http.response.status_code");
            assert!(status == Some(200) || !is_complete(span), "{span:#?}");
            assert!(matches!(status, Some(200) | None), "{span:#?}");
        }
    }
}

#[test]
fn http_2_under_load_over_tls_is_read_from_the_middle() {
    load("https");
}

#[test]
fn http_2_under_load_without_tls_is_read_from_the_middle() {
    load("http");
}

#[test]
fn calls_of_a_grpc_channel_that_is_older_than_the_agent_are_right_and_its_open_stream_is_named() {
    let _turn = turn();
    let work = Work::new();
    let server = servers::late_grpc(&work);
    let mut client = Command::new(PYTHON);
    client.arg(program("late_grpc_client.py"));
    client.arg(format!("localhost:{}", server.port));
    client.arg(work.path("cert.pem")).arg("9");
    let late = Late::watch(&work, &server, "late_grpc_client", &mut client);
    for call in late.calls() {
        let pair = late.seen.pair(&format!("/late.Echo/Unary{}", call["n"]));
        for span in [pair.client, pair.server] {
            let allowed = marks(span).iter().all(|m| m == "headers_unknown");
            assert!(allowed, "{:?}", marks(span));
            let sent = 5 + call["n"].as_i64().expect("a number");
            assert_eq!(span.int("http.request.body.size"), Some(sent));
            assert_eq!(span.int("http.response.body.size"), Some(sent));
        }
    }
    // Seconds of messages, each with its own direction's half.
    for kind in SIDES {
        let long = |s: &&SeenSpan| {
            s.span.kind == kind as i32 && s.int("http.response.body.size") > Some(1000)
        };
        let found: Vec<_> = late.spans().into_iter().filter(long).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(
            marks(found[0]),
            ["request_gap", "response_gap", "headers_unknown"]
        );
        assert_eq!(found[0].attr("url.path"), None);
    }
}

#[test]
fn a_websocket_that_is_older_than_the_agent_is_counted_and_gives_nothing_wrong() {
    let _turn = turn();
    let work = Work::new();
    let server = servers::websocket(&work);
    let base = server.base().replace("https://", "wss://");
    let mut client = Command::new(venv("bin/python"));
    client.arg(program("late_websocket.py"));
    client.arg(format!("{base}{}", work.url_path("socket")));
    client.arg(work.path("cert.pem")).arg("8");
    let late = Late::watch(&work, &server, "late_websocket", &mut client);
    // Frames of a client are masked, but those of the server show the text of an HTTP request after their headers.
    assert!(late.spans().is_empty(), "{}", late.seen.summary());
    let uncaptured = &late.status["ledger"]["connections"]["uncaptured"];
    // Others on this host may be met late too.
    assert!(
        uncaptured["attached_late"].as_u64() >= Some(2),
        "{uncaptured}"
    );
}
