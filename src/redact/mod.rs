//! Redaction: the only way from captured bytes to a sink.
//!
//! Enters: a raw transaction, its level, the policy. Leaves: a [`Redacted`] capture.
//! Holds: a [`Redacted`] is made here and nowhere else, and sinks take nothing but [`Redacted`]; what the level does not
//! keep is removed here, so no sink can leak it; raw values have no `Debug` and no serialisation.

use crate::enrich::Process;
use crate::rules::Decision;
use crate::transaction::{TraceContext, Transaction};
use std::sync::Arc;
use std::time::SystemTime;

/// Something as captured: may hold secrets. It can be looked at inside the crate, and leaves it through redaction only.
pub struct Raw<T>(pub(crate) T);

impl<T> Raw<T> {
    /// Marks `value` as captured and not redacted.
    pub fn new(value: T) -> Self {
        Raw(value)
    }
}

/// A transaction with all that sinks need, redacted and cut down to its level.
///
/// The field is private to this module: nothing else can make one.
pub struct Redacted(Capture);

/// One transaction as it leaves the pipeline.
#[derive(Clone)]
pub struct Capture {
    /// 32 hex digits, random; joins span, log record and payload.
    pub id: String,
    pub transaction: Transaction,
    pub process: Arc<Process>,
    pub decision: Decision,
    /// Wall-clock times of `transaction.timing`.
    pub start: SystemTime,
    pub end: SystemTime,
    /// Trace and span id of the span that stands for this transaction.
    pub ids: SpanIds,
    /// What the attributes of every level need of the headers, taken before the level's cut.
    pub facts: Facts,
}

/// What span, log record and payload say at every level that is found in headers only. Redacted; where a rule masks the
/// header, the value here is the mask too. Bytes that are not UTF-8 became U+FFFD.
///
/// Request headers unless the name says otherwise. The first field line of a name counts; `headers_include` and
/// `headers_exclude` do not touch these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `Host` (`:authority` in HTTP/2), port included, without user info.
    pub host: Option<String>,
    /// `Forwarded` (RFC 7239), all lines joined with `, `.
    pub forwarded: Option<String>,
    pub x_forwarded_proto: Option<String>,
    pub x_forwarded_host: Option<String>,
    pub x_forwarded_port: Option<String>,
    /// All lines joined with `, `.
    pub x_forwarded_for: Option<String>,
    pub user_agent: Option<String>,
    pub request_content_type: Option<String>,
    pub request_content_encoding: Option<String>,
    pub response_content_type: Option<String>,
    pub response_content_encoding: Option<String>,
}

/// Ids of a span, and its parent where the request named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanIds {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent_span_id: Option<[u8; 8]>,
    /// W3C flags of the span's own context.
    pub flags: u8,
    pub tracestate: String,
    /// A context to link to, where policy does not adopt it as the parent.
    pub link: Option<TraceContext>,
}

#[cfg(test)]
impl Redacted {
    /// A capture as it is, for tests of what comes after redaction.
    pub(crate) fn for_test(capture: Capture) -> Self {
        Redacted(capture)
    }
}

impl std::ops::Deref for Redacted {
    type Target = Capture;

    fn deref(&self) -> &Capture {
        &self.0
    }
}
