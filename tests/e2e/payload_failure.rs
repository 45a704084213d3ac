//! Payloads while their store is away, and across SIGKILL: what a span says of its payload is true, and what is lost is
//! told and counted.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::ledger::Ledger;
use crate::harness::servers::{self, Server};
use crate::harness::work::Work;
use crate::harness::{sha256, turn};
use crate::otlp_sink::{OtlpSink, SeenLog, SeenSpan};
use crate::seaweedfs::SeaweedFs;
use crate::spool::Gets;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const PER_SECOND: u32 = 150;

/// How long the store is away; `PLAINSPAN_TEST_DOWN_SECONDS` for the 60 s of the promise.
fn down_time() -> Duration {
    Duration::from_secs(number("PLAINSPAN_TEST_DOWN_SECONDS", 10))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// An agent beside an nginx that it looks at alone, with payloads of level full in SeaweedFS.
struct Rig {
    work: Work,
    nginx: Server,
    sink: OtlpSink,
    store: SeaweedFs,
    config: Config,
}

impl Rig {
    fn new(layout: &str, spool: bool) -> Rig {
        let store = SeaweedFs::start();
        let sink = OtlpSink::start();
        let work = Work::new();
        let nginx = servers::nginx_plain(&work);
        let mut settings = json!({
            "id": "payloads", "type": "s3", "endpoint": store.endpoint(), "bucket": store.bucket(),
            "insecure": true, "layout": layout,
            "access_key": {"type": "text", "value": store.access_key()},
            "secret_key": {"type": "text", "value": store.secret_key()},
        });
        if layout == "segment" {
            settings["segment_time"] = json!("2s");
        }
        if spool {
            settings["spool"] = json!({"dir": work.path("spool")});
        }
        let config = Config::new("full")
            .grpc_without_metrics(&sink.grpc_endpoint())
            .s3(settings)
            .tap("filters", json!({"include": [{"port": nginx.port}]}));
        Rig {
            work,
            nginx,
            sink,
            store,
            config,
        }
    }

    fn start(&self) -> Agent {
        Agent::start(&self.work, &self.config.yaml())
    }

    fn get(&self) -> Gets {
        Gets::to(self.nginx.port, self.work.url_path("n/"))
    }

    /// Spans and events once the agent has ended.
    fn seen(&self) -> Seen {
        let path = self.work.url_path("n/");
        let about = |span: &SeenSpan| {
            let text = span.text("url.path").or(span.text("url.full"));
            text.is_some_and(|text| text.contains(&path))
        };
        let spans = self.sink.spans().into_iter().filter(about).collect();
        let (mut stored, mut lost) = (Vec::new(), Vec::new());
        for log in self.sink.logs() {
            match log.record.event_name.as_str() {
                "plainspan.payload.stored" => stored.push(log),
                "plainspan.payload.lost" => lost.push(log),
                _ => {}
            }
        }
        Seen {
            spans,
            stored,
            lost,
        }
    }

    /// Makes sure that the links of these spans lead to the documents that they say.
    fn resolve(&self, spans: &[&SeenSpan]) {
        let links: Vec<Link> = spans.iter().map(|span| self.link(span)).collect();
        let got = self.store.get_ranges(&links);
        for ((span, link), bytes) in spans.iter().zip(&links).zip(got) {
            let document = match link.1 {
                None => bytes,
                Some(_) => {
                    let mut document = zstd::decode_all(&bytes[..]).expect("a frame");
                    assert_eq!(document.pop(), Some(b'\n'));
                    document
                }
            };
            let digest = span.text("plainspan.payload.digest");
            assert_eq!(Some(sha256(&document)), digest);
            let document: Value = serde_json::from_slice(&document).expect("JSON");
            assert_eq!(
                document["transaction_id"].as_str().map(str::to_owned),
                span.text("plainspan.transaction.id")
            );
        }
    }

    fn link(&self, span: &SeenSpan) -> Link {
        let url = span.text("plainspan.payload.url").expect("a link");
        let place = format!("http://{}/{}/", self.store.endpoint(), self.store.bucket());
        let rest = url.strip_prefix(&place).expect("the store's own URL");
        let Some((key, range)) = rest.split_once("#bytes=") else {
            return (rest.to_owned(), None);
        };
        let (first, last) = range.split_once('-').expect("a range");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        (key.to_owned(), Some(number(first)..number(last) + 1))
    }
}

/// Key and bytes.
type Link = (String, Option<Range<u64>>);

struct Seen {
    spans: Vec<SeenSpan>,
    stored: Vec<SeenLog>,
    lost: Vec<SeenLog>,
}

impl Seen {
    fn with(&self, status: Option<&str>) -> Vec<&SeenSpan> {
        let is = |span: &&SeenSpan| span.text("plainspan.payload.status").as_deref() == status;
        self.spans.iter().filter(is).collect()
    }

    /// Each span that said `pending` is told of by an event; gives those that are lost.
    fn told(&self) -> Vec<&SeenSpan> {
        let text = |log: &SeenLog, name| log.attr(name)?.as_str().map(str::to_owned);
        let objects: BTreeSet<String> = self
            .stored
            .iter()
            .filter_map(|log| text(log, "plainspan.payload.url"))
            .collect();
        let lost: BTreeMap<_, _> = self
            .lost
            .iter()
            .map(|log| {
                (
                    (log.record.trace_id.clone(), log.record.span_id.clone()),
                    log,
                )
            })
            .collect();
        assert_eq!(lost.len(), self.lost.len(), "one event a transaction");
        let mut gone = Vec::new();
        for span in self.with(Some("pending")) {
            let ids = (span.span.trace_id.clone(), span.span.span_id.clone());
            let url = span.text("plainspan.payload.url").expect("a link");
            let object = url.split('#').next().unwrap_or_default();
            match lost.get(&ids) {
                Some(event) => {
                    let id = span.text("plainspan.transaction.id");
                    assert_eq!(text(event, "plainspan.transaction.id"), id);
                    let service = event.resource.get("service.name").and_then(Value::as_str);
                    assert_eq!(service, span.service());
                    gone.push(span);
                }
                None => assert!(objects.contains(object), "nothing tells of {url}"),
            }
        }
        assert_eq!(gone.len(), self.lost.len(), "events without their span");
        gone
    }
}

fn payloads(ledger: &Ledger, what: &str) -> u64 {
    ledger.get(&["payloads", what])
}

fn nothing_waits(ledger: &Ledger) -> bool {
    payloads(ledger, "in_flight") == 0 && ledger.in_flight() == 0
}

/// Load before, while and after the store is away.
fn away(rig: &mut Rig, gets: &mut Gets) -> u64 {
    let all = gets.paced(0, PER_SECOND, Duration::from_secs(2));
    rig.store.kill();
    let all = gets.paced(all, PER_SECOND, down_time());
    rig.store.restart();
    gets.paced(all, PER_SECOND, Duration::from_secs(2))
}

fn with_a_spool(layout: &str) {
    let _turn = turn();
    let mut rig = Rig::new(layout, true);
    let agent = rig.start();
    let mut gets = rig.get();
    let all = away(&mut rig, &mut gets);
    let ledger = agent.wait_ledger("all stored", LIMIT, |l| {
        payloads(l, "wanted") == 2 * all && nothing_waits(l)
    });
    assert_eq!(
        (payloads(&ledger, "stored"), ledger.payloads_lost()),
        (2 * all, 0),
        "{ledger}"
    );
    let lowered = ledger.get(&["payloads", "left_out", "lowered"]);
    assert_eq!(lowered, 0, "{ledger}");
    agent.stop();
    // Of transactions the store's own traffic is a part, which is cut off when it ends.
    let seen = rig.seen();
    assert_eq!(seen.spans.len() as u64, 2 * all);
    assert_eq!(seen.told().len(), 0);
    assert!(!seen.with(Some("pending")).is_empty());
    let links: Vec<&SeenSpan> = seen.spans.iter().collect();
    rig.resolve(&links);
    let left = std::fs::read_dir(rig.work.path("spool").join("payloads.payloads"));
    let names: Vec<_> = left
        .expect("the spool")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["lock"]);
}

