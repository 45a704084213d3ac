//! One payload on its way, and the telemetry that waits for it.

use super::{Next, PayloadOptions, Shared};
use crate::redact::Redacted;
use crate::sink::{PayloadLink, PayloadStatus};
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What waits in the stage, by count and bytes.
#[derive(Default)]
pub(super) struct Budget {
    count: usize,
    bytes: usize,
    closed: bool,
}

impl Budget {
    /// Takes a payload in, or says why not. One payload is taken however large it is.
    pub fn take(&mut self, bytes: usize, options: &PayloadOptions) -> Result<(), PayloadLost> {
        if self.closed {
            return Err(PayloadLost::Shutdown);
        }
        let full = self.count >= options.max_queued
            || (self.count > 0 && self.bytes.saturating_add(bytes) > options.max_queued_bytes);
        if full {
            return Err(PayloadLost::QueueFull);
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// What a payload was taken to have was not what it has.
    fn correct(&mut self, before: usize, now: usize) {
        self.bytes = self.bytes.saturating_sub(before).saturating_add(now);
    }

    fn give_back(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// A capture that waits for its link to go on to telemetry. It goes once.
pub(super) struct Waiting(Mutex<State>);

struct State {
    parcel: Option<(Arc<Redacted>, SharedTicket)>,
    link: PayloadLink,
    /// Its time is over: it goes as soon as its key is known.
    due: bool,
}

impl Waiting {
    pub fn new(capture: Arc<Redacted>, ticket: SharedTicket) -> Self {
        Waiting(Mutex::new(State {
            parcel: Some((capture, ticket)),
            link: PayloadLink {
                url: None,
                digest: None,
                size: None,
                status: PayloadStatus::Pending,
            },
            due: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has gone on already.
    pub fn gone(&self) -> bool {
        self.lock().parcel.is_none()
    }

    /// Goes on with this status, unless it has gone already.
    pub fn go(&self, next: &Next, status: PayloadStatus) {
        let mut state = self.lock();
        let Some((capture, ticket)) = state.parcel.take() else {
            return;
        };
        state.link.status = status;
        let link = state.link.clone();
        drop(state);
        next(capture, Some(link), ticket);
    }

    /// Its time is over: goes on as pending, now or when its key is known.
    pub fn due(&self, next: &Next) {
        let mut state = self.lock();
        state.due = true;
        let known = state.link.digest.is_some();
        drop(state);
        if known {
            self.go(next, PayloadStatus::Pending);
        }
    }

    /// The key is known.
    fn known(&self, next: &Next, link: PayloadLink) {
        let mut state = self.lock();
        state.link = link;
        let due = state.due;
        drop(state);
        if due {
            self.go(next, PayloadStatus::Pending);
        }
    }

    /// The capture, until it has gone.
    fn capture(&self) -> Option<Arc<Redacted>> {
        let state = self.lock();
        state.parcel.as_ref().map(|(capture, _)| capture.clone())
    }
}

/// One payload in flight. Dropped without an end it counts as lost by shutdown; telemetry goes on in any case.
pub(super) struct Job {
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
    /// Bytes taken of the budget.
    bytes: usize,
    ended: bool,
}

impl Job {
    pub fn new(shared: Arc<Shared>, waiting: Arc<Waiting>, bytes: usize) -> Self {
        Job {
            shared,
            waiting,
            bytes,
            ended: false,
        }
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The capture. None where telemetry has gone already, which before encoding is at its end only.
    pub fn capture(&self) -> Option<Arc<Redacted>> {
        self.waiting.capture()
    }

    /// The link is known, and `held` bytes are what is held of the payload from here on: the capture is telemetry's.
    pub fn encoded(&mut self, held: usize, link: PayloadLink) {
        self.shared.budget().correct(self.bytes, held);
        self.bytes = held;
        self.waiting.known(&self.shared.next, link);
    }

    pub fn stored(mut self, deduplicated: bool) {
        self.shared.ledger.payload_stored(deduplicated);
        self.end(PayloadStatus::Stored);
    }

    pub fn lost(mut self, reason: PayloadLost) {
        self.shared.ledger.payload_lost(reason);
        self.end(PayloadStatus::Lost);
    }

    fn end(&mut self, status: PayloadStatus) {
        self.ended = true;
        // First on to telemetry: an empty budget says that all has gone.
        self.waiting.go(&self.shared.next, status);
        self.shared.budget().give_back(self.bytes);
        self.shared.ended.notify_waiters();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.ledger.payload_lost(PayloadLost::Shutdown);
            self.end(PayloadStatus::Lost);
        }
    }
}
