//! One exchange of many requests between a client and a server, and everything that must be true of what came out.

use super::agent::Agent;
use super::plan::{Answer, Call, Client};
use super::scene::{complete, marks};
use super::seen::{Pair, Seen, header, parent};
use super::servers::Server;
use super::sha256;
use super::wait_until;
use super::work::Work;
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::time::Duration;

/// Calls that were made, their answers, and what must be true of the spans.
pub struct Exchange {
    calls: Vec<Call>,
    answers: Vec<Answer>,
    scheme: &'static str,
    port: u16,
    /// By how much the server's span may stick out of the client's, in nanoseconds.
    slack: u64,
    /// Value of the answer's `x-server` header.
    server_header: &'static str,
    /// Of HTTP.
    version: &'static str,
}

/// 50 requests on 5 kept-open connections and 50 on new ones, GET and POST of 200 KB in turns.
pub fn hundred_calls(work: &Work) -> Vec<Vec<Call>> {
    let call = |number: usize| {
        let call = match number % 2 {
            0 => Call::get(work.url_path(&format!("get/{number}?number={number}&q=a%20b"))),
            _ => Call::post(work.url_path(&format!("upload/{number}")), body(number)),
        };
        call.header("x-call", &number.to_string())
    };
    let kept = (0..5).map(|c| (0..10).map(|n| call(c * 10 + n)).collect());
    let fresh = (50..100).map(|number| vec![call(number)]);
    kept.chain(fresh).collect()
}

/// 200 KB that no other call sends.
fn body(number: usize) -> Vec<u8> {
    (0..200 * 1024)
        .map(|at| (at * 7 + at / 251 + number) as u8)
        .collect()
}

impl Exchange {
    /// Makes the calls, waits for their spans and log records, and checks the client's own view of the answers.
    pub fn perform(
        work: &Work,
        agent: &Agent,
        sink: &OtlpSink,
        (client, server): (Client, &Server),
        connections: &[Vec<Call>],
        server_header: &'static str,
    ) -> Exchange {
        let answers = client.perform(work, &server.base(), connections);
        let calls: Vec<Call> = connections.iter().flatten().cloned().collect();
        for (call, answer) in calls.iter().zip(&answers) {
            assert_eq!(
                answer.status, 200,
                "{client:?} got a bad answer to {}",
                call.target
            );
        }
        wait_for_targets(agent, sink, &calls, 2);
        Exchange {
            calls,
            answers,
            scheme: server.scheme,
            port: server.port,
            slack: if server.scheme == "https" {
                0
            } else {
                5_000_000
            },
            server_header,
            version: client.version(),
        }
    }

    /// By how much the server's span may stick out of the client's, where machines are slow.
    #[allow(dead_code, reason = "the tests in virtual machines ask for it")]
    pub fn with_slack(mut self, slack: Duration) -> Exchange {
        self.slack = self.slack.max(slack.as_nanos() as u64);
        self
    }

    /// Checks every request's spans, log records and payloads.
    ///
    /// # Panics
    /// At the first thing that is not as it must be.
    pub fn verify(&self, seen: &Seen) {
        for (call, answer) in self.calls.iter().zip(&self.answers) {
            let pair = seen.pair(&call.target);
            self.verify_times(call, &pair);
            self.verify_client_peers(pair.client);
            self.verify_server_peers(pair.server, answer);
            for span in [pair.client, pair.server] {
                verify_message(span, call, answer, self.server_header);
                assert_eq!(
                    span.text("network.protocol.version").as_deref(),
                    Some(self.version),
                    "{}",
                    call.target
                );
                let log = seen.log_of(span);
                assert_eq!(log.record.severity_number, 9, "{}", call.target);
                verify_payload(span, log, call, answer);
            }
            assert_ne!(
                pair.client.span_id(),
                pair.server.span_id(),
                "{}",
                call.target
            );
        }
    }