#[test]
fn with_a_spool_a_store_that_is_away_costs_no_object_and_every_link_leads_to_its_document() {
    with_a_spool("object");
}

#[test]
fn with_a_spool_a_store_that_is_away_costs_no_segment_and_every_link_leads_to_its_document() {
    with_a_spool("segment");
}

fn without_a_spool(layout: &str) {
    let _turn = turn();
    let mut rig = Rig::new(layout, false);
    rig.config = rig.config.limit("memory", "16MiB");
    let agent = rig.start();
    let mut gets = rig.get();
    let some = gets.paced(0, PER_SECOND, Duration::from_secs(4));
    rig.store.kill();
    let all = gets.paced(some, PER_SECOND, down_time());
    let ledger = agent.wait_ledger("all decided", LIMIT, |l| {
        payloads(l, "wanted") == 2 * all && nothing_waits(l)
    });
    let [wanted, stored, lost] = [
        payloads(&ledger, "wanted"),
        payloads(&ledger, "stored"),
        ledger.payloads_lost(),
    ];
    let lowered = ledger.get(&["payloads", "left_out", "lowered"]);
    assert_eq!(wanted, 2 * all, "{ledger}");
    assert_eq!(stored + lost + lowered, wanted, "{ledger}");
    assert!(stored > 0 && lost > 0, "{ledger}");
    agent.stop();
    let seen = rig.seen();
    let (gone, said) = (seen.told().len(), seen.with(Some("lost")).len());
    assert_eq!((gone + said) as u64, lost, "{ledger}");
    let marked: Vec<_> = seen
        .spans
        .iter()
        .filter(|span| span.text("plainspan.capture.wanted_level").as_deref() == Some("full"))
        .collect();
    assert_eq!(marked.len() as u64, lowered, "{ledger}");
    for span in &marked {
        let level = span.text("plainspan.capture.level");
        assert_eq!(level.as_deref(), Some("headers"));
        assert_eq!(span.text("plainspan.payload.status"), None);
    }
    // What was said to be stored is there: the store comes back with it.
    rig.store.restart();
    rig.resolve(&seen.with(Some("stored")));
}

