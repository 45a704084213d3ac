//! The agent's own numbers over OTLP, each interval, straight from the table.

use super::OwnError;
use super::way::Way;
use crate::config::{OtlpEndpoint, Temporality};
use crate::metrics::INTERVAL;
use crate::sink::otlp::Courier;
use crate::telemetry::numbers::{Kind, NUMBERS, Number};
use crate::telemetry::samples::{self, Sample, Value};
use crate::telemetry::state::Look;
use crate::telemetry::status::Source;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{MetricExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality as SdkTemporality};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// One collection asks every instrument within this time, and all of them see one moment.
const MOMENT: Duration = Duration::from_secs(1);

/// Starts to export what `source` says.
pub(super) fn provider(
    endpoint: &OtlpEndpoint,
    temporality: Temporality,
    resource: Resource,
    source: Arc<dyn Source>,
    runtime: &Handle,
) -> Result<SdkMeterProvider, OwnError> {
    let courier = {
        let _inside = runtime.enter();
        Courier::of_metrics(endpoint)?
    };
    let numbers = move || samples::samples(&source.status(Look::Export));
    let client = Way::new(courier, runtime);
    started(client, endpoint, temporality, resource, numbers)
}

fn started(
    client: impl HttpClient + 'static,
    endpoint: &OtlpEndpoint,
    temporality: Temporality,
    resource: Resource,
    numbers: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
) -> Result<SdkMeterProvider, OwnError> {
    let temporality = match temporality {
        Temporality::Cumulative => SdkTemporality::Cumulative,
        Temporality::Delta => SdkTemporality::Delta,
        Temporality::LowMemory => SdkTemporality::LowMemory,
    };
    let exporter = MetricExporter::builder()
        .with_temporality(temporality)
        .with_http()
        .with_http_client(client)
        .with_endpoint(&endpoint.url)
        .with_timeout(endpoint.timeout)
        .build()?;
    let reader = PeriodicReader::builder(exporter)
        .with_interval(INTERVAL)
        .build();
    let provider = SdkMeterProvider::builder()
        .with_reader(reader)
        .with_resource(resource)
        .build();
    let meter = provider.meter("plainspan");
    let last = Arc::new(Last {
        numbers: Box::new(numbers),
        seen: Mutex::default(),
    });
    for number in NUMBERS {
        observe(&meter, number, &last);
    }
    Ok(provider)
}

type Samples = Arc<Vec<Sample>>;

/// The numbers of the last collection.
struct Last {
    numbers: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
    seen: Mutex<Option<(Instant, Samples)>>,
}

impl Last {
    fn now(&self) -> Samples {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((at, samples)) if at.elapsed() < MOMENT => samples.clone(),
            _ => {
                let samples = Arc::new((self.numbers)());
                *seen = Some((Instant::now(), samples.clone()));
                samples
            }
        }
    }

    /// Points of one metric.
    fn each(&self, number: &Number, mut observe: impl FnMut(Value, &[KeyValue])) {
        for sample in self.now().iter().filter(|s| s.number == number) {
            let labels: Vec<KeyValue> = sample
                .labels
                .iter()
                .map(|(key, value)| KeyValue::new(*key, value.clone()))
                .collect();
            observe(sample.value, &labels);
        }
    }
}

/// One observable instrument. Seconds have fractions; all else is counted.
fn observe(meter: &Meter, number: &'static Number, last: &Arc<Last>) {
    let last = last.clone();
    macro_rules! instrument {
        ($make:ident, $value:expr) => {
            meter
                .$make(number.name)
                .with_unit(number.unit)
                .with_description(number.help)
                .with_callback(move |o| {
                    last.each(number, |value, labels| o.observe($value(value), labels));
                })
                .build()
        };
    }
    match (number.kind, number.unit) {
        (Kind::Counter, "s") => drop(instrument!(f64_observable_counter, double)),
        (Kind::Counter, _) => drop(instrument!(u64_observable_counter, whole)),
        (Kind::UpDown, "s") => drop(instrument!(f64_observable_up_down_counter, double)),
        (Kind::UpDown, _) => drop(instrument!(i64_observable_up_down_counter, signed)),
        (Kind::Gauge, "s") => drop(instrument!(f64_observable_gauge, double)),
        (Kind::Gauge, _) => drop(instrument!(u64_observable_gauge, whole)),
    }
}

fn double(value: Value) -> f64 {
    match value {
        Value::Int(n) => n as f64,
        Value::Double(n) => n,
    }
}

fn whole(value: Value) -> u64 {
    match value {
        Value::Int(n) => n,
        Value::Double(n) => n as u64,
    }
}

fn signed(value: Value) -> i64 {
    i64::try_from(whole(value)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Compression, OtlpProtocol, OtlpTls};
    use crate::telemetry::samples::tests::full;
    use async_trait::async_trait;
    use bytes::Bytes;
    use opentelemetry_http::{HttpError, Request, Response};
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use prost::Message;
    use std::collections::BTreeMap;

    /// Keeps what is sent.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Bytes>>>);

    #[async_trait]
    impl HttpClient for Kept {
        async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
            self.0.lock().expect("kept").push(request.into_body());
            Ok(Response::new(Bytes::new()))
        }
    }

    #[test]
    fn every_number_of_the_table_leaves_with_its_kind_unit_and_help() {
        let kept = Kept::default();
        let endpoint = OtlpEndpoint {
            protocol: OtlpProtocol::Http,
            url: "http://127.0.0.1:1/v1/metrics".to_owned(),
            headers: Vec::new(),
            tls: OtlpTls::default(),
            compression: Compression::None,
            timeout: Duration::from_secs(5),
            proxy: None,
        };
        let numbers = || samples::samples(&full());
        let resource = Resource::builder_empty().build();
        let provider = started(
            kept.clone(),
            &endpoint,
            Temporality::default(),
            resource,
            numbers,
        )
        .expect("an exporter");
        provider.force_flush().expect("exported");
        let request = kept.0.lock().expect("kept").remove(0);
        let request = ExportMetricsServiceRequest::decode(request).expect("a request");
        let metrics: BTreeMap<_, _> = request.resource_metrics[0].scope_metrics[0]
            .metrics
            .iter()
            .map(|metric| (&*metric.name, metric))
            .collect();
        let mut points = 0;
        for number in NUMBERS {
            let metric = metrics
                .get(number.name)
                .unwrap_or_else(|| panic!("{}", number.name));
            assert_eq!(
                (&*metric.unit, &*metric.description),
                (number.unit, number.help)
            );
            let (kind, of_metric) = match metric.data.as_ref().expect("data") {
                Data::Sum(sum) if sum.is_monotonic => (Kind::Counter, &sum.data_points),
                Data::Sum(sum) => (Kind::UpDown, &sum.data_points),
                Data::Gauge(gauge) => (Kind::Gauge, &gauge.data_points),
                other => panic!("{other:?}"),
            };
            assert_eq!(kind, number.kind, "{}", number.name);
            points += of_metric.len();
        }
        assert_eq!(points, numbers().len());
        provider.shutdown().expect("ended");
    }
}
