//! A ring that is far too small, under full load: what is told is true, and what is not told is counted.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::plan::{Answer, Call, Client};
use crate::harness::scene::{Scene, complete, marks};
use crate::harness::seen::{Seen, target};
use crate::harness::servers::{self, Server};
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CONNECTIONS: usize = 8;
const CALLS: usize = 60;
const LIMIT: Duration = Duration::from_secs(60);

/// The programs of the test alone: others of the host would take room in the ring, and count.
fn only(port: u16) -> Value {
    let programs = ["/usr/bin/python3", "/usr/bin/curl", "/usr/sbin/nginx"];
    let include = programs.map(|exe| json!({"exe": exe, "strategy": "prefix", "port": port}));
    json!({"include": include})
}

fn scene(start: impl FnOnce(&Work) -> Server) -> Scene {
    Scene::with(start, |_, sink, server| {
        Config::new("full")
            .grpc(&sink.grpc_endpoint())
            .limit("ring", "64KiB")
            .tap("filters", only(server.port))
    })
}

/// Big and small ones in turns: a big answer fills the ring, and small exchanges are lost as a whole.
fn calls(work: &Work, connection: usize, at: impl Fn(usize) -> String) -> Vec<Call> {
    (0..CALLS)
        .map(|n| {
            let number = format!("n={connection}-{n}");
            let target = work.url_path(&format!("{}?{number}", at(n)));
            match n % 5 {
                3 => Call::post(target, vec![b'x'; 30_000]),
                _ => Call::get(target),
            }
        })
        .collect()
}

/// All connections at once; every answer is right, whatever the agent sees of it.
fn load(scene: &Scene, client: Client, at: fn(usize) -> String) -> HashMap<String, (Call, Answer)> {
    let one = |connection: usize| {
        let calls = calls(&scene.work, connection, at);
        let answers = scene.perform(client, &calls);
        assert!(answers.iter().all(|a| a.status == 200), "{client:?}");
        calls.into_iter().zip(answers).collect::<Vec<_>>()
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let (one, over) = (&one, &over);
        threads.spawn(move || stop_and_go(&scene.agent, over));
        let running: Vec<_> = (0..CONNECTIONS)
            .map(|connection| threads.spawn(move || one(connection)))
            .collect();
        let all: Vec<_> = running.into_iter().map(|r| r.join()).collect();
        over.store(true, Ordering::Relaxed);
        let all = all.into_iter().flat_map(|r| r.expect("a client"));
        all.map(|(call, answer)| (call.target.clone(), (call, answer)))
            .collect()
    })
}

/// A host too busy for the agent: it stands still again and again, and the ring is full meanwhile.
fn stop_and_go(agent: &Agent, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        agent.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(40));
        agent.signal(libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(60));
    }
}

/// What became of a load.
struct Outcome {
    ledger: Ledger,
    seen: Seen,
    asked: HashMap<String, (Call, Answer)>,
}

fn run(scene: Scene, client: Client, at: fn(usize) -> String) -> Outcome {
    let asked = load(&scene, client, at);
    // All connections are closed: what is lost is known once that has been read.
    let mut seen = 0;
    let ledger = loop {
        let ledger = scene
            .agent
            .wait_ledger("settled ledger", LIMIT, |ledger| ledger.in_flight() == 0);
        if ledger.seen() == std::mem::replace(&mut seen, ledger.seen()) {
            break ledger;
        }
        std::thread::sleep(Duration::from_secs(3));
    };
    let (seen, _work) = scene.stop();
    Outcome {
        ledger,
        seen,
        asked,
    }
}

