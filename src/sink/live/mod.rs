//! The live feed: transactions as they leave, for people who look at them now (`plainspan tail`, `run --ui`).
//!
//! Enters: [`Redacted`] captures with their payload link, from [`Fanout`](super::Fanout); never anything that redaction
//! has not made. Leaves: JSON objects, one a transaction, to each viewer; over a local socket ([`socket`]) or to a page
//! ([`page`]).
//! Holds:
//! - While nobody watches, a transaction costs the read of one flag: nothing is queued, encoded or kept, and there is no
//!   thread.
//! - Memory is bounded: what waits to be encoded, what waits for each viewer, and the recent ones that a viewer who comes
//!   now is shown first, each by count and bytes; viewers by count.
//! - A viewer slows nobody. What it is too slow for is not sent to it, and it is told how many those were. Such a miss is
//!   no loss of the ledger: the transaction went where the configuration sends it.
//! - A filter is evaluated over what its viewer would see, so it tells nothing of what was redacted.

mod encode;
mod filter;
mod hub;
pub mod page;
pub mod socket;
mod viewer;

pub use filter::{Refused, Watch};
pub use viewer::{Message, Subscription};

use crate::redact::Redacted;
use crate::rules::expr::Macros;
use crate::sink::PayloadLink;
use hub::{Hub, Item, Limits};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Version of what goes between the agent and a viewer. Grows when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// Where captures come in. Cheap to clone; all clones are one feed.
#[derive(Clone)]
pub struct Feed {
    /// Somebody watches, or did a moment ago.
    watched: Arc<AtomicBool>,
    hub: Arc<Hub>,
}

impl Default for Feed {
    fn default() -> Self {
        Feed::with(Limits::default())
    }
}

impl Feed {
    fn with(limits: Limits) -> Feed {
        let watched = Arc::new(AtomicBool::new(false));
        Feed {
            hub: Arc::new(Hub::new(limits, watched.clone())),
            watched,
        }
    }

    /// Shows the capture to whoever watches. Never blocks.
    pub fn offer(&self, capture: &Arc<Redacted>, link: Option<&PayloadLink>) {
        if self.watched.load(Ordering::Relaxed) {
            self.hub.offer(Item::new(capture, link));
        }
    }

    /// What filters may call from now on.
    pub fn set_macros(&self, macros: Macros) {
        self.hub.set_macros(macros);
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// When the filter cannot be used, there are too many viewers, or the agent is stopping.
    pub fn watch(&self, watch: &Watch) -> Result<Subscription, Refused> {
        self.hub.clone().watch(watch)
    }

    /// The agent stops: every viewer comes to its end.
    pub fn close(&self) {
        self.hub.close();
    }

    /// Viewers that watch now.
    pub fn viewers(&self) -> usize {
        self.hub.viewers()
    }
}

#[cfg(test)]
mod tests;
