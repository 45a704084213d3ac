//! The numbers of the ledger as they are shown: plain counts, and what must hold between them.

use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransactionsLeftOut {
    pub level_none: u64,
    pub filtered: u64,
    pub sampled_out: u64,
    pub rate_limited: u64,
    pub sdk_traced: u64,
    pub unsampled: u64,
    pub cpu_budget: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransactionsLost {
    pub ring_full: u64,
    pub evicted: u64,
    pub streams_full: u64,
    pub pipeline_full: u64,
    pub unparsable: u64,
    pub queue_full: u64,
    pub rejected: u64,
    pub retry_exhausted: u64,
    pub spool_full: u64,
    pub shutdown: u64,
}

/// Transactions among those seen of which a part was left out at a bound of the parsers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransactionsMarked {
    /// A header section held more bytes, more fields, or a larger HPACK string or table than is read.
    pub headers_cut: u64,
    /// Of a lower level than was wanted, to stay within the CPU budget.
    pub cpu_lowered: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Transactions {
    pub seen: u64,
    pub exported: u64,
    pub in_flight: u64,
    pub left_out: TransactionsLeftOut,
    pub lost: TransactionsLost,
    pub marked: TransactionsMarked,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SignalLost {
    pub queue_full: u64,
    pub rejected: u64,
    pub retry_exhausted: u64,
    pub spool_full: u64,
    pub spool_expired: u64,
    pub spool_corrupt: u64,
    pub shutdown: u64,
}

/// One signal of one store, by the name `STORE/SIGNAL`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Signal {
    pub offered: u64,
    pub exported: u64,
    pub in_flight: u64,
    pub lost: SignalLost,
}

/// What waits in the spool of one signal of one store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Spool {
    pub folder: String,
    pub batches: u64,
    /// Spans, or log records of transactions: in flight in the books of the signal.
    pub items: u64,
    /// Log records of transactions that last: in flight in the books of `STORE/progress`.
    pub progress: u64,
    /// On disk; those of batches that were sent go with the file that they are in.
    pub bytes: u64,
    /// When the oldest batch came, seconds since 1970; 0: there is none.
    pub oldest_unix_seconds: u64,
    /// How long ago that is.
    pub oldest_age_seconds: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConnectionsUncaptured {
    pub attached_late: u64,
    pub unknown_stack: u64,
    pub filtered: u64,
    pub not_http: u64,
    pub level_none: u64,
    pub http2: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    pub seen: u64,
    pub captured: u64,
    pub open: u64,
    pub uncaptured: ConnectionsUncaptured,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PayloadsLeftOut {
    pub lowered: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PayloadsLost {
    pub queue_full: u64,
    pub store_failed: u64,
    pub store_refused: u64,
    pub store_full: u64,
    pub too_large: u64,
    pub spool_full: u64,
    pub spool_expired: u64,
    pub spool_corrupt: u64,
    pub shutdown: u64,
}

/// Objects that a local store removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PayloadsRemoved {
    pub max_bytes: u64,
    pub max_age: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Payloads {
    pub wanted: u64,
    pub stored: u64,
    pub deduplicated: u64,
    pub in_flight: u64,
    /// Bodies that their segment had already, and their bytes.
    pub bodies_shared: u64,
    pub bytes_saved: u64,
    pub removed: PayloadsRemoved,
    /// Room on the disk that this made.
    pub removed_bytes: u64,
    pub left_out: PayloadsLeftOut,
    pub lost: PayloadsLost,
}

/// What became of transactions at sampling: a line of `access_logs` or a summary may still have been written of those
/// that it left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sampled {
    pub asked: u64,
    /// By a `keep` rule.
    pub always_kept: u64,
    pub kept: u64,
    pub left_out: SampledLeftOut,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SampledLeftOut {
    pub sampled_out: u64,
    pub rate_limited: u64,
}

/// Bodies, and messages of one side of a WebSocket, that level full keeps for an output. One that goes to two outputs
/// counts for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bodies {
    pub left_out: BodiesLeftOut,
}

/// Those of which some or all was left out, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BodiesLeftOut {
    /// All of it: its media type is not among `bodies.content_types`.
    pub content_type: u64,
    /// What is behind `bodies.max_bytes`, or `max_bytes` of the rule.
    pub max_bytes: u64,
}

/// Transactions that metrics count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Measured {
    pub transactions: u64,
    /// Of these, counted without their attributes, or not for their process, by why.
    pub overflow: MeasuredOverflow,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MeasuredOverflow {
    /// There are too many attribute sets: counted under `otel.metric.overflow`.
    pub series: u64,
    /// There are too many processes: counted for the service alone.
    pub processes: u64,
    /// Values of headers that are attributes, counted as `_OTHER`: there are too many of them.
    pub values: u64,
    /// There are too many routes by guess: counted, and shown, without one.
    pub routes: u64,
}

/// What trace contexts did to spans. Of a transaction that reports before its end each report counts too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Traces {
    /// Transactions that make no span; the event and the payload leave all the same.
    pub no_span: NoSpan,
    /// Contexts that became a link and no parent, but for policy `link`.
    pub linked: Linked,
    /// Clients' spans for which the request was found that they were made for.
    pub inferred: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NoSpan {
    /// Its process makes spans of its own.
    pub sdk_traced: u64,
    /// The caller keeps no span of this trace.
    pub unsampled: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Linked {
    /// The peer is among `tap.trace.untrusted`.
    pub untrusted: u64,
    /// It was the parent of `tap.trace.adopt_max` requests, or for `adopt_age`.
    pub capped: u64,
    /// More than one `traceparent` stood there.
    pub repeated: u64,
    /// CONNECT: what goes through is of many callers.
    pub tunnel: u64,
}

/// Plaintext bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    pub seen: u64,
    pub copied: u64,
    pub skipped_on_purpose: u64,
    /// `skipped_on_purpose` by reason.
    pub skipped: BytesSkipped,
    pub lost: u64,
}

/// Why plaintext bytes were not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BytesSkipped {
    /// Content, where no level that can come out keeps bodies.
    pub content: u64,
    /// Of processes and connections for which no level but `none` can come out.
    pub level_none: u64,
    /// Where no level that can come out keeps bodies: of a stream whose messages the kernel programs cannot follow, what
    /// is beyond 64 KiB in one direction without a turn.
    pub unfollowed: u64,
    /// Without a buffer that can be read (`sendfile`), or beyond what is copied of one operation.
    pub unseen: u64,
}

