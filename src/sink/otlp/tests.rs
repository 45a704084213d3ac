//! Export against a real server, with the faults that collectors have, and the books afterwards.

#[path = "../../../tests/support/otlp_sink.rs"]
mod otlp_sink;

mod drain;
mod faults;
mod large;
mod metrics;
mod proxy;
mod spool;
mod tls;

use super::*;
use crate::config::{Compression, OtlpProtocol, OtlpTls, Secret};
use crate::enrich::Process;
use crate::event::Role;
use crate::redact::Redacted;
use crate::sink::testing;
use crate::telemetry::ledger::{Signal as Counts, SignalLost, Snapshot};
use otlp_sink::{Fault, OtlpSink as Collector, SeenSpan, free_port};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
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
        proxy: None,
    }
}

fn store(base: &str, protocol: OtlpProtocol) -> OtelStore {
    OtelStore {
        traces: Some(endpoint(base, protocol, "/v1/traces")),
        logs: Some(endpoint(base, protocol, "/v1/logs")),
        metrics: None,
        spool: None,
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
    // Several requests are under way at once.
    let mut seen = numbers(&collector.spans());
    seen.sort_unstable();
    assert_eq!(seen, (0..1300).collect::<Vec<_>>());
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
fn log_records_arrive_within_one_second_and_spans_within_two() {
    let collector = Collector::start();
    let store = store(&collector.http_endpoint(), OtlpProtocol::Grpc);
    let rig = Rig::new(&store, OtlpOptions::default());
    // A busy host may be late now and then, but not each time.
    let mut taken = Vec::new();
    for round in 1..=5 {
        let started = Instant::now();
        rig.offer_many(0, 3);
        assert!(collector.wait_logs(3 * round, PATIENCE));
        let logs = started.elapsed();
        assert!(collector.wait_spans(3 * round, PATIENCE));
        let spans = started.elapsed();
        if logs < seconds(1) && spans < seconds(2) {
            return;
        }
        taken.push((logs, spans));
    }
    panic!("{taken:?}");
}

#[test]
fn a_store_without_signals_takes_everything() {
    let store = OtelStore {
        traces: None,
        logs: None,
        metrics: None,
        spool: None,
    };
    let rig = Rig::new(&store, quick());
    rig.offer_many(0, 1);
    assert_eq!(rig.ledger.snapshot().transactions.exported, 1);
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
        let room = Room::new(None, 1, 1);
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
