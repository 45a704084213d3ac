//! What a lane tells the ledger: of items from the offer to their end, and of batches that its spool has.

use super::batch::{Entry, tally};
use crate::spool::{GivenUp, State, Tally};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::{Lost, SharedTicket, Spool, SpoolLost};
use std::path::Path;
use std::sync::Arc;

/// What an item is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// A span, a log record.
    Items,
    /// A report of a transaction that lasts: it goes with the log records, and is counted apart.
    Progress,
}

/// The books of one signal of one store.
#[derive(Clone)]
pub struct Books {
    pub ledger: Ledger,
    /// `STORE/SIGNAL`.
    pub signal: Arc<str>,
    /// `STORE/progress`.
    pub progress: Arc<str>,
}

impl Books {
    /// An item is in flight from now on.
    pub fn offered(&self, page: Page) {
        let name = match page {
            Page::Items => &self.signal,
            Page::Progress => &self.progress,
        };
        self.ledger.signal_offered(name, 1);
    }

    /// The destination took these.
    pub fn taken(&self, entries: Vec<Entry>) {
        self.each(tally(&entries), |name, n| {
            self.ledger.signal_exported(name, n)
        });
        SharedTicket::end_all(entries.into_iter().filter_map(Entry::into_ticket), None);
    }

    /// The destination did not get these.
    pub fn lost(&self, entries: impl IntoIterator<Item = Entry>, reason: Lost) {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.each(tally(&entries), |name, n| {
            self.ledger.signal_lost(name, reason, n)
        });
        let tickets = entries.into_iter().filter_map(Entry::into_ticket);
        SharedTicket::end_all(tickets, Some(reason));
    }

    /// For each of the two pages that has any.
    fn each(&self, tally: Tally, tell: impl Fn(&str, u64)) {
        for (name, count) in [
            (&self.signal, tally.items),
            (&self.progress, tally.progress),
        ] {
            if count > 0 {
                tell(name, count);
            }
        }
    }

    /// The destination took all but `rejected`: which ones it refused it does not say.
    pub fn exported(&self, tally: Tally, rejected: u64) {
        let items = rejected.min(tally.items);
        let refused = Tally {
            batches: 0,
            items,
            progress: (rejected - items).min(tally.progress),
        };
        let mut taken = tally;
        taken -= refused;
        self.each(taken, |name, n| self.ledger.signal_exported(name, n));
        self.rejected(refused);
    }

    pub fn rejected(&self, tally: Tally) {
        self.each(tally, |name, n| {
            self.ledger.signal_lost(name, Lost::Rejected, n);
        });
    }

    pub fn given_up(&self, given_up: GivenUp) {
        for (tally, reason) in [
            (given_up.expired, SpoolLost::Expired),
            (given_up.corrupt, SpoolLost::Corrupt),
        ] {
            self.each(tally, |name, n| {
                self.ledger.signal_lost_in_spool(name, reason, n);
            });
        }
    }

    /// The spool in `folder` was opened; it holds `found`, and `corrupt` of it can't be read any more. What this process has in
    /// its books already, from a lane that had the spool before, is not counted again.
    pub fn opened(&self, folder: &Path, found: Tally, corrupt: Tally) {
        let known = self.ledger.spool(&self.signal);
        let known = match known.folder == folder.display().to_string() {
            true => Tally {
                batches: known.batches,
                items: known.items,
                progress: known.progress,
            },
            false => Tally::default(),
        };
        let mut all = found;
        all += corrupt;
        let mut new = all;
        new -= known;
        self.each(new, |name, n| self.ledger.signal_offered(name, n));
        let mut missing = known;
        missing -= all;
        let mut lost = corrupt;
        lost += missing;
        self.given_up(GivenUp {
            corrupt: lost,
            ..GivenUp::default()
        });
    }

    pub fn state(&self, folder: &Path, state: State) {
        let spool = Spool {
            folder: folder.display().to_string(),
            batches: state.left.batches,
            items: state.left.items,
            progress: state.left.progress,
            bytes: state.bytes,
            oldest_unix_seconds: state.oldest.map_or(0, |millis| millis / 1000),
            oldest_age_seconds: 0,
        };
        self.ledger.set_spool(&self.signal, spool);
    }
}
