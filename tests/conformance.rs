//! The tables of the semantic conventions, row by row, on a recording of real traffic that is replayed through the whole
//! line: events, connections, messages, routes, redaction, spans, log records, metrics.
//!
//! The recording is that of `tests/e2e/conformance.rs`, which says how to make it anew.

#[path = "support/conformance.rs"]
mod conformance;

use conformance::{METRIC_HEADER, ROUTES, ROWS, Seen, faults};
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, metric::Data};
use plainspan::config::{HttpCapture, MessageSide, MetricHeader, Tap, TraceContextPolicy};
use plainspan::conn::{Limits, Table};
use plainspan::enrich::{Clock, Ids, Processes};
use plainspan::event::KernelTime;
use plainspan::event::record::{Reader, Ring};
use plainspan::metrics::{Labels, Metrics};
use plainspan::pipeline::{Audience, Joins, Measures, Pipeline, Policies, Stage};
use plainspan::redact::{Redacted, Redactor};
use plainspan::routes::{Pattern, Routes, Table as RouteTable};
use plainspan::rules::expr::Buffers;
use plainspan::rules::{Filter, Level, Ruleset};
use plainspan::sampling::Sampler;
use plainspan::sink::otlp::{EncodeOptions, KnownMethods, encode};
use plainspan::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use plainspan::telemetry::Ledger;
use plainspan::transaction::BodyLimits;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const RECORDING: &[u8] = include_bytes!("fixtures/conformance.events.zst");

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Mutex<Vec<Arc<Redacted>>>);

impl Sink for Kept {
    fn offer(&self, delivery: Delivery) {
        self.0.lock().expect("kept").push(delivery.capture);
        delivery.ticket.taken();
    }

    fn takes_progress(&self) -> bool {
        false
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        delivery.ticket.taken();
    }
}

fn audience(kept: &Arc<Kept>) -> Audience {
    let settings = HttpCapture {
        headers_exclude: vec!["x-excluded".to_owned()],
        ..HttpCapture::default()
    };
    Audience {
        rules: Ruleset::compile(Level::Headers, &[], &[]).expect("no rules"),
        least: Level::None,
        counts_all: false,
        sampler: Sampler::new(&settings, &[]).expect("a sampler"),
        redactor: Redactor::new(&settings).expect("a redactor"),
        payloads: None,
        sinks: Fanout::new(vec![kept.clone()]),
    }
}

fn measures() -> Measures {
    Measures {
        labels: Labels::new(&[MetricHeader {
            header: METRIC_HEADER.0.to_owned(),
            from: MessageSide::Request,
            attribute: METRIC_HEADER.1.to_owned(),
            max_values: 100,
        }]),
        exemplars: true,
    }
}

fn pipeline(kept: &Arc<Kept>, metrics: &Metrics, ledger: &Ledger) -> Pipeline {
    let patterns: Vec<Pattern> = ROUTES
        .iter()
        .map(|text| Pattern::parse(text).expect("a pattern"))
        .collect();
    let stage = Stage {
        ledger: ledger.clone(),
        processes: Processes::new(&BTreeMap::new()),
        clock: Clock::new(KernelTime(0), SystemTime::UNIX_EPOCH),
        ids: Ids::new(TraceContextPolicy::Auto),
        filter: Filter::new(&Tap::default()).expect("no patterns"),
        telemetry: Some(audience(kept)),
        access: None,
        metrics: metrics.clone(),
        stacks: Default::default(),
        routes: Routes::new(RouteTable::new(&patterns).expect("no overlaps"), false),
        measures: measures(),
        held: Default::default(),
        joins: Joins::default(),
        policies: Policies::default(),
        buffers: Buffers::default(),
        verdicts: Default::default(),
    };
    let limits = Limits {
        body: BodyLimits {
            capture: false,
            max_bytes: 0,
        },
        connection_memory: 4 << 20,
        total_memory: 128 << 20,
    };
    Pipeline::new(Table::new(limits), stage, None)
}

