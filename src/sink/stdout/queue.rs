//! What waits for the writer: bounded by count and by bytes, from the offer to the end of its write.

use super::Form;
use crate::redact::{Redacted, RedactedProgress};
use crate::sink::claim::Claim;
use crate::sink::{Delivery, PayloadLink, ProgressDelivery};
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use crate::telemetry::queues::{Fill, Watched};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Captures above this many bytes become lines when offered, where lines do not hold whole bodies: the queue need not
/// either.
const LARGE: usize = 64 << 10;
/// Bytes that an item takes beside its content.
const OVERHEAD: usize = 256;

/// The most that a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub items: usize,
    pub bytes: usize,
}

/// One transaction, or a report of one, as lines or still to become some.
pub enum Content {
    Capture(Arc<Redacted>, Option<PayloadLink>),
    Progress(Arc<RedactedProgress>),
    Lines(Vec<u8>),
}

pub struct Queue {
    /// `STORE/stdout`.
    name: Arc<str>,
    /// `STORE/progress`.
    progress: Arc<str>,
    ledger: Ledger,
    limits: Limits,
    state: Mutex<State>,
    /// Something waits, or the state changed.
    filled: Condvar,
}

struct State {
    phase: Phase,
    waiting: VecDeque<Item>,
    /// Taken by the writer, and not known to be written.
    writing: Vec<Claim>,
    /// Bytes of `waiting` and `writing`.
    bytes: usize,
    writing_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is there is written, nothing more is taken.
    Closing,
    /// Nothing can be written any more; what is offered is lost for this reason.
    Ended(Lost),
}

struct Item {
    claim: Claim,
    bytes: usize,
    content: Content,
}

impl Watched for Queue {
    fn fill(&self) -> Fill {
        let state = self.lock();
        let in_flight = state.writing.len() as u64;
        Fill {
            items: state.waiting.len() as u64 + in_flight,
            in_flight,
            bytes: state.bytes as u64,
            max_items: self.limits.items as u64,
            max_bytes: self.limits.bytes as u64,
            exporter: None,
            store: None,
        }
    }
}

impl Queue {
    pub fn new(name: Arc<str>, progress: Arc<str>, ledger: Ledger, limits: Limits) -> Self {
        let state = State {
            phase: Phase::Open,
            waiting: VecDeque::new(),
            writing: Vec::new(),
            bytes: 0,
            writing_bytes: 0,
        };
        Queue {
            name,
            progress,
            ledger,
            limits,
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }

    // A panic elsewhere must not take the queue away: each change to it is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the delivery, or counts it as lost.
    pub fn offer(&self, delivery: Delivery, form: &Form) {
        let claim = Claim::offered(&self.ledger, &self.name, delivery.ticket);
        let (capture, link) = (delivery.capture, delivery.link);
        let mut bytes = capture.transaction.memory();
        let content = if bytes > LARGE && !form.has_whole_bodies() {
            let mut lines = Vec::new();
            form.push(&mut lines, &capture, link.as_ref());
            bytes = lines.capacity();
            Content::Lines(lines)
        } else {
            Content::Capture(capture, link)
        };
        self.push_or_lose(claim, bytes, content);
    }

    /// Takes a report of a transaction that lasts, or counts it as lost.
    pub fn offer_progress(&self, delivery: ProgressDelivery) {
        let claim = Claim::offered(&self.ledger, &self.progress, delivery.ticket);
        let bytes = delivery.progress.transaction.memory();
        self.push_or_lose(claim, bytes, Content::Progress(delivery.progress));
    }

    fn push_or_lose(&self, claim: Claim, bytes: usize, content: Content) {
        let item = Item {
            claim,
            bytes: bytes + OVERHEAD,
            content,
        };
        if let Err((item, reason)) = self.push(item) {
            item.claim.lost(reason);
        }
    }

    fn push(&self, item: Item) -> Result<(), (Box<Item>, Lost)> {
        let mut state = self.lock();
        let refused = match state.phase {
            Phase::Ended(reason) => Some(reason),
            Phase::Closing => Some(Lost::Shutdown),
            Phase::Open => {
                let items = state.waiting.len() + state.writing.len();
                let fits = items < self.limits.items
                    && state.bytes.saturating_add(item.bytes) <= self.limits.bytes;
                (!fits).then_some(Lost::QueueFull)
            }
        };
        if let Some(reason) = refused {
            return Err((Box::new(item), reason));
        }
        state.bytes += item.bytes;
        state.waiting.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// The next to be written; waits for it. None: there will be none.
    pub fn wait(&self) -> Option<Content> {
        let mut state = self.lock();
        loop {
            if let Some(content) = state.take() {
                return Some(content);
            }
            if state.phase != Phase::Open {
                return None;
            }
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next to be written, if it is there already.
    pub fn next(&self) -> Option<Content> {
        self.lock().take()
    }

    /// All that was taken since the last call is written.
    pub fn written(&self) {
        let claims = self.lock().end_writing();
        claims.into_iter().for_each(Claim::exported);
    }

    /// Nothing more is taken; the writer ends when it has written what is there.
    pub fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Nothing more is written: what is there, and what will be offered, is lost. Leaves: how many were there.
    pub fn end(&self, reason: Lost) -> usize {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(reason);
        }
        let mut claims = state.end_writing();
        claims.extend(state.waiting.drain(..).map(|item| item.claim));
        state.bytes = 0;
        drop(state);
        self.filled.notify_one();
        let count = claims.len();
        claims.into_iter().for_each(|claim| claim.lost(reason));
        count
    }
}

impl State {
    fn take(&mut self) -> Option<Content> {
        let item = self.waiting.pop_front()?;
        self.writing.push(item.claim);
        self.writing_bytes += item.bytes;
        Some(item.content)
    }

    fn end_writing(&mut self) -> Vec<Claim> {
        self.bytes -= std::mem::take(&mut self.writing_bytes);
        std::mem::take(&mut self.writing)
    }
}
