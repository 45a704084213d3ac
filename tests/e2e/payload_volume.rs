//! Many small transactions in S3: how many requests the store counts, and whether each link leads to what was said.
//!
//! `PLAINSPAN_TEST_TRANSACTIONS`: how many, 4,000 unless told; 20,000 are what `docs/payload-cost.md` was computed from.
//! `--nocapture` shows its numbers.

use crate::harness::config::Config;
use crate::harness::exchange::verify_document;
use crate::harness::plan::{Answer, Call, Client};
use crate::harness::scene::Scene;
use crate::harness::{servers, sha256, turn};
use crate::otlp_sink::SeenSpan;
use crate::seaweedfs::SeaweedFs;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes of each request's body.
const BODY: usize = 2048;
/// Calls between two looks at the queue: a store of this machine is slower than nginx.
const ROUND: usize = 1000;
/// Over all of which the client keeps its connections.
const CONNECTIONS: usize = 10;

fn transactions() -> usize {
    match std::env::var("PLAINSPAN_TEST_TRANSACTIONS") {
        Ok(number) => number.parse().expect("a number of transactions"),
        Err(_) => 4_000,
    }
}

/// 2 KB that no other call sends, and that compress as text does.
fn body(number: usize) -> Vec<u8> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = String::new();
    while text.len() < BODY {
        text.push_str(&format!(
            "{{\"id\":{},\"name\":\"item {:08x}\"}},",
            next() % 100_000,
            next() as u32
        ));
    }
    text.truncate(BODY);
    text.into_bytes()
}

struct Run {
    store: SeaweedFs,
    calls: Vec<Call>,
    answers: Vec<Answer>,
    /// Spans by what they asked for.
    spans: HashMap<String, Vec<SeenSpan>>,
    /// Requests that wrote.
    puts: u64,
}

impl Run {
    fn of(layout: &str) -> Run {
        let store = SeaweedFs::start();
        let before = store.requests("PUT") + store.requests("POST");
        let scene = Scene::with(servers::nginx_plain, |_, sink, nginx| {
            let payloads = json!({
                "id": "payloads", "type": "s3", "endpoint": store.endpoint(), "bucket": store.bucket(),
                "insecure": true, "layout": layout, "access_url": "s3://{{BUCKET}}/{{KEY}}",
                "access_key": {"type": "text", "value": store.access_key()},
                "secret_key": {"type": "text", "value": store.secret_key()},
            });
            Config::new("full")
                .grpc(&sink.grpc_endpoint())
                .s3(payloads)
                .tap("filters", json!({"include": [{"port": nginx.port}]}))
        });
        let began = Instant::now();
        let calls: Vec<Call> = (0..transactions() / 2)
            .map(|n| Call::post(scene.work.url_path(&format!("upload/{n}")), body(n)))
            .collect();
        let mut answers = Vec::new();
        for round in calls.chunks(ROUND) {
            let connections: Vec<Vec<Call>> = round
                .chunks(round.len().div_ceil(CONNECTIONS))
                .map(<[Call]>::to_vec)
                .collect();
            let client = Client::PythonRequests;
            answers.extend(client.perform(&scene.work, &scene.server.base(), &connections));
            let wanted = 2 * answers.len() as u64;
            scene
                .agent
                .wait_ledger("payloads", Duration::from_secs(120), |ledger| {
                    // In segments they are in flight until theirs is closed.
                    let taken = ledger.get(&["payloads", "stored"])
                        + ledger.get(&["payloads", "in_flight"]);
                    match layout {
                        "object" => ledger.get(&["payloads", "stored"]) >= wanted,
                        _ => taken >= wanted,
                    }
                });
        }
        let wanted = 2 * calls.len() as u64;
        let ledger = scene
            .agent
            .wait_ledger("all payloads", Duration::from_secs(60), |ledger| {
                ledger.get(&["payloads", "stored"]) >= wanted && ledger.in_flight() == 0
            });
        ledger.assert_nothing_lost();
        assert_eq!(ledger.get(&["payloads", "wanted"]), wanted, "{ledger}");
        let took = began.elapsed();
        let (seen, _work) = scene.stop();
        let puts = store.requests("PUT") + store.requests("POST") - before;
        let mut spans: HashMap<String, Vec<SeenSpan>> = HashMap::new();
        for span in seen.spans() {
            if let Some(path) = path(span) {
                spans.entry(path).or_default().push(span.clone());
            }
        }
        let objects = store.sizes();
        let bytes: u64 = objects.values().sum();
        println!(
            "layout {layout}: {wanted} transactions in {took:.0?}: {puts} requests that write, {} objects, {bytes} bytes; \
             {} bodies shared, {} bytes saved",
            objects.len(),
            ledger.get(&["payloads", "bodies_shared"]),
            ledger.get(&["payloads", "bytes_saved"]),
        );
        Run {
            store,
            calls,
            answers,
            spans,
            puts,
        }
    }

