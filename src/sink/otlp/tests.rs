//! Export against a real server, with the faults that collectors have, and the books afterwards.

#[path = "../../../tests/support/otlp_sink.rs"]
mod otlp_sink;

use super::*;
use crate::config::{Compression, OtlpProtocol, OtlpTls, Secret};
use crate::enrich::Process;
use crate::event::Role;
use crate::redact::Redacted;
use crate::sink::testing;
use crate::telemetry::ledger::{Signal as Counts, SignalLost, Snapshot};
use otlp_sink::{Fault, OtlpSink as Collector, SeenSpan, free_port};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const PROTOCOLS: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::Http];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn endpoint(base: &str, protocol: OtlpProtocol, path: &str) -> OtlpEndpoint {
    OtlpEndpoint {
        protocol,
        url: match protocol {
            OtlpProtocol::Grpc => base.to_owned(),
            OtlpProtocol::Http => format!("{base}{path}"),
        },
        headers: vec![("Api-Key".into(), Secret::new("s3cret"))],
        tls: OtlpTls::default(),
        compression: Compression::None,
        timeout: seconds(5),
    }
}

fn store(base: &str, protocol: OtlpProtocol) -> OtelStore {
    OtelStore {
        traces: Some(endpoint(base, protocol, "/v1/traces")),
        logs: Some(endpoint(base, protocol, "/v1/logs")),
        metrics: None,
    }
}

fn traces(base: &str, protocol: OtlpProtocol) -> OtelStore {
    OtelStore {
        logs: None,
        ..store(base, protocol)
    }
}

/// Waits are short, so that tests are.
fn quick() -> OtlpOptions {
    OtlpOptions {
        traces_delay: millis(50),
        logs_delay: millis(50),
        retry: RetryPolicy {
            first: millis(20),
            longest: millis(100),
            budget: seconds(30),
        },
        ..OtlpOptions::default()
    }
}

/// A sink with its books.
struct Rig {
    sink: OtlpSink,
    ledger: Ledger,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new(store: &OtelStore, options: OtlpOptions) -> Rig {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let ledger = Ledger::new();
        let sink = OtlpSink::start("c", store, options, ledger.clone(), runtime.handle())
            .unwrap_or_else(|e| panic!("{e}"));
        Rig {
            sink,
            ledger,
            runtime,
        }
    }

    fn offer(&self, capture: crate::redact::Capture) {
        self.sink.offer(Delivery {
            capture: Arc::new(Redacted::for_test(capture)),
            link: None,
            ticket: self.ledger.transaction_seen().shared(),
        });
    }

    /// Offers `count` captures of one process, numbered in their ids from `first`.
    fn offer_many(&self, first: usize, count: usize) {
        let process = testing::process(42, "one");
        for n in first..first + count {
            self.offer(numbered(n, &process));
        }
    }

    fn drain(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.runtime.block_on(self.sink.drain(deadline));
    }