/// Losses and faults that no transaction can be named for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Capture {
    pub data_events_lost: u64,
    pub control_events_lost: u64,
    pub connections_not_tracked: u64,
    pub tls_sessions_not_tracked: u64,
    pub user_memory_faults: u64,
    pub tls_calls_not_followed: u64,
    pub tls_sessions_rebound: u64,
    pub tls_sessions_doubted: u64,
    pub events_undecodable: u64,
    /// The kernel programs could not be told what of a process or connection is wanted: more of it is copied, or less
    /// taken back, than could be.
    pub policies_not_told: u64,
}

/// Values that redaction replaced, by the name of the matcher.
pub type RedactedValues = BTreeMap<String, u64>;

/// All counts at one moment. Serialises to the JSON of `/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub transactions: Transactions,
    /// Reports of transactions that last, by the same reasons; none of them is a transaction.
    pub progress: Transactions,
    pub signals: BTreeMap<String, Signal>,
    /// By the name of the signal.
    pub spools: BTreeMap<String, Spool>,
    pub connections: Connections,
    pub payloads: Payloads,
    pub sampling: Sampled,
    pub bodies: Bodies,
    pub metrics: Measured,
    pub traces: Traces,
    pub bytes: Bytes,
    pub capture: Capture,
    pub redacted: RedactedValues,
}

impl Snapshot {
    /// `seen - (exported + in_flight + left_out + lost)` of transactions; 0 where the books balance.
    pub fn imbalance(&self) -> i128 {
        self.transactions.imbalance()
    }
}

impl Transactions {
    /// `seen - (exported + in_flight + left_out + lost)`; 0 where the books balance.
    pub fn imbalance(&self) -> i128 {
        let t = self;
        let (o, l) = (&t.left_out, &t.lost);
        let gone = [
            t.exported,
            t.in_flight,
            o.level_none,
            o.filtered,
            o.sampled_out,
            o.rate_limited,
            o.sdk_traced,
            o.unsampled,
            l.ring_full,
            l.evicted,
            l.streams_full,
            l.pipeline_full,
            l.unparsable,
            l.queue_full,
            l.rejected,
            l.retry_exhausted,
            l.spool_full,
            l.shutdown,
        ];
        i128::from(t.seen) - gone.iter().map(|n| i128::from(*n)).sum::<i128>()
    }
}
