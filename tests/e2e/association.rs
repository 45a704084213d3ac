//! Which connection a TLS session uses: never a wrong one, on whatever thread, and none where it cannot be known.
//!
//! Each request has the client's port in its path, so each span says by itself whether it has the right connection.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::free_port;
use crate::harness::plan::{Call, Client, Program};
use crate::harness::process::Running;
use crate::harness::seen::{Seen, target};
use crate::harness::servers::{self, PYTHON, program};
use crate::harness::turn;
use crate::harness::wait_until;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(170);
/// Connections over TLS at a time; a quarter as many are in the clear.
const LANES: usize = 40;

/// Requests over TLS of all programs together: `PLAINSPAN_ASSOCIATION_REQUESTS`, else 6,000.
fn requests() -> usize {
    match std::env::var("PLAINSPAN_ASSOCIATION_REQUESTS") {
        Ok(text) => text
            .parse()
            .expect("PLAINSPAN_ASSOCIATION_REQUESTS is a number"),
        Err(_) => 6_000,
    }
}

/// An event loop with TLS of its own.
#[derive(Clone, Copy)]
enum Loop {
    Asyncio,
    Node,
    Bun,
}

impl Loop {
    fn script(self, what: &str) -> Command {
        let (interpreter, ending) = match self {
            Loop::Asyncio => (PathBuf::from(PYTHON), "py"),
            Loop::Node => (PathBuf::from("node"), "mjs"),
            Loop::Bun => (crate::stacks::bun(), "mjs"),
        };
        let mut command = Command::new(interpreter);
        command.arg(program("stacks").join(format!("ports_{what}.{ending}")));
        command
    }

    /// A program that does nothing, so that the agent knows the file before it is used.
    fn idle(self, work: &Work) -> Option<Running> {
        let mut command = match self {
            Loop::Asyncio => return None,
            Loop::Node => Command::new("node"),
            Loop::Bun => Command::new(crate::stacks::bun()),
        };
        command.args(["-e", "console.log('ready'); setTimeout(() => {}, 300000)"]);
        let mut running = Running::start(&mut command, work.dir(), "idle");
        running.wait_for_output("ready", Duration::from_secs(20));
        Some(running)
    }
}

/// A server of both kinds, and its ports: TLS, plain.
fn serve(work: &Work, server: Loop) -> (Running, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let mut command = server.script("server");
    command.args(ports.map(|port| port.to_string()));
    command.arg(work.path("cert.pem")).arg(work.path("key.pem"));
    let mut running = Running::start(&mut command, work.dir(), "server");
    running.wait_for_output("ready", Duration::from_secs(20));
    (running, ports)
}

fn ask(work: &Work, client: Loop, ports: [u16; 2], prefix: &str, count: usize) -> Command {
    let mut command = client.script("client");
    command.args(ports.map(|port| port.to_string()));
    command.args([prefix, &count.to_string()]);
    command.current_dir(work.dir());
    command
}

fn start_agent(work: &Work, sink: &OtlpSink) -> Agent {
    let config = Config::new("summary")
        .grpc_traces(&sink.grpc_endpoint())
        // A burst of many thousands waits in the queue of an agent that was not optimised.
        .limit("memory", "1GiB");
    Agent::start(work, &config.yaml())
}

/// What the spans say of their connections.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bindings {
    right: usize,
    unknown: usize,
    wrong: Vec<String>,
}

/// Compares each span with the port in its path.
fn bindings(seen: &Seen, prefix: &str) -> Bindings {
    let mut found = Bindings::default();
    for span in seen.spans() {
        let Some(path) = target(span).filter(|path| path.starts_with(prefix)) else {
            continue;
        };
        let port = path[prefix.len()..].split('/').nth(1);
        let port: i64 = port.expect("a port").parse().expect("a port");
        let said = client_port(span);
        match said {
            None => found.unknown += 1,
            Some(said) if said == port => found.right += 1,
            Some(said) => found.wrong.push(format!("{path}: {said}")),
        }
    }
    found
}

