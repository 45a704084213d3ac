//! Metrics of transactions: counts and sums are those of the requests made, over OTLP and at `/metrics`.

use crate::harness::agent::Agent;
use crate::harness::config::Config;
use crate::harness::plan::{Call, Client};
use crate::harness::scene::seconds;
use crate::harness::seen::Seen;
use crate::harness::servers;
use crate::harness::turn;
use crate::harness::work::Work;
use crate::otlp_sink::{OtlpSink, SeenMetric, attr};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric::Data};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const CALLS: usize = 20;

/// The last point of each series of `name`.
fn last_points(metrics: &[SeenMetric], name: &str) -> Vec<HistogramDataPoint> {
    let mut last = BTreeMap::new();
    for seen in metrics.iter().filter(|seen| seen.metric.name == name) {
        let Some(Data::Histogram(histogram)) = &seen.metric.data else {
            panic!("{:?}", seen.metric)
        };
        for point in &histogram.data_points {
            let key = format!("{:?} {:?}", seen.resource, point.attributes);
            last.insert((key, point.start_time_unix_nano), point.clone());
        }
    }
    last.into_values().collect()
}

fn count(points: &[HistogramDataPoint]) -> u64 {
    points.iter().map(|point| point.count).sum()
}

fn sum(points: &[HistogramDataPoint]) -> f64 {
    points.iter().filter_map(|point| point.sum).sum()
}

/// The sum of the values of all series of `name` at `/metrics`.
fn scraped(page: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.starts_with(&format!("{name}{{"));
    let lines = page.lines().filter(of_name);
    lines
        .map(|line| line.rsplit(' ').next().unwrap_or_default())
        .map(|value| value.parse::<f64>().expect("a number"))
        .sum()
}

#[test]
fn metrics_count_every_request_with_its_duration_over_otlp_and_at_the_status_endpoint() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx(&work);
    let config = Config::new("summary")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": [{"port": nginx.port}]}));
    let agent = Agent::start(&work, &config.yaml());
    let mut calls: Vec<Call> = (0..CALLS)
        .map(|n| Call::get(work.url_path(&format!("get/{n}"))))
        .collect();
    calls.push(Call::get(work.url_path("status/503/x")));
    Client::Curl.perform(&work, &nginx.base(), &[calls]);
    let all = 2 * (CALLS as u64 + 1);
    agent.wait_ledger("all exported", Duration::from_secs(20), |ledger| {
        ledger.exported() == all && ledger.get(&["metrics", "transactions"]) == all
    });
    let page = agent.page("/metrics");
    agent.stop();

    let seen = Seen::of(&sink);
    let metrics = sink.metrics();
    for (side, kind, error) in [("client", 3, "503"), ("server", 2, "503")] {
        let name = format!("http.{side}.request.duration");
        let points = last_points(&metrics, &name);
        assert_eq!(count(&points), all / 2, "{side}: {points:?}");
        let spans = seen.spans().iter().filter(|span| span.span.kind == kind);
        let durations: f64 = spans.map(seconds).sum();
        assert!((sum(&points) - durations).abs() < 1e-6, "{side}");
        let failed = |point: &&HistogramDataPoint| {
            attr(&point.attributes, "error.type") == Some(Value::from(error))
        };
        let failed: Vec<_> = points.iter().filter(failed).cloned().collect();
        assert_eq!(count(&failed), 1, "{side}: {points:?}");
        let traces: Vec<&[u8]> = points
            .iter()
            .flat_map(|point| &point.exemplars)
            .map(|exemplar| exemplar.trace_id.as_slice())
            .collect();
        let known = |trace: &&[u8]| seen.spans().iter().any(|s| s.span.trace_id == *trace);
        assert!(!traces.is_empty() && traces.iter().all(known), "{side}");

        let name = name.replace('.', "_");
        assert_eq!(
            scraped(&page, &format!("{name}_seconds_count")),
            (all / 2) as f64
        );
        let scraped = scraped(&page, &format!("{name}_seconds_sum"));
        assert!((scraped - durations).abs() < 1e-6, "{side}: {page}");
    }
    let sizes = last_points(&metrics, "http.server.response.body.size");
    let bodies: u64 = (seen.spans().iter())
        .filter(|span| span.span.kind == 2)
        .filter_map(|span| span.int("http.response.body.size"))
        .map(|size| u64::try_from(size).expect("not negative"))
        .sum();
    assert_eq!(sum(&sizes), bodies as f64);
    assert!(!page.contains(&work.url_path("get")), "{page}");
}

#[test]
fn http_metrics_alone_counts_every_request_and_lets_nothing_else_leave() {
    let _turn = turn();
    let work = Work::new();
    let sink = OtlpSink::start();
    let nginx = servers::nginx_plain(&work);
    let config = Config::new("none")
        .grpc(&sink.grpc_endpoint())
        .tap("filters", json!({"include": [{"port": nginx.port}]}))
        .plugin(json!({"type": "http_metrics"}));
    let agent = Agent::start(&work, &config.yaml());
    let calls: Vec<Call> = (0..CALLS)
        .map(|n| Call::get(work.url_path(&format!("get/{n}"))))
        .collect();
    Client::Curl.perform(&work, &nginx.base(), &[calls]);
    let all = 2 * CALLS as u64;
    agent.wait_ledger("all counted", Duration::from_secs(20), |ledger| {
        ledger.get(&["metrics", "transactions"]) == all
    });
    agent.stop();
    let points = last_points(&sink.metrics(), "http.server.request.duration");
    assert_eq!(count(&points), CALLS as u64);
    let seen = Seen::of(&sink);
    assert!(
        !seen
            .spans()
            .iter()
            .any(|span| span.span.kind == 2 || span.span.kind == 3)
    );
}
