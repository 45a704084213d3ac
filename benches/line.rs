//! What one transaction costs on its way, in nanoseconds: run with `make bench`.
//!
//! `parse_and_pair` and `redact` are work of the capture thread, `encode_span` and `encode_log` of the exporter's tasks;
//! `capture_thread` is the whole line from kernel records to an offer at a sink that throws away.
//! Each figure is for [`REQUESTS`] transactions of one connection; divan shows the rate of transactions beside it.

#[path = "../tests/http_support/mod.rs"]
mod http_support;

use divan::Bencher;
use divan::counter::ItemsCount;
use http_support::frames::{self, END_STREAM, Encoder, PREFACE, settings};
use plainspan::config::{HttpCapture, Tap, TraceContextPolicy};
use plainspan::conn::{ConnectionFate, Limits, Output, Table};
use plainspan::enrich::{Clock, Ids, Made, Process, Processes};
use plainspan::event::build::EventBuilder;
use plainspan::event::layout::flag;
use plainspan::event::{Dir, KernelTime, Role, decode};
use plainspan::metrics::Metrics;
use plainspan::pipeline::{Audience, Pipeline, Policies, Stage};
use plainspan::redact::{About, Raw, Redacted, Redactor};
use plainspan::rules::expr::Buffers;
use plainspan::rules::{Decision, Filter, Level, Ruleset};
use plainspan::sampling::{Sampler, Sampling};
use plainspan::sink::otlp::{EncodeOptions, encode};
use plainspan::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use plainspan::telemetry::Ledger;
use plainspan::telemetry::ledger::Lost;
use plainspan::trace::Place;
use plainspan::transaction::{BodyLimits, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Transactions of one run.
const REQUESTS: u32 = 1000;
/// Streams of HTTP/2 at once.
const STREAMS: u32 = 32;
/// Bytes of each response's content.
const CONTENT: usize = 1024;

fn main() {
    divan::main();
}

/// What the connection carries.
#[derive(Debug, Clone, Copy)]
enum Carries {
    Http1,
    Http2,
    /// HTTP/2 whose content the kernel programs left out.
    Http2Skipped,
}

const ALL: [Carries; 3] = [Carries::Http1, Carries::Http2, Carries::Http2Skipped];

/// Kernel records of a server's connection.
fn records(carries: Carries) -> Vec<Vec<u8>> {
    let mut builder = EventBuilder::new(1, 1, Role::Server).over_tls(2);
    let mut records = vec![builder.open()];
    match carries {
        Carries::Http1 => http1(&mut builder, &mut records),
        Carries::Http2 => http2(&mut builder, &mut records, false),
        Carries::Http2Skipped => http2(&mut builder, &mut records, true),
    }
    records
}

fn http1(builder: &mut EventBuilder, records: &mut Vec<Vec<u8>>) {
    let content = "x".repeat(CONTENT);
    for n in 0..REQUESTS {
        let request = format!(
            "GET /items/{n}?page=2 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Mar 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: {CONTENT}\r\nETag: \"5e-400\"\r\n\r\n{content}"
        );
        records.push(builder.data(Dir::Read, request.as_bytes()));
        records.push(builder.data(Dir::Write, response.as_bytes()));
    }
}

fn http2(builder: &mut EventBuilder, records: &mut Vec<Vec<u8>>, skipped: bool) {
    let (mut client, mut server) = (Encoder::default(), Encoder::default());
    let content = vec![b'x'; CONTENT];
    records.push(builder.data(Dir::Read, &[PREFACE.to_vec(), settings()].concat()));
    records.push(builder.data(Dir::Write, &settings()));
    let streams: Vec<u32> = (0..REQUESTS).map(|n| 2 * n + 1).collect();
    for streams in streams.chunks(STREAMS as usize) {
        let requests: Vec<u8> = streams
            .iter()
            .flat_map(|id| {
                let path = format!("/items/{id}?page=2");
                client.headers(*id, END_STREAM, &frames::request("GET", &path))
            })
            .collect();
        records.push(builder.data(Dir::Read, &requests));
        for id in streams {
            let head = server.ok(*id, 0);
            let data = frames::data(*id, END_STREAM, &content);
            if skipped {
                let (header, _) = data.split_at(9);
                records.push(builder.data(Dir::Write, &[&head, header].concat()));
                let len = CONTENT as u32;
                records.push(builder.partial(Dir::Write, &[], len, flag::SKIPPED));
            } else {
                records.push(builder.data(Dir::Write, &[head, data].concat()));
            }
        }
    }
}

fn limits() -> Limits {
    Limits {
        body: BodyLimits {
            capture: false,
            max_bytes: 0,
        },
        connection_memory: 4 << 20,
        total_memory: 128 << 20,
    }
}

/// Keeps transactions, or counts them.
#[derive(Default)]
struct Transactions {
    keep: bool,
    kept: Vec<Transaction>,
    count: u32,
}

impl Output for Transactions {
    fn transaction(&mut self, transaction: Raw<Box<Transaction>>) {
        self.count += 1;
        if self.keep {
            self.kept.push(*transaction.expose());
        }
    }

    fn lost(&mut self, reason: Lost, _: u64) {
        panic!("lost: {reason:?}");
    }

    fn connection(&mut self, _: ConnectionFate) {}
}

fn run(records: &[Vec<u8>], keep: bool) -> Transactions {
    let mut table = Table::new(limits());
    let mut out = Transactions {
        keep,
        ..Transactions::default()
    };
    for record in records {
        let event = decode(record).expect("an event");
        table.handle(&event, &mut out);
    }
    assert_eq!(out.count, REQUESTS);
    out
}

#[divan::bench(args = ALL)]
fn parse_and_pair(bencher: Bencher<'_, '_>, carries: Carries) {
    let records = records(carries);
    bencher
        .counter(ItemsCount::new(REQUESTS))
        .bench(|| run(&records, false).count);
}

fn settings_of_headers() -> HttpCapture {
    HttpCapture {
        level: Level::Headers,
        ..HttpCapture::default()
    }
}

fn redactor() -> Redactor {
    Redactor::new(&settings_of_headers()).expect("no rules")
}

fn about(process: &Arc<Process>, ids: &mut Ids) -> About {
    About {
        id: ids.transaction(None),
        process: process.clone(),
        decision: Decision {
            level: Level::Headers,
            rule: None,
        },
        start: SystemTime::UNIX_EPOCH,
        end: SystemTime::UNIX_EPOCH,
        ids: ids.span(
            None,
            Made {
                place: Place::Own,
                context: None,
                hop: None,
            },
        ),
        sampling: Sampling::default(),
        route: None,
    }
}

fn redact_all(transactions: Vec<Transaction>, process: &Arc<Process>) -> Vec<Redacted> {
    let redactor = redactor();
    let mut ids = Ids::new(TraceContextPolicy::Auto);
    transactions
        .into_iter()
        .map(|t| {
            redactor
                .redact(Raw::new(Box::new(t)), about(process, &mut ids))
                .0
        })
        .collect()
}

fn own_process() -> Arc<Process> {
    Processes::new(&BTreeMap::new()).get(std::process::id(), KernelTime(0))
}

#[divan::bench(args = ALL)]
fn redact(bencher: Bencher<'_, '_>, carries: Carries) {
    let kept = run(&records(carries), true).kept;
    let process = own_process();
    bencher
        .counter(ItemsCount::new(REQUESTS))
        .with_inputs(|| kept.clone())
        .bench_values(|kept| redact_all(kept, &process));
}

fn encoded(
    bencher: Bencher<'_, '_>,
    carries: Carries,
    encode: impl Fn(Vec<u8>, &Redacted) -> Vec<u8> + Sync,
) {
    let redacted = redact_all(run(&records(carries), true).kept, &own_process());
    bencher.counter(ItemsCount::new(REQUESTS)).bench(|| {
        let mut out = Vec::new();
        let mut bytes = 0;
        for capture in &redacted {
            out.clear();
            out = encode(out, capture);
            bytes += out.len();
        }
        bytes
    });
}

#[divan::bench(args = ALL)]
fn encode_span(bencher: Bencher<'_, '_>, carries: Carries) {
    let options = EncodeOptions::default();
    encoded(bencher, carries, |out, capture| {
        encode::span_bytes(out, &encode::Common::new(capture, None, &options))
    });
}

#[divan::bench(args = ALL)]
fn encode_log(bencher: Bencher<'_, '_>, carries: Carries) {
    let options = EncodeOptions::default();
    let now = SystemTime::UNIX_EPOCH;
    encoded(bencher, carries, |out, capture| {
        encode::log_record_bytes(out, &encode::Common::new(capture, None, &options), now)
    });
}

/// A sink that throws away.
struct Nowhere;

impl Sink for Nowhere {
    fn offer(&self, delivery: Delivery) {
        delivery.ticket.taken();
    }

    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

fn stage(ledger: &Ledger) -> Stage {
    let tap = Tap {
        progress: Duration::from_secs(60),
        ..Tap::default()
    };
    Stage {
        ledger: ledger.clone(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), SystemTime::UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(&tap).expect("no patterns"),
        telemetry: Some(Audience {
            rules: Ruleset::compile(Level::Headers, &[], &[]).expect("no rules"),
            least: Level::None,
            counts_all: false,
            sampler: Sampler::new(&HttpCapture::default(), &[]).expect("a sampler"),
            redactor: redactor(),
            payloads: None,
            sinks: Fanout::new(vec![Arc::new(Nowhere), Arc::new(Nowhere)]),
        }),
        access: None,
        metrics: Metrics::new(Default::default(), ledger.clone(), SystemTime::UNIX_EPOCH),
        stacks: Default::default(),
        routes: Default::default(),
        measures: Default::default(),
        held: Default::default(),
        joins: Default::default(),
        policies: Policies::default(),
        buffers: Buffers::default(),
        verdicts: Default::default(),
    }
}

#[divan::bench(args = ALL)]
fn capture_thread(bencher: Bencher<'_, '_>, carries: Carries) {
    let records = records(carries);
    let ledger = Ledger::new();
    bencher
        .counter(ItemsCount::new(REQUESTS))
        .with_inputs(|| Pipeline::new(Table::new(limits()), stage(&ledger), None))
        .bench_values(|mut pipeline| {
            let (open, data) = records.split_first().expect("an announcement");
            pipeline.control(open);
            data.iter().for_each(|record| pipeline.data(record));
            pipeline
        });
    assert_eq!(ledger.snapshot().imbalance(), 0);
}