/// The client's port of a span's connection.
fn client_port(span: &SeenSpan) -> Option<i64> {
    span.int(match span.span.kind() {
        SpanKind::Client => "network.local.port",
        _ => "network.peer.port",
    })
}

fn each_on_its_own(client: Loop, server: Loop) {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let _idle = client.idle(&work);
    let (_server, ports) = serve(&work, server);
    let agent = start_agent(&work, &sink);
    let each = (requests() / 3).div_ceil(LANES);
    let prefix = work.url_path("ports");
    let mut asking = ask(&work, client, ports, &prefix, each * LANES);
    let mut asking = Running::start(&mut asking, work.dir(), "client");
    assert!(asking.wait(LIMIT).success(), "{}", asking.outputs());
    let all = 2 * each * (LANES + LANES / 4);
    agent.wait_ledger("all exported", LIMIT, |ledger| {
        ledger.exported() >= all as u64 && ledger.in_flight() == 0
    });
    agent.ledger().assert_nothing_lost();
    agent.stop();
    let expected = Bindings {
        right: all,
        ..Bindings::default()
    };
    assert_eq!(bindings(&Seen::of(&sink), &prefix), expected);
}

#[test]
fn each_request_of_asyncio_to_node_is_on_its_own_connection() {
    each_on_its_own(Loop::Asyncio, Loop::Node);
}

#[test]
fn each_request_of_node_to_bun_is_on_its_own_connection() {
    each_on_its_own(Loop::Node, Loop::Bun);
}

#[test]
fn each_request_of_bun_to_asyncio_is_on_its_own_connection() {
    each_on_its_own(Loop::Bun, Loop::Asyncio);
}

#[test]
fn a_request_on_a_connection_that_is_older_than_the_agent_has_the_right_peer_or_none() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let (_server, ports) = serve(&work, Loop::Node);
    let prefix = work.url_path("ports");
    let mut asking = ask(&work, Loop::Asyncio, ports, &prefix, 20 * LANES);
    asking.arg("6");
    let mut asking = Running::start(&mut asking, work.dir(), "client");
    asking.wait_for_output("ready", Duration::from_secs(20));
    let agent = start_agent(&work, &sink);
    assert!(asking.wait(LIMIT).success(), "{}", asking.outputs());
    // All but the first of each connection, over TLS and in the clear, at both ends.
    let all = 2 * 19 * (LANES + LANES / 4);
    agent.wait_ledger("all exported", LIMIT, |ledger| {
        ledger.exported() >= all as u64 && ledger.in_flight() == 0
    });
    agent.stop();
    let found = bindings(&Seen::of(&sink), &prefix);
    assert_eq!(found.wrong, Vec::<String>::new());
    assert_eq!(found.right + found.unknown, all, "{found:?}");
    // What stands beside the TLS calls tells nearly all of them.
    assert!(found.unknown * 20 <= all, "{found:?}");
}

#[test]
fn a_request_of_threads_on_a_connection_that_is_older_than_the_agent_has_no_peer() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let threads = Program {
        name: "threads",
        command: || {
            let mut command = Command::new(PYTHON);
            command.arg(program("stacks").join("threads_client.py"));
            command
        },
        at_once: 1,
        http: "1.1",
    };
    let call = |n: usize| Call::get(work.url_path(&format!("threads/{n}")));
    let calls: Vec<Vec<Call>> = (0..8)
        .map(|c| (0..10).map(|n| call(c * 10 + n)).collect())
        .collect();
    let base = nginx.base();
    let (answers, agent) = std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| Client::Program(threads).perform_after(&work, &base, &calls, 6));
        // Their handshakes end meanwhile.
        std::thread::sleep(Duration::from_secs(2));
        let agent = start_agent(&work, &sink);
        (asking.join().expect("the client"), agent)
    });
    agent.wait_ledger("all exported", Duration::from_secs(20), |ledger| {
        ledger.exported() >= 160 && ledger.in_flight() == 0
    });
    agent.stop();
    let seen = Seen::of(&sink);
    for (call, answer) in calls.iter().flatten().zip(&answers) {
        let pair = seen.pair(&call.target);
        assert_eq!(client_port(pair.client), None, "{}", call.target);
        assert_eq!(
            pair.client.int("network.peer.port"),
            None,
            "{}",
            call.target
        );
        let port = answer.local_port.map(i64::from);
        assert_eq!(client_port(pair.server), port, "{}", call.target);
    }
}

