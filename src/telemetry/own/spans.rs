//! The agent's own spans: from `tracing` through the OpenTelemetry SDK to the store.

use crate::config::OtlpEndpoint;
use crate::sink::otlp::{Courier, StartError};
use opentelemetry::trace::TracerProvider;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use prost::Message;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::{Layer, registry::LookupSpan};

/// What makes spans of the agent, and sends them in batches.
pub(super) fn provider(
    endpoint: &OtlpEndpoint,
    resource: Resource,
) -> Result<SdkTracerProvider, StartError> {
    let exporter = Exporter {
        courier: Arc::new(Courier::of_spans(endpoint)?),
        runtime: Handle::current(),
        resource: ResourceAttributesWithSchema::default(),
    };
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

/// Hands batches to a [`Courier`].
struct Exporter {
    courier: Arc<Courier>,
    /// The SDK exports on a thread of its own.
    runtime: Handle,
    resource: ResourceAttributesWithSchema,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        };
        let courier = self.courier.clone();
        let bytes = request.encode_to_vec().into();
        let sent = self
            .runtime
            .spawn(async move { courier.send(bytes, items).await });
        match sent.await {
            Ok(sent) => sent.map_err(OTelSdkError::InternalFailure),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
