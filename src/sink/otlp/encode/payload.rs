//! What became of payloads, as a log record.

use super::attributes::{Attributes, OF_LOG_RECORD};
use super::http::Severity;
use super::{names, unix_nanos};
use crate::sink::{PayloadEvent, PayloadFate, PayloadStatus};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use std::time::SystemTime;

/// The log record of an event, as observed at `observed`, as a message of protobuf behind what is
/// in `out`.
pub fn payload_event(out: Vec<u8>, event: &PayloadEvent, observed: SystemTime) -> Vec<u8> {
    let mut list = Attributes::of(OF_LOG_RECORD, out);
    list.maybe_text(names::TRANSACTION_ID, event.transaction.as_deref());
    list.maybe_text(names::PAYLOAD_URL, event.url.as_deref());
    list.maybe_text(names::PAYLOAD_DIGEST, event.digest.as_deref());
    if let Some(size) = event.size {
        list.int(names::PAYLOAD_SIZE, size);
    }
    let (name, severity, body) = match event.fate {
        PayloadFate::Stored { transactions } => {
            list.text(names::PAYLOAD_STATUS, PayloadStatus::Stored.name());
            list.int(names::PAYLOAD_TRANSACTIONS, transactions);
            let body = match transactions {
                1 => "a payload is stored".to_owned(),
                many => format!("{many} payloads are stored"),
            };
            (names::PAYLOAD_STORED_EVENT, Severity::Info, body)
        }
        PayloadFate::Lost(reason) => {
            list.text(names::PAYLOAD_STATUS, PayloadStatus::Lost.name());
            list.text(names::PAYLOAD_REASON, reason.name());
            let body = format!("a payload is lost: {}", reason.name());
            (names::PAYLOAD_LOST_EVENT, Severity::Warn, body)
        }
    };
    let (trace_id, span_id) = match &event.span {
        Some((trace_id, span_id)) => (trace_id.to_vec(), span_id.to_vec()),
        None => Default::default(),
    };
    let frame = LogRecord {
        time_unix_nano: unix_nanos(event.time),
        observed_time_unix_nano: unix_nanos(observed),
        severity_number: severity as i32,
        body: Some(AnyValue {
            value: Some(Value::StringValue(body)),
        }),
        trace_id,
        span_id,
        event_name: name.to_owned(),
        ..LogRecord::default()
    };
    let mut out = list.into_bytes();
    // Fields may stand in any order.
    frame.encode(&mut out).expect("a Vec takes all");
    out
}
