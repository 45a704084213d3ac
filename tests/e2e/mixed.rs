//! 10,000 transactions of HTTP/1.1, HTTP/2 and gRPC from 20 processes at once: every message that leaves is decoded with
//! prost and compared with what was asked of the servers, each under the resource of its own process.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::process::run_well;
use crate::harness::scene::complete;
use crate::harness::seen::header;
use crate::harness::servers::{self, PYTHON, Server, program};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;
use std::time::Duration;

/// Calls of each of the 20 processes.
const CALLS: usize = 500;
const LIMIT: Duration = Duration::from_secs(90);

/// A server with a folder of its own.
struct End {
    work: Work,
    server: Server,
}

impl End {
    fn start(start: impl FnOnce(&Work) -> Server) -> End {
        let work = Work::new();
        let server = start(&work);
        End { work, server }
    }
}

/// What a process asks for in its call `number`, whose name is on no other call.
type Ask = fn(&Work, usize, &str) -> Asked;

/// A call, the status that it must get, and the size of the body that must come back where the client does not say.
struct Asked {
    call: Call,
    status: u16,
}

fn asked(method: &'static str, target: String, size: Option<usize>, status: u16) -> Asked {
    let body = size.map(|size| (0..size).map(|at| (at % 251) as u8).collect());
    Asked {
        call: Call {
            method,
            target,
            headers: Vec::new(),
            body,
        },
        status,
    }
}

fn of_python(work: &Work, n: usize, name: &str) -> Asked {
    let at = |rest: String| work.url_path(&format!("{name}/{rest}"));
    match n % 8 {
        0 => asked("GET", at(format!("size/{}", n * 7)), None, 200),
        1 => asked("GET", at("status/404".into()), None, 404),
        2 => asked("POST", at("post/x".into()), Some(n * 11), 200),
        3 => asked("PUT", at("put/x".into()), Some(n + 1), 200),
        4 => asked("GET", at("status/204".into()), None, 204),
        5 => asked("GET", at(format!("chunked/{}", n * 5 + 1)), None, 200),
        6 => asked("HEAD", at(format!("size/{n}")), None, 200),
        _ => asked("GET", at("status/503".into()), None, 503),
    }
}

fn of_nginx(work: &Work, n: usize, name: &str) -> Asked {
    let at = |what: &str| work.url_path(&format!("{what}/{name}"));
    match n % 6 {
        0 => asked("GET", at("get"), None, 200),
        1 => asked("GET", at("status/404"), None, 404),
        2 => asked("POST", at("upload"), Some(n * 3 + 1), 200),
        3 => asked("DELETE", at("delete"), None, 200),
        4 => {
            let target = work.url_path(&format!("file/small.txt?q={name}"));
            asked("GET", target, None, 200)
        }
        _ => asked("GET", at("status/503"), None, 503),
    }
}

fn of_node(work: &Work, n: usize, name: &str) -> Asked {
    match n % 3 {
        0 => asked(
            "POST",
            work.url_path(&format!("post/{name}")),
            Some(n * 13 + 1),
            200,
        ),
        1 => asked(
            "GET",
            work.url_path(&format!("{name}/coded/gzip/{n}")),
            None,
            200,
        ),
        _ => asked("GET", work.url_path(&format!("get/{name}")), None, 200),
    }
}

