//! Lines on stdout: event stores of type `stdout`, and the plugin `access_logs`.
//!
//! Enters: deliveries. Leaves: lines, whole ones, those of one transaction together even where several sinks write.
//! Holds: `offer` never waits for stdout; one queue and one thread a sink, bounded by count and by bytes; every delivery
//! is counted once as exported (the kernel took its lines) or lost, with the reason. When stdout cannot be written any
//! more, that is said once and all that follows is lost as rejected. No control byte, and no character that hides or
//! reorders others, gets from a capture to stdout ([`escape`]).

mod access;
mod console;
mod escape;
mod form;
mod queue;
mod span;
#[cfg(test)]
mod tests;
mod write;

pub use form::Form;

use super::{Delivery, PayloadLink, ProgressDelivery, Sink};
use crate::redact::Capture;
use crate::rules::Level;
use crate::telemetry::Ledger;
use crate::telemetry::ledger::Lost;
use queue::{Limits, Queue};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

const LIMITS: Limits = Limits {
    items: 8192,
    bytes: 16 << 20,
};

/// The readable line of a capture, without its line break. Nothing in it moves a terminal's cursor.
pub(super) fn line(capture: &Capture, link: Option<&PayloadLink>) -> String {
    let mut line = String::with_capacity(256);
    console::push(&mut line, capture, link, Level::Summary, false);
    line.pop();
    line
}

/// One writer to stdout.
pub struct StdoutSink {
    queue: Arc<Queue>,
    form: Arc<Form>,
    /// Its sender goes away with the writer's thread.
    ended: watch::Receiver<()>,
}

impl StdoutSink {
    /// Starts the writer of store `id`; its signal in the ledger is `ID/stdout`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(id: &str, form: Form, ledger: Ledger) -> io::Result<StdoutSink> {
        StdoutSink::to(write::Stdout, id, form, ledger, LIMITS)
    }

    fn to<W: Write + Send + 'static>(
        out: W,
        id: &str,
        form: Form,
        ledger: Ledger,
        limits: Limits,
    ) -> io::Result<StdoutSink> {
        let name: Arc<str> = format!("{id}/stdout").into();
        let progress = format!("{id}/progress").into();
        let queues = ledger.queues().clone();
        let queue = Arc::new(Queue::new(name.clone(), progress, ledger, limits));
        queues.watch(&name, &queue);
        let form = Arc::new(form);
        let (running, ended) = watch::channel(());
        let (of_thread, form_of_thread) = (queue.clone(), form.clone());
        std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(move || {
                write::run(out, &name, &form_of_thread, &of_thread);
                drop(running);
            })?;
        Ok(StdoutSink { queue, form, ended })
    }

    /// Takes nothing more, and waits until all is written or the deadline is over; the rest is lost as shutdown.
    pub async fn drain(&self, deadline: Instant) {
        self.queue.close();
        let mut ended = self.ended.clone();
        // The channel never has a value: it changes by its end alone.
        let end = async { while ended.changed().await.is_ok() {} };
        let late = tokio::time::timeout_at(deadline.into(), end).await.is_err();
        let lost = self.queue.end(Lost::Shutdown);
        if late && lost > 0 {
            tracing::warn!(
                lost,
                "stdout did not take all transactions before the agent stopped; check what reads it"
            );
        }
    }
}

impl Sink for StdoutSink {
    fn offer(&self, delivery: Delivery) {
        self.queue.offer(delivery, &self.form);
    }

    fn takes_progress(&self) -> bool {
        self.form.takes_progress()
    }

    fn offer_progress(&self, delivery: ProgressDelivery) {
        self.queue.offer_progress(delivery);
    }
}

impl Drop for StdoutSink {
    fn drop(&mut self) {
        // The thread writes what is left, and ends.
        self.queue.close();
    }
}
