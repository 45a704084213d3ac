//! The ledger: where each transaction, signal, payload, connection and byte went.
//!
//! Each number changes together with its counterpart under one lock, so that every snapshot balances.
//! A [`Ticket`] stands for one transaction between "seen" and its end: a ticket that is dropped counts as
//! `lost.shutdown`, so nothing can vanish by forgetting it.

use super::ticket::{Book, End};
use crate::metrics::Overflow;
use crate::sampling::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use super::ticket::{SharedTicket, Ticket};

/// Why a transaction was left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftOut {
    LevelNone,
    Filtered,
    SampledOut,
    RateLimited,
    SdkTraced,
    Unsampled,
}

/// Why a transaction, or one of its signals, was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// The kernel's ring had no room: raise `limits.ring`.
    RingFull,
    /// Connection state was given up to stay within the memory of `limits`: raise `limits.memory` or
    /// `limits.connection_memory`.
    Evicted,
    /// More streams were open at once on an HTTP/2 connection than are followed: the oldest is given up. A peer that
    /// opens that many does not mean well, or takes no limit from the other one.
    StreamsFull,
    /// More requests waited for their responses on one HTTP/1 connection than are followed. A client that pipelines that
    /// many does not mean well.
    PipelineFull,
    /// Not understood as HTTP in the middle of a connection.
    Unparsable,
    /// A destination's queue was full: it is too slow, or down for too long.
    QueueFull,
    /// The destination refused it for good.
    Rejected,
    /// The destination could not be reached for as long as retries go on.
    RetryExhausted,
    /// The spool had no room.
    SpoolFull,
    /// The agent stopped first.
    Shutdown,
}

/// Why items of a signal were lost after a spool took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpoolLost {
    /// They were there for longer than `spool.max_age`.
    Expired,
    /// What the spool had of them was damaged.
    Corrupt,
}

/// Why a payload was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadLost {
    /// The store is too slow, or down for too long.
    QueueFull,
    /// The store refused it or could not be reached.
    StoreFailed,
    /// Larger than one object may be.
    TooLarge,
    /// The agent stopped first.
    Shutdown,
}