    fn traces(&self) -> Counts {
        let snapshot = self.ledger.snapshot();
        snapshot
            .signals
            .get("c/traces")
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until nothing of the traces is in flight.
    fn settled(&self) -> Counts {
        let end = Instant::now() + PATIENCE;
        while self.traces().in_flight > 0 && Instant::now() < end {
            std::thread::sleep(millis(5));
        }
        self.traces()
    }
}

fn numbered(n: usize, process: &Arc<Process>) -> crate::redact::Capture {
    let mut capture = testing::capture(Role::Client);
    capture.id = format!("{n:032x}");
    capture.process = process.clone();
    capture
}

fn counts(offered: u64, exported: u64, lost: SignalLost) -> Counts {
    Counts {
        offered,
        exported,
        in_flight: 0,
        lost,
    }
}

fn none_lost() -> SignalLost {
    SignalLost::default()
}

/// Numbers of the spans, in the order they came.
fn numbers(spans: &[SeenSpan]) -> Vec<usize> {
    spans
        .iter()
        .filter_map(|s| usize::from_str_radix(&s.text(encode::names::TRANSACTION_ID)?, 16).ok())
        .collect()
}

fn assert_balanced(snapshot: &Snapshot) {
    assert_eq!(snapshot.imbalance(), 0);
    assert_eq!(snapshot.transactions.in_flight, 0);
}

#[test]
fn spans_and_log_records_arrive_over_both_protocols_with_every_compression() {
    for protocol in PROTOCOLS {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let collector = Collector::start();
            let mut store = store(&collector.http_endpoint(), protocol);
            for signal in [&mut store.traces, &mut store.logs].into_iter().flatten() {
                signal.compression = compression;
            }
            // Draining flushes: whatever the machine is doing, all go together.
            let mut options = quick();
            (options.traces_delay, options.logs_delay) = (seconds(60), seconds(60));
            let rig = Rig::new(&store, options);
            let (a, b) = (testing::process(1, "a"), testing::process(2, "b"));
            for (n, process) in [(0, &a), (1, &b), (2, &a)] {
                rig.offer(numbered(n, process));
            }
            rig.drain(seconds(10));
            let (spans, logs) = (collector.spans(), collector.logs());
            let context = format!("{protocol:?} {compression:?}");
            assert_eq!((spans.len(), logs.len()), (3, 3), "{context}");
            let services: Vec<_> = spans.iter().filter_map(SeenSpan::service).collect();
            assert_eq!(services, ["a", "a", "b"], "{context}");
            assert_eq!(numbers(&spans), [0, 2, 1], "{context}");
            assert_eq!(spans[0].scope.name, "plainspan");
            assert_eq!(spans[0].schema_url, encode::names::SCHEMA_URL);
            assert_eq!(logs[0].record.event_name, encode::names::EVENT);
            // Many resources in one request, and one request a signal.
            assert_eq!(collector.stats().requests, 2, "{context}");
            for request in collector.requests() {
                assert_eq!(request.headers["api-key"], "s3cret");
                let agent = request.headers["user-agent"].to_str().expect("text");
                assert!(agent.starts_with("plainspan/"), "{agent}");
                assert!(agent.contains("OTel-OTLP-Exporter-Rust"), "{agent}");
            }
            let snapshot = rig.ledger.snapshot();
            for signal in ["c/traces", "c/logs"] {
                assert_eq!(snapshot.signals[signal], counts(3, 3, none_lost()));
            }
            assert_eq!(snapshot.transactions.exported, 3);
            assert_balanced(&snapshot);
        }
    }
}

#[test]
fn the_frame_written_by_hand_is_what_prost_writes() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
    use prost::Message;
    let collector = Collector::start();
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Http),
        quick(),
    );
    let capture = numbered(7, &testing::process(1, "a"));
    rig.offer(capture.clone());
    rig.drain(seconds(5));
    let wanted = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(encode::resource(&capture.process)),
            scope_spans: vec![ScopeSpans {
                scope: Some(encode::scope()),
                spans: vec![encode::span(&capture, None, &EncodeOptions::default())],
                schema_url: encode::names::SCHEMA_URL.into(),
            }],
            schema_url: String::new(),
        }],
    };
    let sent = &collector.requests()[0].body;
    // The fields of a span may stand in another order.
    assert_eq!(sent.len(), wanted.encoded_len());
    let read = ExportTraceServiceRequest::decode(&sent[..]).expect("protobuf");
    assert_eq!(read, wanted);
}

#[test]
fn an_unavailable_collector_is_asked_again() {
    for protocol in PROTOCOLS {
        for fault in [Fault::Unavailable, Fault::Disconnect] {
            let collector = Collector::start();
            collector.fail_next(2, fault.clone());
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 3);
            let context = format!("{protocol:?} {fault:?}");
            assert_eq!(rig.settled(), counts(3, 3, none_lost()), "{context}");
            assert_eq!(numbers(&collector.spans()), [0, 1, 2], "{context}");
            assert_balanced(&rig.ledger.snapshot());
        }
    }
}

