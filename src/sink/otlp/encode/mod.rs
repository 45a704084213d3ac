//! Captures as OTLP messages.
//!
//! Enters: a redacted capture and where its payload is. Leaves: a span, a log record, a resource.
//! Holds: pure; the same input gives the same message. Headers are there from level `headers` on, and no value is
//! longer than [`names::MAX_VALUE`] bytes.

mod attributes;
mod common;
pub mod grpc;
mod http;
mod log;
mod metrics;
pub mod names;
mod payload;
mod progress;
mod resource;
mod span;
mod target;
#[cfg(test)]
mod tests;
pub(super) mod wire;

pub use attributes::Attributes;
pub use common::Common;
pub use http::{
    KnownMethods, OTHER as OTHER_METHOD, Outcome, Severity, Web, origin, outcome,
    status as status_code, web,
};
pub use log::{REQUEST_NOT_SEEN, line, log_record, log_record_bytes, status, url};
pub use metrics::{points, resource_metrics};
pub use payload::payload_event;
pub use progress::{progress_line, progress_record};
pub use resource::{resource, scope};
pub use span::{attributes, span, span_bytes};

use std::time::{SystemTime, UNIX_EPOCH};

/// What encoding depends on beside the capture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    pub known_methods: KnownMethods,
}

/// Nanoseconds since 1970; 0 before, the greatest number after 2554.
pub fn unix_nanos(time: SystemTime) -> u64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => u64::try_from(after.as_nanos()).unwrap_or(u64::MAX),
        Err(_) => 0,
    }
}
