//! A capture as a log record.

use super::http::{self, Web};
use super::span::log_attributes;
use super::{EncodeOptions, names, unix_nanos};
use crate::redact::{Capture, SpanIds};
use crate::sink::PayloadLink;
use crate::transaction::Transaction;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use std::borrow::Cow;
use std::time::SystemTime;

/// What stands in a line for the method of a request that was not seen.
pub const REQUEST_NOT_SEEN: &str = "(request not seen)";

/// The log record of a capture, as observed at `observed`. It happened when the transaction ended.
pub fn log_record(
    capture: &Capture,
    link: Option<&PayloadLink>,
    observed: SystemTime,
    options: &EncodeOptions,
) -> LogRecord {
    LogRecord {
        attributes: log_attributes(capture, link, options).finish(),
        ..frame(capture, observed)
    }
}

/// The log record of a capture as a message of protobuf.
pub fn log_record_bytes(
    capture: &Capture,
    link: Option<&PayloadLink>,
    observed: SystemTime,
    options: &EncodeOptions,
) -> Vec<u8> {
    let mut out = log_attributes(capture, link, options).into_bytes();
    // Fields may stand in any order.
    frame(capture, observed)
        .encode(&mut out)
        .expect("a Vec takes all");
    out
}

/// The log record without its attributes.
fn frame(capture: &Capture, observed: SystemTime) -> LogRecord {
    let outcome = http::outcome(&capture.transaction);
    LogRecord {
        time_unix_nano: unix_nanos(capture.end),
        observed_time_unix_nano: unix_nanos(observed),
        severity_number: outcome.severity as i32,
        body: Some(AnyValue {
            value: Some(Value::StringValue(line(capture))),
        }),
        flags: u32::from(capture.ids.flags),
        trace_id: trace_id(&capture.ids),
        span_id: span_id(&capture.ids),
        event_name: names::EVENT.to_owned(),
        ..LogRecord::default()
    }
}

/// Empty where no span is known that the event belongs to.
pub(super) fn trace_id(ids: &SpanIds) -> Vec<u8> {
    ids.shown()
        .map(|(trace, _)| trace.to_vec())
        .unwrap_or_default()
}

/// Empty where no span is known that the event belongs to.
pub(super) fn span_id(ids: &SpanIds) -> Vec<u8> {
    ids.shown()
        .map(|(_, span)| span.to_vec())
        .unwrap_or_default()
}

/// One readable line: `GET https://host/path 200 12.3 ms`. It may hold control bytes.
pub fn line(capture: &Capture) -> String {
    let transaction = &capture.transaction;
    let method = match &transaction.request {
        Some(request) => String::from_utf8_lossy(&request.method),
        None => Cow::Borrowed(REQUEST_NOT_SEEN),
    };
    let status = status(transaction);
    let url = url(&http::web(capture));
    let millis = transaction.timing.end.since(transaction.timing.start) as f64 / 1e6;
    let space = if url.is_empty() { "" } else { " " };
    format!("{method}{space}{url} {status} {millis:.1} ms")
}

/// The status code, or the word for why there is none; the code of a call behind it.
pub fn status(transaction: &Transaction) -> Cow<'static, str> {
    let code = transaction.grpc.as_ref().and_then(|g| g.code);
    match (&transaction.response, code) {
        (Some(response), Some(code)) => {
            return Cow::Owned(format!("{} {}", response.status, code.name()));
        }
        (None, Some(code)) => return code.name(),
        (_, None) => {}
    }
    match (&transaction.response, http::outcome(transaction).error) {
        (Some(response), _) => Cow::Owned(response.status.to_string()),
        (None, Some(word)) => word,
        (None, None) => Cow::Borrowed("(response not seen)"),
    }
}

/// The whole URL, or what is known of it, cut as attributes are.
pub fn url(web: &Web) -> String {
    let mut url = match (&web.full, &web.path) {
        (Some(full), _) => full.clone(),
        (None, Some(path)) => match &web.query {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        },
        (None, None) => web.host.clone().unwrap_or_default(),
    };
    url.truncate(url.floor_char_boundary(names::MAX_VALUE));
    url
}