#[test]
fn a_collector_that_comes_up_later_gets_what_waited() {
    for protocol in PROTOCOLS {
        let port = free_port();
        let rig = Rig::new(
            &traces(&format!("http://127.0.0.1:{port}"), protocol),
            quick(),
        );
        rig.offer_many(0, 5);
        std::thread::sleep(millis(300));
        assert_eq!(rig.traces().in_flight, 5);
        let collector = Collector::start_at(port);
        assert_eq!(rig.settled(), counts(5, 5, none_lost()), "{protocol:?}");
        assert_eq!(collector.spans().len(), 5);
    }
}

#[test]
fn after_the_budget_of_retries_a_batch_is_lost() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.fail_always(Fault::Unavailable);
        let mut options = quick();
        options.retry.budget = millis(200);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), options);
        rig.offer_many(0, 3);
        let lost = SignalLost {
            retry_exhausted: 3,
            ..none_lost()
        };
        assert_eq!(rig.settled(), counts(3, 0, lost), "{protocol:?}");
        let snapshot = rig.ledger.snapshot();
        assert_eq!(snapshot.transactions.lost.retry_exhausted, 3);
        assert_balanced(&snapshot);
        assert!(collector.stats().requests > 2);
        // The next batch has a budget of its own.
        collector.heal();
        rig.offer_many(3, 1);
        assert_eq!(rig.settled().exported, 1);
    }
}

#[test]
fn what_is_refused_for_good_is_lost_at_once() {
    for protocol in PROTOCOLS {
        for fault in [
            Fault::Invalid,
            Fault::Code {
                grpc: 13,
                http: 500,
            },
            Fault::Code {
                grpc: 16,
                http: 401,
            },
        ] {
            let collector = Collector::start();
            collector.fail_next(1, fault);
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 2);
            let lost = SignalLost {
                rejected: 2,
                ..none_lost()
            };
            assert_eq!(rig.settled(), counts(2, 0, lost.clone()));
            assert_eq!(collector.stats().requests, 1);
            assert_eq!(rig.ledger.snapshot().transactions.lost.rejected, 2);
            // Others are not harmed.
            rig.offer_many(2, 1);
            assert_eq!(rig.settled(), counts(3, 1, lost));
        }
    }
}

#[test]
fn a_transaction_is_lost_when_one_of_its_signals_is() {
    let collector = Collector::start();
    let mut store = store(&collector.http_endpoint(), OtlpProtocol::Http);
    if let Some(logs) = store.logs.as_mut() {
        logs.url = format!("{}/no/such/path", collector.http_endpoint());
    }
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 2);
    rig.drain(seconds(5));
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.signals["c/traces"].exported, 2);
    assert_eq!(snapshot.signals["c/logs"].lost.rejected, 2);
    assert_eq!(snapshot.transactions.lost.rejected, 2);
    assert_balanced(&snapshot);
}

#[test]
fn partial_success_loses_as_many_as_were_refused_and_is_not_repeated() {
    for protocol in PROTOCOLS {
        for (rejected, exported) in [(2, 3), (0, 5), (9, 0)] {
            let collector = Collector::start();
            let fault = Fault::PartialSuccess {
                rejected,
                message: "too old".into(),
            };
            collector.fail_next(1, fault);
            let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
            rig.offer_many(0, 5);
            let lost = SignalLost {
                rejected: 5 - exported,
                ..none_lost()
            };
            assert_eq!(rig.settled(), counts(5, exported, lost), "{protocol:?}");
            assert_eq!(collector.spans().len() as u64, exported);
            assert_eq!(collector.stats().requests, 1);
            assert_balanced(&rig.ledger.snapshot());
        }
    }
}

#[test]
fn a_collector_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        collector.fail_next(1, Fault::Slow(seconds(30)));
        let mut store = traces(&collector.http_endpoint(), protocol);
        if let Some(traces) = store.traces.as_mut() {
            traces.timeout = millis(300);
        }
        let rig = Rig::new(&store, quick());
        let started = Instant::now();
        rig.offer_many(0, 2);
        assert_eq!(rig.settled(), counts(2, 2, none_lost()), "{protocol:?}");
        assert!(started.elapsed() >= millis(300));
    }
}

