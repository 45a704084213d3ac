//! Metrics of transactions against a real server.

use super::*;
use crate::metrics::{Beside, Metrics};
use crate::transaction::Transaction;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric::Data};
use otlp_sink::{SeenMetric, attr};
use std::time::SystemTime;

const NAME: &str = "http.server.request.duration";

struct Exporting {
    sink: OtlpMetrics,
    metrics: Metrics,
    ledger: Ledger,
    runtime: tokio::runtime::Runtime,
}

impl Exporting {
    fn new(base: &str, protocol: OtlpProtocol, interval: Duration) -> Exporting {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let ledger = Ledger::new();
        let metrics = Metrics::new(KnownMethods::default(), ledger.clone(), SystemTime::now());
        let options = OtlpOptions {
            metrics_interval: interval,
            ..quick()
        };
        let endpoint = endpoint(base, protocol, "/v1/metrics");
        let (m, l) = (metrics.clone(), ledger.clone());
        let sink = OtlpMetrics::start("c", &endpoint, &options, m, l, runtime.handle())
            .unwrap_or_else(|e| panic!("{e}"));
        Exporting {
            sink,
            metrics,
            ledger,
            runtime,
        }
    }

    fn count(&self, process: &Arc<Process>) {
        let transaction: Transaction = testing::capture(Role::Server).transaction;
        self.metrics
            .count(&transaction, process, Beside::default(), None);
    }

    fn drain(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.runtime.block_on(self.sink.drain(deadline));
    }

    fn books(&self) -> Counts {
        let signals = self.ledger.snapshot().signals;
        signals.get("c/metrics").cloned().unwrap_or_default()
    }
}

/// The points of a metric, with the service that they are of.
fn points(seen: &[SeenMetric]) -> Vec<(String, HistogramDataPoint)> {
    let durations = seen.iter().filter(|seen| seen.metric.name == NAME);
    durations
        .flat_map(|seen| {
            let Some(Data::Histogram(histogram)) = &seen.metric.data else {
                panic!("{:?}", seen.metric)
            };
            assert_eq!(
                (&*seen.metric.unit, histogram.aggregation_temporality),
                ("s", 2)
            );
            assert_eq!(seen.scope.name, "plainspan");
            let service = seen
                .resource
                .get("service.name")
                .map(|name| name.to_string());
            let points = histogram.data_points.iter().cloned();
            points.map(move |point| (service.clone().unwrap_or_default(), point))
        })
        .collect()
}

#[test]
fn metrics_of_many_processes_arrive_in_one_request_over_both_protocols() {
    for protocol in PROTOCOLS {
        let collector = Collector::start();
        let base = match protocol {
            OtlpProtocol::Grpc => collector.grpc_endpoint(),
            OtlpProtocol::Http => collector.http_endpoint(),
        };
        let exporting = Exporting::new(&base, protocol, seconds(60));
        let (one, two) = (testing::process(41, "one"), testing::process(42, "two"));
        for process in [&one, &one, &two] {
            exporting.count(process);
        }
        exporting.drain(seconds(5));
        assert_eq!(collector.requests().len(), 1, "{protocol:?}");
        let mut points = points(&collector.metrics());
        points.sort_by_key(|(_, point)| point.count);
        let counts: Vec<u64> = points.iter().map(|(_, point)| point.count).collect();
        assert_eq!(counts, [1, 2]);
        assert!(points[0].0.contains("two") && points[1].0.contains("one"));
        for (_, point) in &points {
            assert_eq!(point.explicit_bounds.len(), 14);
            assert_eq!(point.bucket_counts.len(), 15);
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            assert!(point.start_time_unix_nano < point.time_unix_nano);
            assert!(attr(&point.attributes, "http.request.method").is_some());
            assert_eq!(attr(&point.attributes, "server.address"), None);
        }
        let books = exporting.books();
        assert!(books.offered >= 2, "{books:?}");
        assert_eq!((books.offered, books.in_flight), (books.exported, 0));
    }
}

#[test]
fn what_did_not_arrive_is_lost_by_name_and_comes_with_the_next_numbers() {
    let port = free_port();
    let base = format!("http://127.0.0.1:{port}");
    let exporting = Exporting::new(&base, OtlpProtocol::Http, millis(100));
    // Nobody has this number: it is gone when it is first exported.
    let gone = testing::process(i32::MAX as u32, "gone");
    exporting.count(&gone);
    let started = Instant::now();
    while exporting.books().lost.retry_exhausted == 0 {
        assert!(started.elapsed() < PATIENCE, "{:?}", exporting.books());
        std::thread::sleep(millis(10));
    }
    let collected = exporting.metrics.collect(SystemTime::now(), |_| true);
    assert_eq!(collected.len(), 1);
    exporting.drain(millis(100));
    let books = exporting.books();
    assert_eq!((books.exported, books.in_flight), (0, 0));
    // Who collects no more holds nothing.
    assert_eq!(
        exporting.metrics.collect(SystemTime::now(), |_| true).len(),
        0
    );
}

#[test]
fn an_exporter_that_is_dropped_ends_and_holds_nothing() {
    let base = format!("http://127.0.0.1:{}", free_port());
    let exporting = Exporting::new(&base, OtlpProtocol::Grpc, seconds(60));
    exporting.count(&testing::process(41, "one"));
    let Exporting {
        sink,
        metrics,
        runtime: _running,
        ..
    } = exporting;
    drop(sink);
    let started = Instant::now();
    while !metrics.collect(SystemTime::now(), |_| true).is_empty() {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(millis(10));
    }
}
