//! A report of a transaction that goes on as a log record.

use super::http::{self, Severity};
use super::log::{REQUEST_NOT_SEEN, span_id, trace_id, url};
use super::span::progress_attributes;
use super::{EncodeOptions, names, unix_nanos};
use crate::redact::Capture;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::borrow::Cow;
use std::time::SystemTime;

/// What stands in a line for the status of a response that has not begun.
const NO_RESPONSE: &str = "(no response yet)";
/// The same for a status that refers to what was not seen.
const STATUS_UNKNOWN: &str = "(status not known)";

/// The log record of a report, as observed at `observed`; it has the ids of the span that comes at the end. How it
/// comes out is not known yet: its severity is always INFO.
pub fn progress_record(
    capture: &Capture,
    observed: SystemTime,
    options: &EncodeOptions,
) -> LogRecord {
    LogRecord {
        time_unix_nano: unix_nanos(capture.end),
        observed_time_unix_nano: unix_nanos(observed),
        severity_number: Severity::Info as i32,
        body: Some(AnyValue {
            value: Some(Value::StringValue(progress_line(capture))),
        }),
        attributes: progress_attributes(capture, options),
        flags: u32::from(capture.ids.flags),
        trace_id: trace_id(&capture.ids),
        span_id: span_id(&capture.ids),
        event_name: names::PROGRESS_EVENT.to_owned(),
        ..LogRecord::default()
    }
}

/// One readable line: `GET https://host/path 200 goes on after 60.0 s`. It may hold control bytes.
pub fn progress_line(capture: &Capture) -> String {
    let transaction = &capture.transaction;
    let method = match &transaction.request {
        Some(request) => String::from_utf8_lossy(&request.method),
        None => Cow::Borrowed(REQUEST_NOT_SEEN),
    };
    let status = match (&transaction.response, http::status(transaction)) {
        (Some(_), Some(status)) => Cow::Owned(status.to_string()),
        (Some(_), None) => Cow::Borrowed(STATUS_UNKNOWN),
        (None, _) => Cow::Borrowed(NO_RESPONSE),
    };
    let url = url(&http::web(capture));
    let seconds = transaction.timing.end.since(transaction.timing.start) as f64 / 1e9;
    let space = if url.is_empty() { "" } else { " " };
    format!("{method}{space}{url} {status} goes on after {seconds:.1} s")
}
