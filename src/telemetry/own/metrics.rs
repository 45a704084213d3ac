//! The agent's own numbers over OTLP, each interval, straight from the table.

use crate::config::OtlpEndpoint;
use crate::metrics::INTERVAL;
use crate::sink::otlp::{Courier, StartError};
use crate::telemetry::numbers::{Kind, Number};
use crate::telemetry::samples::{self, Sample};
use crate::telemetry::state::Look;
use crate::telemetry::status::Source;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The task that exports.
pub(super) struct OwnMetrics {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    runtime: Handle,
}

impl OwnMetrics {
    pub fn start(
        endpoint: &OtlpEndpoint,
        about: &opentelemetry_sdk::Resource,
        source: Arc<dyn Source>,
        runtime: &Handle,
    ) -> Result<OwnMetrics, StartError> {
        let courier = {
            let _inside = runtime.enter();
            Courier::of_metrics(endpoint)?
        };
        let resource = Resource {
            attributes: about
                .iter()
                .map(|(key, value)| text(key.as_str(), &value.to_string()))
                .collect(),
            ..Resource::default()
        };
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(run(courier, resource, source, stopped));
        Ok(OwnMetrics {
            stop,
            task,
            runtime: runtime.clone(),
        })
    }

    /// Exports a last time, and waits for that for so long at the most.
    pub fn stop(self, patience: Duration) {
        // Where the task is gone already there is nothing to stop.
        if self.stop.send(()).is_err() {
            tracing::debug!("own metrics ended before");
        }
        let ended = async { tokio::time::timeout(patience, self.task).await };
        if self.runtime.block_on(ended).is_err() {
            tracing::debug!("own metrics did not all leave");
        }
    }
}

async fn run(
    courier: Courier,
    resource: Resource,
    source: Arc<dyn Source>,
    mut stopped: oneshot::Receiver<()>,
) {
    let start = SystemTime::now();
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(INTERVAL) => false,
            _ = &mut stopped => true,
        };
        let samples = samples::samples(&source.status(Look::Export));
        let request = request(&samples, &resource, [start, SystemTime::now()]);
        let bytes = request.encode_to_vec().into();
        // What was lost the next request says too, and the courier has told the log.
        if let Err(error) = courier.send(bytes, samples.len()).await {
            tracing::debug!(error, "own metrics did not arrive");
        }
        if last {
            return;
        }
    }
}

fn request(
    samples: &[Sample],
    resource: &Resource,
    times: [SystemTime; 2],
) -> ExportMetricsServiceRequest {
    let metrics = samples
        .chunk_by(|a, b| a.number.name == b.number.name)
        .filter_map(|of_one| Some(metric(of_one.first()?.number, of_one, times)))
        .collect();
    let scope = InstrumentationScope {
        name: "plainspan".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope),
                metrics,
                schema_url: crate::sink::otlp::encode::names::SCHEMA_URL.to_owned(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn metric(number: &Number, samples: &[Sample], times: [SystemTime; 2]) -> Metric {
    let points = samples.iter().map(|sample| point(sample, times)).collect();
    let sum = |data_points, is_monotonic| {
        Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic,
        })
    };
    Metric {
        name: number.name.to_owned(),
        description: number.help.to_owned(),
        unit: number.unit.to_owned(),
        data: Some(match number.kind {
            Kind::Counter => sum(points, true),
            Kind::UpDown => sum(points, false),
            Kind::Gauge => Data::Gauge(Gauge {
                data_points: points,
            }),
        }),
        ..Metric::default()
    }
}

fn point(sample: &Sample, times: [SystemTime; 2]) -> NumberDataPoint {
    let [start, now] = times.map(|time| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    NumberDataPoint {
        attributes: sample
            .labels
            .iter()
            .map(|(key, value)| text(key, value))
            .collect(),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(match sample.value {
            samples::Value::Int(n) => {
                number_data_point::Value::AsInt(i64::try_from(n).unwrap_or(i64::MAX))
            }
            samples::Value::Double(n) => number_data_point::Value::AsDouble(n),
        }),
        ..NumberDataPoint::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::numbers::NUMBERS;
    use crate::telemetry::samples::tests::full;

    #[test]
    fn every_number_of_the_table_leaves_with_its_kind_unit_and_help() {
        let samples = samples::samples(&full());
        let start = UNIX_EPOCH + Duration::from_secs(1);
        let now = UNIX_EPOCH + Duration::from_secs(2);
        let request = request(&samples, &Resource::default(), [start, now]);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        assert_eq!(metrics.len(), NUMBERS.len());
        let mut points = 0;
        for (metric, number) in metrics.iter().zip(NUMBERS) {
            assert_eq!(
                (&*metric.name, &*metric.unit, &*metric.description),
                (number.name, number.unit, number.help)
            );
            let (kind, of_metric) = match metric.data.as_ref().expect("data") {
                Data::Sum(sum) if sum.is_monotonic => (Kind::Counter, &sum.data_points),
                Data::Sum(sum) => (Kind::UpDown, &sum.data_points),
                Data::Gauge(gauge) => (Kind::Gauge, &gauge.data_points),
                other => panic!("{other:?}"),
            };
            assert_eq!(kind, number.kind, "{}", number.name);
            points += of_metric.len();
            for point in of_metric {
                let times = (point.start_time_unix_nano, point.time_unix_nano);
                assert_eq!(times, (1_000_000_000, 2_000_000_000));
            }
        }
        assert_eq!(points, samples.len());
    }
}