/// What the two spans of one call must say.
#[derive(Debug)]
struct Wanted {
    service: String,
    method: String,
    target: String,
    status: u16,
    /// Bytes of the bodies, as both ends had them; none: gRPC's are counted as messages.
    sizes: Option<[usize; 2]>,
    /// gRPC: status, and bytes of the messages each way.
    rpc: Option<(&'static str, [usize; 2])>,
    version: &'static str,
    port: u16,
}

/// Wanted spans by `x-call`.
type All = HashMap<String, Wanted>;

/// One process carries out its calls.
fn http(service: &str, client: Client, end: &End, ask: Ask) -> All {
    let names: Vec<String> = (0..CALLS).map(|n| format!("{service}-{n}")).collect();
    let all: Vec<Asked> = names
        .iter()
        .enumerate()
        .map(|(n, name)| ask(&end.work, n, name))
        .collect();
    let calls: Vec<Call> = all
        .iter()
        .zip(&names)
        .map(|(asked, name)| asked.call.clone().header("x-call", name))
        .collect();
    let answers = client.perform_as(service, &end.work, &end.server.base(), &[calls]);
    assert_eq!(answers.len(), CALLS, "{service}");
    let wanted = all.iter().zip(&names).zip(&answers);
    wanted
        .map(|((asked, name), answer)| {
            let call = &asked.call;
            assert_eq!(answer.status, asked.status, "{service}: {}", call.target);
            let sent = call.body.as_ref().map_or(0, Vec::len);
            let wanted = Wanted {
                service: service.to_owned(),
                method: call.method.to_owned(),
                target: call.target.clone(),
                status: asked.status,
                sizes: Some([sent, answer.body.len()]),
                rpc: None,
                version: client.version(),
                port: end.server.port,
            };
            (name.clone(), wanted)
        })
        .collect()
}

/// The same of `grpc_calls.py`.
fn grpc(service: &str, end: &End) -> All {
    let mut client = Command::new(PYTHON);
    client
        .arg(program("grpc_calls.py"))
        .arg(format!("localhost:{}", end.server.port))
        .arg(end.work.path("cert.pem"))
        .args([service, &CALLS.to_string()])
        .env("OTEL_SERVICE_NAME", service);
    run_well(
        &mut client,
        end.work.dir(),
        service,
        Duration::from_secs(60),
    );
    let wanted = (0..CALLS).map(|n| {
        let (method, status, back) = match n % 10 {
            0 => ("Missing", "NOT_FOUND", 0),
            _ => ("Unary", "OK", n + 1),
        };
        let wanted = Wanted {
            service: service.to_owned(),
            method: "POST".into(),
            target: format!("/plainspan.test.v1.Echo/{method}"),
            status: 200,
            sizes: None,
            rpc: Some((status, [n + 1, back])),
            version: "2",
            port: end.server.port,
        };
        (format!("{service}-{n}"), wanted)
    });
    wanted.collect()
}

/// All 20 processes at once.
fn carry_out(ends: &Ends) -> All {
    let mut jobs: Vec<Box<dyn FnOnce() -> All + Send + '_>> = Vec::new();
    let mut process = |count: usize, client: Client, end: fn(&Ends) -> &End, ask: Ask| {
        for _ in 0..count {
            let service = format!("mixed-{}", jobs.len());
            let end = end(ends);
            jobs.push(Box::new(move || http(&service, client, end, ask)));
        }
    };
    process(5, Client::PythonRequests, |e| &e.python, of_python);
    process(3, Client::Node, |e| &e.nginx, of_nginx);
    process(2, Client::Curl, |e| &e.plain, of_nginx);
    process(4, Client::CurlHttp2, |e| &e.nginx_http2, of_nginx);
    process(2, Client::CurlHttp2, |e| &e.node_http2, of_node);
    for _ in 0..4 {
        let service = format!("mixed-{}", jobs.len());
        jobs.push(Box::new(move || grpc(&service, &ends.grpc)));
    }
    assert_eq!(jobs.len() * CALLS, 10_000);
    std::thread::scope(|scope| {
        let running: Vec<_> = jobs.into_iter().map(|job| scope.spawn(job)).collect();
        running
            .into_iter()
            .flat_map(|job| job.join().expect("a client"))
            .collect()
    })
}

struct Ends {
    python: End,
    nginx: End,
    plain: End,
    nginx_http2: End,
    node_http2: End,
    grpc: End,
}

impl Ends {
    fn start() -> Ends {
        Ends {
            python: End::start(servers::python),
            nginx: End::start(servers::nginx),
            plain: End::start(servers::nginx_plain),
            nginx_http2: End::start(|work| servers::nginx_http2(work, "https")),
            node_http2: End::start(servers::node_http2),
            grpc: End::start(servers::grpc),
        }
    }

