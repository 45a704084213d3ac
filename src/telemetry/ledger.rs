//! The ledger: where each transaction, signal, payload, connection and byte went.
//!
//! Each number changes together with its counterpart under one lock, so that every snapshot balances.
//! A [`Ticket`] stands for one transaction between "seen" and its end: a ticket that is dropped counts as
//! `lost.shutdown`, so nothing can vanish by forgetting it.
//!
//! Here is the handle that counts; [`counts`] has the numbers, [`reasons`] the words.

mod counts;
mod reasons;
#[cfg(test)]
mod tests;

use super::queues::Queues;
use super::ticket::{Book, End};
use crate::metrics::Overflow;
use crate::sampling::Outcome;
use crate::trace::Why;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use super::ticket::{SharedTicket, Ticket};
pub use counts::*;
pub use reasons::*;

/// Shared handle to the counts.
#[derive(Clone, Default)]
pub struct Ledger {
    counts: Arc<Mutex<Snapshot>>,
    queues: Queues,
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

    /// Queues that are shown beside the counts.
    pub fn queues(&self) -> &Queues {
        &self.queues
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

    /// A transaction has a lower level than was wanted, to save CPU.
    pub fn cpu_lowered(&self) {
        self.lock().transactions.marked.cpu_lowered += 1;
    }

    pub(super) fn settle_all(&self, ends: &[(Book, End, u64)]) {
        let mut counts = self.lock();
        for (book, end, count) in ends {
            let page = book.page(&mut counts);
            page.in_flight -= count;
            *page.at(*end) += count;
        }
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

    /// So many bodies of so many bytes were not written again.
    pub fn bodies_shared(&self, bodies: u64, bytes: u64) {
        if bodies > 0 {
            let payloads = &mut self.lock().payloads;
            payloads.bodies_shared += bodies;
            payloads.bytes_saved += bytes;
        }
    }

    /// A local store removed so many objects, which had so many bytes on the disk.
    pub fn payloads_removed(&self, reason: Removed, objects: u64, bytes: u64) {
        if objects > 0 {
            let payloads = &mut self.lock().payloads;
            *match reason {
                Removed::MaxBytes => &mut payloads.removed.max_bytes,
                Removed::MaxAge => &mut payloads.removed.max_age,
            } += objects;
            payloads.removed_bytes += bytes;
        }
    }

    /// A payload in flight is lost.
    pub fn payload_lost(&self, reason: PayloadLost) {
        self.payloads_lost(reason, 1);
    }

    /// So many payloads in flight are lost.
    pub fn payloads_lost(&self, reason: PayloadLost, count: u64) {
        let mut counts = self.lock();
        counts.payloads.in_flight -= count;
        let lost = &mut counts.payloads.lost;
        *match reason {
            PayloadLost::QueueFull => &mut lost.queue_full,
            PayloadLost::StoreFailed => &mut lost.store_failed,
            PayloadLost::StoreRefused => &mut lost.store_refused,
            PayloadLost::StoreFull => &mut lost.store_full,
            PayloadLost::TooLarge => &mut lost.too_large,
            PayloadLost::SpoolFull => &mut lost.spool_full,
            PayloadLost::SpoolExpired => &mut lost.spool_expired,
            PayloadLost::SpoolCorrupt => &mut lost.spool_corrupt,
            PayloadLost::Shutdown => &mut lost.shutdown,
        } += count;
    }

    /// So many payloads of an agent before this one were found, and are in flight.
    pub fn payloads_found(&self, count: u64) {
        let mut counts = self.lock();
        counts.payloads.wanted += count;
        counts.payloads.in_flight += count;
    }

    /// A payload is wanted and left out: its transaction was lowered.
    pub fn payload_lowered(&self) {
        let mut counts = self.lock();
        counts.payloads.wanted += 1;
        counts.payloads.left_out.lowered += 1;
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

    /// A transaction makes no span.
    pub fn no_span(&self, reason: LeftOut) {
        let counts = &mut self.lock().traces.no_span;
        match reason {
            LeftOut::SdkTraced => counts.sdk_traced += 1,
            LeftOut::Unsampled => counts.unsampled += 1,
            // For no other reason than its trace a span alone stays away.
            LeftOut::LevelNone
            | LeftOut::Filtered
            | LeftOut::SampledOut
            | LeftOut::RateLimited
            | LeftOut::CpuBudget => {}
        }
    }

    /// A context is linked to.
    pub fn linked(&self, why: Why) {
        let counts = &mut self.lock().traces.linked;
        match why {
            Why::Policy => {}
            Why::Repeated => counts.repeated += 1,
            Why::Tunnel => counts.tunnel += 1,
            Why::Untrusted => counts.untrusted += 1,
            Why::Capped => counts.capped += 1,
        }
    }

    /// The request was found that a call was made for.
    pub fn inferred(&self) {
        self.lock().traces.inferred += 1;
    }

    /// Metrics count a transaction.
    pub fn measured(&self, overflow: Overflow) {
        let counts = &mut self.lock().metrics;
        counts.transactions += 1;
        counts.overflow.series += u64::from(overflow.series);
        counts.overflow.processes += u64::from(overflow.process);
    }

    /// So many values of headers found no room among the attributes of metrics.
    pub fn values_overflowed(&self, count: u64) {
        self.lock().metrics.overflow.values += count;
    }

    /// A route found no room among those that were guessed.
    pub fn route_overflowed(&self) {
        self.lock().metrics.overflow.routes += 1;
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
