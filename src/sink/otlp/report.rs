//! What the operator hears of a destination: the first failure, then a reminder now and then, then the recovery.

use super::room::Room;
use crate::spool::GivenUp;
use crate::telemetry::ledger::Lost;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two warnings of one destination.
const BETWEEN: Duration = Duration::from_secs(10);

/// Warnings about one signal of one store, at a bounded rate.
pub struct Report {
    /// `STORE/SIGNAL`.
    name: String,
    /// Without user info and query.
    endpoint: String,
    room: Arc<Room>,
    last: Option<Instant>,
    /// The same for the spool, which has troubles of its own.
    last_of_spool: Option<Instant>,
    /// Failed attempts since the last success.
    failures: u64,
    /// Of these, some were told.
    told: bool,
    /// Items of batches that were lost and not told yet.
    lost: u64,
    /// Items that found no room, as told last.
    refused: u64,
    /// What cannot be sent goes to a spool.
    spooling: bool,
    /// Failures are spans of the agent too.
    spans: bool,
}

impl Report {
    pub fn new(name: &str, url: &str, room: Arc<Room>) -> Self {
        Report {
            name: name.to_owned(),
            endpoint: shown(url),
            room,
            last: None,
            last_of_spool: None,
            failures: 0,
            told: false,
            lost: 0,
            refused: 0,
            spooling: false,
            spans: true,
        }
    }

    /// Of the agent's own telemetry: a span about it would have to be exported again.
    pub fn without_spans(mut self) -> Self {
        self.spans = false;
        self
    }

    /// Whether a spool takes what cannot be sent.
    pub fn spooling(&mut self, spooling: bool) {
        self.spooling = spooling;
    }

    /// An attempt failed and will be repeated.
    pub fn failed(&mut self, error: &str) {
        self.failures += 1;
        if self.may_speak() {
            self.told = true;
            let hint = match self.spooling {
                true => {
                    "cannot export, batches go to the spool: is the collector running, and is this its endpoint and protocol?"
                }
                false => {
                    "cannot export, will retry: is the collector running, and is this its endpoint and protocol?"
                }
            };
            self.warn(error, hint);
        }
    }

    /// The spool does not take batches for now.
    pub fn not_spooled(&mut self, error: &str) {
        if may_speak(&mut self.last_of_spool) {
            let hint = "cannot write to the spool: batches wait in memory. Is there room on the disk, and may the agent write there?";
            self.warn(error, hint);
        }
    }

    /// The spool gave batches up.
    pub fn given_up(&mut self, given_up: &GivenUp) {
        for (tally, error, hint) in [
            (
                given_up.expired,
                "older than spool.max_age",
                "batches of the spool are lost: the collector was down for too long",
            ),
            (
                given_up.corrupt,
                "damaged on disk",
                "batches of the spool are lost: does the disk work, and does anything else write to the folder?",
            ),
        ] {
            self.lost += tally.items + tally.progress;
            if tally.batches > 0 && may_speak(&mut self.last_of_spool) {
                self.warn(error, hint);
            }
        }
    }

    /// A batch was given up.
    pub fn lost(&mut self, items: usize, reason: Lost, error: &str) {
        self.lost += items as u64;
        let hint = match reason {
            Lost::Rejected => "the collector refused a batch for good: its own log says why",
            Lost::SpoolFull => {
                "the spool is full: raise spool.max_bytes, or look after the collector"
            }
            Lost::RetryExhausted => "a batch was given up after retrying for as long as is allowed",
            _ => "a batch was given up",
        };
        if reason == Lost::Shutdown || self.may_speak() {
            self.warn(error, hint);
        }
    }

    /// A batch was taken, apart from `rejected` items.
    pub fn accepted(&mut self, rejected: usize, message: &str) {
        if std::mem::take(&mut self.told) {
            tracing::info!(
                signal = self.name,
                endpoint = self.endpoint,
                failed_attempts = self.failures,
                "export works again"
            );
        }
        self.failures = 0;
        self.lost += rejected as u64;
        if (rejected > 0 || !message.is_empty()) && self.may_speak() {
            self.warn(message, "the collector took a batch with a remark");
        }
    }

    /// Tells of items that found no room, where nothing else was said.
    pub fn remind(&mut self) {
        if self.room.refused() > self.refused && self.may_speak() {
            let hint =
                "lost what found no room: the collector is too slow, or was down for too long";
            self.warn("the queue is full", hint);
        }
    }

    fn warn(&mut self, error: &str, hint: &str) {
        let refused = self.room.refused();
        let lost = std::mem::take(&mut self.lost) + refused - self.refused;
        self.refused = refused;
        let span = match self.spans {
            true => tracing::info_span!(
                "export.failure",
                signal = self.name,
                endpoint = self.endpoint,
                lost,
                otel.status_code = "error",
                otel.status_description = error,
            ),
            false => tracing::Span::none(),
        };
        let _entered = span.entered();
        tracing::warn!(
            signal = self.name,
            endpoint = self.endpoint,
            error,
            failed_attempts = self.failures,
            lost,
            "{hint}"
        );
    }

    fn may_speak(&mut self) -> bool {
        may_speak(&mut self.last)
    }
}

fn may_speak(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    if last.is_some_and(|last| now - last < BETWEEN) {
        return false;
    }
    *last = Some(now);
    true
}

/// A URL without what may be secret in it.
pub fn shown(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => {
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            format!("{}://{host}{port}{}", url.scheme(), url.path())
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}