    /// Checks that the server's span of each request is the child of the client's, which both ends compute from what
    /// they know of their connection: one that was bound to another connection says something else.
    ///
    /// # Panics
    /// At the first that is not.
    pub fn verify_joined(&self, seen: &Seen) {
        let apart = |call: &&Call| {
            let pair = seen.pair(&call.target);
            let ids = (pair.server.trace_id(), parent(pair.server));
            ids != (pair.client.trace_id(), Some(pair.client.span_id()))
        };
        let apart: Vec<_> = self.calls.iter().filter(apart).collect();
        let targets: Vec<_> = apart.iter().map(|call| &call.target).collect();
        assert!(targets.is_empty(), "on different connections: {targets:?}");
    }

    fn verify_times(&self, call: &Call, pair: &Pair<'_>) {
        let (client, server) = (&pair.client.span, &pair.server.span);
        let times = [
            client.start_time_unix_nano,
            client.end_time_unix_nano,
            server.start_time_unix_nano,
            server.end_time_unix_nano,
        ];
        let [client_start, client_end, server_start, server_end] = times;
        assert!(
            client_start <= client_end && server_start <= server_end,
            "{}: {times:?}",
            call.target
        );
        assert!(
            server_start + self.slack >= client_start && server_end <= client_end + self.slack,
            "{}: the server's span is not inside the client's: client {client_start} to {client_end}, server {server_start} to {server_end}",
            call.target
        );
    }

    fn verify_client_peers(&self, span: &SeenSpan) {
        let full = span.text("url.full").expect("url.full");
        let authority = format!("{}://localhost:{}/", self.scheme, self.port);
        assert!(
            full.starts_with(&authority),
            "{full} does not start with {authority}"
        );
        self.verify_server_address(span);
        assert_eq!(
            span.text("network.peer.address").as_deref(),
            Some("127.0.0.1"),
            "{full}"
        );
        assert_eq!(
            span.int("network.peer.port"),
            Some(self.port.into()),
            "{full}"
        );
    }

