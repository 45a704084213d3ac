//! What was counted of processes as OTLP metrics.

use super::{names, resource, scope, unix_nanos};
use crate::event::Role;
use crate::metrics::{
    Attributes, Buckets, Collected, Exemplar, Exponential, Instrument, Point, Value as Counted,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as OtlpExemplar, ExponentialHistogram,
    ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics, exemplar, exponential_histogram_data_point::Buckets as OtlpBuckets, metric::Data,
};
use std::time::SystemTime;

/// On the point of what found no room (SDK specification, "Overflow attribute").
pub const OVERFLOW: &str = "otel.metric.overflow";

/// The histograms of one process from its start until `now`. None: nothing was counted.
pub fn resource_metrics(
    collected: &Collected,
    temporality: AggregationTemporality,
    now: SystemTime,
) -> Option<ResourceMetrics> {
    let sides = [Role::Server, Role::Client];
    let metrics: Vec<Metric> = sides
        .into_iter()
        .flat_map(|role| Instrument::all(role).map(|instrument| (role, instrument)))
        .filter_map(|side| metric(collected, temporality, side, now))
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
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len() as u64,
        _ => 0,
    });
    points.sum()
}

fn metric(
    collected: &Collected,
    temporality: AggregationTemporality,
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
    let mut points = Points {
        times: (unix_nanos(collected.start), unix_nanos(now)),
        explicit: Vec::new(),
        exponential: Vec::new(),
    };
    for (attributes, point) in known.chain(overflow) {
        points.add(attributes, instrument, point);
    }
    points.data(temporality as i32).map(|data| Metric {
        name: instrument.name.to_owned(),
        description: instrument.about.to_owned(),
        unit: instrument.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// The points of one metric. All have the same kind of buckets.
struct Points {
    /// Start and end.
    times: (u64, u64),
    explicit: Vec<HistogramDataPoint>,
    exponential: Vec<ExponentialHistogramDataPoint>,
}

impl Points {
    fn add(&mut self, attributes: Vec<KeyValue>, instrument: Instrument, point: &Point) {
        let histogram = (instrument.of)(point);
        if histogram.count() == 0 {
            return;
        }
        let (start_time_unix_nano, time_unix_nano) = self.times;
        let of_durations = instrument.unit == "s";
        let exemplars = point.exemplar.iter().filter(|_| of_durations);
        let exemplars = exemplars
            .map(|(shown, nanos)| an_exemplar(shown, histogram.scale().shown(*nanos)))
            .collect();
        let (count, sum) = (histogram.count(), Some(histogram.sum()));
        match histogram.buckets() {
            Buckets::Explicit(_) => self.explicit.push(HistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                bucket_counts: histogram.explicit().unwrap_or_default().to_vec(),
                explicit_bounds: histogram.scale().shown_bounds().collect(),
                exemplars,
                ..HistogramDataPoint::default()
            }),
            Buckets::Exponential(buckets) => self.exponential.push(ExponentialHistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                exemplars,
                ..exponential(buckets)
            }),
        }
    }

    fn data(self, aggregation_temporality: i32) -> Option<Data> {
        if !self.explicit.is_empty() {
            return Some(Data::Histogram(Histogram {
                data_points: self.explicit,
                aggregation_temporality,
            }));
        }
        (!self.exponential.is_empty()).then_some(Data::ExponentialHistogram(ExponentialHistogram {
            data_points: self.exponential,
            aggregation_temporality,
        }))
    }
}

fn exponential(buckets: &Exponential) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        scale: buckets.scale().into(),
        zero_count: buckets.zeros(),
        positive: Some(OtlpBuckets {
            offset: buckets.offset(),
            bucket_counts: buckets.counts().collect(),
        }),
        ..ExponentialHistogramDataPoint::default()
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
