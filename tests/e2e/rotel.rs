//! A collector that is not ours: rotel, over gRPC and over HTTP.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::{Running, wait_for_port};
use crate::harness::work::Work;
use crate::harness::{free_port, servers, turn, venv, wait_until};
use std::process::Command;
use std::time::Duration;

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
    let call = Call::get(work.url_path("get/rotel?x=1")).header("x-call", "for-rotel");
    Client::Curl.perform(&work, &nginx.base(), &[vec![call.clone()]]);
    let limit = Duration::from_secs(20);
    let output = wait_until(
        limit,
        "spans and log records at rotel",
        || {
            let text = rotel.running.stdout();
            let records = text
                .matches("EventName: plainspan.http.transaction")
                .count();
            (records >= 2 && text.matches("for-rotel").count() >= 4).then_some(text)
        },
        || format!("{}\n{}", rotel.running.outputs(), agent.ledger()),
    );
    let ledger = agent.wait_ledger("settled ledger", limit, |ledger| ledger.in_flight() == 0);
    ledger.assert_nothing_lost();
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
fn spans_and_log_records_arrive_at_rotel_over_grpc() {
    arrives(|rotel| Config::new("headers").grpc(&format!("http://127.0.0.1:{}", rotel.grpc)));
}

#[test]
fn spans_and_log_records_arrive_at_rotel_over_http() {
    arrives(|rotel| Config::new("headers").http(&format!("http://127.0.0.1:{}", rotel.http)));
}
