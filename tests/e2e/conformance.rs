//! The tables of the semantic conventions, row by row, on live traffic of curl, nginx, Python, nghttpd, grpcio and a
//! WebSocket.
//!
//! `PLAINSPAN_RECORD_CONFORMANCE=1` writes what the kernel told of it to `tests/fixtures/conformance.events.zst`, which
//! `tests/conformance.rs` replays.

use crate::harness::agent::{Launch, write_config};
use crate::harness::config::Config;
use crate::harness::process::{run, run_well};
use crate::harness::servers::{self, PYTHON, Server, program};
use crate::harness::work::Work;
use crate::harness::{repository, turn, venv};
use crate::otlp_sink::{OtlpSink, SeenSpan};
use crate::rows::{METRIC_HEADER, ROUTES, Seen as Conformance, faults};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use plainspan::event::record::{Reader, Ring, Writer};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Pids of a recording begin here: no process has such a number.
const PIDS: u32 = 1 << 30;

struct Servers {
    nginx: Server,
    python: Server,
    plain: Server,
    http2: Server,
    grpc: Server,
    websocket: Server,
}

impl Servers {
    fn start(work: &Work) -> Servers {
        Servers {
            nginx: servers::nginx(work),
            python: servers::python(work),
            plain: servers::python_plain(work),
            http2: servers::nghttpd(work),
            grpc: servers::grpc(work),
            websocket: servers::websocket(work),
        }
    }

    fn ports(&self) -> Vec<u16> {
        let all = [
            &self.nginx,
            &self.python,
            &self.plain,
            &self.http2,
            &self.grpc,
            &self.websocket,
        ];
        all.map(|server| server.port).to_vec()
    }

    /// All the calls that the rows are about.
    fn talk(&self, work: &Work) {
        let nginx = |call: &str, options: &[&str]| curl(work, &self.nginx, call, options);
        nginx(
            "plain?a=b",
            &[
                "-A",
                "probe/1",
                "-H",
                "X-Multi: one, two",
                "-H",
                "x-multi: three",
                "-H",
                "x-excluded: 1",
                "-H",
                &format!("{}: acme", METRIC_HEADER.0),
            ],
        );
        nginx("bare", &["-H", "User-Agent:"]);
        nginx("userinfo", &["-u", "ann:s3cret"]);
        nginx("secret?si%67=s3cret&x=1", &[]);
        nginx("odd", &["-X", "PROPFIND"]);
        for method in [
            "GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY",
        ] {
            nginx(&format!("method-{method}"), &["-X", method]);
        }
        nginx("method-HEAD", &["-I"]);
        for status in ["204", "404", "503"] {
            nginx(&format!("status/{status}"), &[]);
        }
        nginx("upload/post", &["-d", "hello"]);
        nginx(
            "forwarded",
            &[
                "-H",
                "Forwarded: for=\"[2001:db8::7]:4711\";proto=http;host=\"shop.example:8443\", for=10.9.9.9",
            ],
        );
        nginx(
            "xforwarded",
            &[
                "-H",
                "X-Forwarded-For: 203.0.113.7, 10.0.0.1",
                "-H",
                "X-Forwarded-Proto: http",
                "-H",
                "X-Forwarded-Host: shop.example",
                "-H",
                "X-Forwarded-Port: 444",
            ],
        );
        nginx(
            "",
            &[
                "--request-target",
                "http://abs.example:81/conf/absolute?x=y",
            ],
        );
        nginx(
            "",
            &[
                "--request-target",
                "http://ann:s3cret@abs.example/conf/absolute-user",
            ],
        );
        nginx("http10", &["-0"]);
        let (long, many) = (
            format!("x-long: {}", "x".repeat(5000)),
            format!("x-many: {}", "y".repeat(2000)),
        );
        let mut options = vec!["-H", &long];
        options.extend(["-H", &many].repeat(6));
        nginx(&format!("long{}", "a".repeat(3000)), &options);
        nginx(
            "traced",
            &[
                "-H",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ],
        );
        for call in ["half/1000", "reset/1000", "chunked/3000", "location/x"] {
            curl(work, &self.python, call, &[]);
        }
        curl(work, &self.python, "wait/3", &["--max-time", "1"]);
        curl(work, &self.plain, "http", &[]);
        curl(work, &self.http2, "h2", &["--http2"]);
        let mut grpc = Command::new(PYTHON);
        grpc.arg(program("grpc_client.py"))
            .arg(format!("localhost:{}", self.grpc.port))
            .arg(work.path("cert.pem"));
        run_well(
            &mut grpc,
            work.dir(),
            "grpc_client",
            Duration::from_secs(60),
        );
        let mut websocket = Command::new(venv("bin/python"));
        let base = self.websocket.base().replace("https://", "wss://");
        websocket
            .arg(program("websocket_client.py"))
            .arg(format!("{base}/conf/websocket"))
            .arg(work.path("cert.pem"));
        run_well(
            &mut websocket,
            work.dir(),
            "websocket_client",
            Duration::from_secs(60),
        );
    }
}

/// How the call ends is a matter of the rows.
fn curl(work: &Work, server: &Server, call: &str, options: &[&str]) {
    let mut command = Command::new("curl");
    command
        .args([
            "-q",
            "-s",
            "-S",
            "--http1.1",
            "--max-time",
            "10",
            "-o",
            "/dev/null",
            "--cacert",
        ])
        .arg(work.path("cert.pem"))
        .args(options)
        .arg(format!("{}/conf/{call}", server.base()));
    run(&mut command, work.dir(), "curl", Duration::from_secs(20));
}

