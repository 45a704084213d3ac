//! Reload by SIGHUP and by `plainspan reload`, under load.

use crate::harness::agent::{Agent, plainspan, write_config};
use crate::harness::config::Config;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::wait_until;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CLIENTS: u32 = 8;
/// Of each client: in all a thousand a second.
const PERIOD: Duration = Duration::from_millis(8);
const REQUESTS: u32 = 625;

/// Asks for `PATH/CLIENT-N` of this host, one request a period, all on one connection; gives how long it took.
fn client(server: SocketAddr, path: String, host: &str, number: u32) -> Duration {
    let mut stream = TcpStream::connect(server).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let start = Instant::now();
    let mut buffer = [0; 4096];
    for n in 0..REQUESTS {
        let due = start + PERIOD * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = format!("GET {path}/{number}-{n} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut seen = Vec::new();
        while !seen.ends_with(b"\n") || !seen.windows(5).any(|at| at == b"asked") {
            let read = stream.read(&mut buffer).expect("answered");
            assert!(read > 0, "closed after {n}");
            seen.extend_from_slice(&buffer[..read]);
        }
    }
    start.elapsed()
}

/// Each with its own level, resource and collector.
fn configuration(name: &str, level: &str, sink: &OtlpSink, port: u16) -> String {
    Config::new(level)
        .grpc(&sink.grpc_endpoint())
        .resource("configuration", name)
        .tap("filters", json!({"include": [{"port": port}]}))
        .yaml()
}

fn reloads(agent: &Agent) -> (u64, u64) {
    let reloads = &agent.status()["config"]["reloads"];
    let count = |name: &str| reloads[name].as_u64().expect("a count");
    (count("applied"), count("refused"))
}

fn wait_reloads(agent: &Agent, want: (u64, u64)) {
    wait_until(
        Duration::from_secs(10),
        &format!("reloads {want:?}"),
        || (reloads(agent) == want).then_some(()),
        || agent.log(),
    );
}

/// What of a span is the work of its configuration.
fn under(span: &SeenSpan) -> (Option<Value>, Option<String>, bool) {
    (
        span.resource.get("configuration").cloned(),
        span.text("plainspan.capture.level"),
        span.attr("http.request.header.host").is_some(),
    )
}

#[test]
fn reloads_under_load_lose_and_double_nothing_and_a_bad_file_changes_nothing() {
    let _turn = turn();
    let work = Work::new();
    let (one, two) = (OtlpSink::start(), OtlpSink::start());
    let nginx = servers::nginx_plain(&work);
    let first = configuration("one", "summary", &one, nginx.port);
    let second = configuration("two", "headers", &two, nginx.port);
    let agent = Agent::start(&work, &first);
    let digest = |agent: &Agent| agent.status()["config"]["digest"].clone();
    let digest_of_first = digest(&agent);

    let server = SocketAddr::from(([127, 0, 0, 1], nginx.port));
    let path = work.url_path("load");
    let clients: Vec<JoinHandle<Duration>> = (0..CLIENTS)
        .map(|number| {
            let path = path.clone();
            std::thread::spawn(move || client(server, path, "localhost", number))
        })
        .collect();
    let pause = || std::thread::sleep(Duration::from_millis(900));

    pause();
    write_config(&work, &second);
    agent.signal(libc::SIGHUP);
    wait_reloads(&agent, (1, 0));
    let digest_of_second = digest(&agent);
    assert_ne!(digest_of_first, digest_of_second);

    pause();
    write_config(&work, &second.replace("direction:", "directon:"));
    agent.signal(libc::SIGHUP);
    wait_reloads(&agent, (1, 1));
    assert_eq!(digest(&agent), digest_of_second);
    let log = agent.log();
    assert!(
        log.contains("plainspan.yaml:") && log.contains("did you mean `direction`?"),
        "{log}"
    );

    pause();
    let told = |expected: i32| {
        let address = agent.status_address().to_string();
        let said = plainspan(&work, &["reload", "--status", &address], &[]);
        assert_eq!(said.code, Some(expected), "{said:?}");
        said.stderr
    };
    assert!(told(1).contains("did you mean `direction`?"));
    write_config(&work, &first);
    assert!(told(0).contains(digest_of_first.as_str().expect("text")));
    wait_reloads(&agent, (2, 2));

    for client in clients {
        let took = client.join().expect("a client");
        assert!(
            took < PERIOD * REQUESTS * 2,
            "the load was no load: {took:?}"
        );
    }
    let metrics = agent.page("/metrics");
    assert!(
        metrics.contains("plainspan_config_reloads_total{result=\"applied\"} 2"),
        "{metrics}"
    );
    let wanted = u64::from(CLIENTS * REQUESTS * 2);
    agent.wait_ledger("all exported", Duration::from_secs(20), |ledger| {
        ledger.exported() >= wanted && ledger.in_flight() == 0
    });
    agent.ledger().assert_nothing_lost();
    agent.stop();

    let mut seen: BTreeMap<(String, i32), u32> = BTreeMap::new();
    let mut kinds = BTreeSet::new();
    for (sink, name, level, headers) in [
        (&one, "one", "summary", false),
        (&two, "two", "headers", true),
    ] {
        for span in sink.spans() {
            let Some(target) = crate::harness::seen::target(&span) else {
                continue;
            };
            if !target.starts_with(&path) {
                continue;
            }
            let whole = (Some(json!(name)), Some(level.to_owned()), headers);
            assert_eq!(under(&span), whole, "{target} at collector {name}");
            kinds.insert((name, span.span.kind));
            *seen.entry((target, span.span.kind)).or_default() += 1;
        }
    }
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    let missing: Vec<(u32, u32, i32)> = (0..CLIENTS)
        .flat_map(|number| (0..REQUESTS).map(move |n| (number, n)))
        .flat_map(|(number, n)| {
            [SpanKind::Client, SpanKind::Server].map(|kind| (number, n, kind as i32))
        })
        .filter(|(number, n, kind)| seen.get(&(format!("{path}/{number}-{n}"), *kind)) != Some(&1))
        .collect();
    assert_eq!(missing, [], "not exactly one span");
    assert_eq!(seen.len() as u64, wanted);
}

/// `api.example` goes through the stack `own`, what else there is through the general one.
fn by_domain(general: &str, own: &str, sink: &OtlpSink, port: u16) -> String {
    Config::new(general)
        .grpc(&sink.grpc_endpoint())
        .stack("own", own)
        .tap("filters", json!({"include": [{"port": port}]}))
        .tap(
            "endpoints",
            json!([{"domain": "api.example", "http": {"stack": "own"}}]),
        )
        .yaml()
}

#[test]
fn after_a_reload_transactions_of_a_domain_go_through_its_new_stack_and_none_is_lost_or_doubled() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let agent = Agent::start(&work, &by_domain("summary", "headers", &sink, nginx.port));
    let server = SocketAddr::from(([127, 0, 0, 1], nginx.port));
    let hosts = ["api.example", "localhost", "api.example", "localhost"];
    let path = work.url_path("domains");
    let clients: Vec<JoinHandle<Duration>> = (0..)
        .zip(hosts)
        .map(|(number, host)| {
            let path = path.clone();
            std::thread::spawn(move || client(server, path, host, number))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    write_config(&work, &by_domain("headers", "summary", &sink, nginx.port));
    agent.signal(libc::SIGHUP);
    wait_reloads(&agent, (1, 0));
    for client in clients {
        client.join().expect("a client");
    }
    let wanted = 4 * u64::from(REQUESTS) * 2;
    agent.wait_ledger("all exported", Duration::from_secs(20), |ledger| {
        ledger.exported() >= wanted && ledger.in_flight() == 0
    });
    agent.ledger().assert_nothing_lost();
    agent.stop();

    // Levels in the order of the requests: those before the reload, then those after it, and nothing in between.
    let mut seen: BTreeMap<(u32, i32), BTreeMap<u32, String>> = BTreeMap::new();
    let mut count = 0;
    for span in sink.spans() {
        let Some(target) = crate::harness::seen::target(&span) else {
            continue;
        };
        let Some(name) = target.strip_prefix(&format!("{path}/")) else {
            continue;
        };
        let (number, n) = name.split_once('-').expect("a name");
        let number: u32 = number.parse().expect("a number");
        let level = span.text("plainspan.capture.level").expect("a level");
        let levels = seen.entry((number, span.span.kind)).or_default();
        let before = levels.insert(n.parse().expect("a number"), level);
        assert_eq!(before, None, "{target} twice");
        count += 1;
    }
    assert_eq!((count, seen.len()), (wanted, 8));
    for ((number, _), levels) in seen {
        let mut order: Vec<&str> = levels.values().map(String::as_str).collect();
        order.dedup();
        let (before, after) = match hosts[number as usize] {
            "localhost" => ("summary", "headers"),
            _ => ("headers", "summary"),
        };
        assert_eq!(order, [before, after], "client {number}");
    }
}
