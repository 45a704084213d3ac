//! Golden trees: the spans that requests through several services make, with and without trace headers, with and
//! without an SDK in the middle.
//!
//! `UPDATE_GOLDEN=1 cargo test --test e2e trees` writes `tests/fixtures/trees`.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::process::{Running, run_well, wait_for_port};
use crate::harness::seen::{parent, target, target_of_log};
use crate::harness::servers::{self, Middle, Server};
use crate::harness::work::Work;
use crate::harness::{free_port, repository, turn, wait_until};
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan, hex};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const LIMIT: Duration = Duration::from_secs(30);

/// The services in the middle, by the first part of the path behind the test's own.
const MIDDLES: [(&str, &str, bool); 4] = [
    ("wsgi", "wsgi", false),
    ("asyncio", "asyncio", false),
    ("wsgi-sdk", "wsgi", true),
    ("asyncio-sdk", "asyncio", true),
];

/// curl → nginx → Python → nginx, and curl → Node → Python → nginx.
struct Scene {
    front: String,
    node: BTreeMap<&'static str, Server>,
    _servers: Vec<Server>,
    _nginx: Running,
}

impl Scene {
    fn new(work: &Work, sink: &OtlpSink) -> Scene {
        let back = servers::nginx(work);
        let mut servers = Vec::new();
        let (mut places, mut node) = (String::new(), BTreeMap::new());
        for (name, mode, sdk) in MIDDLES {
            let middle = Middle {
                mode,
                name,
                back: back.base(),
                sdk: sdk.then(|| sink.http_endpoint()),
                background: None,
                scheme: "http",
            }
            .start(work);
            let port = middle.port;
            write!(
                places,
                "location ~ ^/[^/]+/nginx/{name}/ {{ proxy_pass http://127.0.0.1:{port}; }}"
            )
            .expect("a String takes any text");
            if mode == "wsgi" {
                let before = Middle {
                    mode: "node",
                    name: "node",
                    back: middle.base(),
                    sdk: None,
                    background: None,
                    scheme: "http",
                };
                node.insert(name, before.start(work));
            }
            servers.push(middle);
        }
        servers.push(back);
        let port = free_port();
        Scene {
            front: format!("http://127.0.0.1:{port}"),
            node,
            _servers: servers,
            _nginx: nginx(work, port, &places),
        }
    }

    /// Where a path of this chain is asked for.
    fn base(&self, chain: &str, middle: &str) -> String {
        match chain {
            "node" => self.node[middle].base(),
            _ => self.front.clone(),
        }
    }
}

/// nginx that passes requests on.
fn nginx(work: &Work, port: u16, places: &str) -> Running {
    let dir = work.folder("front");
    let text = format!(
        "daemon off; user root; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log info;
         events {{ worker_connections 512; }}
         http {{ access_log off; proxy_temp_path {dir}/proxy; client_body_temp_path {dir}/body;
                 fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
                 server {{ listen 127.0.0.1:{port}; {places} }} }}",
        dir = dir.display()
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, text).expect("write the configuration of nginx");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&path);
    let nginx = Running::start(&mut command, work.dir(), "front");
    wait_for_port(&nginx, "127.0.0.1", port);
    nginx
}

/// The header of the first request.
fn header(name: &str) -> Option<String> {
    match name {
        "w3c" => Some(format!("traceparent: 00-{TRACE}-{CALLER}-01")),
        "b3" => Some(format!("b3: {TRACE}-{CALLER}-1")),
        _ => None,
    }
}

fn ask(work: &Work, url: &str, header: Option<String>) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", url]);
    if let Some(header) = header {
        command.args(["-H", &header]);
    }
    command.env("OTEL_SERVICE_NAME", "curl");
    let output = run_well(&mut command, work.dir(), "curl", LIMIT);
    assert!(output.stdout.contains("asked GET"), "{}", output.stdout);
}

/// A line of a tree, by what is the same in each run.
fn line(span: &SeenSpan) -> String {
    let by = match span.scope.name.as_str() {
        "plainspan" => "",
        _ => " by its SDK",
    };
    let remote = span.span.flags & 0x200 != 0;
    let how = match (parent(span), span.text("plainspan.trace.parent")) {
        (None, None) => String::new(),
        (Some(_), None) => ", header".to_owned(),
        (_, Some(mark)) => format!(", {mark}"),
    };
    let how = if by.is_empty() { how } else { String::new() };
    let here = match (how.as_str(), remote) {
        ("" | ", header" | ", computed", _) => "",
        (_, true) => " of another process",
        (_, false) => " of the same process",
    };
    let kind = span.span.kind();
    let kind = kind.as_str_name().trim_start_matches("SPAN_KIND_");
    // nginx says no name of itself.
    let service = span.service().unwrap_or("?");
    let service = service.trim_start_matches("unknown_service:");
    let links = span.span.links.iter().map(|link| {
        let known = if hex(&link.trace_id) == TRACE {
            "the caller's trace"
        } else {
            "another trace"
        };
        format!(", linked to {known}")
    });
    let links: String = links.collect();
    format!("{service} {kind} {}{by}{how}{here}{links}", span.span.name)
}

