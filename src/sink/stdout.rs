//! Lines on stdout.
//!
//! Enters: deliveries. Leaves: a readable line or a JSON object a transaction, written by a thread of its own.
//! Holds: the queue is bounded by count and by bytes and `offer` never waits; no captured byte can steer a terminal;
//! when the reader goes away, writing ends quietly and every later delivery is counted as lost.

mod form;
#[cfg(test)]
mod tests;
mod text;

pub use form::{Form, Format};

use super::claim::Claim;
use super::otlp::EncodeOptions;
use super::{Delivery, PayloadLink, Sink};
use crate::redact::Redacted;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Deliveries written at once.
const CHUNK: usize = 64;
/// A writer that would block is asked again after this.
const AGAIN: Duration = Duration::from_millis(5);

/// How lines are written.
#[derive(Debug, Clone)]
pub struct StdoutOptions {
    pub form: Form,
    pub encode: EncodeOptions,
    /// Deliveries that wait at the most.
    pub queue_items: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
}

impl StdoutOptions {
    pub fn new(form: Form) -> Self {
        StdoutOptions {
            form,
            encode: EncodeOptions::default(),
            queue_items: 4096,
            queue_bytes: 32 << 20,
        }
    }
}

/// Lines on stdout, or wherever the writer leads.
pub struct StdoutSink {
    shared: Arc<Shared>,
    ledger: Ledger,
    /// `STORE/stdout`.
    signal: Arc<str>,
    max_items: usize,
    max_bytes: usize,
    /// Its sender is gone when the thread has ended.
    ended: watch::Receiver<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    /// Bytes of the queue.
    bytes: usize,
    /// What the writer has in its hands.
    writing: Vec<Claim>,
    closed: bool,
    /// The reader is gone.
    broken: bool,
}

struct Waiting {
    capture: Arc<Redacted>,
    link: Option<PayloadLink>,
    claim: Claim,
    bytes: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StdoutSink {
    /// Starts the thread that writes to stdout. `id` is the store's: the ledger has the signal `ID/stdout`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(id: &str, form: Form, ledger: Ledger) -> io::Result<Self> {
        Self::start_with(id, StdoutOptions::new(form), ledger, io::stdout())
    }

    /// Starts the thread with options and a writer.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_with(
        id: &str,
        options: StdoutOptions,
        ledger: Ledger,
        writer: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (running, ended) = watch::channel(());
        let sink = StdoutSink {
            shared: shared.clone(),
            ledger,
            signal: format!("{id}/stdout").into(),
            max_items: options.queue_items,
            max_bytes: options.queue_bytes,
            ended,
        };
        std::thread::Builder::new()
            .name("stdout".into())
            .spawn(move || {
                run(&shared, &options, writer);
                drop(running);
            })?;
        Ok(sink)
    }

    /// Writes what waits, until `deadline` at the latest; what is left then is lost as `shutdown`. From the call on
    /// nothing more is taken.
    pub async fn drain(&self, deadline: Instant) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let mut ended = self.ended.clone();
        // Nothing is ever sent: an error says that the thread has ended.
        let waited = tokio::time::timeout_at(deadline.into(), ended.changed()).await;
        if waited.is_err() {
            tracing::warn!(
                signal = &*self.signal,
                "stdout was not read in time; the rest is lost"
            );
        }
        let mut state = self.shared.lock();
        let left = (
            std::mem::take(&mut state.queue),
            std::mem::take(&mut state.writing),
        );
        drop(state);
        // Dropped, they count as lost at shutdown.
        drop(left);
    }
}

impl Drop for StdoutSink {
    /// The thread writes what waits, and ends.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Sink for StdoutSink {
    fn offer(&self, delivery: Delivery) {
        let claim = Claim::offered(&self.ledger, &self.signal, delivery.ticket);
        let bytes = delivery.capture.transaction.memory();
        let mut state = self.shared.lock();
        let lost = if state.closed {
            Some(Lost::Shutdown)
        } else if state.broken {
            Some(Lost::Rejected)
        } else if state.queue.len() >= self.max_items || state.bytes + bytes > self.max_bytes {
            Some(Lost::QueueFull)
        } else {
            None
        };
        if let Some(reason) = lost {
            drop(state);
            claim.lost(reason);
            return;
        }
        state.bytes += bytes;
        state.queue.push_back(Waiting {
            capture: delivery.capture,
            link: delivery.link,
            claim,
            bytes,
        });
        drop(state);
        self.shared.changed.notify_all();
    }
}

/// The writing thread.
fn run(shared: &Shared, options: &StdoutOptions, mut writer: impl Write) {
    let mut lines = Vec::new();
    while take(shared, options, &mut lines) {
        let written = write(&mut writer, &lines);
        lines.clear();
        let mut state = shared.lock();
        let claims = std::mem::take(&mut state.writing);
        let mut unwritten = VecDeque::new();
        if written.is_err() {
            state.broken = true;
            state.bytes = 0;
            unwritten = std::mem::take(&mut state.queue);
        }
        drop(state);
        match written {
            Ok(()) => claims.into_iter().for_each(Claim::exported),
            Err(error) => {
                complain(&error);
                let waiting = unwritten.into_iter().map(|w| w.claim);
                claims
                    .into_iter()
                    .chain(waiting)
                    .for_each(|claim| claim.lost(Lost::Rejected));
            }
        }
    }
}

/// Waits for deliveries and renders some of them. False: closed, and nothing is left.
fn take(shared: &Shared, options: &StdoutOptions, lines: &mut Vec<u8>) -> bool {
    let mut state = shared.lock();
    while state.queue.is_empty() {
        if state.closed {
            return false;
        }
        state = shared
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let count = state.queue.len().min(CHUNK);
    let mut taken = Vec::with_capacity(count);
    for waiting in state.queue.drain(..count).collect::<Vec<_>>() {
        state.bytes -= waiting.bytes;
        state.writing.push(waiting.claim);
        taken.push((waiting.capture, waiting.link));
    }
    drop(state);
    for (capture, link) in taken {
        let text = options
            .form
            .render(&capture, link.as_ref(), &options.encode);
        lines.extend_from_slice(text.as_bytes());
    }
    true
}

/// Writes all of it. A descriptor that someone made non-blocking is asked again.
fn write(writer: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(e) => return Err(e),
        }
    }
    match writer.flush() {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
        flushed => flushed,
    }
}

fn complain(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        // The reader went away, as `head` does: that is its right.
        tracing::debug!("the reader of stdout is gone; no more lines are written");
    } else {
        tracing::warn!(%error, "cannot write to stdout; no more lines are written");
    }
}
