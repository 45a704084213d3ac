//! A transaction as an event store writes it: its span, one flat JSON object a line.
//!
//! First what a span has beside attributes: `timestamp` (RFC 3339, the start), `duration_ms`, `name`, `kind` (`client`,
//! `server`), `trace_id`, `span_id`, `parent_span_id` (absent without one), `status` (`error`, `unset`), `links` (objects
//! with `trace_id` and `span_id`; absent without any). Then who: `service.name`, `process.pid`,
//! `process.executable.path` (absent where it is not known). Then the attributes of the span, under their names.
//!
//! A report of a transaction that goes on is a line of its own: `timestamp` (of the report), `event.name`, the span's
//! `trace_id` and `span_id`, who, and the attributes of the log record.

use crate::enrich::rfc3339;
use crate::redact::Capture;
use crate::sink::PayloadLink;
use crate::sink::json::Json;
use crate::sink::otlp::encode::{self, EncodeOptions};
use crate::sink::payload::document;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

/// One JSON object, without a line break.
pub fn encode(capture: &Capture, link: Option<&PayloadLink>, options: &EncodeOptions) -> Vec<u8> {
    let span = encode::span(capture, link, options);
    let mut json = Json::with_capacity(2048);
    json.object(|j| {
        head(j, capture, &span);
        who(j, capture);
        for attribute in &span.attributes {
            value(j.key(&attribute.key), attribute.value.as_ref());
        }
    });
    json.finish()
}

/// One JSON object of a report, without a line break.
pub fn encode_progress(capture: &Capture, options: &EncodeOptions) -> Vec<u8> {
    let record = encode::progress_record(capture, capture.end, options);
    let mut json = Json::with_capacity(1024);
    json.object(|j| {
        j.key("timestamp").string(&rfc3339(capture.end));
        j.key("event.name").string(&record.event_name);
        document::hex(j.key("trace_id"), &record.trace_id);
        document::hex(j.key("span_id"), &record.span_id);
        who(j, capture);
        for attribute in &record.attributes {
            value(j.key(&attribute.key), attribute.value.as_ref());
        }
    });
    json.finish()
}

fn head(j: &mut Json, capture: &Capture, span: &Span) {
    let nanos = span
        .end_time_unix_nano
        .saturating_sub(span.start_time_unix_nano);
    j.key("timestamp").string(&rfc3339(capture.start));
    j.key("duration_ms").double(nanos as f64 / 1e6);
    j.key("name").string(&span.name);
    j.key("kind").string(match span.kind() {
        SpanKind::Server => "server",
        _ => "client",
    });
    document::hex(j.key("trace_id"), &span.trace_id);
    document::hex(j.key("span_id"), &span.span_id);
    if !span.parent_span_id.is_empty() {
        document::hex(j.key("parent_span_id"), &span.parent_span_id);
    }
    let status = span.status.as_ref().map_or("unset", |_| "error");
    j.key("status").string(status);
    if !span.links.is_empty() {
        j.key("links").array(|j| {
            for link in &span.links {
                j.object(|j| {
                    document::hex(j.key("trace_id"), &link.trace_id);
                    document::hex(j.key("span_id"), &link.span_id);
                });
            }
        });
    }
}

fn who(j: &mut Json, capture: &Capture) {
    let process = &*capture.process;
    j.key("service.name")
        .string(document::resource(process, "service.name"));
    j.key("process.pid").number(process.pid);
    if let Some(exe) = &process.exe {
        j.key("process.executable.path").string(exe);
    }
}

fn value(j: &mut Json, value: Option<&AnyValue>) {
    match value.and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => j.string(text),
        Some(Value::BoolValue(truth)) => j.bool(*truth),
        Some(Value::IntValue(number)) => j.integer(*number),
        Some(Value::DoubleValue(number)) => j.double(*number),
        Some(Value::BytesValue(bytes)) => j.base64(bytes),
        Some(Value::ArrayValue(array)) => {
            j.array(|j| array.values.iter().for_each(|v| self::value(j, Some(v))));
        }
        Some(Value::KvlistValue(list)) => j.object(|j| {
            for pair in &list.values {
                self::value(j.key(&pair.key), pair.value.as_ref());
            }
        }),
        // The profiles signal alone has indices into a table of strings.
        Some(Value::StringValueStrindex(_)) | None => j.null(),
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
