//! Routes, and how transactions are counted: what of it spans and metrics say, and that it is exchanged.

use super::tests::{audience, settings, stage, tap};
use super::*;
use crate::config::{MessageSide, MetricHeader};
use crate::conn::Table as Connections;
use crate::event::Role;
use crate::metrics::Labels;
use crate::redact::Redacted;
use crate::routes::{Pattern, Table};
use crate::rules::sample;
use crate::sink::otlp::{EncodeOptions, encode};
use crate::sink::{Delivery, Fanout, ProgressDelivery, Sink};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

/// Keeps captures.
#[derive(Default)]
struct Whole(Mutex<Vec<Arc<Redacted>>>);

impl Sink for Whole {
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

/// Asks for `target` as a tenant of this name.
fn give_target(stage: &mut Stage, role: Role, target: &str, tenant: &str) {
    let mut transaction = sample::orders().transaction;
    transaction.pid = u32::MAX - 1;
    transaction.role = role;
    let request = transaction.request.as_mut().expect("a request");
    request.target = target.into();
    request.headers.push(b"X-Customer", tenant.as_bytes());
    stage.transaction(Raw::new(Box::new(transaction)));
}

#[test]
fn routes_of_the_configuration_name_spans_and_are_attributes_of_metrics() {
    let whole = Arc::new(Whole::default());
    let (mut telemetry, _) = audience(Level::Summary, &[], Level::None);
    telemetry.sinks = Fanout::new(vec![whole.clone()]);
    let mut stage = stage(telemetry, None);
    let pattern = Pattern::parse("/users/{id}").expect("a pattern");
    let table = Table::new(&[pattern]).expect("few overlaps");
    stage.routes = Routes::new(table, true);
    for (role, target) in [
        (Role::Server, "/users/7?x=y"),
        (Role::Client, "/users/7"),
        (Role::Server, "/orders/7/items"),
    ] {
        give_target(&mut stage, role, target, "");
    }
    let options = EncodeOptions::default();
    let shown = |capture: &Arc<Redacted>| {
        let span = encode::span(capture, None, &options);
        let log = encode::log_record(capture, None, UNIX_EPOCH, &options);
        let of = |list: &[KeyValue]| -> Vec<String> {
            let wanted = ["http.route", "url.template", "plainspan.route.guessed"];
            let list = list.iter().filter(|kv| wanted.contains(&kv.key.as_str()));
            list.map(|kv| kv.key.clone()).collect()
        };
        assert_eq!(of(&span.attributes), of(&log.attributes));
        (span.name, of(&span.attributes).join(" "))
    };
    let spans: Vec<(String, String)> = whole.0.lock().expect("kept").iter().map(shown).collect();
    let expected = [
        ("POST /users/{id}", "http.route"),
        ("POST /users/{id}", "url.template"),
        (
            "POST /orders/{id}/items",
            "http.route plainspan.route.guessed",
        ),
    ];
    assert_eq!(
        spans,
        expected.map(|(name, list)| (name.to_owned(), list.to_owned()))
    );
    let text = stage.metrics.prometheus();
    for label in [
        "http_route=\"/users/{id}\"",
        "url_template=\"/users/{id}\"",
        "http_route=\"/orders/{id}/items\"",
    ] {
        let name = "request_duration_seconds_count{";
        let found = text.lines().any(|l| l.contains(name) && l.contains(label));
        assert!(found, "{label}: {text}");
    }
}

#[test]
fn a_route_that_finds_no_room_is_counted_and_the_span_has_none() {
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    let mut stage = stage(telemetry, None);
    stage.routes = Routes::new(Table::default(), true);
    // As many words a place as stay words.
    let letter = |n: usize| char::from(b'g' + u8::try_from(n % 20).expect("few"));
    for number in 0..600 {
        let (a, b, c) = (letter(number), letter(number / 20), letter(number / 400));
        give_target(&mut stage, Role::Client, &format!("/{a}/{b}/{c}"), "");
    }
    let overflow = stage.ledger.snapshot().metrics.overflow;
    assert_eq!(overflow.routes, 100, "{overflow:?}");
}

#[test]
fn an_exchange_changes_headers_exemplars_and_the_number_of_series() {
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    let limits = settings(&tap(), audience(Level::None, &[], Level::None).0, &[]).limits;
    let ledger = Ledger::new();
    let metrics = Metrics::new(Default::default(), ledger.clone(), UNIX_EPOCH);
    metrics.subscribe(UNIX_EPOCH);
    let stage = Stage {
        metrics: metrics.clone(),
        ledger: ledger.clone(),
        ..stage(telemetry, None)
    };
    let mut pipeline = Pipeline::new(Connections::new(limits), stage, None);
    let ask = |pipeline: &mut Pipeline, tenant: &str| {
        give_target(&mut pipeline.stage, Role::Server, "/", tenant);
    };
    let exemplars = || -> usize {
        let collected = metrics.collect(UNIX_EPOCH, |_| true);
        let points = collected.iter().flat_map(|c| c.series.iter());
        points.filter(|(_, point)| point.exemplar.is_some()).count()
    };
    ask(&mut pipeline, "acme");
    assert_eq!(exemplars(), 1);
    assert!(!metrics.prometheus().contains("acme"));
    let header = MetricHeader {
        header: "x-customer".to_owned(),
        from: MessageSide::Request,
        attribute: "tenant.name".to_owned(),
        max_values: 2,
    };
    let (telemetry, _) = audience(Level::Summary, &[], Level::None);
    let exchanged = Settings {
        measures: Measures {
            labels: Labels::new(&[header]),
            exemplars: false,
        },
        ..settings(&tap(), telemetry, &[])
    };
    drop(pipeline.exchange(exchanged, KernelTime(1)));
    for tenant in ["acme", "b", "c", "d"] {
        ask(&mut pipeline, tenant);
    }
    // The one of before.
    assert_eq!(exemplars(), 1);
    let text = metrics.prometheus();
    for (tenant, count) in [("acme", 1), ("b", 1), ("_OTHER", 2)] {
        let label = format!("tenant_name=\"{tenant}\"}} {count}");
        assert!(text.contains(&label), "{label}: {text}");
    }
    assert_eq!(ledger.snapshot().metrics.overflow.values, 2);
    // What is there stays, what is new finds no room.
    metrics.set_max_series(4);
    give_target(&mut pipeline.stage, Role::Client, "/", "acme");
    ask(&mut pipeline, "b");
    let overflow = ledger.snapshot().metrics.overflow;
    assert_eq!((overflow.series, overflow.values), (1, 2));
}
