//! Tickets: each stands for one transaction, or one report of one, from the moment it is seen to its end.

use super::ledger::{Ledger, LeftOut, Lost, Snapshot, Transactions};
use std::sync::{Arc, Mutex, PoisonError};

/// What a ticket stands for.
#[derive(Debug, Clone, Copy)]
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

pub(super) enum End {
    Exported,
    LeftOut(LeftOut),
    Lost(Lost),
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
            share: Arc::new(Share {
                ticket: Mutex::new(Some(self)),
                lost: Mutex::new(None),
            }),
            ended: false,
        }
    }

    fn end(&mut self, end: End) {
        self.settled = true;
        self.ledger.settle(self.book, end);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.settle(self.book, End::Lost(Lost::Shutdown));
        }
    }
}

/// A ticket held by several signals. The last one to let go settles it. One that is dropped without an end
/// counts as `lost.shutdown`, as a [`Ticket`] does.
#[must_use]
pub struct SharedTicket {
    share: Arc<Share>,
    ended: bool,
}

struct Share {
    ticket: Mutex<Option<Ticket>>,
    lost: Mutex<Option<Lost>>,
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

    fn end(&mut self, reason: Option<Lost>) {
        self.ended = true;
        if let Some(reason) = reason {
            let mut lost = self
                .share
                .lost
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            lost.get_or_insert(reason);
        }
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
        let ticket = self
            .ticket
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let lost = self.lost.get_mut().unwrap_or_else(PoisonError::into_inner);
        match (ticket, lost.take()) {
            (Some(ticket), Some(reason)) => ticket.lost(reason),
            (Some(ticket), None) => ticket.exported(),
            (None, _) => {}
        }
    }
}
