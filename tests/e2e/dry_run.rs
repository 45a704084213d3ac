//! `run --dry-run`: what would leave is counted, nothing leaves.

use crate::harness::agent::{Launch, write_config};
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::OtlpSink;
use serde_json::json;
use std::time::Duration;

/// Cells of the row of a stack and a level.
fn row(table: &str, stack: &str, level: &str) -> Vec<String> {
    fn cells(line: &str) -> impl Iterator<Item = &str> {
        let cells = line.split("  ").map(str::trim);
        cells.filter(|cell| !cell.is_empty())
    }
    let found = table
        .lines()
        .find(|line| cells(line).take(2).eq([stack, level]));
    let line = found.unwrap_or_else(|| panic!("no row {stack} {level}:\n{table}"));
    cells(line).map(str::to_owned).collect()
}

#[test]
fn a_dry_run_counts_what_would_leave_contacts_no_store_and_keeps_no_content() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let payloads = work.path("payloads");
    let full = json!([{"name": "errors", "expr": "http.res.status == 404", "level": "full"}]);
    let config = Config::new("summary")
        .capture("rules", full)
        .grpc(&sink.grpc_endpoint())
        .disk(&payloads)
        .access_logs("full", "json")
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .arg("--dry-run=6s")
        .start(&work);

    let mut calls: Vec<Call> = (0..6)
        .map(|n| Call::get(work.url_path(&format!("fine-{n}"))))
        .collect();
    calls.extend((0..4).map(|n| Call::get(work.url_path(&format!("status/404/{n}")))));
    Client::Curl.perform(&work, &nginx.base(), &[calls]);

    let output = agent.wait(Duration::from_secs(30));
    assert_eq!(sink.requests().len(), 0, "something was sent");
    assert!(!payloads.exists(), "the object store was opened");
    let row = |stack: &str, level: &str| row(&output.stdout, stack, level);
    // Client and server of each.
    for (level, count) in [("summary", "12"), ("full", "8")] {
        let row = row("all", level);
        assert_eq!(row[2], count, "{}", output.stdout);
        for cell in [&row[3], &row[4], &row[6]] {
            assert!(cell.starts_with(&format!("{count} (")), "{}", output.stdout);
        }
    }
    assert_eq!(row("all (access_logs)", "full")[2], "20");
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(!output.stdout.contains("fine-"), "content:\n{text}");
    assert!(output.stdout.contains("Transactions seen: "), "{text}");
}

#[test]
fn a_dry_run_counts_each_stack_s_part_by_domain() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("summary")
        .grpc(&sink.grpc_endpoint())
        .stack("partners", "headers")
        .stack("quiet", "none")
        .tap("filters", json!({"include": [{"port": nginx.port}]}))
        .tap(
            "endpoints",
            json!([
                {"domain": "api.partner.example", "http": {"stack": "partners"}},
                {"domain": "*.bank.example", "http": {"stack": "quiet"}},
            ]),
        );
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .arg("--dry-run=6s")
        .start(&work);
    let mut calls = Vec::new();
    for (host, count) in [
        ("localhost", 2),
        ("api.partner.example", 5),
        ("a.bank.example", 3),
    ] {
        let call = |n| Call::get(work.url_path(&format!("{host}/{n}"))).header("host", host);
        calls.extend((0..count).map(call));
    }
    Client::Curl.perform(&work, &nginx.base(), &[calls]);
    let output = agent.wait(Duration::from_secs(30));
    assert_eq!(sink.requests().len(), 0, "something was sent");
    // Client and server of each.
    for (stack, level, count) in [("all", "summary", "4"), ("partners", "headers", "10")] {
        let row = row(&output.stdout, stack, level);
        assert_eq!(row[2], count, "{}", output.stdout);
    }
    let quiet = |line: &str| line.starts_with("quiet");
    assert!(!output.stdout.lines().any(quiet), "{}", output.stdout);
    let said = "Transactions seen: 20; left out by level none: 6.";
    assert!(output.stdout.contains(said), "{}", output.stdout);
}
