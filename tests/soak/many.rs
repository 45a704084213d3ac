//! Many connections: what those cost that do nothing, and whether any is lost of those that come fast.

use super::memory::Watch;
use super::{only_programs, setting};
use crate::harness::agent::{Agent, Launch, write_config};
use crate::harness::config::Config;
use crate::harness::process::{Running, run_well};
use crate::harness::servers::{self, PYTHON, program};
use crate::harness::work::Work;
use crate::harness::{free_port, turn};
use crate::otlp_sink::OtlpSink;
use std::process::Command;
use std::time::Duration;

/// CPU seconds of the agent so far.
fn cpu(agent: &Agent) -> f64 {
    let status = agent.status();
    let seconds = &status["agent"]["cpu_seconds"];
    ["user", "system"]
        .iter()
        .map(|mode| seconds[mode].as_f64().expect("seconds"))
        .sum()
}

/// Share of one core over some seconds, in percent.
fn load(agent: &Agent, time: Duration) -> f64 {
    let before = cpu(agent);
    std::thread::sleep(time);
    (cpu(agent) - before) / time.as_secs_f64() * 100.0
}

fn agent(work: &Work, sink: &OtlpSink) -> Agent {
    let config = Config::new("headers")
        .grpc_without_metrics(&sink.grpc_endpoint())
        .tap("filters", only_programs());
    Launch::new(&write_config(work, &config.yaml()))
        .quiet()
        .start(work)
}

fn pss(agent: &Agent) -> u64 {
    let mut watch = Watch::new("many", agent.pid());
    watch.sample();
    watch.last()
}

/// What the agent takes while the test's connections are idle, both ends seen: each connection counts twice.
#[test]
fn idle_connections_cost_little_memory_and_no_cpu() {
    let _turn = turn();
    let connections = setting("PLAINSPAN_SOAK_IDLE_CONNECTIONS", 10_000);
    let processes = setting("PLAINSPAN_SOAK_IDLE_PROCESSES", 200);
    let each = connections / processes;
    let work = Work::new();
    let sink = OtlpSink::start().unread();
    let agent = agent(&work, &sink);
    let window = Duration::from_secs(20);
    let port = free_port();
    let mut server = Command::new(PYTHON);
    server
        .arg(program("idle.py"))
        .args(["serve", &port.to_string()])
        .arg(work.path("cert.pem"))
        .arg(work.path("key.pem"));
    let mut server = Running::start(&mut server, work.dir(), "idle-server");
    server.wait_for_output("ready", Duration::from_secs(10));
    let (pss_before, cpu_before) = (pss(&agent), load(&agent, window));

    let mut clients: Vec<Running> = Vec::new();
    // Some at a time: all handshakes at once would wait for the server.
    for chunk in 0..processes.div_ceil(10) {
        let first = clients.len();
        for n in 0..10.min(processes - chunk * 10) {
            let mut client = Command::new(PYTHON);
            client
                .arg(program("idle.py"))
                .args(["hold", &port.to_string()])
                .arg(work.path("cert.pem"))
                .arg(each.to_string());
            let name = format!("idle-{}", chunk * 10 + n);
            clients.push(Running::start(&mut client, work.dir(), &name));
        }
        for client in &mut clients[first..] {
            client.wait_for_output("ready", Duration::from_secs(120));
        }
    }
    let made = each * processes;
    let ledger = agent.wait_ledger("all requests", Duration::from_secs(60), |ledger| {
        ledger.exported() >= 2 * made && ledger.in_flight() == 0
    });
    ledger.assert_nothing_lost();
    std::thread::sleep(Duration::from_secs(5));
    let (pss_idle, cpu_idle) = (pss(&agent), load(&agent, window));
    let queues = agent.status()["queues"].clone();
    println!(
        "{made} idle connections of {processes} processes, both ends seen; followed: {queues}"
    );
    println!("{:>22} {:>10} {:>12}", "", "PSS KiB", "CPU % core");
    println!("{:>22} {pss_before:>10} {cpu_before:>12.2}", "before");
    println!(
        "{:>22} {pss_idle:>10} {cpu_idle:>12.2}",
        "while they are idle"
    );
    let of_each = (pss_idle.saturating_sub(pss_before) << 10) as f64 / (2 * made) as f64;
    println!("{of_each:.0} bytes an end");
    assert!(of_each < 8192.0, "{of_each} bytes an end");
    assert!(
        cpu_idle < cpu_before + 5.0,
        "{cpu_idle} % after {cpu_before} %"
    );
    drop(clients);
    drop(server);
    agent.stop();
}

#[test]
fn of_a_thousand_new_connections_a_second_none_is_lost() {
    let _turn = turn();
    let rate = setting("PLAINSPAN_SOAK_CONNECTIONS_A_SECOND", 1000);
    let seconds = setting("PLAINSPAN_SOAK_CONNECTIONS_SECONDS", 20);
    let work = Work::new();
    let sink = OtlpSink::start().unread();
    let nginx = servers::nginx(&work);
    let agent = agent(&work, &sink);
    let total = rate * seconds;
    let before = cpu(&agent);
    let mut command = Command::new("h2load");
    command
        .args(["--h1", "-t", "1", "-r", &rate.to_string()])
        .args(["-n", &total.to_string(), "-c", &total.to_string()])
        .arg(format!("{}{}", nginx.base(), work.url_path("get/new")));
    let limit = Duration::from_secs(seconds * 3 + 30);
    let began = std::time::Instant::now();
    let output = run_well(&mut command, work.dir(), "h2load", limit).stdout;
    let took = began.elapsed();
    assert!(output.contains(&format!("{total} succeeded")), "{output}");
    let ledger = agent.wait_ledger("all transactions", Duration::from_secs(60), |ledger| {
        ledger.seen() >= 2 * total && ledger.in_flight() == 0
    });
    let used = cpu(&agent) - before;
    println!(
        "{total} connections over TLS in {:.1} s, {:.0} a second, both ends seen: {} transactions exported, {} lost; {:.2} s of CPU, {:.0} us a connection and end",
        took.as_secs_f64(),
        total as f64 / took.as_secs_f64(),
        ledger.exported(),
        ledger.lost(),
        used,
        used * 1e6 / (2 * total) as f64,
    );
    ledger.assert_nothing_lost();
    assert_eq!(ledger.exported(), 2 * total, "{ledger}");
    agent.stop();
}