#[test]
fn without_a_spool_the_objects_that_a_store_did_not_take_are_counted_and_each_span_says_so() {
    without_a_spool("object");
}

#[test]
fn without_a_spool_the_segments_that_a_store_did_not_take_are_counted_and_each_span_says_so() {
    without_a_spool("segment");
}

#[test]
fn after_sigkill_at_any_moment_every_payload_whose_span_has_left_is_in_the_store() {
    let _turn = turn();
    let kills = number("PLAINSPAN_TEST_KILLS", 4);
    let mut random = fastrand::Rng::with_seed(kills);
    for layout in ["object", "segment"] {
        let rig = Rig::new(layout, true);
        let mut next = 0;
        for kill in 0..kills.div_ceil(2) {
            let agent = rig.start();
            let mut gets = rig.get();
            next = gets.paced(
                next,
                PER_SECOND,
                Duration::from_millis(random.u64(300..2500)),
            );
            // Every other time with puts under way that nobody answers.
            if kill % 2 == 1 {
                rig.store.pause();
                next = gets.paced(next, PER_SECOND, Duration::from_millis(random.u64(0..1500)));
            }
            agent.kill();
            rig.store.resume();
        }
        let agent = rig.start();
        let ledger = agent.wait_ledger("all of the spool", LIMIT, nothing_waits);
        assert_eq!(ledger.payloads_lost(), 0, "{ledger}");
        agent.stop();
        let seen = rig.seen();
        let [stored, pending, lost] =
            ["stored", "pending", "lost"].map(|status| seen.with(Some(status)).len());
        eprintln!(
            "{layout}: {next} requests, spans: {stored} stored, {pending} pending, {lost} lost"
        );
        assert!(stored + pending > 0);
        assert_eq!((lost, seen.lost.len()), (0, 0));
        rig.resolve(&seen.spans.iter().collect::<Vec<_>>());
    }
}
