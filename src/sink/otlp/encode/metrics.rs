//! What was counted of processes as OTLP metrics.

use super::{names, resource, scope, unix_nanos};
use crate::event::Role;
use crate::metrics::{Attributes, Collected, Exemplar, Instrument, Point, Value as Counted};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as OtlpExemplar, Histogram, HistogramDataPoint, Metric,
    ResourceMetrics, ScopeMetrics, exemplar, metric::Data,
};
use std::time::SystemTime;

/// On the point of what found no room (SDK specification, "Overflow attribute").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// The histograms of one process until `now`, cumulative. None: nothing was counted.
pub fn resource_metrics(collected: &Collected, now: SystemTime) -> Option<ResourceMetrics> {
    let sides = [Role::Server, Role::Client];
    let metrics: Vec<Metric> = sides
        .into_iter()
        .flat_map(|role| Instrument::all(role).map(|instrument| (role, instrument)))
        .filter_map(|(role, instrument)| metric(collected, (role, instrument), now))
        .collect();
    (!metrics.is_empty()).then(|| ResourceMetrics {
        resource: Some(resource(&collected.process)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope()),
            metrics,
            schema_url: names::SCHEMA_URL.to_owned(),
        }],
        ..ResourceMetrics::default()
    })
}

/// Data points in it.
pub fn points(metrics: &ResourceMetrics) -> u64 {
    let metrics = metrics
        .scope_metrics
        .iter()
        .flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match &metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points.len() as u64,
        _ => 0,
    });
    points.sum()
}

fn metric(
    collected: &Collected,
    (role, instrument): (Role, Instrument),
    now: SystemTime,
) -> Option<Metric> {
    let of_side = |attributes: &&Attributes| attributes.role == role;
    let known = collected
        .series
        .iter()
        .filter(|(attributes, _)| of_side(attributes))
        .map(|(attributes, point)| (of_attributes(attributes), point));
    let overflow = collected
        .series
        .overflow()
        .filter(|(side, _)| *side == role)
        .map(|(_, point)| (vec![attribute(OVERFLOW, Value::BoolValue(true))], point));
    let data_points: Vec<HistogramDataPoint> = known
        .chain(overflow)
        .filter(|(_, point)| (instrument.of)(point).count() > 0)
        .map(|(attributes, point)| HistogramDataPoint {
            attributes,
            start_time_unix_nano: unix_nanos(collected.start),
            time_unix_nano: unix_nanos(now),
            ..data_point(instrument, point)
        })
        .collect();
    (!data_points.is_empty()).then(|| Metric {
        name: instrument.name.to_owned(),
        description: instrument.about.to_owned(),
        unit: instrument.unit.to_owned(),
        data: Some(Data::Histogram(Histogram {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative as i32,
        })),
        ..Metric::default()
    })
}

fn data_point(instrument: Instrument, point: &Point) -> HistogramDataPoint {
    let histogram = (instrument.of)(point);
    let of_durations = instrument.unit == "s";
    let exemplars = point.exemplar.iter().filter(|_| of_durations);
    HistogramDataPoint {
        count: histogram.count(),
        sum: Some(histogram.sum()),
        bucket_counts: histogram.buckets().to_vec(),
        explicit_bounds: histogram.scale().shown_bounds().collect(),
        exemplars: exemplars
            .map(|(shown, nanos)| an_exemplar(shown, histogram.scale().shown(*nanos)))
            .collect(),
        ..HistogramDataPoint::default()
    }
}

fn an_exemplar(shown: &Exemplar, value: f64) -> OtlpExemplar {
    OtlpExemplar {
        time_unix_nano: unix_nanos(shown.time),
        trace_id: shown.trace_id.to_vec(),
        span_id: shown.span_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(value)),
        ..OtlpExemplar::default()
    }
}

fn of_attributes(attributes: &Attributes) -> Vec<KeyValue> {
    let list = attributes.list().map(|(key, value)| match value {
        Counted::Text(text) => attribute(key, Value::StringValue(text.to_owned())),
        Counted::Int(number) => attribute(key, Value::IntValue(number.into())),
    });
    list.collect()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