impl Outcome {
    /// Spans that say that they are whole are, of the others nothing that they say is wrong; none is there twice.
    fn assert_nothing_wrong(&self) -> usize {
        let mut ends: BTreeMap<(String, i32), usize> = BTreeMap::new();
        let spans: Vec<&SeenSpan> = self.spans().collect();
        let mut whole = 0;
        for span in &spans {
            let Some(target) = target(span) else {
                assert!(!complete(span), "{span:#?}");
                continue;
            };
            let (call, answer) = self
                .asked
                .get(&target)
                .unwrap_or_else(|| panic!("nobody asked {target}: {span:#?}"));
            *ends.entry((target.clone(), span.span.kind)).or_default() += 1;
            assert_eq!(
                span.text("http.request.method").as_deref(),
                Some(call.method)
            );
            let status = span.int("http.response.status_code");
            let sizes = ["request", "response"].map(|of| {
                let size = span.int(&format!("http.{of}.body.size"));
                size.unwrap_or(0).unsigned_abs()
            });
            let sent = call.body.as_ref().map_or(0, Vec::len) as u64;
            if complete(span) {
                whole += 1;
                assert_eq!(status, Some(answer.status.into()), "{target}");
                assert_eq!(sizes, [sent, answer.body.len() as u64], "{target}");
            } else {
                assert!(matches!(status, None | Some(200)), "{target}: {span:#?}");
                assert_ne!(
                    marks(span),
                    "null",
                    "{target}: not whole, and no reason: {span:#?}"
                );
            }
        }
        for ((target, kind), count) in ends {
            assert_eq!(count, 1, "spans of kind {kind} of {target}");
        }
        whole
    }

    /// Spans of the load: the agent has others, of itself.
    fn spans(&self) -> impl Iterator<Item = &SeenSpan> {
        let kinds = [SpanKind::Client as i32, SpanKind::Server as i32];
        self.seen
            .spans()
            .iter()
            .filter(move |s| kinds.contains(&s.span.kind) && s.service() != Some("plainspan"))
    }

    /// Every byte is counted once: copied, left out on purpose or lost.
    fn assert_bytes_exact(&self) {
        let bytes = |name| self.ledger.get(&["bytes", name]);
        let [seen, copied] = ["seen", "copied"].map(bytes);
        let [skipped, lost] = ["skipped_on_purpose", "lost"].map(bytes);
        assert_eq!(seen, copied + skipped + lost, "{}", self.ledger);
        // Both ends move each body; heads come on top.
        let bodies = self
            .asked
            .values()
            .map(|(call, answer)| call.body.as_ref().map_or(0, Vec::len) + answer.body.len());
        let bodies = 2 * bodies.sum::<usize>() as u64;
        let heads = 2 * 2000 * self.asked.len() as u64;
        assert!(
            (bodies..bodies + heads).contains(&seen),
            "{seen} of {bodies}"
        );
        assert!(lost > 0, "the ring did not overflow: {}", self.ledger);
    }

    fn print(&self, name: &str, whole: usize) {
        let [seen, lost] = ["seen", "lost"].map(|n| self.ledger.get(&["bytes", n]));
        println!(
            "{name}: {} requests seen from both ends, {} spans, {whole} of them whole, {} transactions lost; {lost} of {seen} bytes lost",
            self.asked.len(),
            self.spans().count(),
            self.ledger.lost(),
        );
    }
}

#[test]
fn with_http_1_spans_and_what_is_lost_are_all_requests() {
    let _turn = turn();
    for (name, start) in [
        ("TLS", servers::python as fn(&Work) -> Server),
        ("plain", servers::python_plain),
    ] {
        let at = |n: usize| match n % 5 {
            0 => "size/300000".to_owned(),
            3 => "post/x".to_owned(),
            n => format!("size/{}", n * 100),
        };
        let outcome = run(scene(start), Client::PythonRequests, at);
        let whole = outcome.assert_nothing_wrong();
        outcome.print(name, whole);
        outcome.assert_bytes_exact();
        let lost = outcome.ledger.lost();
        assert!(lost > 0, "nothing was lost as a whole: {}", outcome.ledger);
        let told = outcome.spans().count() as u64 + lost;
        let all = 2 * outcome.asked.len() as u64;
        assert_eq!(told, all, "{name}: {}", outcome.ledger);
    }
}

#[test]
fn with_http_2_what_a_loss_touched_is_marked_and_what_is_counted_as_lost_was_there() {
    let _turn = turn();
    let at = |n: usize| match n % 5 {
        0 => "file/200k.bin".to_owned(),
        3 => "upload".to_owned(),
        _ => "file/small.txt".to_owned(),
    };
    let scene = scene(|work| servers::nginx_http2(work, "https"));
    let outcome = run(scene, Client::CurlHttp2, at);
    let whole = outcome.assert_nothing_wrong();
    outcome.print("HTTP/2", whole);
    outcome.assert_bytes_exact();
    let told = outcome.spans().count() as u64 + outcome.ledger.lost();
    assert!(told <= 2 * outcome.asked.len() as u64, "{}", outcome.ledger);
}
