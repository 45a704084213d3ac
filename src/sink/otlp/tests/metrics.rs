//! Metrics of transactions against a real server.

use super::*;
use crate::config::Temporality;
use crate::metrics::{Aggregation, Beside, Metrics};
use crate::transaction::Transaction;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, metric::Data,
};
use otlp_sink::{SeenMetric, attr};
use std::time::SystemTime;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
const DELTA: i32 = AggregationTemporality::Delta as i32;
const NAME: &str = "http.server.request.duration";

struct Exporting {
    sink: OtlpMetrics,
    metrics: Metrics,
    ledger: Ledger,
    runtime: tokio::runtime::Runtime,
}

impl Exporting {
    fn new(base: &str, protocol: OtlpProtocol, interval: Duration) -> Exporting {
        Exporting::with(base, protocol, interval, Temporality::Cumulative)
    }

    fn with(
        base: &str,
        protocol: OtlpProtocol,
        interval: Duration,
        temporality: Temporality,
    ) -> Exporting {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let ledger = Ledger::new();
        let metrics = Metrics::new(KnownMethods::default(), ledger.clone(), SystemTime::now());
        let options = OtlpOptions {
            metrics_interval: interval,
            temporality,
            ..quick()
        };
        let endpoint = endpoint(base, protocol, "/v1/metrics");
        let (m, l) = (metrics.clone(), ledger.clone());
        let sink = OtlpMetrics::start("c", &endpoint, &options, m, l, runtime.handle(), None)
            .unwrap_or_else(|e| panic!("{e}"));
        Exporting {
            sink,
            metrics,
            ledger,
            runtime,
        }
    }

    /// As a reload makes another one beside it; this one has ended then.
    fn reload(&mut self, base: &str, temporality: Temporality) {
        let options = OtlpOptions {
            metrics_interval: seconds(60),
            temporality,
            ..quick()
        };
        let endpoint = endpoint(base, OtlpProtocol::Http, "/v1/metrics");
        let (m, l) = (self.metrics.clone(), self.ledger.clone());
        let before = Some(&self.sink);
        let sink = OtlpMetrics::start(
            "c",
            &endpoint,
            &options,
            m,
            l,
            self.runtime.handle(),
            before,
        )
        .unwrap_or_else(|e| panic!("{e}"));
        self.drain(seconds(5));
        self.sink = sink;
    }

    fn count(&self, process: &Arc<Process>) {
        let transaction: Transaction = *testing::capture(Role::Server).transaction;
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
                ("s", CUMULATIVE)
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

/// Count, start and end of each point of durations that is a delta.
fn deltas(collector: &Collector) -> Vec<(u64, u64, u64)> {
    let metrics = collector.metrics();
    let durations = metrics.iter().filter(|seen| seen.metric.name == NAME);
    durations
        .map(|seen| match &seen.metric.data {
            Some(Data::Histogram(histogram)) => {
                assert_eq!(histogram.aggregation_temporality, DELTA);
                let [point] = &histogram.data_points[..] else {
                    panic!("{histogram:?}");
                };
                assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                (
                    point.count,
                    point.start_time_unix_nano,
                    point.time_unix_nano,
                )
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_delta_is_what_came_since_the_last_that_arrived_over_failures_and_reloads() {
    let collector = Collector::start();
    let base = collector.http_endpoint();
    let mut exporting = Exporting::with(
        &base,
        OtlpProtocol::Http,
        millis(50),
        Temporality::LowMemory,
    );
    // It lives: its numbers go on.
    let process = testing::process(std::process::id(), "one");
    for _ in 0..3 {
        exporting.count(&process);
    }
    assert!(collector.wait_for(|c| !c.metrics().is_empty(), PATIENCE));
    // Nothing new: nothing is sent.
    std::thread::sleep(millis(200));
    assert_eq!(collector.requests().len(), 1);
    collector.fail_always(Fault::Unavailable);
    exporting.count(&process);
    let started = Instant::now();
    while exporting.books().lost.retry_exhausted == 0 {
        assert!(started.elapsed() < PATIENCE, "{:?}", exporting.books());
        std::thread::sleep(millis(10));
    }
    exporting.count(&process);
    collector.heal();
    assert!(collector.wait_for(
        |c| deltas(c).iter().map(|d| d.0).sum::<u64>() == 5,
        PATIENCE
    ));
    exporting.count(&process);
    exporting.reload(&base, Temporality::Delta);
    exporting.count(&process);
    exporting.drain(seconds(5));
    let deltas = deltas(&collector);
    let counts: Vec<u64> = deltas.iter().map(|(count, ..)| *count).collect();
    assert_eq!(
        (counts[0], counts.iter().sum::<u64>()),
        (3, 7),
        "{counts:?}"
    );
    for pair in deltas.windows(2) {
        assert_eq!(pair[0].2, pair[1].1, "each begins where the last one ended");
    }
}

#[test]
fn exponential_buckets_arrive_and_what_was_counted_otherwise_comes_a_last_time() {
    let collector = Collector::start();
    let base = collector.http_endpoint();
    let exporting = Exporting::new(&base, OtlpProtocol::Http, seconds(60));
    let process = testing::process(std::process::id(), "one");
    exporting.count(&process);
    exporting.metrics.set_aggregation(Aggregation::Exponential);
    for _ in 0..4 {
        exporting.count(&process);
    }
    exporting.drain(seconds(5));
    let (mut explicit, mut exponential) = (0, 0);
    for seen in collector.metrics().iter().filter(|m| m.metric.name == NAME) {
        match &seen.metric.data {
            Some(Data::Histogram(histogram)) => explicit += histogram.data_points[0].count,
            Some(Data::ExponentialHistogram(histogram)) => {
                assert_eq!(histogram.aggregation_temporality, CUMULATIVE);
                let point = &histogram.data_points[0];
                let positive = point.positive.as_ref().expect("buckets");
                let filled: Vec<u64> = positive.bucket_counts.clone();
                assert_eq!((&filled[..], point.scale), (&[4][..], 20));
                // All four took as long: they are in the bucket of their mean.
                let mean = point.sum.expect("a sum") / 4.0;
                let base = f64::from(point.scale).exp2().recip().exp2();
                let low = base.powi(positive.offset);
                assert!(low * 0.999_999 < mean && mean <= low * base * 1.000_001);
                exponential += point.count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((explicit, exponential), (1, 4));
    assert!(
        exporting
            .metrics
            .prometheus()
            .contains("_count{service_name=\"one\"")
    );
}