/// Spans and events of one request as a forest, in an order that is the same in each run.
fn forest(spans: &[SeenSpan], events: &[SeenLog]) -> String {
    let ids: BTreeSet<String> = spans.iter().map(SeenSpan::span_id).collect();
    let mut under: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for event in events {
        let why = event.attr("plainspan.no_span");
        let Some(why) = why.as_ref().and_then(|why| why.as_str()) else {
            continue;
        };
        let at = (hex(&event.record.trace_id), hex(&event.record.span_id));
        let service = event.resource.get("service.name");
        let service = service.and_then(|name| name.as_str()).unwrap_or("?");
        let text = format!("({service} event without a span: {why})\n");
        under.entry(at).or_default().push(text);
    }
    // Children before their parents: a span is written when all that is below it is.
    let mut left: Vec<&SeenSpan> = spans.iter().collect();
    while !left.is_empty() {
        let waits: BTreeSet<String> = left.iter().filter_map(|s| parent(s)).collect();
        let (ready, rest): (Vec<&SeenSpan>, Vec<&SeenSpan>) = left
            .into_iter()
            .partition(|s| !waits.contains(&s.span_id()));
        assert!(!ready.is_empty(), "spans in a circle");
        for span in ready {
            let below = under
                .remove(&(span.trace_id(), span.span_id()))
                .unwrap_or_default();
            let at = match parent(span) {
                Some(id) if ids.contains(&id) || id == CALLER => id,
                Some(id) => panic!("parent {id} never came: {span:#?}"),
                None => String::new(),
            };
            let text = format!("{}\n{}", line(span), indented(below));
            under.entry((span.trace_id(), at)).or_default().push(text);
        }
        left = rest;
    }
    let mut traces: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((trace, at), texts) in under {
        let text = match at.as_str() {
            CALLER => format!("the caller\n{}", indented(texts)),
            "" => sorted(texts),
            _ => format!("a span that never came\n{}", indented(texts)),
        };
        traces.entry(trace).or_default().push(text);
    }
    let mut traces: Vec<String> = traces
        .into_values()
        .map(|texts| format!("trace\n{}", indented(texts)))
        .collect();
    traces.sort();
    traces.concat()
}

fn sorted(mut texts: Vec<String>) -> String {
    texts.sort();
    texts.concat()
}

fn indented(texts: Vec<String>) -> String {
    sorted(texts)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}

fn is_under(target: Option<String>, path: &str) -> bool {
    target.is_some_and(|t| {
        t.strip_prefix(path)
            .is_some_and(|r| r.is_empty() || r.starts_with('?'))
    })
}

fn of(sink: &OtlpSink, path: &str) -> (Vec<SeenSpan>, Vec<SeenLog>) {
    let spans = sink.spans().into_iter();
    let logs = sink.logs().into_iter();
    (
        spans.filter(|s| is_under(target(s), path)).collect(),
        logs.filter(|l| is_under(target_of_log(l), path)).collect(),
    )
}

#[test]
fn the_trees_of_requests_through_several_services_are_the_golden_ones() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let scene = Scene::new(&work, &sink);
    let config = Config::new("summary")
        .grpc(&sink.grpc_endpoint())
        .tap("trace", json!({"state_file": "off"}));
    let agent = Agent::start(&work, &config.yaml());
    // An SDK is known by its first export.
    for middle in ["wsgi-sdk", "asyncio-sdk"] {
        let url = format!(
            "{}{}",
            scene.front,
            work.url_path(&format!("nginx/{middle}/first"))
        );
        ask(&work, &url, None);
    }
    let known = || {
        let found = agent.log().matches("exports spans of its own").count();
        (found >= 2).then_some(())
    };
    wait_until(LIMIT, "SDKs", known, || agent.log());
    std::thread::sleep(Duration::from_secs(1));
    let mut cases = Vec::new();
    for (chain, middles) in [
        ("nginx", &["wsgi", "asyncio", "wsgi-sdk", "asyncio-sdk"][..]),
        ("node", &["wsgi", "wsgi-sdk"][..]),
    ] {
        for middle in middles {
            for name in ["none", "w3c", "b3"] {
                let path = work.url_path(&format!("{chain}/{middle}/{name}"));
                let url = format!("{}{path}", scene.base(chain, middle));
                ask(&work, &url, header(name));
                cases.push((format!("{chain}-{middle}-{name}"), path));
            }
        }
    }
    // Every request makes an event at each of its six ends, whoever makes the spans.
    let whole = |sink: &OtlpSink| cases.iter().all(|(_, path)| of(sink, path).1.len() >= 6);
    assert!(sink.wait_for(whole, LIMIT), "{}", agent.ledger());
    // Spans come up to a second later; the SDK's export every 0.2 s.
    std::thread::sleep(Duration::from_secs(2));
    agent.ledger().assert_nothing_lost();
    let mut wrong = String::new();
    for (name, path) in &cases {
        let (spans, events) = of(&sink, path);
        let tree = forest(&spans, &events);
        let file = repository("tests/fixtures/trees").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &tree).expect("write a golden tree");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if tree != golden {
            write!(wrong, "{name} is\n{tree}\nand should be\n{golden}\n").expect("a String");
        }
    }
    agent.stop();
    assert!(wrong.is_empty(), "{wrong}");
}