    fn verify_server_peers(&self, span: &SeenSpan, answer: &Answer) {
        assert_eq!(span.text("url.scheme").as_deref(), Some(self.scheme));
        self.verify_server_address(span);
        assert_eq!(span.text("client.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(
            span.text("network.peer.address").as_deref(),
            Some("127.0.0.1")
        );
        if let Some(port) = answer.local_port {
            assert_eq!(span.int("network.peer.port"), Some(port.into()));
        }
    }

    fn verify_server_address(&self, span: &SeenSpan) {
        assert_eq!(span.text("server.address").as_deref(), Some("localhost"));
        assert_eq!(span.int("server.port"), Some(self.port.into()));
    }
}

/// Waits until each call's target has `spans` spans and as many log records. Does not look whether there are more.
pub fn wait_for_targets(agent: &Agent, sink: &OtlpSink, calls: &[Call], spans: usize) {
    let arrived = |sink: &OtlpSink| {
        let seen = Seen::of(sink);
        let enough = |call: &Call| seen.spans_of(&call.target).len() >= spans;
        sink.logs().len() >= spans * calls.len() && calls.iter().all(enough)
    };
    if !sink.wait_for(arrived, Duration::from_secs(20)) {
        let seen = Seen::of(sink);
        let missing: Vec<_> = calls
            .iter()
            .map(|call| (&call.target, seen.spans_of(&call.target).len()))
            .filter(|(_, found)| *found < spans)
            .collect();
        panic!(
            "not all arrived, {spans} spans each wanted: {missing:?}\nspans:\n{}\n{} log records\n{}",
            seen.summary(),
            sink.logs().len(),
            agent.ledger()
        );
    }
}

/// Method, target, status, sizes and headers.
fn verify_message(span: &SeenSpan, call: &Call, answer: &Answer, server_header: &str) {
    let target = &call.target;
    assert!(
        complete(span),
        "{} {target}: {}",
        span.span.kind().as_str_name(),
        marks(span)
    );
    assert_eq!(span.span.name, call.method, "{target}");
    assert_eq!(
        span.text("http.request.method").as_deref(),
        Some(call.method),
        "{target}"
    );
    assert_eq!(
        span.int("http.response.status_code"),
        Some(answer.status.into()),
        "{target}"
    );
    let sent = call.body.as_ref().map_or(0, Vec::len) as i64;
    assert_eq!(
        span.int("http.request.body.size").unwrap_or(0),
        sent,
        "{target}"
    );
    assert_eq!(
        span.int("http.response.body.size").unwrap_or(0),
        answer.body.len() as i64,
        "{target}"
    );
    for (name, value) in &call.headers {
        let lines = header(span.attr(&format!("http.request.header.{name}")));
        assert_eq!(
            &lines,
            &[value.as_str()],
            "request header {name} of {target}"
        );
    }
    let lines = header(span.attr("http.response.header.x-server"));
    assert_eq!(
        &lines,
        &[server_header],
        "response header x-server of {target}"
    );
}

/// The stored payload of a span at level full, where it has a link: right digest, right bodies, same link in the log.
fn verify_payload(span: &SeenSpan, log: &SeenLog, call: &Call, answer: &Answer) {
    let target = &call.target;
    let level = span.text("plainspan.capture.level");
    let Some(url) = span.text("plainspan.payload.url") else {
        assert_ne!(
            level.as_deref(),
            Some("full"),
            "{target} has no payload link"
        );
        return;
    };
    for name in [
        "plainspan.payload.url",
        "plainspan.payload.digest",
        "plainspan.payload.status",
        "plainspan.transaction.id",
    ] {
        assert!(span.attr(name).is_some(), "{target} has no {name}");
        assert_eq!(
            log.attr(name),
            span.attr(name),
            "{name} of {target} in span and log record"
        );
    }
    // A span does not wait for a slow store: on a busy host it may have left before the write ended.
    let status = span.text("plainspan.payload.status");
    assert!(
        matches!(status.as_deref(), Some("stored" | "pending")),
        "{target}: {status:?}"
    );
    let bytes = read_file_url(&url);
    assert_eq!(
        span.text("plainspan.payload.digest"),
        Some(sha256(&bytes)),
        "digest of {url}"
    );
    assert_eq!(
        span.int("plainspan.payload.size"),
        Some(bytes.len() as i64),
        "size of {url}"
    );
    verify_document(&bytes, span, call, answer);
}

/// The payload's fields and bodies.
pub fn verify_document(bytes: &[u8], span: &SeenSpan, call: &Call, answer: &Answer) {
    let document: Value = serde_json::from_slice(bytes).expect("a payload is JSON");
    let target = &call.target;
    let path = target.split('?').next().expect("a path");
    assert_eq!(document["request"]["method"], call.method, "{target}");
    assert_eq!(document["request"]["path"], path, "{target}");
    assert_eq!(document["response"]["status"], answer.status, "{target}");
    let text = String::from_utf8_lossy(bytes);
    assert!(
        text.contains(&span.trace_id()) && text.contains(&span.span_id()),
        "{target}: no ids in {text}"
    );
    let sent = call.body.as_deref().unwrap_or_default();
    assert!(
        body_of(&document["request"]) == sent,
        "{target}: request body differs"
    );
    assert!(
        body_of(&document["response"]) == answer.body,
        "{target}: response body differs"
    );
}

/// A message's body in a payload; empty where there is none.
pub fn body_of(message: &Value) -> Vec<u8> {
    match message["body"].as_str() {
        Some(text) => BASE64.decode(text).expect("bodies are base64"),
        None => Vec::new(),
    }
}

/// The file that a `file://` link names, which may be written a little later than the link.
pub fn read_file_url(url: &str) -> Vec<u8> {
    let path = url::Url::parse(url)
        .expect("a link is a URL")
        .to_file_path()
        .expect("a file URL");
    wait_until(
        Duration::from_secs(10),
        "the payload's file",
        || std::fs::read(&path).ok(),
        || path.display().to_string(),
    )
}
