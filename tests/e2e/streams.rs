//! Streams that last: each reports how far it has come, and is one whole transaction when it ends.

use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::plan::Call;
use crate::harness::process::{Output, run};
use crate::harness::scene::{Scene, complete, marks};
use crate::harness::seen::Seen;
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan};
use serde_json::{Value, json};
use std::process::Command;
use std::slice::from_ref;
use std::time::Duration;

const SECRET: &str = "stream-canary-secret";

/// What came out.
struct Outcome {
    seen: Seen,
    logs: Vec<SeenLog>,
    stdout: String,
    sink: OtlpSink,
    ledger: Ledger,
    _work: Work,
}

/// An agent that lets transactions report every second, beside a server.
fn reporting(start: impl FnOnce(&Work) -> Server) -> Scene {
    Scene::with(start, |work, sink, server| {
        // The default is the first store; with lines first, the collector goes along.
        Config::new("full")
            .stdout()
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"))
            .tap("progress", json!("1s"))
            .tap("filters", json!({"include": [{"port": server.port}]}))
    })
}

/// curl that buffers nothing and has a secret to tell.
fn curl(scene: &Scene, target: &str, options: &[&str]) -> Output {
    let secret = format!("authorization: Bearer {SECRET}");
    scene.curl(target, &[&["-N", "-H", &secret], options].concat())
}

/// Stops the agent once both sides of the target are there and all is told.
fn outcome(scene: Scene, target: &str) -> Outcome {
    scene.wait_for(from_ref(&Call::get(target)), 2);
    let settled = |l: &Ledger| l.in_flight() == 0 && l.progress()[1] == 0;
    let ledger = scene
        .agent
        .wait_ledger("settled ledger", Duration::from_secs(10), settled);
    ledger.assert_nothing_lost();
    let stdout = scene.agent.stop().stdout;
    Outcome {
        seen: Seen::of(&scene.sink),
        logs: scene.sink.logs(),
        stdout,
        sink: scene.sink,
        ledger,
        _work: scene.work,
    }
}

impl Outcome {
    /// The reports of a span, in the order of their numbers; checks what holds for each series of them.
    fn reports(&self, span: &SeenSpan) -> Vec<&SeenLog> {
        let of_span = |log: &&SeenLog| {
            log.record.event_name == "plainspan.http.progress"
                && log.record.span_id == span.span.span_id
        };
        let reports: Vec<&SeenLog> = self.logs.iter().filter(of_span).collect();
        for (number, log) in (1..).zip(&reports) {
            assert_eq!(log.record.trace_id, span.span.trace_id);
            assert_eq!(int(log, "plainspan.progress.report"), number);
            assert_eq!(log.record.severity_number, 9);
            assert_eq!(
                log.attr("plainspan.transaction.id"),
                span.attr("plainspan.transaction.id")
            );
            for attribute in &log.record.attributes {
                assert!(!attribute.key.contains(".header."), "{}", attribute.key);
            }
            let duration = log
                .attr("plainspan.progress.duration")
                .and_then(|v| v.as_f64())
                .expect("a duration");
            // A tick is half a second; the host may be busy.
            let late = duration - number as f64;
            assert!((-0.001..2.0).contains(&late), "{number}: {duration} s");
            let begun = span.span.start_time_unix_nano as f64;
            let told = (log.record.time_unix_nano as f64 - begun) / 1e9;
            assert!((told - duration).abs() < 0.05, "{told} s, {duration} s");
        }
        let told = span.int("plainspan.progress.reports");
        assert_eq!(told, Some(reports.len() as i64).filter(|n| *n > 0));
        reports
    }

    /// Every report was told and counted, and none holds a secret or content.
    fn check_books(&self, reports: usize) {
        let reports = reports as u64;
        // Two stores.
        assert_eq!(self.ledger.progress(), [reports, 0, 0]);
        for signal in ["collector/progress", "lines/progress"] {
            let exported = self.ledger.get(&["signals", signal, "exported"]);
            assert_eq!(exported, reports, "{signal}: {}", self.ledger);
        }
        // What others on this host do meanwhile is seen, and left out.
        assert_eq!(self.ledger.exported(), 2, "{}", self.ledger);
        let lines = self.stdout.lines();
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .filter(|line: &Value| line["event.name"] == "plainspan.http.progress")
            .collect();
        assert_eq!(lines.len() as u64, reports, "{}", self.stdout);
        let all = [&self.sink.all_bytes()[..], self.stdout.as_bytes()].concat();
        for canary in [SECRET, "event-canary"] {
            let found = memchr::memmem::find(&all, canary.as_bytes());
            assert_eq!(found, None, "{canary} left the agent");
        }
    }
}

fn int(log: &SeenLog, name: &str) -> i64 {
    log.attr(name)
        .and_then(|v| v.as_i64())
        .unwrap_or_else(|| panic!("no {name} in {:#?}", log.record))
}