    /// Every span of every call, with its call and answer.
    fn each(&self) -> impl Iterator<Item = (&SeenSpan, &Call, &Answer)> {
        self.calls
            .iter()
            .zip(&self.answers)
            .flat_map(|(call, answer)| {
                let spans = self.spans.get(&call.target).map_or(&[][..], |s| s);
                assert_eq!(spans.len(), 2, "spans of {}", call.target);
                spans.iter().map(move |span| (span, call, answer))
            })
    }
}

/// The path that a span is about; None: it is one of the agent's own.
fn path(span: &SeenSpan) -> Option<String> {
    span.text("url.path").or_else(|| {
        let full = url::Url::parse(&span.text("url.full")?);
        Some(full.expect("a URL").path().to_owned())
    })
}

fn text(span: &SeenSpan, name: &str) -> String {
    span.text(name)
        .unwrap_or_else(|| panic!("no {name}: {span:?}"))
}

/// The key of a link, and what follows it.
fn key(url: &str) -> &str {
    let rest = url
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'));
    rest.unwrap_or_else(|| panic!("{url}")).1
}

/// `FIRST-LAST` as a range.
fn range(text: &str) -> std::ops::Range<u64> {
    let (first, last) = text.split_once('-').expect("FIRST-LAST");
    first.parse().expect("a number")..last.parse::<u64>().expect("a number") + 1
}

#[test]
fn one_object_a_transaction_is_one_put_each_and_every_link_gives_what_was_said() {
    let _turn = turn();
    let run = Run::of("object");
    let spans: Vec<_> = run.each().collect();
    assert!(
        run.puts <= spans.len() as u64 + 10,
        "{} requests for {} transactions",
        run.puts,
        spans.len()
    );
    let wanted: Vec<_> = spans
        .iter()
        .map(|(span, ..)| (key(&text(span, "plainspan.payload.url")).to_owned(), None))
        .collect();
    for ((span, call, answer), document) in spans.iter().zip(run.store.get_ranges(&wanted)) {
        let digest = text(span, "plainspan.payload.digest");
        assert_eq!(sha256(&document), digest, "{}", call.target);
        verify_document(&document, span, call, answer);
    }
}

#[test]
fn segments_are_few_puts_and_every_link_gives_what_was_said_by_its_range() {
    let _turn = turn();
    let run = Run::of("segment");
    let spans: Vec<_> = run.each().collect();
    let most = (40 * spans.len()).div_ceil(20_000).max(8) as u64;
    assert!(
        run.puts <= most,
        "{} requests for {} transactions",
        run.puts,
        spans.len()
    );
    let wanted: Vec<_> = spans
        .iter()
        .map(|(span, ..)| {
            let url = text(span, "plainspan.payload.url");
            let (object, bytes) = key(&url).split_once("#bytes=").expect("a range");
            (object.to_owned(), Some(range(bytes)))
        })
        .collect();
    let reads = run.store.requests("GET");
    let frames = run.store.get_ranges(&wanted);
    let reads = run.store.requests("GET") - reads;
    assert_eq!(reads, spans.len() as u64, "one ranged read a link");
    let mut documents = Vec::new();
    let mut shared = Vec::new();
    for ((span, call, _), frame) in spans.iter().zip(&frames) {
        let document = unpacked(frame);
        let digest = text(span, "plainspan.payload.digest");
        assert_eq!(sha256(&document), digest, "{}", call.target);
        let size = span.int("plainspan.payload.size");
        assert_eq!(size, Some(document.len() as i64), "{}", call.target);
        let document: Value = serde_json::from_slice(&document).expect("JSON");
        for side in ["request", "response"] {
            if let Some(bytes) = document[side]["body_ref"]["bytes"].as_str() {
                let object = wanted[documents.len()].0.clone();
                shared.push((documents.len(), side, (object, Some(range(bytes)))));
            }
        }
        documents.push(document);
    }
    let frames: Vec<_> = shared.iter().map(|(_, _, frame)| frame.clone()).collect();
    for ((place, side, _), frame) in shared.iter().zip(run.store.get_ranges(&frames)) {
        let other: Value = serde_json::from_slice(&unpacked(&frame)).expect("JSON");
        let message = &mut documents[*place][*side];
        let there = message["body_ref"]["message"].as_str().expect("a message");
        let body = other[there]["body"].clone();
        let decoded = BASE64
            .decode(body.as_str().expect("a body"))
            .expect("base64");
        assert_eq!(message["body_ref"]["sha256"], sha256(&decoded));
        message["body"] = body;
    }
    for ((span, call, answer), document) in spans.iter().zip(&documents) {
        verify_document(document.to_string().as_bytes(), span, call, answer);
    }
}

/// The document of a frame, as its digest is of.
fn unpacked(frame: &[u8]) -> Vec<u8> {
    let mut document = zstd::decode_all(frame).expect("a frame of zstd");
    assert_eq!(document.pop(), Some(b'\n'));
    document
}
