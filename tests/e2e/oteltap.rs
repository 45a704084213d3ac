//! A receiver that is not ours, over HTTP with protobuf: oteltap, which takes no compression.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::{Running, wait_for_port};
use crate::harness::work::Work;
use crate::harness::{free_port, servers, turn, venv, wait_until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const CALLS: usize = 300;
const LIMIT: Duration = Duration::from_secs(30);

/// How often each call is named, in spans and in log records: oteltap writes one line of JSON for each.
fn named(text: &str) -> BTreeMap<String, [usize; 2]> {
    let mut named: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for line in text.lines() {
        let Ok(item) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let attributes = item["attributes"].as_array().cloned().unwrap_or_default();
        let header = attributes
            .iter()
            .find(|a| a["key"] == "http.request.header.x-call");
        let value = header.map(|h| h["value"]["arrayValue"]["values"][0]["stringValue"].clone());
        let Some(Value::String(call)) = value else {
            continue;
        };
        let is_log = usize::from(item["severityNumber"] != Value::Null);
        named.entry(call).or_default()[is_log] += 1;
    }
    named
}

#[test]
fn spans_and_log_records_all_arrive_at_oteltap() {
    let _turn = turn();
    let work = Work::new();
    let port = free_port();
    let mut command = Command::new(venv("bin/oteltap"));
    command.args(["--port", &port.to_string()]);
    // It would hold its lines back otherwise.
    command.env("PYTHONUNBUFFERED", "1");
    let oteltap = Running::start(&mut command, work.dir(), "oteltap");
    wait_for_port(&oteltap, "127.0.0.1", port);
    let nginx = servers::nginx(&work);
    let config = Config::new("headers")
        .http(&format!("http://127.0.0.1:{port}"))
        .uncompressed();
    let agent = Agent::start(&work, &config.yaml());
    let calls: Vec<Call> = (0..CALLS)
        .map(|n| Call::get(work.url_path(&format!("get/{n}"))).header("x-call", &n.to_string()))
        .collect();
    Client::PythonRequests.perform(&work, &nginx.base(), &[calls]);
    let wanted: BTreeMap<String, [usize; 2]> =
        (0..CALLS).map(|n| (n.to_string(), [2, 2])).collect();
    wait_until(
        LIMIT,
        "spans and log records at oteltap",
        || (named(&oteltap.stdout()) == wanted).then_some(()),
        || format!("{}\n{}", oteltap.outputs(), agent.ledger()),
    );
    let ledger = agent.wait_ledger("settled ledger", LIMIT, |ledger| ledger.in_flight() == 0);
    ledger.assert_nothing_lost();
    agent.stop();
}