#[test]
fn a_servers_own_wait_is_kept() {
    let wait = Some(seconds(1));
    for (protocol, fault) in [
        (OtlpProtocol::Grpc, Fault::Exhausted { retry_after: wait }),
        (OtlpProtocol::Http, Fault::Exhausted { retry_after: wait }),
        (
            OtlpProtocol::Http,
            Fault::RetryAfter {
                http: 503,
                value: "1".into(),
            },
        ),
    ] {
        let collector = Collector::start();
        collector.fail_next(1, fault);
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        let started = Instant::now();
        rig.offer_many(0, 1);
        assert_eq!(rig.settled(), counts(1, 1, none_lost()), "{protocol:?}");
        assert!(started.elapsed() >= seconds(1), "{protocol:?}");
        assert_eq!(collector.stats().requests, 2);
    }
}

#[test]
fn exhausted_without_a_hint_is_final_in_grpc_and_not_in_http() {
    let fault = Fault::Exhausted { retry_after: None };
    let lost = SignalLost {
        rejected: 1,
        ..none_lost()
    };
    for (protocol, wanted) in [
        (OtlpProtocol::Grpc, counts(1, 0, lost)),
        (OtlpProtocol::Http, counts(1, 1, none_lost())),
    ] {
        let collector = Collector::start();
        collector.fail_next(1, fault.clone());
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        rig.offer_many(0, 1);
        assert_eq!(rig.settled(), wanted, "{protocol:?}");
    }
}

/// A capture whose span has about 60 KB.
fn large(n: usize, process: &Arc<Process>) -> crate::redact::Capture {
    let mut capture = numbered(n, process);
    if let Some(request) = capture.transaction.request.as_mut() {
        for header in 0..30 {
            let name = format!("x-large-{header}");
            request.headers.push(name.as_bytes(), &[b'x'; 2000]);
        }
    }
    capture
}

#[test]
fn requests_stay_below_what_collectors_take() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let rig = Rig::new(&traces(&collector.http_endpoint(), protocol), quick());
        let process = testing::process(1, "a");
        for n in 0..150 {
            rig.offer(large(n, &process));
        }
        assert_eq!(rig.settled(), counts(150, 150, none_lost()), "{protocol:?}");
        let stats = collector.stats();
        assert!(stats.bytes > 9_000_000, "{stats:?}");
        for request in collector.requests() {
            assert!(request.body.len() <= 3 << 20, "{}", request.body.len());
        }
        let mut seen = numbers(&collector.spans());
        seen.sort_unstable();
        assert_eq!(seen, (0..150).collect::<Vec<_>>());
    }
}

#[test]
fn an_item_larger_than_a_batch_goes_alone() {
    let collector = Collector::start();
    let mut options = quick();
    options.batch.bytes = 10_000;
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    let process = testing::process(1, "a");
    rig.offer(large(0, &process));
    rig.offer(large(1, &process));
    assert_eq!(rig.settled(), counts(2, 2, none_lost()));
    assert_eq!(collector.stats().requests, 2);
}

#[test]
fn batches_are_bounded_by_count() {
    let collector = Collector::start();
    let most = 512;
    let mut options = quick();
    options.batch.items = most;
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    rig.offer_many(0, 1300);
    assert_eq!(rig.settled(), counts(1300, 1300, none_lost()));
    assert_eq!(numbers(&collector.spans()), (0..1300).collect::<Vec<_>>());
    for request in collector.requests() {
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Request;
        let decoded = <Request as prost::Message>::decode(request.body).expect("protobuf");
        let spans = &decoded.resource_spans[0].scope_spans[0].spans;
        assert!(spans.len() <= most, "{}", spans.len());
    }
}

