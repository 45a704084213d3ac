//! The agent's own spans: from `tracing` through the OpenTelemetry SDK to the store.

use super::OwnError;
use super::way::Way;
use crate::config::OtlpEndpoint;
use crate::sink::otlp::Courier;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::str::FromStr;
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::{Layer, registry::LookupSpan};

/// What makes spans of the agent, and sends them in batches.
pub(super) fn provider(
    endpoint: &OtlpEndpoint,
    resource: Resource,
) -> Result<SdkTracerProvider, OwnError> {
    let way = Way::new(Courier::of_spans(endpoint)?, &Handle::current());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(way)
        .with_endpoint(&endpoint.url)
        .with_timeout(endpoint.timeout)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Takes spans of the agent's own code. What happens once a transaction is at level debug, and is a span only where the
/// log is as talkative; nothing on the bytes' way is one at any level.
pub(super) fn layer<S>(provider: &SdkTracerProvider, level: &str) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let most = Level::from_str(level).map_or(Level::INFO, |level| level.max(Level::INFO));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("plainspan"))
        .with_threads(false)
        // Our own spans alone; events are log lines already.
        .with_filter(FilterFn::new(move |metadata| {
            metadata.is_span()
                && *metadata.level() <= most
                && metadata.target().starts_with("plainspan")
        }))
}