fn growing(reports: &[&SeenLog], name: &str) -> bool {
    let counts: Vec<i64> = reports.iter().map(|log| int(log, name)).collect();
    counts.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn server_sent_events_report_every_period_and_are_one_whole_transaction_at_the_end() {
    let _turn = turn();
    let scene = reporting(servers::python);
    let target = scene.work.url_path("events/4.7");
    let query = format!("{target}?token={SECRET}");
    let output = curl(&scene, &query, &["--http1.1"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let outcome = outcome(scene, &format!("{target}?token=REDACTED"));
    let pair = outcome.seen.pair(&format!("{target}?token=REDACTED"));
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{}", marks(span));
        let reports = outcome.reports(span);
        assert!((3..=4).contains(&reports.len()), "{}", reports.len());
        assert!(growing(&reports, "http.response.body.size"));
        assert!(growing(&reports, "http.response.size"));
        let last = reports.last().expect("some");
        let size = span.int("http.response.body.size").expect("a size");
        assert!(int(last, "http.response.body.size") < size);
        assert_eq!(int(last, "http.response.status_code"), 200);
        assert!(last.body().expect("a line").contains(" 200 goes on after "));
        outcome.seen.log_of(span);
        all += reports.len();
    }
    outcome.check_books(all);
}

#[test]
fn a_long_poll_reports_while_nothing_at_all_is_sent() {
    let _turn = turn();
    let scene = reporting(servers::python);
    let target = scene.work.url_path("wait/3.2");
    curl(&scene, &target, &["--http1.1"]);
    let outcome = outcome(scene, &target);
    let pair = outcome.seen.pair(&target);
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{}", marks(span));
        let reports = outcome.reports(span);
        assert!((2..=3).contains(&reports.len()), "{}", reports.len());
        let line = reports[0].body().expect("a line");
        assert!(line.contains("(no response yet) goes on after"), "{line}");
        assert!(reports[0].attr("http.response.status_code").is_none());
        all += reports.len();
    }
    outcome.check_books(all);
}

#[test]
fn a_response_without_end_that_the_client_cuts_off_is_one_marked_transaction_a_side() {
    let _turn = turn();
    let scene = reporting(servers::python);
    let target = scene.work.url_path("endless/0.05");
    let output = curl(&scene, &target, &["--http1.1", "--max-time", "2.8"]);
    assert_eq!(output.code, Some(28), "curl gives up after its time");
    let outcome = outcome(scene, &target);
    let pair = outcome.seen.pair(&target);
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(marks(span).contains("response_cut"), "{}", marks(span));
        assert_eq!(span.int("http.response.status_code"), Some(200));
        let reports = outcome.reports(span);
        assert!(reports.len() >= 2, "{}", reports.len());
        assert!(growing(&reports, "http.response.body.size"));
        all += reports.len();
    }
    outcome.check_books(all);
}

#[test]
fn a_client_that_is_killed_amid_events_leaves_one_marked_transaction_a_side() {
    let _turn = turn();
    let scene = reporting(servers::python);
    let target = scene.work.url_path("events/20");
    let mut client = Command::new("timeout");
    client
        .args(["-s", "KILL", "2.5", "curl", "-q", "-s", "-N", "--http1.1"])
        .arg("--cacert")
        .arg(scene.work.path("cert.pem"))
        .args(["-o", "/dev/null"])
        .arg(format!("{}{target}", scene.server.base()));
    run(
        &mut client,
        scene.work.dir(),
        "killed",
        Duration::from_secs(20),
    );
    let outcome = outcome(scene, &target);
    let pair = outcome.seen.pair(&target);
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(marks(span).contains("response_cut"), "{}", marks(span));
        let reports = outcome.reports(span);
        assert!(reports.len() >= 2, "{}", reports.len());
        all += reports.len();
    }
    outcome.check_books(all);
}

#[test]
fn a_websocket_reports_its_messages() {
    let _turn = turn();
    let scene = reporting(servers::websocket);
    let target = scene.work.url_path("socket");
    scene.websocket(&target, &["3.5"]);
    let outcome = outcome(scene, &target);
    let pair = outcome.seen.pair(&target);
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{}", marks(span));
        let reports = outcome.reports(span);
        assert!(reports.len() >= 2, "{}", reports.len());
        for side in ["from_client", "from_server"] {
            let name = format!("plainspan.websocket.{side}.messages");
            assert!(growing(&reports, &name), "{name}");
            let last = int(reports.last().expect("some"), &name);
            assert!(span.int(&name).is_some_and(|all| all > last));
        }
        all += reports.len();
    }
    outcome.check_books(all);
}

#[test]
fn a_stream_of_http_2_reports_too() {
    let _turn = turn();
    let scene = reporting(servers::node_http2);
    let target = scene.work.url_path("drip/3.5");
    let output = curl(&scene, &target, &["--http2"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let outcome = outcome(scene, &target);
    let pair = outcome.seen.pair(&target);
    let mut all = 0;
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{}", marks(span));
        assert_eq!(span.text("network.protocol.version").as_deref(), Some("2"));
        let reports = outcome.reports(span);
        assert!(reports.len() >= 2, "{}", reports.len());
        assert!(growing(&reports, "http.response.body.size"));
        all += reports.len();
    }
    outcome.check_books(all);
}