#[test]
fn a_full_queue_loses_the_newest_and_the_rest_arrives_later() {
    for protocol in PROTOCOLS {
        let port = free_port();
        let mut options = quick();
        options.queue_items = 10;
        let store = traces(&format!("http://127.0.0.1:{port}"), protocol);
        let rig = Rig::new(&store, options);
        rig.offer_many(0, 7);
        // The first batch is under way by then; it still takes its room.
        std::thread::sleep(millis(200));
        rig.offer_many(7, 18);
        assert_eq!(rig.traces().lost.queue_full, 15);
        let collector = Collector::start_at(port);
        let lost = SignalLost {
            queue_full: 15,
            ..none_lost()
        };
        assert_eq!(rig.settled(), counts(25, 10, lost), "{protocol:?}");
        assert_eq!(numbers(&collector.spans()), (0..10).collect::<Vec<_>>());
        let snapshot = rig.ledger.snapshot();
        assert_eq!(snapshot.transactions.lost.queue_full, 15);
        assert_balanced(&snapshot);
        // The room is free again.
        rig.offer_many(25, 10);
        assert_eq!(rig.settled().exported, 20);
    }
}

#[test]
fn the_queue_is_bounded_by_bytes_too_and_bodies_take_no_room() {
    let port = free_port();
    let mut options = quick();
    options.queue_bytes = 200_000;
    let store = traces(&format!("http://127.0.0.1:{port}"), OtlpProtocol::Grpc);
    let rig = Rig::new(&store, options);
    let process = testing::process(1, "a");
    for n in 0..10 {
        rig.offer(large(n, &process));
    }
    // 60 KB each: three fit.
    assert_eq!(rig.traces().lost.queue_full, 7);
    for n in 10..15 {
        let mut capture = numbered(n, &process);
        if let Some(response) = capture.transaction.response.as_mut() {
            response.body = testing::body(&[b'b'; 500_000]);
        }
        rig.offer(capture);
    }
    assert_eq!(rig.traces().lost.queue_full, 7);
    let collector = Collector::start_at(port);
    assert_eq!(rig.settled().exported, 8);
    assert_eq!(collector.spans().len(), 8);
}

