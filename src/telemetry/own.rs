//! The agent's own logs, spans and metrics.
//!
//! Enters: `tracing` spans and events, the ledger. Leaves: log lines on stderr; spans and metrics over OTLP to the first
//! `otel` store, through the OpenTelemetry SDK.
//! Holds: nothing about the agent's own export traffic becomes a span; the resource is the agent's, never a service's.

use super::prometheus;
use super::status::Source;
use crate::config::{OtelStore, OtlpEndpoint, OtlpProtocol};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// How long stopping waits for the last spans and metrics.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The agent's own telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OwnError {
    #[error("log level `{level}` is not one of error, warn, info, debug, trace: {reason}")]
    LogLevel { level: String, reason: String },
    #[error("exporter of the agent's own telemetry: {0}")]
    Exporter(#[from] ExporterBuildError),
    #[error("gRPC metadata of the agent's own telemetry: header `{0}` is not valid")]
    Header(String),
    #[error("logs are set up already: {0}")]
    Subscriber(String),
}

/// Own telemetry, from start to stop.
#[derive(Default)]
pub struct Own {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
}

impl Own {
    /// Starts logs, and spans where `store` takes them; `about`: attributes of the agent's resource. With gRPC it has to run inside a Tokio runtime.
    ///
    /// # Errors
    /// When the level is no level, or an exporter cannot be built.
    pub fn start(
        level: &str,
        format: LogFormat,
        store: Option<&OtelStore>,
        about: &BTreeMap<String, String>,
    ) -> Result<Own, OwnError> {
        let filter = EnvFilter::try_new(format!(
            // The libraries that export would otherwise log about every export.
            "{level},h2=info,hyper=info,hyper_util=info,tonic=info,tower=info,reqwest=info,rustls=info,opentelemetry=error,opentelemetry_sdk=error,opentelemetry-otlp=error"
        ))
        .map_err(|error| OwnError::LogLevel {
            level: level.to_owned(),
            reason: error.to_string(),
        })?;
        let logs: Box<dyn Layer<Registry> + Send + Sync> = match format {
            LogFormat::Text => Box::new(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            ),
            LogFormat::Json => Box::new(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            ),
        };
        let tracer = store
            .and_then(|store| store.traces.as_ref())
            .map(|endpoint| tracer_provider(endpoint, resource(about)))
            .transpose()?;
        let spans = tracer.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("plainspan"))
                // Our own spans alone; events are log lines already.
                .with_filter(FilterFn::new(|metadata| {
                    metadata.is_span() && metadata.target().starts_with("plainspan")
                }))
        });
        tracing_subscriber::registry()
            .with(logs)
            .with(spans)
            .try_init()
            .map_err(|error| OwnError::Subscriber(error.to_string()))?;
        Ok(Own {
            tracer,
            meter: None,
        })
    }

    /// Starts metrics of the ledger, where `store` takes metrics.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub fn start_metrics(
        &mut self,
        store: Option<&OtelStore>,
        about: &BTreeMap<String, String>,
        source: &Source,
    ) -> Result<(), OwnError> {
        let Some(endpoint) = store.and_then(|store| store.metrics.as_ref()) else {
            return Ok(());
        };
        let reader = PeriodicReader::builder(metric_exporter(endpoint)?)
            .with_interval(crate::metrics::INTERVAL)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(resource(about))
            .build();
        observe(&provider, source);
        self.meter = Some(provider);
        Ok(())
    }

    /// Sends what is left. Blocks for two seconds at the most; call it outside the runtime's threads.
    pub fn stop(self) {
        if let Some(meter) = self.meter
            && let Err(error) = meter.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        {
            tracing::debug!(%error, "own metrics did not all leave");
        }
        if let Some(tracer) = self.tracer
            && let Err(error) = tracer.shutdown_with_timeout(SHUTDOWN_TIMEOUT)
        {
            tracing::debug!(%error, "own spans did not all leave");
        }
    }
}

/// One observable instrument a metric; each reads the status of the moment when it is collected.
fn observe(provider: &SdkMeterProvider, source: &Source) {
    let meter = provider.meter("plainspan");
    let mut kinds: Vec<(String, bool)> = prometheus::samples(&source())
        .into_iter()
        .map(|sample| (sample.metric, sample.counter))
        .collect();
    // Signals and matchers appear with their first item: they must be there from the start.
    for (metric, counter) in [
        ("plainspan.signals.offered", true),
        ("plainspan.signals.exported", true),
        ("plainspan.signals.in_flight", false),
        ("plainspan.signals.lost", true),
        ("plainspan.spool.batches", false),
        ("plainspan.spool.items", false),
        ("plainspan.spool.progress", false),
        ("plainspan.spool.bytes", false),
        ("plainspan.spool.oldest_unix_seconds", false),
        ("plainspan.spool.oldest_age_seconds", false),
        ("plainspan.redacted", true),
    ] {
        kinds.push((metric.to_owned(), counter));
    }
    kinds.sort();
    kinds.dedup();
    for (metric, counter) in kinds {
        let source = source.clone();
        let name = metric.clone();
        let observe_all = move |observe: &mut dyn FnMut(u64, &[KeyValue])| {
            for sample in prometheus::samples(&source()) {
                if sample.metric == metric {
                    let labels: Vec<KeyValue> = sample
                        .labels
                        .into_iter()
                        .map(|(key, value)| KeyValue::new(key, value))
                        .collect();
                    observe(sample.value, &labels);
                }
            }
        };
        if counter {
            meter
                .u64_observable_counter(name)
                .with_callback(move |o| observe_all(&mut |value, labels| o.observe(value, labels)))
                .build();
        } else {
            meter
                .u64_observable_gauge(name)
                .with_callback(move |o| observe_all(&mut |value, labels| o.observe(value, labels)))
                .build();
        }
    }
}

/// The agent's own resource, of [`Config::agent`](crate::config::Config), which has read the environment for it.
fn resource(about: &BTreeMap<String, String>) -> Resource {
    let attributes = about
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build()
}

fn tracer_provider(
    endpoint: &OtlpEndpoint,
    resource: Resource,
) -> Result<SdkTracerProvider, OwnError> {
    let exporter = match endpoint.protocol {
        OtlpProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .with_metadata(metadata(endpoint)?)
            .build()?,
        OtlpProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .with_headers(headers(endpoint))
            .build()?,
    };
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

fn metric_exporter(endpoint: &OtlpEndpoint) -> Result<MetricExporter, OwnError> {
    Ok(match endpoint.protocol {
        OtlpProtocol::Grpc => MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .with_metadata(metadata(endpoint)?)
            .build()?,
        OtlpProtocol::Http => MetricExporter::builder()
            .with_http()
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .with_headers(headers(endpoint))
            .build()?,
    })
}

fn headers(endpoint: &OtlpEndpoint) -> HashMap<String, String> {
    endpoint
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect()
}

fn metadata(endpoint: &OtlpEndpoint) -> Result<tonic::metadata::MetadataMap, OwnError> {
    let mut map = tonic::metadata::MetadataMap::new();
    for (name, value) in &endpoint.headers {
        let invalid = || OwnError::Header(name.clone());
        let key = tonic::metadata::AsciiMetadataKey::from_bytes(name.to_lowercase().as_bytes())
            .map_err(|_| invalid())?;
        map.insert(key, value.expose().parse().map_err(|_| invalid())?);
    }
    Ok(map)
}
