//! The spool as a worker has it: none, one that is being opened, or one that takes batches.

use super::books::Books;
use super::report::Report;
use crate::spool::{
    AppendError, Handle, Lock, Oldest, Scanned, Spool, SpoolError, SpoolLimits, Tally,
};
use crate::telemetry::ledger::Lost;
use bytes::Bytes;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// After an error of the disk, until it is tried again.
const REST: Duration = Duration::from_secs(1);
/// Between two looks at a folder that another configuration of this agent still uses.
const LOOK: Duration = Duration::from_millis(100);

type Opened = Result<(Spool, Scanned), SpoolError>;

/// A batch of the spool that is under way. It stays in the spool until it is done.
pub struct Spooled(Oldest);

impl Spooled {
    pub fn tally(&self) -> Tally {
        self.0.tally
    }

    pub fn len(&self) -> usize {
        let tally = self.tally();
        usize::try_from(tally.items + tally.progress).unwrap_or(usize::MAX)
    }
}

enum State {
    /// Memory only.
    None,
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open(Handle),
}

pub struct Disk {
    folder: PathBuf,
    state: State,
    /// After an error: when it is tried again.
    rest: Option<Instant>,
}

impl Disk {
    /// Batches wait in memory alone.
    pub fn none() -> Disk {
        Disk {
            folder: PathBuf::new(),
            state: State::None,
            rest: None,
        }
    }

    /// Opens the folder in the background. `lock` is None where this process uses it still.
    pub fn open(folder: PathBuf, lock: Option<Lock>, limits: SpoolLimits) -> Disk {
        Disk {
            folder: folder.clone(),
            state: State::Opening(Box::pin(open(folder, lock, limits))),
            rest: None,
        }
    }

    pub fn opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// The end of the opening; never, where nothing is being opened.
    pub async fn opened(&mut self) -> Opened {
        match &mut self.state {
            State::Opening(opening) => opening.await,
            State::None | State::Open(_) => std::future::pending().await,
        }
    }

    /// Takes what was opened, and says what is in it.
    pub fn found(&mut self, opened: Opened, books: &Books, report: &mut Report) {
        let (spool, scanned) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, signal = &*books.signal, "batches wait in memory alone");
                self.state = State::None;
                return;
            }
        };
        books.opened(&self.folder, scanned.left, scanned.corrupt);
        let Scanned {
            left,
            corrupt,
            unreadable,
            unreadable_files,
        } = scanned;
        let folder = self.folder.display();
        if left.batches > 0 {
            tracing::info!(
                signal = &*books.signal,
                folder = %folder,
                batches = left.batches,
                items = left.items + left.progress,
                "spool: batches from before are sent too"
            );
        }
        if corrupt.batches > 0 || unreadable > 0 || unreadable_files > 0 {
            tracing::warn!(
                signal = &*books.signal,
                folder = %folder,
                batches = corrupt.batches,
                items = corrupt.items + corrupt.progress,
                unreadable_bytes = unreadable,
                unreadable_files,
                "spool: something is damaged, or was not written to its end; it is passed over. Of unreadable bytes nobody can tell how many items they were"
            );
        }
        let handle = Handle::new(spool);
        books.state(&self.folder, handle.state());
        self.state = State::Open(handle);
        report.spooling(true);
    }

    /// It takes batches now.
    pub fn takes(&self) -> bool {
        let rests = self.rest.is_some_and(|until| until > Instant::now());
        matches!(self.state, State::Open(_)) && !rests
    }

    /// When it is tried again after an error.
    pub fn next_try(&self) -> Option<Instant> {
        self.rest.filter(|until| *until > Instant::now())
    }

    /// There is no time left to wait for the next try.
    pub fn try_now(&mut self) {
        self.rest = None;
    }

    /// It holds batches.
    pub fn backlog(&self) -> bool {
        match &self.state {
            State::Open(handle) => handle.state().left.batches > 0,
            State::None | State::Opening(_) => false,
        }
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// Why it is lost; none where it can only be kept in memory.
    pub async fn append(
        &mut self,
        request: Bytes,
        tally: Tally,
        books: &Books,
        report: &mut Report,
    ) -> Result<(), Option<Lost>> {
        let State::Open(handle) = &mut self.state else {
            return Err(None);
        };
        let error = match handle.append(request, tally).await {
            Ok(Ok(())) => {
                books.state(&self.folder, handle.state());
                return Ok(());
            }
            Ok(Err(AppendError::Full)) => return Err(Some(Lost::SpoolFull)),
            Ok(Err(AppendError::Io(error))) => error.to_string(),
            Err(broken) => {
                self.state = State::None;
                broken.to_string()
            }
        };
        self.rest = Some(Instant::now() + REST);
        report.not_spooled(&error);
        Err(None)
    }

    /// The oldest batch; what was given up on the way to it is counted.
    pub async fn oldest(&mut self, books: &Books, report: &mut Report) -> Option<(Bytes, Spooled)> {
        let State::Open(handle) = &mut self.state else {
            return None;
        };
        match handle.oldest().await {
            Ok((oldest, given_up)) => {
                books.state(&self.folder, handle.state());
                books.given_up(given_up);
                report.given_up(&given_up);
                let mut oldest = oldest?;
                let request = std::mem::take(&mut oldest.request);
                Some((request.into(), Spooled(oldest)))
            }
            Err(broken) => {
                self.broke_off(&broken);
                None
            }
        }
    }

    /// The batch needs no sending any more.
    pub async fn done(&mut self, spooled: Spooled, books: &Books) {
        let State::Open(handle) = &mut self.state else {
            return;
        };
        match handle.done(spooled.0).await {
            Ok(()) => books.state(&self.folder, handle.state()),
            Err(broken) => self.broke_off(&broken),
        }
    }

    fn broke_off(&mut self, broken: &dyn std::error::Error) {
        tracing::error!(%broken, folder = %self.folder.display(), "batches wait in memory alone until the agent is started again");
        self.state = State::None;
    }

    /// Lets go of the folder.
    pub async fn close(self, books: &Books) {
        let State::Open(handle) = self.state else {
            return;
        };
        let left = handle.state().left;
        if left.batches > 0 {
            tracing::info!(
                signal = &*books.signal,
                folder = %self.folder.display(),
                batches = left.batches,
                items = left.items + left.progress,
                "spool: batches stay for the next start"
            );
        }
        if let Err(error) = handle.close().await {
            tracing::error!(%error, folder = %self.folder.display(), "the spool did not close well");
        }
    }
}

async fn open(folder: PathBuf, lock: Option<Lock>, limits: SpoolLimits) -> Opened {
    let mut lock = lock;
    let lock = loop {
        match lock.take() {
            Some(lock) => break lock,
            None => {
                tokio::time::sleep(LOOK).await;
                lock = Lock::take(&folder)?;
            }
        }
    };
    match tokio::task::spawn_blocking(move || Spool::open(lock, limits)).await {
        Ok(opened) => opened,
        Err(error) => Err(SpoolError::Io {
            path: folder,
            action: "open it",
            source: std::io::Error::other(error),
        }),
    }
}