#[test]
fn draining_sends_what_waits_at_once() {
    let collector = Collector::start();
    let mut options = quick();
    options.traces_delay = seconds(60);
    options.logs_delay = seconds(60);
    let rig = Rig::new(
        &store(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    rig.offer_many(0, 700);
    let started = Instant::now();
    rig.drain(seconds(10));
    assert!(started.elapsed() < seconds(5));
    assert_eq!(
        (collector.spans().len(), collector.logs().len()),
        (700, 700)
    );
    assert_balanced(&rig.ledger.snapshot());
    // Nothing more is taken, and that is counted.
    rig.offer_many(700, 2);
    let snapshot = rig.ledger.snapshot();
    assert_eq!(snapshot.transactions.lost.shutdown, 2);
    assert_eq!(snapshot.signals["c/traces"].lost.shutdown, 2);
    assert_balanced(&snapshot);
}

#[test]
fn draining_ends_at_the_deadline_and_counts_the_rest_as_shutdown() {
    for protocol in PROTOCOLS {
        for fault in [
            Some(Fault::Unavailable),
            Some(Fault::Slow(seconds(60))),
            None,
        ] {
            let collector = Collector::start();
            // None: nothing listens.
            let base = match &fault {
                Some(fault) => {
                    collector.fail_always(fault.clone());
                    collector.http_endpoint()
                }
                None => format!("http://127.0.0.1:{}", free_port()),
            };
            let mut options = quick();
            // In the middle of a long sleep between attempts.
            options.retry.first = seconds(30);
            options.retry.longest = seconds(30);
            options.retry.budget = seconds(300);
            let rig = Rig::new(&traces(&base, protocol), options);
            rig.offer_many(0, 600);
            std::thread::sleep(millis(150));
            let started = Instant::now();
            rig.drain(millis(400));
            let took = started.elapsed();
            assert!(took < seconds(2), "{protocol:?} {fault:?} {took:?}");
            let lost = SignalLost {
                shutdown: 600,
                ..none_lost()
            };
            assert_eq!(rig.traces(), counts(600, 0, lost), "{protocol:?} {fault:?}");
            assert_balanced(&rig.ledger.snapshot());
        }
    }
}

#[test]
fn draining_wakes_an_exporter_that_sleeps_between_attempts() {
    let collector = Collector::start();
    collector.fail_next(1, Fault::Unavailable);
    let mut options = quick();
    options.retry.first = seconds(60);
    options.retry.longest = seconds(60);
    options.retry.budget = seconds(300);
    let rig = Rig::new(
        &traces(&collector.http_endpoint(), OtlpProtocol::Grpc),
        options,
    );
    rig.offer_many(0, 3);
    assert!(collector.wait_for(|c| c.stats().requests == 1, PATIENCE));
    rig.drain(seconds(10));
    assert_eq!(rig.traces(), counts(3, 3, none_lost()));
}

#[test]
fn a_sink_that_is_dropped_still_balances() {
    let ledger = {
        let store = traces(
            &format!("http://127.0.0.1:{}", free_port()),
            OtlpProtocol::Grpc,
        );
        let rig = Rig::new(&store, quick());
        rig.offer_many(0, 4);
        std::thread::sleep(millis(100));
        rig.ledger.clone()
    };
    let snapshot = ledger.snapshot();
    let lost = SignalLost {
        shutdown: 4,
        ..none_lost()
    };
    assert_eq!(snapshot.signals["c/traces"], counts(4, 0, lost));
    assert_balanced(&snapshot);
}

#[test]
fn log_records_arrive_within_one_second_and_spans_within_two() {
    let collector = Collector::start();
    let store = store(&collector.http_endpoint(), OtlpProtocol::Grpc);
    let rig = Rig::new(&store, OtlpOptions::default());
    let started = Instant::now();
    rig.offer_many(0, 3);
    assert!(collector.wait_logs(3, PATIENCE));
    assert!(started.elapsed() < seconds(1), "{:?}", started.elapsed());
    assert!(collector.wait_spans(3, PATIENCE));
    assert!(started.elapsed() < seconds(2), "{:?}", started.elapsed());
}

#[test]
fn a_store_without_signals_takes_everything() {
    let store = OtelStore {
        traces: None,
        logs: None,
        metrics: None,
    };
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 1);
    assert_eq!(rig.ledger.snapshot().transactions.exported, 1);
}

// TLS

/// Files of a test authority, a server `localhost` and a client.
struct Certificates {
    folder: tempfile::TempDir,
    server: rcgen::Certificate,
    server_key: rcgen::KeyPair,
}

impl Certificates {
    fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("write a file");
        };
        let ca_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("an authority");
        write("ca.pem", &ca.pem());
        let issuer = Issuer::new(params, ca_key);
        let sign = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .and_then(|p| p.signed_by(&key, &issuer))
                .expect("a certificate");
            (certificate, key)
        };
        let (client, client_key) = sign("client");
        write("client.pem", &client.pem());
        write("client.key", &client_key.serialize_pem());
        let (server, server_key) = sign("localhost");
        Certificates {
            folder,
            server,
            server_key,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A collector with these certificates; `mutual`: it takes clients of the authority alone.
    fn collector(&self, mutual: bool) -> Collector {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if mutual {
            let mut roots = rustls::RootCertStore::empty();
            let ca = CertificateDer::from_pem_file(self.file("ca.pem")).expect("the authority");
            roots.add(ca).expect("a root");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivatePkcs8KeyDer::from(self.server_key.serialize_der());
        let mut config = builder
            .with_single_cert(vec![self.server.der().clone()], key.into())
            .expect("a server");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Collector::start_tls(otlp_sink::Tls {
            config: Arc::new(config),
        })
    }
}

fn with_tls(collector: &Collector, protocol: OtlpProtocol, tls: OtlpTls) -> OtelStore {
    let mut store = traces(&collector.http_endpoint(), protocol);
    if let Some(traces) = store.traces.as_mut() {
        traces.tls = tls;
    }
    store
}

/// Exports one span, with a short budget of retries; what became of it.
fn over_tls(collector: &Collector, protocol: OtlpProtocol, tls: OtlpTls) -> Counts {
    let mut options = quick();
    options.retry.budget = millis(300);
    let rig = Rig::new(&with_tls(collector, protocol, tls), options);
    rig.offer_many(0, 1);
    rig.settled()
}

#[test]
fn tls_trusts_the_ca_file_and_nothing_else() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let lost = SignalLost {
        retry_exhausted: 1,
        ..none_lost()
    };
    for protocol in PROTOCOLS {
        let collector = ours.collector(false);
        let with_ca = |c: &Certificates| OtlpTls {
            ca_file: Some(c.file("ca.pem")),
            ..OtlpTls::default()
        };
        let good = over_tls(&collector, protocol, with_ca(&ours));
        assert_eq!(good, counts(1, 1, none_lost()), "{protocol:?}");
        let wrong = over_tls(&collector, protocol, with_ca(&others));
        assert_eq!(wrong, counts(1, 0, lost.clone()), "{protocol:?}");
        let any = OtlpTls {
            insecure_skip_verify: true,
            ..OtlpTls::default()
        };
        let unverified = over_tls(&collector, protocol, any);
        assert_eq!(unverified, counts(1, 1, none_lost()), "{protocol:?}");
    }
}

