//! The spool of a store's payloads: what is written ahead, and whether the store takes anything.
//!
//! Holds: with a spool, a payload is on disk before its link leaves, unless the spool is full or cannot be written. What
//! blocks runs outside the tasks.

use super::ahead::{Ahead, Book};
use super::job::Kept;
use super::{Failure, StoreError};
use crate::config::SpoolSettings;
use crate::sink::otlp::RetryPolicy;
use crate::sink::otlp::health::Health;
use crate::spool::journal::{Claim, Journals};
use crate::spool::{self, AppendError, Lock, SpoolError, SpoolLimits, Usage};
use crate::telemetry::ledger::PayloadLost;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};
use tokio::time::Instant;

/// Waits between attempts at a store that takes nothing.
const POLICY: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(10),
    // What is on disk has its age alone.
    budget: Duration::MAX,
};
/// A store that refuses, or is full, needs somebody who sees to it.
const REFUSED: Duration = Duration::from_secs(30);
/// Milliseconds for which documents go to one journal.
const JOURNAL_MILLIS: u64 = 5000;
/// After an error of the disk, until it is tried again.
const REST: Duration = Duration::from_secs(1);

/// Payloads wait so long for a spool that is being opened.
const OPENING: Duration = Duration::from_secs(2);

/// Where the spool is, and who may use it.
pub(super) struct Place {
    pub folder: PathBuf,
    /// None: an older configuration of this agent uses it still.
    pub lock: Option<Lock>,
    pub limits: SpoolLimits,
}

impl Place {
    /// # Errors
    /// When the folder cannot be used, or another agent uses it.
    pub fn take(settings: &SpoolSettings, store: &str) -> Result<Place, SpoolError> {
        let folder = spool::prepare(&settings.dir, store, "payloads")?;
        Ok(Place {
            lock: Lock::take(&folder)?,
            folder,
            limits: SpoolLimits {
                usage: Usage::new(settings.max_bytes),
                max_age: settings.max_age,
            },
        })
    }
}

pub(super) struct Keep {
    /// `STORE/payloads`.
    pub name: String,
    journals: Mutex<Option<Arc<Journals>>>,
    health: Mutex<Health>,
    /// What the last failure is called.
    why: Mutex<PayloadLost>,
    /// Of layout `object`.
    documents: AsyncMutex<Option<Book>>,
    /// After an error of the disk: when it is tried again.
    rest: Mutex<Option<Instant>>,
    /// Told when something may have come to wait.
    pub wake: Notify,
    /// It is known whether there is a spool that can be used.
    settled: watch::Sender<bool>,
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keep {
    /// `spool`: there will be one, or it will be known why not ([`Keep::opened`], [`Keep::without`]).
    pub fn new(store: &str, spool: bool) -> Keep {
        Keep {
            name: format!("{store}/payloads"),
            journals: Mutex::new(None),
            health: Mutex::new(Health::new(POLICY)),
            why: Mutex::new(PayloadLost::StoreFailed),
            documents: AsyncMutex::new(None),
            rest: Mutex::new(None),
            wake: Notify::new(),
            settled: watch::Sender::new(!spool),
        }
    }

    /// Waits until it is known whether there is a spool, for a short time.
    pub async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        let known = settled.wait_for(|settled| *settled);
        if tokio::time::timeout(OPENING, known).await.is_err() {
            tracing::warn!(
                store = self.name,
                "the spool is not open yet; until then payloads are in memory alone"
            );
        }
    }

    /// There is no spool.
    pub fn without(&self) {
        self.settled.send_replace(true);
    }

    /// None: there is no spool, or none yet.
    pub fn journals(&self) -> Option<Arc<Journals>> {
        locked(&self.journals).clone()
    }

    pub fn opened(&self, journals: Arc<Journals>) {
        *locked(&self.journals) = Some(journals);
        self.settled.send_replace(true);
        self.wake.notify_one();
    }

    /// Lets go of the spool; what it was.
    pub async fn close(&self) -> Option<Arc<Journals>> {
        self.documents.lock().await.take();
        locked(&self.journals).take()
    }

    /// Which part of the spool is taken.
    pub fn fill(&self) -> f64 {
        locked(&self.journals).as_ref().map_or(0.0, |j| j.fill())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        locked(&self.health)
    }

    /// The store took nothing when it was asked last.
    pub fn failing(&self) -> bool {
        self.health().failing()
    }

