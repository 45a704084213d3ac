//! One delivery's place in the books of one signal.

use crate::telemetry::Ledger;
use crate::telemetry::ledger::{Lost, SharedTicket};
use std::sync::Arc;

/// A delivery that a signal has to account for: counted as offered when made, and as exported or lost once.
/// Dropped without an end it counts as `lost.shutdown`, in the signal and in the transaction.
#[must_use]
pub(super) struct Claim {
    ledger: Ledger,
    /// `STORE/SIGNAL`.
    signal: Arc<str>,
    ended: bool,
    /// None: it is about no transaction in flight.
    ticket: Option<SharedTicket>,
}

impl Claim {
    /// Counts the delivery as offered to `signal`.
    pub fn offered(ledger: &Ledger, signal: &Arc<str>, ticket: SharedTicket) -> Self {
        ledger.signal_offered(signal, 1);
        Claim {
            ledger: ledger.clone(),
            signal: signal.clone(),
            ended: false,
            ticket: Some(ticket),
        }
    }

    /// Counts what is about no transaction in flight as offered to `signal`.
    pub fn of_event(ledger: &Ledger, signal: &Arc<str>) -> Self {
        ledger.signal_offered(signal, 1);
        Claim {
            ledger: ledger.clone(),
            signal: signal.clone(),
            ended: false,
            ticket: None,
        }
    }

    /// The destination took it.
    pub fn exported(mut self) {
        self.ended = true;
        self.ledger.signal_exported(&self.signal, 1);
        if let Some(ticket) = self.ticket.take() {
            ticket.taken();
        }
    }

    /// The spool took it: the transaction is done with, and the signal has it in flight until the spool is through with
    /// it and says so.
    pub fn spooled(mut self) {
        self.ended = true;
        if let Some(ticket) = self.ticket.take() {
            ticket.taken();
        }
    }

    /// The destination did not get it.
    pub fn lost(mut self, reason: Lost) {
        self.end_lost(reason);
    }

    fn end_lost(&mut self, reason: Lost) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.ledger.signal_lost(&self.signal, reason, 1);
        if let Some(ticket) = self.ticket.take() {
            ticket.lost(reason);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end_lost(Lost::Shutdown);
    }
}