#[test]
fn tls_shows_the_clients_certificate_where_there_is_one() {
    let certificates = Certificates::new();
    for protocol in PROTOCOLS {
        let collector = certificates.collector(true);
        let without = OtlpTls {
            ca_file: Some(certificates.file("ca.pem")),
            ..OtlpTls::default()
        };
        let with = OtlpTls {
            cert_file: Some(certificates.file("client.pem")),
            key_file: Some(certificates.file("client.key")),
            ..without.clone()
        };
        assert_eq!(over_tls(&collector, protocol, with).exported, 1);
        assert_eq!(over_tls(&collector, protocol, without).exported, 0);
    }
}

fn start_error(store: &OtelStore) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    OtlpSink::start("c", store, quick(), Ledger::new(), runtime.handle())
        .err()
        .map_or_else(|| "started".to_owned(), |e| e.to_string())
}

#[test]
fn what_can_never_work_is_an_error_at_start() {
    for protocol in PROTOCOLS {
        let mut store = traces("http://127.0.0.1:1", protocol);
        let set = |store: &mut OtelStore, change: &dyn Fn(&mut OtlpEndpoint)| {
            if let Some(traces) = store.traces.as_mut() {
                change(traces);
            }
        };
        set(&mut store, &|t| {
            t.headers = vec![("bad name".into(), Secret::new("CANARY"))];
        });
        let error = start_error(&store);
        assert!(
            error.contains("`bad name`") && !error.contains("CANARY"),
            "{error}"
        );
        set(&mut store, &|t| {
            t.headers = vec![("good".into(), Secret::new("CAN\nARY"))];
        });
        let error = start_error(&store);
        assert!(
            error.contains("`good`") && !error.contains("CAN"),
            "{error}"
        );
        set(&mut store, &|t| {
            t.headers.clear();
            t.url = "https://user:CANARY@127.0.0.1:1/v1".into();
            t.tls.ca_file = Some(Path::new("/nonexistent/ca.pem").into());
        });
        let error = start_error(&store);
        assert!(error.contains("/nonexistent/ca.pem"), "{error}");
        set(&mut store, &|t| t.url = "not a url".into());
        assert!(start_error(&store).contains("endpoint"), "{protocol:?}");
    }
}

#[test]
fn warnings_are_few_and_show_no_secret() {
    use std::io::Write;
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("the log").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let room = Room::new(1, 1);
        let url = "http://user:CANARY@host:4318/v1/traces?key=CANARY";
        let mut report = report::Report::new("c/traces", url, room);
        for _ in 0..100 {
            report.failed("connection refused");
        }
        report.accepted(0, "");
        report.accepted(0, "");
    });
    let text = String::from_utf8(log.0.lock().expect("the log").clone()).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("WARN") && lines[0].contains("connection refused"));
    assert!(lines[0].contains("http://host:4318/v1/traces"), "{text}");
    assert!(
        lines[1].contains("INFO") && lines[1].contains("100"),
        "{text}"
    );
    assert!(!text.contains("CANARY"), "{text}");
}