    fn ports(&self) -> Vec<u16> {
        let ends = [
            &self.python,
            &self.nginx,
            &self.plain,
            &self.nginx_http2,
            &self.node_http2,
            &self.grpc,
        ];
        ends.iter().map(|end| end.server.port).collect()
    }
}

fn call_of(span: &SeenSpan) -> Option<String> {
    header(span.attr("http.request.header.x-call")).pop()
}

fn check(span: &SeenSpan, wanted: &Wanted, log: &SeenLog) {
    let of = || format!("{wanted:?}\n{:#?}\n{:#?}", span.resource, span.span);
    let text = |name: &str| span.text(name).unwrap_or_default();
    let client = span.span.kind == SpanKind::Client as i32;
    assert_eq!(text("http.request.method"), wanted.method, "{}", of());
    let target = crate::harness::seen::target(span);
    assert_eq!(target.as_ref(), Some(&wanted.target), "{}", of());
    let status = span.int("http.response.status_code");
    assert_eq!(status, Some(wanted.status.into()), "{}", of());
    assert_eq!(text("network.protocol.version"), wanted.version, "{}", of());
    assert!(complete(span), "{}", of());
    let size = |of: &str| span.int(&format!("http.{of}.body.size")).unwrap_or(0);
    if let Some([sent, back]) = wanted.sizes {
        let sizes = [size("request"), size("response")];
        assert_eq!(sizes, [sent as i64, back as i64], "{}", of());
    }
    if let Some((status, [sent, back])) = wanted.rpc {
        assert_eq!(text("rpc.response.status_code"), status, "{}", of());
        let bytes = |side: &str| span.int(&format!("plainspan.grpc.{side}.payload_size"));
        let sizes = [bytes("from_client"), bytes("from_server")];
        let sizes = sizes.map(|size| size.unwrap_or(0));
        assert_eq!(sizes, [sent as i64, back as i64], "{}", of());
    }
    assert_eq!(
        span.int("server.port"),
        Some(wanted.port.into()),
        "{}",
        of()
    );
    if client {
        assert_eq!(span.service(), Some(&*wanted.service), "{}", of());
    } else {
        assert_ne!(span.service(), Some(&*wanted.service), "{}", of());
    }
    assert_eq!(log.resource, span.resource, "{}", of());
    assert_eq!(log.record.trace_id, span.span.trace_id, "{}", of());
    let call = header(log.attr("http.request.header.x-call"));
    assert_eq!(
        call,
        header(span.attr("http.request.header.x-call")),
        "{}",
        of()
    );
}

/// The pids of the spans of each group.
fn pids<'a, K: Ord>(
    spans: impl Iterator<Item = &'a SeenSpan>,
    group: impl Fn(&SeenSpan) -> Option<K>,
) -> BTreeMap<K, BTreeSet<i64>> {
    let mut pids: BTreeMap<K, BTreeSet<i64>> = BTreeMap::new();
    for span in spans {
        let pid = span.resource.get("process.pid").and_then(Value::as_i64);
        if let (Some(key), Some(pid)) = (group(span), pid) {
            pids.entry(key).or_default().insert(pid);
        }
    }
    pids
}

#[test]
fn ten_thousand_mixed_transactions_of_20_processes_are_what_was_asked_each_under_its_own_resource()
{
    let _turn = turn();
    let ends = Ends::start();
    let sink = OtlpSink::start();
    let include: Vec<Value> = ends
        .ports()
        .iter()
        .map(|port| json!({"port": port}))
        .collect();
    let config = Config::new("headers")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": include}));
    let work = Work::new();
    let agent = Agent::start(&work, &config.yaml());
    let wanted = carry_out(&ends);
    assert_eq!(wanted.len(), 10_000);
    assert!(sink.wait_spans(20_000, LIMIT), "{}", agent.ledger());
    assert!(sink.wait_logs(20_000, LIMIT), "{}", agent.ledger());
    let ledger = agent.wait_ledger("settled ledger", LIMIT, |ledger| ledger.in_flight() == 0);
    ledger.assert_nothing_lost();
    agent.stop();

    let logs = sink.logs();
    let logs: HashMap<&[u8], &SeenLog> = logs
        .iter()
        .map(|log| (&log.record.span_id[..], log))
        .collect();
    let spans = sink.spans();
    // The agent's own have no such header.
    let of_calls: Vec<&SeenSpan> = spans.iter().filter(|s| call_of(s).is_some()).collect();
    assert_eq!(of_calls.len(), 20_000);
    let mut seen: HashMap<String, Vec<i32>> = HashMap::new();
    for span in &of_calls {
        let call = call_of(span).expect("looked at above");
        let wanted = wanted
            .get(&call)
            .unwrap_or_else(|| panic!("nobody asked {call}"));
        let log = logs.get(&span.span.span_id[..]);
        check(
            span,
            wanted,
            log.unwrap_or_else(|| panic!("no log record of {call}")),
        );
        seen.entry(call).or_default().push(span.span.kind);
    }
    for (call, mut kinds) in seen {
        kinds.sort_unstable();
        let both = [SpanKind::Server as i32, SpanKind::Client as i32];
        assert_eq!(kinds, both, "{call}");
    }
    let of = |kind: SpanKind| {
        of_calls
            .iter()
            .copied()
            .filter(move |s| s.span.kind == kind as i32)
    };
    // A process a client; a process a server, but nginx with its workers.
    let clients = pids(of(SpanKind::Client), |s| s.service().map(str::to_owned));
    let alone: BTreeSet<i64> = clients.values().flatten().copied().collect();
    assert_eq!((clients.len(), alone.len()), (20, 20), "{clients:?}");
    let servers = pids(of(SpanKind::Server), |s| s.int("server.port"));
    assert_eq!(servers.len(), ends.ports().len(), "{servers:?}");
    let most = servers.values().map(BTreeSet::len).max();
    let all: BTreeSet<i64> = servers.values().flatten().copied().collect();
    assert!(most <= Some(2), "{servers:?}");
    assert_eq!(
        all.len(),
        servers.values().map(BTreeSet::len).sum::<usize>(),
        "{servers:?}"
    );
    assert!(alone.is_disjoint(&all), "{clients:?} {servers:?}");
}
