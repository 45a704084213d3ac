//! What takes too long for every day: memory of the agent over long streams, many connections, chaos. `make soak` runs it,
//! `make test` does not.
//!
//! Each test prints a table of the agent's proportional set size (PSS of `/proc/PID/smaps_rollup`) over time, and fails
//! where that grows after the warm-up. The kernel's rings are mapped into the agent: they are part of the figures.

#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
mod harness;
#[path = "../support/otlp_sink.rs"]
mod otlp_sink;

mod chaos;
mod many;
mod memory;
mod pressure;
mod store;

use harness::agent::Agent;
use harness::config::Config;
use harness::exchange::{read_file_url, wait_for_targets};
use harness::plan::Call;
use harness::process::{Running, run_well};
use harness::seen::Seen;
use harness::servers::{self, Server};
use harness::turn;
use harness::work::Work;
use memory::Watch;
use otlp_sink::{OtlpSink, SeenSpan};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Within what PSS stays from the warm-up to the end of the stream, in KiB: own metrics, what is known of processes that
/// other programs of the host start meanwhile, and pages of code that come in late.
const WITHIN_KIB: u64 = 2 * 1024;
/// What may come when it ends, in KiB: on two sides a body of 1 MiB, its document of 1.4 MiB, and what the allocator
/// keeps of both.
const AT_END_KIB: u64 = 12 * 1024;
const GIB: u64 = 1 << 30;
/// Of downloads, in bytes a second: above it a debug build of the agent does not follow on two cores.
const RATE: &str = "60M";

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text} is no number: {e}"))
    })
}

/// Client and server of these tests: nothing of other programs is even copied, so that their traffic makes no memory.
fn only(port: u16) -> Value {
    let include = |exe: &str| json!({"exe": exe, "strategy": "prefix", "port": port});
    json!({"include": [include("/usr/bin/curl"), include("/usr/bin/python3")]})
}

/// The programs of these tests, on any port.
fn only_programs() -> Value {
    let programs = [
        "/usr/sbin/nginx",
        "/usr/bin/curl",
        "/usr/bin/python3",
        "/usr/bin/h2load",
    ];
    let include = programs.map(|exe| json!({"exe": exe, "strategy": "prefix"}));
    json!({"include": include})
}

/// An agent at level full with payloads, a server over TLS, and where it all goes.
struct Scene {
    sink: OtlpSink,
    server: Server,
    agent: Agent,
    work: Work,
}

impl Scene {
    fn new() -> Scene {
        let work = Work::new();
        let sink = OtlpSink::start();
        let server = servers::python(&work);
        let config = Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .disk(&work.folder("payloads"))
            .tap("progress", json!("10s"))
            .tap("filters", only(server.port));
        let agent = Agent::start(&work, &config.yaml());
        Scene {
            sink,
            server,
            agent,
            work,
        }
    }

    fn curl(&self, target: &str) -> Command {
        let mut command = Command::new("curl");
        command
            .args([
                "-q",
                "--limit-rate",
                RATE,
                "-s",
                "-S",
                "-N",
                "--http1.1",
                "--cacert",
            ])
            .arg(self.work.path("cert.pem"))
            .args(["-o", "/dev/null"])
            .arg(format!("{}{target}", self.server.base()));
        command
    }

    /// Makes all that is made once, so that it is not taken for growth: a payload of full size, both bodies' memory.
    fn warm_up(&self) {
        let target = self.work.url_path("flood/8000000");
        let limit = Duration::from_secs(30);
        for _ in 0..3 {
            run_well(&mut self.curl(&target), self.work.dir(), "warm-up", limit);
        }
        wait_for_targets(&self.agent, &self.sink, &[Call::get(&target)], 6);
    }

    /// Watches memory until the client ends by itself.
    fn watch(&self, name: &str, target: &str, every: Duration, limit: Duration) -> Watch {
        let mut watch = Watch::new(name, self.agent.pid());
        let mut client = Running::start(&mut self.curl(target), self.work.dir(), "client");
        while client.is_running() {
            assert!(
                watch.elapsed() < limit,
                "{name} takes longer than {limit:?}"
            );
            watch.sample();
            std::thread::sleep(every);
        }
        let code = client.wait(Duration::from_secs(5)).code();
        assert_eq!(code, Some(0), "{}", client.outputs());
        wait_for_targets(&self.agent, &self.sink, &[Call::get(target)], 2);
        // What is freed when it ends belongs to the picture too.
        watch.sample();
        watch
    }

