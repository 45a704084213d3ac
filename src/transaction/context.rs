//! Trace context in request headers: W3C `traceparent`/`tracestate` (level 2) and B3.

/// Which header a trace context came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceContextSource {
    W3c,
    B3,
}

/// A remote parent, as a request carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Never all zeros.
    pub trace_id: [u8; 16],
    /// Never all zeros.
    pub span_id: [u8; 8],
    /// W3C flags: 0x01 sampled, 0x02 random trace id.
    pub flags: u8,
    /// `tracestate` lines joined with commas; empty where there is none.
    pub tracestate: String,
    pub source: TraceContextSource,
}