/// Why a connection gave no transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Uncaptured {
    /// TLS that began before the agent, or before its library was found.
    AttachedLate,
    /// TLS of a library that is not known.
    UnknownStack,
    Filtered,
    /// No HTTP in its first bytes.
    NotHttp,
    /// Its level could only be `none`, so nothing of it was copied.
    LevelNone,
    /// HTTP/2 of whose streams nothing could be told: none was opened, or their frames or fields were not understood.
    Http2,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransactionsLeftOut {
    pub level_none: u64,
    pub filtered: u64,
    pub sampled_out: u64,
    pub rate_limited: u64,
    pub sdk_traced: u64,
    pub unsampled: u64,
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
    pub too_large: u64,
    pub shutdown: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Payloads {
    pub wanted: u64,
    pub stored: u64,
    pub deduplicated: u64,
    pub in_flight: u64,
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

/// Shared handle to the counts.
#[derive(Clone, Default)]
pub struct Ledger {
    counts: Arc<Mutex<Snapshot>>,
}

impl Ledger {
    pub fn new() -> Self {
        Ledger::default()
    }

    // A panic elsewhere must not take the books away: the numbers themselves are always whole.
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All counts at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.lock().clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        for spool in snapshot.spools.values_mut() {
            if spool.oldest_unix_seconds > 0 {
                spool.oldest_age_seconds = now.saturating_sub(spool.oldest_unix_seconds);
            }
        }
        snapshot
    }

    /// A transaction was seen: it is in flight until its ticket is settled.
    pub fn transaction_seen(&self) -> Ticket {
        self.ticket(Book::Transactions)
    }

    /// A transaction that lasts reports: the report is in flight until its ticket is settled.
    pub fn progress_seen(&self) -> Ticket {
        self.ticket(Book::Progress)
    }

    fn ticket(&self, book: Book) -> Ticket {
        let mut counts = self.lock();
        let page = book.page(&mut counts);
        page.seen += 1;
        page.in_flight += 1;
        drop(counts);
        Ticket::new(self.clone(), book)
    }

    /// Of a transaction that was seen, a header section was larger than is read.
    pub fn headers_cut(&self) {
        self.lock().transactions.marked.headers_cut += 1;
    }

    pub(super) fn settle(&self, book: Book, end: End) {
        let mut counts = self.lock();
        let t = book.page(&mut counts);
        t.in_flight -= 1;
        *match end {
            End::Exported => &mut t.exported,
            End::LeftOut(LeftOut::LevelNone) => &mut t.left_out.level_none,
            End::LeftOut(LeftOut::Filtered) => &mut t.left_out.filtered,
            End::LeftOut(LeftOut::SampledOut) => &mut t.left_out.sampled_out,
            End::LeftOut(LeftOut::RateLimited) => &mut t.left_out.rate_limited,
            End::LeftOut(LeftOut::SdkTraced) => &mut t.left_out.sdk_traced,
            End::LeftOut(LeftOut::Unsampled) => &mut t.left_out.unsampled,
            End::Lost(Lost::RingFull) => &mut t.lost.ring_full,
            End::Lost(Lost::Evicted) => &mut t.lost.evicted,
            End::Lost(Lost::StreamsFull) => &mut t.lost.streams_full,
            End::Lost(Lost::PipelineFull) => &mut t.lost.pipeline_full,
            End::Lost(Lost::Unparsable) => &mut t.lost.unparsable,
            End::Lost(Lost::QueueFull) => &mut t.lost.queue_full,
            End::Lost(Lost::Rejected) => &mut t.lost.rejected,
            End::Lost(Lost::RetryExhausted) => &mut t.lost.retry_exhausted,
            End::Lost(Lost::SpoolFull) => &mut t.lost.spool_full,
            End::Lost(Lost::Shutdown) => &mut t.lost.shutdown,
        } += 1;
    }

    /// `count` items were offered to signal `name` (`STORE/SIGNAL`) and are in flight there.
    pub fn signal_offered(&self, name: &str, count: u64) {
        let mut counts = self.lock();
        let signal = signal(&mut counts, name);
        signal.offered += count;
        signal.in_flight += count;
    }

    /// `count` items in flight at signal `name` were taken by the destination.
    pub fn signal_exported(&self, name: &str, count: u64) {
        let mut counts = self.lock();
        let signal = signal(&mut counts, name);
        signal.in_flight -= count;
        signal.exported += count;
    }

    /// `count` items in flight at signal `name` are lost.
    pub fn signal_lost(&self, name: &str, reason: Lost, count: u64) {
        let mut counts = self.lock();
        let signal = signal(&mut counts, name);
        signal.in_flight -= count;
        *match reason {
            Lost::QueueFull => &mut signal.lost.queue_full,
            Lost::Rejected => &mut signal.lost.rejected,
            Lost::RetryExhausted => &mut signal.lost.retry_exhausted,
            Lost::SpoolFull => &mut signal.lost.spool_full,
            // The others happen before a signal exists.
            Lost::Shutdown
            | Lost::RingFull
            | Lost::Evicted
            | Lost::StreamsFull
            | Lost::PipelineFull
            | Lost::Unparsable => &mut signal.lost.shutdown,
        } += count;
    }

    /// `count` items in flight in the spool of signal `name` are lost.
    pub fn signal_lost_in_spool(&self, name: &str, reason: SpoolLost, count: u64) {
        let mut counts = self.lock();
        let signal = signal(&mut counts, name);
        signal.in_flight -= count;
        *match reason {
            SpoolLost::Expired => &mut signal.lost.spool_expired,
            SpoolLost::Corrupt => &mut signal.lost.spool_corrupt,
        } += count;
    }

    /// What waits in the spool of signal `name` now.
    pub fn set_spool(&self, name: &str, spool: Spool) {
        let mut counts = self.lock();
        match counts.spools.get_mut(name) {
            Some(known) => *known = spool,
            None => {
                counts.spools.insert(name.to_owned(), spool);
            }
        }
    }

    /// What was said last of the spool of signal `name`.
    pub fn spool(&self, name: &str) -> Spool {
        self.lock().spools.get(name).cloned().unwrap_or_default()
    }

    /// A payload is wanted and in flight.
    pub fn payload_wanted(&self) {
        let mut counts = self.lock();
        counts.payloads.wanted += 1;
        counts.payloads.in_flight += 1;
    }

    /// A payload in flight is stored; `deduplicated`: the store had it already.
    pub fn payload_stored(&self, deduplicated: bool) {
        let mut counts = self.lock();
        counts.payloads.in_flight -= 1;
        counts.payloads.stored += 1;
        counts.payloads.deduplicated += u64::from(deduplicated);
    }

    /// A payload in flight is lost.
    pub fn payload_lost(&self, reason: PayloadLost) {
        let mut counts = self.lock();
        counts.payloads.in_flight -= 1;
        *match reason {
            PayloadLost::QueueFull => &mut counts.payloads.lost.queue_full,
            PayloadLost::StoreFailed => &mut counts.payloads.lost.store_failed,
            PayloadLost::TooLarge => &mut counts.payloads.lost.too_large,
            PayloadLost::Shutdown => &mut counts.payloads.lost.shutdown,
        } += 1;
    }

    /// A connection did its first I/O.
    pub fn connection_seen(&self) {
        let mut counts = self.lock();
        counts.connections.seen += 1;
        counts.connections.open += 1;
    }

    /// An open connection gave its first transaction.
    pub fn connection_captured(&self) {
        let mut counts = self.lock();
        counts.connections.open -= 1;
        counts.connections.captured += 1;
    }

    /// An open connection ended without a transaction.
    pub fn connection_uncaptured(&self, reason: Uncaptured) {
        let mut counts = self.lock();
        counts.connections.open -= 1;
        let u = &mut counts.connections.uncaptured;
        *match reason {
            Uncaptured::AttachedLate => &mut u.attached_late,
            Uncaptured::UnknownStack => &mut u.unknown_stack,
            Uncaptured::Filtered => &mut u.filtered,
            Uncaptured::NotHttp => &mut u.not_http,
            Uncaptured::LevelNone => &mut u.level_none,
            Uncaptured::Http2 => &mut u.http2,
        } += 1;
    }

    /// The kernel's own counters, as read last. They only grow.
    pub fn set_kernel(&self, bytes: Bytes, capture: Capture) {
        let mut counts = self.lock();
        let (undecodable, not_told) = (
            counts.capture.events_undecodable,
            counts.capture.policies_not_told,
        );
        counts.bytes = bytes;
        counts.capture = Capture {
            events_undecodable: undecodable,
            policies_not_told: not_told,
            ..capture
        };
    }

    /// A record in a ring did not have the shape of an event.
    pub fn event_undecodable(&self) {
        self.lock().capture.events_undecodable += 1;
    }

    /// A map of the kernel programs did not take a policy.
    pub fn policy_not_told(&self) {
        self.lock().capture.policies_not_told += 1;
    }

    /// What sampling made of a transaction.
    pub fn sampled(&self, outcome: Outcome) {
        let mut counts = self.lock();
        let sampled = &mut counts.sampling;
        sampled.asked += 1;
        *match outcome {
            Outcome::Always => &mut sampled.always_kept,
            Outcome::Kept(_) => &mut sampled.kept,
            Outcome::LeftOut(LeftOut::RateLimited) => &mut sampled.left_out.rate_limited,
            Outcome::LeftOut(_) => &mut sampled.left_out.sampled_out,
        } += 1;
    }

    /// Some of the bodies that an output gets were left out.
    pub fn bodies_left_out(&self, left_out: BodiesLeftOut) {
        if left_out != BodiesLeftOut::default() {
            let counts = &mut self.lock().bodies.left_out;
            counts.content_type += left_out.content_type;
            counts.max_bytes += left_out.max_bytes;
        }
    }

    /// Metrics count a transaction.
    pub fn measured(&self, overflow: Overflow) {
        let counts = &mut self.lock().metrics;
        counts.transactions += 1;
        counts.overflow.series += u64::from(overflow.series);
        counts.overflow.processes += u64::from(overflow.process);
    }

    /// `count` values were redacted by the matcher `name`.
    pub fn redacted(&self, name: &str, count: u64) {
        let mut counts = self.lock();
        if let Some(n) = counts.redacted.get_mut(name) {
            *n += count;
        } else {
            counts.redacted.insert(name.to_owned(), count);
        }
    }
}

fn signal<'a>(counts: &'a mut Snapshot, name: &str) -> &'a mut Signal {
    // Two look-ups instead of `entry`: no allocation where the signal is known.
    if !counts.signals.contains_key(name) {
        counts.signals.insert(name.to_owned(), Signal::default());
    }
    counts
        .signals
        .get_mut(name)
        .expect("inserted above where it was absent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_ticket_is_a_counted_loss() {
        let ledger = Ledger::new();
        drop(ledger.transaction_seen());
        let s = ledger.snapshot();
        assert_eq!((s.transactions.lost.shutdown, s.imbalance()), (1, 0));
    }

    #[test]
    fn exported_when_all_signals_took_it_lost_when_one_did_not() {
        let ledger = Ledger::new();
        let a = ledger.transaction_seen().shared();
        let b = a.clone();
        a.taken();
        assert_eq!(ledger.snapshot().transactions.in_flight, 1);
        b.taken();
        let c = ledger.transaction_seen().shared();
        let d = c.clone();
        c.lost(Lost::QueueFull);
        d.taken();
        let t = ledger.snapshot().transactions;
        assert_eq!((t.seen, t.exported, t.lost.queue_full), (2, 1, 1));
        assert_eq!(ledger.snapshot().imbalance(), 0);
    }

    #[test]
    fn a_forgotten_share_is_a_counted_loss() {
        let ledger = Ledger::new();
        let a = ledger.transaction_seen().shared();
        drop(a.clone());
        a.taken();
        assert_eq!(ledger.snapshot().transactions.lost.shutdown, 1);
    }

    #[test]
    fn reports_of_transactions_have_books_of_their_own() {
        let ledger = Ledger::new();
        ledger.transaction_seen().exported();
        ledger.progress_seen().shared().lost(Lost::QueueFull);
        drop(ledger.progress_seen());
        let s = ledger.snapshot();
        assert_eq!((s.transactions.seen, s.transactions.exported), (1, 1));
        let lost = &s.progress.lost;
        assert_eq!((s.progress.seen, lost.queue_full, lost.shutdown), (2, 1, 1));
        assert_eq!((s.imbalance(), s.progress.imbalance()), (0, 0));
    }

    #[test]
    fn a_signal_balances() {
        let ledger = Ledger::new();
        ledger.signal_offered("c/traces", 3);
        ledger.signal_exported("c/traces", 1);
        ledger.signal_lost("c/traces", Lost::Rejected, 2);
        let s = &ledger.snapshot().signals["c/traces"];
        assert_eq!((s.offered, s.exported, s.in_flight), (3, 1, 0));
        assert_eq!(s.lost.rejected, 2);
    }
}
