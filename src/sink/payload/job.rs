//! One payload on its way, and the telemetry that waits for it.

use super::{Next, PayloadOptions, Shared};
use crate::enrich::Process;
use crate::redact::Redacted;
use crate::sink::{PayloadEvent, PayloadFate, PayloadLink, PayloadStatus};
use crate::telemetry::ledger::{PayloadLost, SharedTicket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

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

    /// Which part of the room is taken.
    pub fn fill(&self, options: &PayloadOptions) -> f64 {
        let bytes = self.bytes as f64 / options.max_queued_bytes.max(1) as f64;
        bytes.max(self.count as f64 / options.max_queued.max(1) as f64)
    }
}

/// A capture that waits for its link to go on to telemetry. It goes once.
pub(super) struct Waiting(Mutex<State>);

struct State {
    parcel: Option<(Arc<Redacted>, SharedTicket)>,
    link: PayloadLink,
    /// Its time is over: it goes as soon as its key is known.
    due: bool,
    /// Whom it was about, where it has gone as pending.
    left: Option<About>,
}

/// Whom a payload is about: what an event has to say of it.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub process: Arc<Process>,
    pub transaction: String,
    pub span: Option<([u8; 16], [u8; 8])>,
}

impl About {
    pub fn of(capture: &Redacted) -> About {
        let shown = capture.ids.shown();
        About {
            process: capture.process.clone(),
            transaction: capture.id.clone(),
            span: shown.map(|(trace_id, span_id)| (*trace_id, *span_id)),
        }
    }

    /// The event of this payload's fate.
    pub fn event(
        self,
        process: Arc<Process>,
        link: PayloadLink,
        fate: PayloadFate,
    ) -> PayloadEvent {
        PayloadEvent {
            process,
            time: SystemTime::now(),
            span: self.span,
            transaction: Some(self.transaction),
            url: link.url,
            digest: link.digest,
            size: link.size,
            fate,
        }
    }
}

impl Waiting {
    /// `due`: it waits for its key alone, and for no store.
    pub fn new(capture: Arc<Redacted>, ticket: SharedTicket, due: bool) -> Self {
        Waiting(Mutex::new(State {
            parcel: Some((capture, ticket)),
            link: PayloadLink {
                url: None,
                digest: None,
                size: None,
                status: PayloadStatus::Pending,
            },
            due,
            left: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has gone on already.
    pub fn gone(&self) -> bool {
        self.lock().parcel.is_none()
    }

    /// Goes on with this status, unless it has gone already: then whom it was about, once, with its link.
    pub fn go(&self, next: &Next, status: PayloadStatus) -> Option<(About, PayloadLink)> {
        if self.went(next, status) {
            return None;
        }
        let mut state = self.lock();
        let about = state.left.take()?;
        Some((about, state.link.clone()))
    }

    /// Goes on as pending, unless it has gone already.
    pub fn go_pending(&self, next: &Next) {
        self.went(next, PayloadStatus::Pending);
    }

    /// False: it had gone already.
    fn went(&self, next: &Next, status: PayloadStatus) -> bool {
        let mut state = self.lock();
        let Some((capture, ticket)) = state.parcel.take() else {
            return false;
        };
        state.link.status = status;
        if status == PayloadStatus::Pending {
            state.left = Some(About::of(&capture));
        }
        let link = state.link.clone();
        drop(state);
        next(capture, Some(link), ticket);
        true
    }

    /// Its time is over: goes on as pending, now or when its key is known.
    pub fn due(&self, next: &Next) {
        let mut state = self.lock();
        state.due = true;
        let known = state.link.digest.is_some();
        drop(state);
        if known {
            self.go_pending(next);
        }
    }

    /// The key is known.
    fn known(&self, next: &Next, link: PayloadLink) {
        let mut state = self.lock();
        state.link = link;
        let due = state.due;
        drop(state);
        if due {
            self.go_pending(next);
        }
    }

    /// The capture, until it has gone.
    fn capture(&self) -> Option<Arc<Redacted>> {
        let state = self.lock();
        state.parcel.as_ref().map(|(capture, _)| capture.clone())
    }
}

/// Whether a payload is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    No,
    /// It was to be, and the spool has no room.
    Full,
    Yes,
}

/// One payload in flight. Dropped without an end it counts as lost by shutdown, unless the spool has it; telemetry goes
/// on in any case.
pub(super) struct Job {
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
    /// Bytes taken of the budget.
    bytes: usize,
    kept: Kept,
    ended: bool,
}

impl Job {
    pub fn new(shared: Arc<Shared>, waiting: Arc<Waiting>, bytes: usize) -> Self {
        Job {
            shared,
            waiting,
            bytes,
            kept: Kept::No,
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
        self.waiting.known(&self.shared.telemetry.next, link);
    }

    /// Whether it is on disk.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    pub fn set_kept(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// The store has it. Gives whom it is about where its telemetry has left without knowing.
    pub fn stored(mut self, deduplicated: bool) -> Option<(About, PayloadLink)> {
        self.shared.ledger.payload_stored(deduplicated);
        self.end(PayloadStatus::Stored)
    }

    pub fn lost(mut self, reason: PayloadLost) {
        self.lose(reason);
    }

    fn lose(&mut self, reason: PayloadLost) {
        self.shared.ledger.payload_lost(reason);
        if let Some((about, link)) = self.end(PayloadStatus::Lost) {
            let process = about.process.clone();
            let event = about.event(process, link, PayloadFate::Lost(reason));
            (self.shared.telemetry.tell)(event);
        }
    }

    /// It stays on disk until the store takes it: in the ledger it is in flight.
    pub fn spooled(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        self.waiting.go_pending(&self.shared.telemetry.next);
        self.give_back();
    }

    fn end(&mut self, status: PayloadStatus) -> Option<(About, PayloadLink)> {
        // First on to telemetry: an empty budget says that all has gone.
        let left = self.waiting.go(&self.shared.telemetry.next, status);
        self.give_back();
        left
    }

    fn give_back(&mut self) {
        self.ended = true;
        self.shared.budget().give_back(self.bytes);
        self.shared.ended.notify_waiters();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        match self.kept {
            Kept::Yes => self.leave(),
            Kept::No | Kept::Full => self.lose(PayloadLost::Shutdown),
        }
    }
}