    /// The spans of both sides.
    fn finish(self) -> (Seen, Work) {
        let ledger = self.agent.ledger();
        let bytes = |name| ledger.get(&["bytes", name]);
        println!(
            "bytes seen {}, copied {}, lost {}; transactions lost {}",
            bytes("seen"),
            bytes("copied"),
            bytes("lost"),
            ledger.lost()
        );
        self.agent.stop();
        (Seen::of(&self.sink), self.work)
    }
}

/// The kept part of the response's body, and its length on the wire, as the payload tells them.
fn stored(span: &SeenSpan) -> (usize, u64) {
    let url = span.text("plainspan.payload.url").expect("a payload link");
    let document: Value = serde_json::from_slice(&read_file_url(&url)).expect("JSON");
    let response = &document["response"];
    let size = response["body_size"].as_u64().unwrap_or_default();
    (harness::exchange::body_of(response).len(), size)
}

#[test]
fn memory_is_flat_while_1_gib_is_downloaded_in_chunks() {
    let _turn = turn();
    let bytes = setting("PLAINSPAN_SOAK_DOWNLOAD_BYTES", GIB);
    let scene = Scene::new();
    scene.warm_up();
    let target = scene.work.url_path(&format!("flood/{bytes}"));
    let every = Duration::from_millis(250);
    // Until both bodies are full.
    let warm_up = Duration::from_secs(2);
    let watch = scene.watch("download", &target, every, Duration::from_secs(600));
    watch.print();
    let ledger = scene.agent.ledger();
    assert_eq!(ledger.lost(), 0, "{ledger}");
    let lost = ledger.get(&["bytes", "lost"]);
    let (seen, _work) = scene.finish();
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        let whole = span.attr("plainspan.capture.complete") == Some(Value::Bool(true));
        let (kept, size) = stored(span);
        assert!(kept <= 1 << 20, "{kept} bytes kept");
        // A host that is too busy for the agent loses bytes: counted, and the transaction says so.
        match lost {
            0 => assert_eq!((whole, kept, size), (true, 1 << 20, bytes), "{span:#?}"),
            _ => assert!(!whole || size == bytes, "{size} bytes: {span:#?}"),
        }
    }
    watch.assert_flat(warm_up, WITHIN_KIB, AT_END_KIB);
}

#[test]
fn memory_is_flat_while_server_sent_events_come() {
    let _turn = turn();
    let seconds = setting("PLAINSPAN_SOAK_SSE_SECONDS", 600);
    let scene = Scene::new();
    scene.warm_up();
    // 100 events of 1 KB a second: the limit of a body is reached in the first seconds.
    let target = scene
        .work
        .url_path(&format!("events/{seconds}?every=0.01&size=1000"));
    let every = Duration::from_secs((seconds / 30).clamp(1, 20));
    let limit = Duration::from_secs(seconds + 60);
    // Until both bodies are full, own metrics have left and processes have been looked through again.
    let warm_up = Duration::from_secs((seconds / 5).min(40));
    let watch = scene.watch("events", &target, every, limit);
    watch.print();
    scene.agent.ledger().assert_nothing_lost();
    let (seen, _work) = scene.finish();
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        let told = span.int("plainspan.progress.reports").unwrap_or_default();
        let wanted = i64::try_from(seconds / 10).expect("few") - 1;
        assert!(told >= wanted, "{told} reports in {seconds} s");
        assert_eq!(
            span.attr("plainspan.capture.complete"),
            Some(Value::Bool(true)),
            "{span:#?}"
        );
        let size = span.int("http.response.body.size").unwrap_or_default();
        assert_eq!(stored(span).1, size.unsigned_abs());
    }
    watch.assert_flat(warm_up, WITHIN_KIB, AT_END_KIB);
}
