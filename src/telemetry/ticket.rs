//! Tickets: each stands for one transaction, or one report of one, from the moment it is seen to its end.

use super::ledger::{Ledger, LeftOut, Lost, Snapshot, Transactions};
use std::sync::{Arc, Mutex, PoisonError};

/// What a ticket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Book {
    Transactions,
    Progress,
}

impl Book {
    pub fn page(self, counts: &mut Snapshot) -> &mut Transactions {
        match self {
            Book::Transactions => &mut counts.transactions,
            Book::Progress => &mut counts.progress,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Exported,
    LeftOut(LeftOut),
    Lost(Lost),
}

impl Transactions {
    /// Where those are counted that came to this end.
    pub(super) fn at(&mut self, end: End) -> &mut u64 {
        match end {
            End::Exported => &mut self.exported,
            End::LeftOut(LeftOut::LevelNone) => &mut self.left_out.level_none,
            End::LeftOut(LeftOut::Filtered) => &mut self.left_out.filtered,
            End::LeftOut(LeftOut::SampledOut) => &mut self.left_out.sampled_out,
            End::LeftOut(LeftOut::RateLimited) => &mut self.left_out.rate_limited,
            End::LeftOut(LeftOut::SdkTraced) => &mut self.left_out.sdk_traced,
            End::LeftOut(LeftOut::Unsampled) => &mut self.left_out.unsampled,
            End::LeftOut(LeftOut::CpuBudget) => &mut self.left_out.cpu_budget,
            End::Lost(Lost::RingFull) => &mut self.lost.ring_full,
            End::Lost(Lost::Evicted) => &mut self.lost.evicted,
            End::Lost(Lost::StreamsFull) => &mut self.lost.streams_full,
            End::Lost(Lost::PipelineFull) => &mut self.lost.pipeline_full,
            End::Lost(Lost::Unparsable) => &mut self.lost.unparsable,
            End::Lost(Lost::QueueFull) => &mut self.lost.queue_full,
            End::Lost(Lost::Rejected) => &mut self.lost.rejected,
            End::Lost(Lost::RetryExhausted) => &mut self.lost.retry_exhausted,
            End::Lost(Lost::SpoolFull) => &mut self.lost.spool_full,
            End::Lost(Lost::Shutdown) => &mut self.lost.shutdown,
        }
    }
}

/// One transaction, or one report of one, in flight. Dropped without an end it counts as `lost.shutdown`.
#[must_use]
pub struct Ticket {
    ledger: Ledger,
    book: Book,
    settled: bool,
}

impl Ticket {
    pub(super) fn new(ledger: Ledger, book: Book) -> Ticket {
        Ticket {
            ledger,
            book,
            settled: false,
        }
    }

    /// Left out on purpose.
    pub fn left_out(mut self, reason: LeftOut) {
        self.end(End::LeftOut(reason));
    }

    /// Lost.
    pub fn lost(mut self, reason: Lost) {
        self.end(End::Lost(reason));
    }

    /// Every signal that is on took it.
    pub fn exported(mut self) {
        self.end(End::Exported);
    }

    /// Splits the ticket among the signals that have to take the transaction: it is exported when all of them took it,
    /// and lost for the first reason given where one did not.
    pub fn shared(self) -> SharedTicket {
        SharedTicket {
            share: Some(Arc::new(Share {
                ticket: Mutex::new(Some(self)),
                lost: Mutex::new(None),
            })),
            ended: false,
        }
    }

    fn end(&mut self, end: End) {
        self.settled = true;
        self.ledger.settle_all(&[(self.book, end, 1)]);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.end(End::Lost(Lost::Shutdown));
        }
    }
}

/// A ticket held by several signals. The last one to let go settles it. One that is dropped without an end
/// counts as `lost.shutdown`, as a [`Ticket`] does.
#[must_use]
pub struct SharedTicket {
    /// None: it was let go.
    share: Option<Arc<Share>>,
    ended: bool,
}

struct Share {
    ticket: Mutex<Option<Ticket>>,
    lost: Mutex<Option<Lost>>,
}

impl Share {
    fn ticket(&mut self) -> Option<Ticket> {
        let ticket = self.ticket.get_mut();
        ticket.unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lost(&mut self) -> Option<Lost> {
        let lost = self.lost.get_mut();
        lost.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Clone for SharedTicket {
    fn clone(&self) -> Self {
        SharedTicket {
            share: self.share.clone(),
            ended: false,
        }
    }
}

impl SharedTicket {
    /// This signal did not take the transaction.
    pub fn lost(mut self, reason: Lost) {
        self.end(Some(reason));
    }

    /// This signal took the transaction.
    pub fn taken(mut self) {
        self.end(None);
    }

    /// All of these were taken, or lost for this reason: as one by one, with the ledger's lock taken once for all.
    pub fn end_all(tickets: impl IntoIterator<Item = SharedTicket>, reason: Option<Lost>) {
        let mut settled: Option<Settled> = None;
        for ticket in tickets {
            let Some((ticket, lost)) = ticket.let_go(reason) else {
                continue;
            };
            let all = settled.get_or_insert_with(|| Settled::new(ticket.ledger.clone()));
            all.add(ticket, lost);
        }
    }

    /// The ticket, where nobody else holds it any more, and why it was lost where it was.
    fn let_go(mut self, reason: Option<Lost>) -> Option<(Ticket, Option<Lost>)> {
        self.end(reason);
        let share = self.share.take()?;
        let mut share = Arc::into_inner(share)?;
        Some((share.ticket()?, share.lost()))
    }

    fn end(&mut self, reason: Option<Lost>) {
        self.ended = true;
        if let (Some(reason), Some(share)) = (reason, &self.share) {
            let mut lost = share.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.get_or_insert(reason);
        }
    }
}

/// Tickets that came to their end together; told to the ledger when dropped.
struct Settled {
    ledger: Ledger,
    ends: Vec<(Book, End, u64)>,
}

impl Settled {
    fn new(ledger: Ledger) -> Self {
        Settled {
            ledger,
            ends: Vec::new(),
        }
    }

    fn add(&mut self, mut ticket: Ticket, lost: Option<Lost>) {
        ticket.settled = true;
        let end = lost.map_or(End::Exported, End::Lost);
        let same = |(book, other, _): &&mut (Book, End, u64)| *book == ticket.book && *other == end;
        match self.ends.iter_mut().find(same) {
            Some((_, _, count)) => *count += 1,
            None => self.ends.push((ticket.book, end, 1)),
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        self.ledger.settle_all(&self.ends);
    }
}

impl Drop for SharedTicket {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(Lost::Shutdown));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        match (self.ticket(), self.lost()) {
            (Some(ticket), Some(reason)) => ticket.lost(reason),
            (Some(ticket), None) => ticket.exported(),
            (None, _) => {}
        }
    }
}