/// All that the recording gives.
fn replay() -> Seen {
    let (kept, ledger) = (Arc::new(Kept::default()), Ledger::new());
    let start = SystemTime::UNIX_EPOCH;
    let metrics = Metrics::new(KnownMethods::default(), ledger.clone(), start);
    metrics.subscribe(start);
    let mut pipeline = pipeline(&kept, &metrics, &ledger);
    let recording = zstd::decode_all(RECORDING).expect("an undamaged file");
    let mut reader = Reader::new(&recording[..]).expect("an event file");
    while let Some((ring, record)) = reader.read().expect("an undamaged file") {
        match ring {
            Ring::Control => pipeline.control(record),
            Ring::Data => pipeline.data(record),
        }
        pipeline.apply_ends();
    }
    pipeline.finish(KernelTime(u64::MAX / 2));
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let mut all: BTreeMap<String, Metric> = BTreeMap::new();
    for collected in metrics.collect(now, |_| true) {
        let resource =
            encode::resource_metrics(&collected, AggregationTemporality::Cumulative, now)
                .expect("something was counted");
        for metric in resource.scope_metrics.into_iter().flat_map(|s| s.metrics) {
            let known = all.entry(metric.name.clone()).or_insert_with(|| Metric {
                data: Some(Data::Histogram(Default::default())),
                ..metric.clone()
            });
            if let (Some(Data::Histogram(known)), Some(Data::Histogram(more))) =
                (&mut known.data, metric.data)
            {
                known.data_points.extend(more.data_points);
            }
        }
    }
    let options = EncodeOptions::default();
    let kept = kept.0.lock().expect("kept");
    Seen {
        spans: kept
            .iter()
            .map(|c| encode::span(c, None, &options))
            .collect(),
        logs: kept
            .iter()
            .map(|c| encode::log_record(c, None, c.end, &options))
            .collect(),
        metrics: all.into_values().collect(),
    }
}

#[test]
fn each_row_of_the_conventions_holds_on_recorded_traffic() {
    let faults = faults(&replay());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The attributes of the table, and those that go with others.
const ATTRIBUTES: [&str; 28] = [
    "http.request.method",
    "http.request.method_original",
    "url.full",
    "url.scheme",
    "url.path",
    "url.query",
    "server.address",
    "server.port",
    "client.address",
    "client.port",
    "network.peer.address",
    "network.peer.port",
    "network.local.address",
    "network.local.port",
    "network.protocol.name",
    "network.protocol.version",
    "network.transport",
    "http.response.status_code",
    "error.type",
    "http.request.resend_count",
    "http.route",
    "url.template",
    "user_agent.original",
    "user_agent.synthetic.type",
    "http.request.header.<key>",
    "http.response.body.size",
    "http.request.size",
    "http.request.body.content",
];

#[test]
fn every_attribute_of_the_table_has_one_row() {
    for name in ATTRIBUTES {
        let has =
            |row: &&conformance::Row| row.table == "1.2" && row.row.split(", ").any(|n| n == name);
        assert_eq!(ROWS.iter().filter(has).count(), 1, "{name}");
    }
    for row in ROWS {
        let again = ROWS
            .iter()
            .filter(|other| (other.table, other.row) == (row.table, row.row));
        assert_eq!(again.count(), 1, "{} {}", row.table, row.row);
    }
}

#[test]
fn a_row_that_does_not_hold_is_found() {
    let mut seen = replay();
    for span in &mut seen.spans {
        span.attributes
            .retain(|kv| kv.key != "url.scheme" && kv.key != "network.protocol.version");
    }
    let found = faults(&seen);
    for row in ["1.2 url.scheme", "1.2 network.protocol.version"] {
        assert!(
            found.iter().any(|fault| fault.starts_with(row)),
            "{row}: {found:?}"
        );
    }
    seen.metrics.clear();
    assert!(faults(&seen).iter().any(|fault| fault.starts_with("1.6 ")));
}
