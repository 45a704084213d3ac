//! The agent's own logs, spans and metrics.
//!
//! Enters: `tracing` spans and events, the status of the moment. Leaves: log lines on stderr; spans and metrics over OTLP
//! to the first `otel` store, on the way that transactions go.
//! Holds: nothing about the agent's own export traffic becomes a span; the resource is the agent's, never a service's.

mod metrics;
mod spans;
mod way;

use super::status::Source;
use crate::config::{OtelStore, Temporality};
use crate::sink::otlp::StartError;
use opentelemetry::KeyValue;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tracing_subscriber::filter::EnvFilter;
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
    Way(#[from] StartError),
    #[error("exporter of the agent's own telemetry: {0}")]
    Exporter(#[from] ExporterBuildError),
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
    /// Starts logs, and spans where `store` takes them; `about`: attributes of the agent's resource. It has to run inside
    /// a Tokio runtime.
    ///
    /// # Errors
    /// When the level is no level, or an exporter cannot be built.
    pub fn start(
        level: &str,
        format: LogFormat,
        store: Option<&OtelStore>,
        about: &BTreeMap<String, String>,
    ) -> Result<Own, OwnError> {
        let filter = log_filter(level)?;
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
            .map(|endpoint| spans::provider(endpoint, resource(about)))
            .transpose()?;
        let spans = tracer
            .as_ref()
            .map(|provider| spans::layer(provider, level));
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

    /// Starts metrics, where `store` takes them.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub fn start_metrics(
        &mut self,
        store: Option<&OtelStore>,
        temporality: Temporality,
        about: &BTreeMap<String, String>,
        source: &Arc<dyn Source>,
        runtime: &Handle,
    ) -> Result<(), OwnError> {
        if let Some(endpoint) = store.and_then(|store| store.metrics.as_ref()) {
            let meter = metrics::provider(
                endpoint,
                temporality,
                resource(about),
                source.clone(),
                runtime,
            )?;
            self.meter = Some(meter);
        }
        Ok(())
    }

    /// Sends what is left. Blocks for four seconds at the most; call it outside the runtime's threads.
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

/// What goes to the log.
fn log_filter(level: &str) -> Result<EnvFilter, OwnError> {
    EnvFilter::try_new(format!(
        // The libraries that export would otherwise log about every export.
        "{level},h2=info,hyper=info,hyper_util=info,tonic=info,tower=info,reqwest=info,rustls=info,opentelemetry=error,opentelemetry_sdk=error,opentelemetry-otlp=error"
    ))
    .map_err(|error| OwnError::LogLevel {
        level: level.to_owned(),
        reason: error.to_string(),
    })
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
