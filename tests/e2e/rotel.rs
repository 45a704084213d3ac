//! A collector that is not ours: rotel, over gRPC and over HTTP.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::{Running, wait_for_port};
use crate::harness::work::Work;
use crate::harness::{free_port, servers, turn, venv, wait_until};
use std::process::Command;
use std::time::Duration;

/// Requests of one test: spans and log records of several batches.
const CALLS: usize = 500;

struct Rotel {
    running: Running,
    grpc: u16,
    http: u16,
}

impl Rotel {
    fn start(work: &Work) -> Rotel {
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
            .args([
                "start",
                "--exporter",
                "blackhole",
                "--debug-log",
                "traces",
                "--debug-log",
                "logs",
                "--debug-log",
                "metrics",
            ])
            .args([
                "--debug-log-verbosity",
                "detailed",
                "--batch-timeout",
                "100ms",
            ])
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
    let rotel = Rotel::start(&work);
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
