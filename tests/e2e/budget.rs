//! A CPU budget under load that it cannot hold: levels go down step by step, and come back when the load is over.

use crate::harness::agent::{Agent, Launch, plainspan, write_config};
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::Running;
use crate::harness::seen::Seen;
use crate::harness::work::Work;
use crate::harness::{servers, turn, wait_until};
use crate::otlp_sink::{OtlpSink, SeenSpan};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

fn budget(agent: &Agent) -> Value {
    agent.status()["agent"]["cpu_budget"].clone()
}

fn wait_level(agent: &Agent, level: &str, limit: Duration) {
    wait_until(
        limit,
        &format!("level {level}"),
        || (budget(agent)["level"] == level).then_some(()),
        || format!("{}\n{}", budget(agent), agent.log()),
    );
}

/// Level of a span, and the level that its rules gave where that was another one.
fn levels(span: &SeenSpan) -> (String, Option<String>) {
    let level = span.text("plainspan.capture.level").unwrap_or_default();
    (level, span.text("plainspan.capture.wanted_level"))
}

#[test]
fn above_the_cpu_budget_levels_go_down_step_by_step_and_below_it_up_again() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    // Most is wanted at level headers, little in full: what full costs by its payloads is another matter.
    let config = Config::new("headers")
        .rule("full", "http.req.path contains \"/full/\"", "full")
        .grpc(&sink.grpc_endpoint())
        .disk(&work.folder("payloads"))
        .limit("cpu", "0.1")
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .quiet()
        .start(&work);
    // The start takes more than that too.
    wait_level(&agent, "full", Duration::from_secs(90));
    let steps = |direction: &str| {
        budget(&agent)["steps"][direction]
            .as_u64()
            .expect("a count")
    };
    let lowered_before = steps("lowered");

    let target = work.url_path("get/load");
    let wanted_full = work.url_path("full/load");
    let load = |target: &str, name: &str, more: &[&str]| {
        let mut load = Command::new("h2load");
        load.args(["--h1", "-D", "90"])
            .args(more)
            .arg(format!("{}{target}", nginx.base()));
        Running::start(&mut load, work.dir(), name)
    };
    let mut little = load(&wanted_full, "little", &["-c", "2", "--rps", "5"]);
    let mut much = load(&target, "much", &["-c", "8"]);
    wait_level(&agent, "none", Duration::from_secs(60));
    let address = agent.status_address().to_string();
    let doctor = plainspan(&work, &["doctor", "--status", &address], &[]).stdout;
    assert!(
        doctor.contains("limits.cpu: ") && doctor.contains("nothing is captured"),
        "{doctor}"
    );
    std::thread::sleep(Duration::from_secs(2));
    much.end();
    little.end();
    assert!(steps("lowered") >= lowered_before + 3, "{}", budget(&agent));

    wait_level(&agent, "full", Duration::from_secs(120));
    // The capture thread takes it at its next tick.
    std::thread::sleep(Duration::from_secs(1));
    let after = work.url_path("full/after");
    let calls = [Call::get(&after)];
    Client::Curl.perform(&work, &nginx.base(), &[calls.to_vec()]);
    crate::harness::exchange::wait_for_targets(&agent, &sink, &calls, 2);

    let ledger = agent.ledger();
    let marked = ledger.get(&["transactions", "marked", "cpu_lowered"]);
    assert!(marked > 0, "{ledger}");
    assert!(
        ledger.get(&["bytes", "skipped", "level_none"]) > 0,
        "{ledger}"
    );
    assert_eq!(
        ledger.get(&["transactions", "left_out", "level_none"]),
        0,
        "{ledger}"
    );
    let metrics = agent.page("/metrics");
    for line in [
        "plainspan_cpu_budget_limit 0.1",
        "plainspan_cpu_budget_level{level=\"full\"} 1",
        "plainspan_cpu_budget_steps_total{direction=\"lowered\"}",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    let log = agent.log();
    for said in [
        "levels are lowered",
        "nothing is captured any more",
        "levels are raised",
    ] {
        assert!(log.contains(said), "{log}");
    }
    println!("{}; {marked} transactions lowered\n{log}", budget(&agent));
    agent.stop();

    let seen = Seen::of(&sink);
    for (target, level, wanted) in [
        (&wanted_full, "headers", "full"),
        (&wanted_full, "summary", "full"),
        (&target, "summary", "headers"),
    ] {
        let lowered = (level.to_owned(), Some(wanted.to_owned()));
        let spans = seen.spans_of(target);
        let some = spans.iter().any(|span| levels(span) == lowered);
        assert!(some, "no span of {target} at {level} instead of {wanted}");
    }
    for span in seen.spans_of(&after) {
        assert_eq!(levels(span), ("full".to_owned(), None));
    }
}