    /// To be given back with the outcome of an attempt that begins now.
    pub fn round(&self) -> u64 {
        self.health().round()
    }

    /// When the store is asked next; None: at once.
    pub fn next_try(&self) -> Option<Instant> {
        self.health().next().filter(|next| *next > Instant::now())
    }

    pub fn works(&self) {
        let mut health = self.health();
        if health.failing() {
            health.works();
            drop(health);
            self.wake.notify_one();
        }
    }

    /// What a payload is lost as that a store which takes nothing was not asked to take.
    pub fn why(&self) -> PayloadLost {
        *locked(&self.why)
    }

    pub fn failed(&self, round: u64, error: &StoreError) {
        *locked(&self.why) = error.lost();
        let after = match error.failure() {
            Failure::Refused | Failure::Full => Some(error.retry_after().unwrap_or(REFUSED)),
            Failure::Unavailable | Failure::Unfit => error.retry_after(),
        };
        self.health()
            .failed(round, after, Instant::now(), fastrand::f64());
    }

    /// Writes documents ahead, each an object of its own; for each whether it is on disk, and who works on it there.
    pub async fn documents(&self, all: Vec<Ahead>) -> Vec<(Kept, Option<Claim>)> {
        let none = |kept, count| (0..count).map(|_| (kept, None)).collect();
        let count = all.len();
        let Some(journals) = self.usable() else {
            return none(Kept::No, count);
        };
        let mut book = self.documents.lock().await;
        let usual = journals.usual_bytes();
        if book.as_ref().is_some_and(|book| old(book, usual)) {
            *book = None;
        }
        let current = match book.take() {
            Some(current) => Some(current),
            None => self.begin(journals).await,
        };
        let Some(current) = current else {
            return none(Kept::No, count);
        };
        let Some((current, written)) = self.write(current, all).await else {
            return none(Kept::No, count);
        };
        let claims = written.into_iter().map(|written| match written {
            Ok(at) => (Kept::Yes, Some(current.journal.claim(vec![at], 1))),
            Err(kept) => (kept, None),
        });
        let claims = claims.collect();
        *book = Some(current);
        claims
    }

    /// Documents that are written from now on go to another journal, where this one has been taken for long enough: what
    /// is in it can wait, or go.
    pub async fn turn_page(&self) {
        let mut book = self.documents.lock().await;
        if book.as_ref().is_some_and(|book| old(book, u64::MAX)) {
            *book = None;
        }
    }

    /// A journal of its own, where there is a spool that can be written.
    pub async fn book(&self) -> Option<Book> {
        let journals = self.usable()?;
        self.begin(journals).await
    }

    /// Writes; for each whether it is on disk, and where. None: it broke off.
    pub async fn write(
        &self,
        mut book: Book,
        all: Vec<Ahead>,
    ) -> Option<(Book, Vec<Result<u64, Kept>>)> {
        let write = move || {
            let written = book.write(all, spool::now());
            (book, written)
        };
        let (book, written) = blocking(write).await?;
        let written = written.into_iter().map(|written| match written {
            Ok(at) => Ok(at),
            Err(AppendError::Full) => Err(Kept::Full),
            Err(AppendError::Io(error)) => {
                self.broken(&error);
                Err(Kept::No)
            }
        });
        let written = written.collect();
        Some((book, written))
    }

    async fn begin(&self, journals: Arc<Journals>) -> Option<Book> {
        match blocking(move || journals.begin(spool::now())).await? {
            Ok(journal) => Some(Book::new(journal)),
            Err(error) => {
                self.broken(&error);
                None
            }
        }
    }

    fn usable(&self) -> Option<Arc<Journals>> {
        let rests = locked(&self.rest).is_some_and(|until| until > Instant::now());
        self.journals().filter(|_| !rests)
    }

    fn broken(&self, error: &dyn std::error::Error) {
        let until = Instant::now() + REST;
        let before = locked(&self.rest).replace(until);
        if before.is_none_or(|before| before + 30 * REST < until) {
            tracing::warn!(store = self.name, %error, "cannot write to the spool; payloads are in memory alone, and the disk is tried again");
        }
    }
}

fn old(book: &Book, bytes: u64) -> bool {
    let age = spool::now().saturating_sub(book.journal.begun());
    book.journal.bytes() >= bytes || age > JOURNAL_MILLIS
}

/// Runs what blocks; None: it broke off.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Some(done),
        Err(error) => {
            tracing::error!(%error, "work on the spool of payloads broke off");
            None
        }
    }
}
