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
    /// None: it has come to its end.
    ticket: Option<SharedTicket>,
}

impl Claim {
    /// Counts the delivery as offered to `signal`.
    pub fn offered(ledger: &Ledger, signal: &Arc<str>, ticket: SharedTicket) -> Self {
        ledger.signal_offered(signal, 1);
        Claim {
            ledger: ledger.clone(),
            signal: signal.clone(),
            ticket: Some(ticket),
        }
    }

    /// The destination took it.
    pub fn exported(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.ledger.signal_exported(&self.signal, 1);
            ticket.taken();
        }
    }

    /// The destination did not get it.
    pub fn lost(mut self, reason: Lost) {
        self.end_lost(reason);
    }

    fn end_lost(&mut self, reason: Lost) {
        if let Some(ticket) = self.ticket.take() {
            self.ledger.signal_lost(&self.signal, reason, 1);
            ticket.lost(reason);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end_lost(Lost::Shutdown);
    }
}
