//! A collector that is not ours: rotel, over gRPC and over HTTP.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::{Running, wait_for_port};
use crate::harness::seen::Seen;
use crate::harness::work::Work;
use crate::harness::{free_port, repository, servers, turn, venv, wait_until};
use crate::otlp_sink::{OtlpSink, attr};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Requests of one test: spans and log records of several batches.
const CALLS: usize = 500;

struct Rotel {
    running: Running,
    grpc: u16,
    http: u16,
}

/// Takes everything, and says in detail what it took.
const SHOWING: &[&str] = &[
    "--exporter",
    "blackhole",
    "--debug-log",
    "traces",
    "--debug-log",
    "logs",
    "--debug-log",
    "metrics",
    "--debug-log-verbosity",
    "detailed",
];

impl Rotel {
    fn start(work: &Work, exporter: &[&str]) -> Rotel {
        let (grpc, http) = (free_port(), free_port());
        let python = venv("bin/python");
        let folder = Command::new(&python)
            .args([
                "-c",
                "import os, rotel; print(os.path.dirname(rotel.__file__))",
            ])
            .output()
            .expect("ask for rotel's folder");
        let folder = String::from_utf8(folder.stdout).expect("a path in UTF-8");
        let mut command = Command::new(format!("{}/rotel-agent", folder.trim()));
        command
            .arg("start")
            .args(exporter)
            .args(["--batch-timeout", "100ms"])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .arg("--pid-file")
            .arg(work.path("rotel.pid"))
            .arg("--log-file")
            .arg(work.path("rotel.log"));
        let running = Running::start(&mut command, work.dir(), "rotel");
        wait_for_port(&running, "127.0.0.1", grpc);
        wait_for_port(&running, "127.0.0.1", http);
        Rotel {
            running,
            grpc,
            http,
        }
    }
}

fn arrives(configure: fn(&Rotel) -> Config) {
    let _turn = turn();
    let work = Work::new();
    let rotel = Rotel::start(&work, SHOWING);
    let nginx = servers::nginx(&work);
    let agent = Agent::start(&work, &configure(&rotel).yaml());
    let calls: Vec<Call> = (0..CALLS)
        .map(|n| {
            let target = work.url_path(&format!("get/rotel/{n}?x=1"));
            Call::get(target).header("x-call", "for-rotel")
        })
        .collect();
    Client::PythonRequests.perform(&work, &nginx.base(), &[calls]);
    let limit = Duration::from_secs(30);
    let output = wait_until(
        limit,
        "spans, log records and metrics at rotel",
        || {
            let text = rotel.running.stdout();
            let records = text
                .matches("EventName: plainspan.http.transaction")
                .count();
            // A span and a log record on each side.
            let all = records >= 2 * CALLS && text.matches("for-rotel").count() >= 4 * CALLS;
            (all && text.contains("http.server.request.duration")).then_some(text)
        },
        || format!("{}\n{}", rotel.running.outputs(), agent.ledger()),
    );
    let ledger = agent.wait_ledger("settled ledger", limit, |ledger| ledger.in_flight() == 0);
    ledger.assert_nothing_lost();
    for signal in ["traces", "logs", "metrics"] {
        let exported = ledger.get(&["signals", &format!("collector/{signal}"), "exported"]);
        assert!(exported > 0, "{signal}: {ledger}");
    }
    agent.stop();
    for wanted in [
        "InstrumentationScope plainspan",
        "SPAN_KIND_CLIENT",
        "SPAN_KIND_SERVER",
        "-> http.request.header.x-call: Slice(Str(for-rotel))",
        "SEVERITY_NUMBER_INFO(9)",
    ] {
        assert!(output.contains(wanted), "no {wanted:?} in\n{output}");
    }
}

#[test]
fn spans_log_records_and_metrics_all_arrive_at_rotel_over_grpc() {
    arrives(|rotel| Config::new("headers").grpc(&format!("http://127.0.0.1:{}", rotel.grpc)));
}

#[test]
fn spans_log_records_and_metrics_all_arrive_at_rotel_over_http() {
    arrives(|rotel| Config::new("headers").http(&format!("http://127.0.0.1:{}", rotel.http)));
}

/// The agent as an example has it, with a collector in between that passes everything on.
#[test]
fn an_example_s_agent_and_a_collector_pass_on_spans_log_records_and_metrics_by_header() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let to_sink = sink.grpc_endpoint();
    let exporter = [
        "--exporter",
        "otlp",
        "--otlp-exporter-endpoint",
        &to_sink,
        "--otlp-exporter-protocol",
        "grpc",
    ];
    let rotel = Rotel::start(&work, &exporter);
    let nginx = servers::nginx(&work);
    let example = repository("collector-examples/tempo-loki-prometheus/plainspan.yaml");
    let text = std::fs::read_to_string(example).expect("an example");
    let mut config: Value = serde_yaml::from_str(&text).expect("YAML");
    // What is of this host alone.
    let services = &mut config["services"];
    services["event_stores"][0]["endpoint"] = json!(format!("http://127.0.0.1:{}", rotel.grpc));
    services["object_stores"][0]["path"] = json!(work.folder("payloads"));
    config["tap"]["filters"] = json!({"include": [{"port": nginx.port}]});
    config["tap"]["scan_cache"] = json!("off");
    let agent = Agent::start(&work, &config.to_string());
    let calls: Vec<Call> = (0..20)
        .map(|n| {
            let target = work.url_path(&format!("get/example/{n}"));
            Call::get(target).header("x-caller", "checkout")
        })
        .collect();
    Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
    let counted = |sink: &OtlpSink| {
        let metrics = sink.metrics();
        let of_name = metrics
            .iter()
            .filter(|seen| seen.metric.name == "http.server.request.duration");
        let points = of_name.flat_map(|seen| match &seen.metric.data {
            Some(Data::Histogram(histogram)) => histogram.data_points.clone(),
            _ => Vec::new(),
        });
        points
            .filter(|point| attr(&point.attributes, "caller") == Some(json!("checkout")))
            .map(|point| point.count)
            .max()
            .unwrap_or_default()
    };
    let arrived = |sink: &OtlpSink| {
        let seen = Seen::of(sink);
        let pairs = |call: &Call| seen.spans_of(&call.target).len() == 2;
        calls.iter().all(pairs) && counted(sink) == calls.len() as u64
    };
    assert!(
        sink.wait_for(arrived, Duration::from_secs(20)),
        "{}\n{}\n{}",
        agent.ledger(),
        rotel.running.outputs(),
        counted(&sink)
    );
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let seen = Seen::of(&sink);
    for call in &calls {
        let pair = seen.pair(&call.target);
        for span in [pair.client, pair.server] {
            let header = span.attr("http.request.header.x-caller");
            assert_eq!(header, Some(json!(["checkout"])));
            assert!(span.text("plainspan.payload.url").is_some());
            seen.log_of(span);
        }
    }
}
