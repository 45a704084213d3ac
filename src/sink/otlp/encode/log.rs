//! A capture as a log record.

use super::attributes::{Attributes, OF_LOG_RECORD, lossy};
use super::common::Common;
use super::http::{self, Web};
use super::{EncodeOptions, names, unix_nanos, wire};
use crate::redact::{Capture, SpanIds};
use crate::sink::PayloadLink;
use crate::transaction::Transaction;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use std::borrow::Cow;
use std::time::SystemTime;

/// What stands in a line for the method of a request that was not seen.
pub const REQUEST_NOT_SEEN: &str = "(request not seen)";

/// Fields of a log record.
mod field {
    pub const TIME: u32 = 1;
    pub const SEVERITY_NUMBER: u32 = 2;
    pub const BODY: u32 = 5;
    pub const FLAGS: u32 = 8;
    pub const TRACE_ID: u32 = 9;
    pub const SPAN_ID: u32 = 10;
    pub const OBSERVED_TIME: u32 = 11;
    pub const EVENT_NAME: u32 = 12;
}
/// Field of `AnyValue`.
const STRING_VALUE: u32 = 1;

/// The log record of a capture, as observed at `observed`. It happened when the transaction ended.
pub fn log_record(
    capture: &Capture,
    link: Option<&PayloadLink>,
    observed: SystemTime,
    options: &EncodeOptions,
) -> LogRecord {
    let bytes = log_record_bytes(Vec::new(), &Common::new(capture, link, options), observed);
    LogRecord::decode(&bytes[..]).expect("what was written here reads back")
}

/// The log record of a capture as a message of protobuf, behind what is in `out`.
pub fn log_record_bytes(out: Vec<u8>, common: &Common<'_>, observed: SystemTime) -> Vec<u8> {
    let Common {
        capture,
        outcome,
        web,
        ..
    } = common;
    let mut list = Attributes::of(OF_LOG_RECORD, out);
    list.extend(&common.alike);
    let mut out = list.into_bytes();
    // Fields may stand in any order.
    wire::fixed64(&mut out, field::TIME, unix_nanos(capture.end));
    wire::fixed64(&mut out, field::OBSERVED_TIME, unix_nanos(observed));
    wire::varint(&mut out, field::SEVERITY_NUMBER, outcome.severity as u64);
    let line = line_of(capture, web);
    wire::begin(&mut out, field::BODY, wire::field_len(line.len()));
    wire::bytes(&mut out, STRING_VALUE, line.as_bytes());
    if capture.ids.flags != 0 {
        wire::fixed32(&mut out, field::FLAGS, capture.ids.flags.into());
    }
    if let Some((trace, span)) = capture.ids.shown() {
        wire::bytes(&mut out, field::TRACE_ID, trace);
        wire::bytes(&mut out, field::SPAN_ID, span);
    }
    wire::bytes(&mut out, field::EVENT_NAME, names::EVENT.as_bytes());
    out
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
    line_of(capture, &http::web(capture))
}

fn line_of(capture: &Capture, web: &Web<'_>) -> String {
    let transaction = &capture.transaction;
    let method = match &transaction.request {
        Some(request) => lossy(&request.method),
        None => Cow::Borrowed(REQUEST_NOT_SEEN),
    };
    let status = status(transaction);
    let url = url(web);
    // Tenths of a millisecond.
    let tenths = (transaction.timing.end.since(transaction.timing.start) + 50_000) / 100_000;
    let mut digits = itoa::Buffer::new();
    let mut line = String::with_capacity(method.len() + url.len() + status.len() + 32);
    line.push_str(&method);
    if !url.is_empty() {
        line.push(' ');
        line.push_str(&url);
    }
    line.push(' ');
    line.push_str(&status);
    line.push(' ');
    line.push_str(digits.format(tenths / 10));
    line.push('.');
    line.push_str(digits.format(tenths % 10));
    line.push_str(" ms");
    line
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
pub fn url(web: &Web<'_>) -> String {
    let mut url = match (web.full(), &web.path) {
        (Some(full), _) => full.into_owned(),
        (None, Some(path)) => match &web.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_string(),
        },
        (None, None) => web.origin.host.as_deref().unwrap_or_default().to_owned(),
    };
    url.truncate(url.floor_char_boundary(names::MAX_VALUE));
    url
}
