//! Payload links of a real run, read back with `plainspan payload`.

use crate::har::{replay, validate};
use crate::harness::config::Config;
use crate::harness::exchange::{hundred_calls, verify_document};
use crate::harness::plan::{Answer, Call, Client};
use crate::harness::scene::Scene;
use crate::harness::seen::Seen;
use crate::harness::work::Work;
use crate::harness::{servers, turn};
use crate::otlp_sink::SeenSpan;
use crate::seaweedfs::SeaweedFs;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LAYOUTS: [&str; 2] = ["object", "segment"];

/// A run that is over: what was asked, and what came out.
struct Run {
    calls: Vec<Call>,
    answers: Vec<Answer>,
    seen: Seen,
    /// Its configuration is in it.
    work: Work,
    /// It still answers.
    server: servers::Server,
}

/// A hundred HTTPS requests of `client` to nginx at level full, with this object store.
fn run(client: Client, store: impl FnOnce(&Work) -> Value) -> Run {
    let scene = Scene::with(servers::nginx, |work, sink, nginx| {
        let only_nginx = json!({"include": [{"port": nginx.port}]});
        Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .s3(store(work))
            .tap("filters", only_nginx)
    });
    let mut connections = hundred_calls(&scene.work);
    let quoted =
        Call::get(scene.work.url_path("get/quoted")).header("x-quote", "'; touch x; '$(touch x)");
    connections.push(vec![quoted]);
    let answers = client.perform(&scene.work, &scene.server.base(), &connections);
    let calls: Vec<Call> = connections.into_iter().flatten().collect();
    scene.wait_for(&calls, 2);
    scene.agent.ledger().assert_nothing_lost();
    let Scene {
        sink,
        server,
        agent,
        work,
    } = scene;
    agent.stop();
    Run {
        calls,
        answers,
        seen: Seen::of(&sink),
        work,
        server,
    }
}

fn s3(store: &SeaweedFs, layout: &str) -> Value {
    json!({
        "id": "payloads", "type": "s3", "endpoint": store.endpoint(), "bucket": store.bucket(), "insecure": true,
        "layout": layout, "prefix": format!("{layout}/"),
        "access_key": {"type": "text", "value": store.access_key()},
        "secret_key": {"type": "text", "value": store.secret_key()},
    })
}

fn disk(work: &Work, layout: &str) -> Value {
    json!({"id": "payloads", "type": "disk", "path": work.folder("payloads"), "layout": layout})
}

impl Run {
    /// What `plainspan payload` writes; it ends well.
    fn payload(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(env!("CARGO_BIN_EXE_plainspan"))
            .arg("payload")
            .args(arguments)
            .arg("-c")
            .arg(self.work.path("plainspan.yaml"))
            .output()
            .expect("plainspan payload");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {told}");
        output.stdout
    }

    fn spans(&self) -> impl Iterator<Item = (&Call, &Answer, &SeenSpan)> {
        self.calls
            .iter()
            .zip(&self.answers)
            .flat_map(|(call, answer)| {
                let pair = self.seen.pair(&call.target);
                [pair.client, pair.server].map(|span| (call, answer, span))
            })
    }

    /// Gets every link of every span; all of them must be what was said. Returns how long each took, in order.
    fn verify_links(&self) -> Vec<Duration> {
        let mut times = Vec::new();
        for (call, answer, span) in self.spans() {
            let url = span.text("plainspan.payload.url").expect("a payload link");
            let digest = span.text("plainspan.payload.digest").expect("a digest");
            let began = Instant::now();
            let document = self.payload(&["get", &url, "--json", "--digest", &digest]);
            times.push(began.elapsed());
            verify_document(&document, span, call, answer);
        }
        times.sort();
        times
    }

    /// All transactions are listed, with the links that the spans have.
    fn verify_list(&self) {
        let listed = String::from_utf8(self.payload(&["list", "--json"])).expect("text");
        let urls: Vec<String> = listed
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("JSON")["url"]
                    .as_str()
                    .expect("a link")
                    .to_owned()
            })
            .collect();
        for (call, _, span) in self.spans() {
            let url = span.text("plainspan.payload.url").expect("a payload link");
            assert!(urls.contains(&url), "{}: {url} is not listed", call.target);
        }
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

fn tell(what: &str, times: &[Duration]) {
    let [median, p99] = [50, 99].map(|percent| percentile(times, percent));
    println!(
        "payload get, {what}: {} links, median {median:?}, p99 {p99:?}",
        times.len()
    );
}

#[test]
fn every_link_of_every_span_leads_to_what_was_said_from_the_disk() {
    let _turn = turn();
    for layout in LAYOUTS {
        let run = run(Client::Curl, |work| disk(work, layout));
        tell(&format!("disk, layout {layout}"), &run.verify_links());
        run.verify_list();
    }
}

#[test]
fn every_link_of_every_span_leads_to_what_was_said_from_s3() {
    let _turn = turn();
    let store = SeaweedFs::start();
    for layout in LAYOUTS {
        let run = run(Client::PythonRequests, |_| s3(&store, layout));
        tell(&format!("SeaweedFS, layout {layout}"), &run.verify_links());
        run.verify_list();
    }
}

#[test]
fn an_archive_of_a_run_replays_in_a_browser_and_a_curl_line_gets_the_same_status() {
    let _turn = turn();
    let run = run(Client::Curl, |work| disk(work, "segment"));
    let archive = run.work.path("run.har");
    std::fs::write(&archive, run.payload(&["export", "--har"])).expect("write the archive");
    validate(&archive);
    verify_replay(&run, &archive);
    let (call, _, span) = run.spans().last().expect("a span");
    assert!(call.target.ends_with("get/quoted"));
    let url = span.text("plainspan.payload.url").expect("a payload link");
    let line = String::from_utf8(run.payload(&["get", &url, "--curl"])).expect("text");
    let certificate = run.work.path("cert.pem");
    let empty = run.work.folder("empty");
    let line = format!(
        "{} --cacert {} -s -o /dev/null -w '%{{http_code}}'",
        line.trim_end(),
        certificate.display()
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(&empty)
        .output()
        .expect("a shell");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "200",
        "{line}: {output:?}"
    );
    assert!(!empty.join("x").exists(), "{line}");
}

/// Some requests of the run, by Chromium, with the archive in the place of nginx.
fn verify_replay(run: &Run, archive: &Path) {
    let some: Vec<_> = run.calls.iter().zip(&run.answers).take(6).collect();
    let base = run.server.base();
    let calls: Vec<Value> = some
        .iter()
        .map(|(call, _)| {
            json!({
                "url": format!("{base}{}", call.target), "method": call.method,
                "body": call.body.as_ref().map(|body| STANDARD.encode(body)),
            })
        })
        .collect();
    let got = replay(archive, &json!(calls));
    assert_eq!(got.len(), some.len());
    for (got, (call, answer)) in got.iter().zip(some) {
        assert_eq!(got["status"], answer.status, "{}", call.target);
        let body = STANDARD
            .decode(got["body"].as_str().expect("base64"))
            .expect("base64");
        assert!(body == answer.body, "{}", call.target);
    }
}
