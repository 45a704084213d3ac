//! The agent comes and goes; the programs that it looks at do not notice.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::plan::{Call, Client};
use crate::harness::process::Running;
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

#[test]
fn sigkill_of_the_agent_during_load_fails_not_one_request() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let yaml = Config::full(&work, &sink).yaml();

    // Eight connections, ended when the agents are through: a busy host starts them slowly. Bounded by a minute.
    let mut wrk = Command::new("wrk");
    wrk.args([
        "-t1",
        "-c8",
        "-d60s",
        "--timeout",
        "10s",
        &format!("{}{}", nginx.base(), work.url_path("file/small.txt")),
    ]);
    let mut load = Running::start(&mut wrk, work.dir(), "wrk");
    for _ in 0..3 {
        let agent = Agent::start(&work, &yaml);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(
            load.is_running(),
            "the load ended too early: {}",
            load.outputs()
        );
        agent.kill();
        std::thread::sleep(Duration::from_millis(300));
    }
    load.signal(libc::SIGINT);
    let status = load.wait(Duration::from_secs(30));
    let report = load.stdout();
    assert!(status.success(), "{}", load.outputs());
    assert!(report.contains("requests in"), "{report}");
    assert!(
        !report.contains("Socket errors") && !report.contains("Non-2xx"),
        "requests failed:\n{report}"
    );
}

#[test]
fn sigkill_leaves_nothing_behind_and_the_next_agent_sees_everything() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let yaml = Config::new("headers").grpc(&sink.grpc_endpoint()).yaml();
    Agent::start(&work, &yaml).kill();
    let agent = Agent::start(&work, &yaml);
    let calls: Vec<Call> = (0..10)
        .map(|n| Call::get(work.url_path(&format!("get/again/{n}"))))
        .collect();
    Client::Curl.perform(&work, &nginx.base(), std::slice::from_ref(&calls));
    crate::harness::exchange::wait_for_targets(&agent, &sink, &calls, 2);
    agent.stop();
    let seen = Seen::of(&sink);
    for call in &calls {
        seen.pair(&call.target);
    }
}

#[test]
fn sigterm_drains_all_that_was_seen_and_the_last_log_line_has_the_books() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let calls: Vec<Call> = (0..40)
        .map(|n| Call::get(scene.work.url_path(&format!("get/drain/{n}"))))
        .collect();
    scene.perform(Client::Curl, &calls);
    // At once: nothing of it may have left yet.
    let outputs = scene.agent.stop();
    let seen = Seen::of(&scene.sink);
    for call in &calls {
        let pair = seen.pair(&call.target);
        seen.log_of(pair.client);
        seen.log_of(pair.server);
    }
    let last = outputs
        .stderr
        .lines()
        .rfind(|line| line.contains("\"transactions\""))
        .unwrap_or_else(|| {
            panic!("no log line with the ledger\n{}", outputs.stderr);
        });
    let start = last.find("{\"").expect("JSON in the line");
    let json: Value = serde_json::Deserializer::from_str(&last[start..])
        .into_iter()
        .next()
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("no JSON in {last}"));
    let ledger = Ledger::new(&json);
    ledger.assert_nothing_lost();
    assert_eq!(ledger.in_flight(), 0, "{ledger}");
    assert!(ledger.seen() >= 80, "{ledger}");
}

#[test]
fn the_status_endpoint_says_version_ledger_queues_and_verdicts_and_no_command_lines() {
    let _turn = turn();
    let scene = Scene::at_level("headers", servers::nginx);
    let status = scene.agent.status();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"), "{status:#}");
    for key in ["ledger", "queues", "verdicts"] {
        assert!(!status[key].is_null(), "no {key} in {status:#}");
    }
    let libraries = status["verdicts"]["libraries"]
        .as_array()
        .expect("verdicts of libraries");
    let attached = libraries.iter().any(|library| {
        library["state"] == "attached"
            && library["path"]
                .as_str()
                .is_some_and(|path| path.contains("libssl.so.3"))
    });
    assert!(attached, "no verdict for nginx's libssl: {status:#}");
    let text = status.to_string();
    assert!(!text.contains("nginx.conf"), "a command line in {status:#}");
    scene.agent.page("/healthz");
    let metrics = scene.agent.page("/metrics");
    assert!(
        metrics.lines().any(|line| line.starts_with("plainspan_")),
        "{metrics}"
    );
    scene.agent.stop();
}