/// The program of `odd_tls.c`.
fn odd_program(work: &Work) -> PathBuf {
    let path = work.path("odd-tls");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-rdynamic", "-o"]).arg(&path);
    cc.arg(program("stacks").join("odd_tls.c"));
    let status = cc.status().expect("cc; run tests/setup.sh");
    assert!(status.success(), "{status}");
    path
}

fn verdict(status: &Value, path: &str) -> Option<Value> {
    let libraries = status["verdicts"]["libraries"].as_array()?;
    libraries.iter().find(|l| l["path"] == path).cloned()
}

#[test]
fn a_program_whose_functions_are_not_what_their_names_say_is_detached_and_says_so() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let path = odd_program(&work);
    let agent = start_agent(&work, &sink);
    let mut odd = Running::start(&mut Command::new(&path), work.dir(), "odd");
    odd.wait_for_output("ready", Duration::from_secs(10));
    let path = path.to_str().expect("a path in UTF-8");
    let of_path = || verdict(&agent.status(), path);
    let detached = wait_until(
        Duration::from_secs(10),
        "the verdict that it is detached",
        || of_path().filter(|v| v["state"] == "failed"),
        || format!("{:?}", of_path()),
    );
    let reason = detached["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("detached") && reason.contains("reads"),
        "{reason}"
    );
    assert_eq!(detached["calls"]["reads"]["right"], 0, "{detached}");
    assert_eq!(
        agent.status()["verdicts"]["counts"]["libraries_implausible"],
        1
    );
    // Nothing is counted any more.
    let before = of_path().expect("a verdict")["calls"].clone();
    std::thread::sleep(Duration::from_secs(3));
    assert!(odd.is_running(), "{}", odd.outputs());
    assert_eq!(of_path().expect("a verdict")["calls"], before);
    agent.stop();
}

#[test]
fn the_verdict_and_the_metrics_of_a_library_tell_its_calls_and_bytes() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let agent = start_agent(&work, &sink);
    let calls: Vec<Call> = (0..20)
        .map(|n| Call::get(work.url_path(&format!("get/{n}"))))
        .collect();
    Client::Curl.perform(&work, &nginx.base(), &[calls]);
    let counted = wait_until(
        Duration::from_secs(10),
        "calls of libssl",
        || {
            let status = agent.status();
            let libraries = status["verdicts"]["libraries"].as_array()?.clone();
            let enough = |v: &Value| v["calls"]["writes"]["right"].as_u64() >= Some(40);
            libraries.into_iter().find(|v| {
                v["path"]
                    .as_str()
                    .is_some_and(|p| p.ends_with("/libssl.so.3"))
                    && enough(v)
            })
        },
        || agent.status()["verdicts"].to_string(),
    );
    let calls = &counted["calls"];
    for direction in ["reads", "writes"] {
        assert_eq!(calls[direction]["odd"], 0, "{calls}");
        assert!(calls[direction]["bytes"].as_u64() > Some(1000), "{calls}");
    }
    let page = agent.page("/metrics");
    for name in [
        "plainspan_tls_calls_total",
        "plainspan_tls_plaintext_bytes_total",
    ] {
        let line = |l: &&str| l.starts_with(name) && l.contains("openssl") && l.contains("write");
        let line = page
            .lines()
            .find(line)
            .unwrap_or_else(|| panic!("no {name} in {page}"));
        let value: f64 = line
            .rsplit(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        assert!(value >= 40.0, "{line}");
    }
    agent.stop();
}