/// All that arrived; of metrics the last of each process.
fn seen(sink: &OtlpSink) -> Conformance {
    let spans = sink.spans().into_iter().map(|seen| seen.span);
    let logs = sink.logs().into_iter().map(|seen| seen.record);
    let mut last = BTreeMap::new();
    for seen in sink.metrics() {
        let Some(Data::Histogram(histogram)) = seen.metric.data.clone() else {
            continue;
        };
        let start = histogram
            .data_points
            .first()
            .map(|p| p.start_time_unix_nano);
        let key = (
            seen.metric.name.clone(),
            format!("{:?}", seen.resource),
            start,
        );
        last.insert(key, seen.metric);
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for ((name, ..), mut metric) in last {
        match metrics.last_mut().filter(|known| known.name == name) {
            Some(known) => {
                if let (Some(Data::Histogram(known)), Some(Data::Histogram(more))) =
                    (&mut known.data, &mut metric.data)
                {
                    known.data_points.append(&mut more.data_points);
                }
            }
            None => metrics.push(metric),
        }
    }
    Conformance {
        spans: spans.filter(|span| matches!(span.kind, 2 | 3)).collect(),
        logs: logs.collect(),
        metrics,
    }
}

#[test]
fn each_row_of_the_conventions_holds_on_live_traffic() {
    let _turn = turn();
    let (work, sink) = (Work::new(), OtlpSink::start());
    let servers = Servers::start(&work);
    let ports: Vec<_> = servers
        .ports()
        .iter()
        .map(|port| json!({"port": port}))
        .collect();
    let header = json!({"header": METRIC_HEADER.0, "attribute": METRIC_HEADER.1});
    let config = Config::new("headers")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": ports}))
        .tap("routes", json!(ROUTES))
        .capture("headers", json!({"exclude": ["x-excluded"]}))
        .root("metrics", json!({"interval": "1s", "headers": [header]}));
    let recording =
        std::env::var_os("PLAINSPAN_RECORD_CONFORMANCE").map(|_| work.path("recording"));
    let mut launch = Launch::new(&write_config(&work, &config.yaml()));
    if let Some(path) = &recording {
        launch = launch.arg("--record").arg(path.to_str().expect("UTF-8"));
    }
    let agent = launch.start(&work);
    servers.talk(&work);
    // All is over when nothing is missing, or in ten seconds: then the faults say what.
    let end = Instant::now() + Duration::from_secs(10);
    while !faults(&seen(&sink)).is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(300));
    }
    agent.stop();
    let seen = seen(&sink);
    if let Some(path) = &recording {
        keep(path, &sink);
    }
    let faults = faults(&seen);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn methods_of_the_environment_are_known_and_routes_are_guessed_where_that_is_asked_for() {
    let _turn = turn();
    let (work, sink) = (Work::new(), OtlpSink::start());
    let nginx = servers::nginx(&work);
    let config = Config::new("summary")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": [{"port": nginx.port}]}))
        .tap("route_heuristic", json!(true));
    let agent = Launch::new(&write_config(&work, &config.yaml()))
        .env("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PROPFIND")
        .start(&work);
    curl(&work, &nginx, "users/17/mail", &["-X", "PROPFIND"]);
    curl(&work, &nginx, "users/18/mail", &["-X", "POST"]);
    curl(&work, &nginx, "status/404/4711", &[]);
    let limit = Duration::from_secs(20);
    agent.wait_ledger("all exported", limit, |ledger| ledger.exported() == 6);
    agent.stop();
    let seen = sink.spans();
    for (path, name, guessed) in [
        (
            "/conf/users/17/mail",
            "PROPFIND /conf/users/{id}/mail",
            true,
        ),
        ("/conf/users/18/mail", "HTTP /conf/users/{id}/mail", true),
        ("/conf/status/404/4711", "GET", false),
    ] {
        let of_path = |span: &&SeenSpan| {
            let url = span.text("url.path").or(span.text("url.full"));
            url.is_some_and(|url| url.ends_with(path))
        };
        let spans: Vec<&SeenSpan> = seen.iter().filter(of_path).collect();
        assert_eq!(spans.len(), 2, "{path}");
        for span in spans {
            assert_eq!(span.span.name, name);
            let mark = span.attr("plainspan.route.guessed");
            assert_eq!(mark, guessed.then_some(json!(true)), "{path}");
        }
    }
}

/// Writes what a recording holds of the processes that have spans, under numbers that no process has, and without the
/// paths of their programs.
fn keep(recording: &Path, sink: &OtlpSink) {
    let mut pids: Vec<u32> = (sink.spans().iter())
        .filter(|seen| matches!(seen.span.kind, 2 | 3))
        .filter_map(|seen| seen.resource.get("process.pid")?.as_u64())
        .filter_map(|pid| u32::try_from(pid).ok())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let file = std::fs::File::open(recording).expect("a recording");
    let mut reader = Reader::new(std::io::BufReader::new(file)).expect("an event file");
    let mut writer = Writer::new(Vec::new()).expect("a vector takes all");
    while let Some((ring, record)) = reader.read().expect("an undamaged file") {
        let mut record = record.to_vec();
        let pid = u32::from_ne_bytes(record[4..8].try_into().expect("four bytes"));
        let kind = u16::from_ne_bytes([record[0], record[1]]);
        let exec = ring == Ring::Control && kind == plainspan::event::layout::kind::EXEC;
        let Ok(at) = pids.binary_search(&pid) else {
            continue;
        };
        if !exec {
            let number = PIDS + u32::try_from(at).expect("few");
            record[4..8].copy_from_slice(&number.to_ne_bytes());
            writer.write(ring, &record).expect("a vector takes all");
        }
    }
    let bytes = writer.finish().expect("flushed");
    let packed = zstd::encode_all(&bytes[..], 19).expect("compressed");
    let path = repository("tests/fixtures/conformance.events.zst");
    std::fs::write(path, packed).expect("written");
}
