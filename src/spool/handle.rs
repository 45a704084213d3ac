//! A spool as tasks use it: each call runs where it may block.

use super::{AppendError, GivenUp, Oldest, Spool, State, Tally};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinError;

/// The thread that worked on the spool broke off; the spool is not used any more.
#[derive(Debug, thiserror::Error)]
#[error("the spool broke off: {0}")]
pub struct Broken(#[from] JoinError);

pub struct Handle {
    spool: Arc<Mutex<Spool>>,
    state: State,
}

impl Handle {
    pub fn new(spool: Spool) -> Handle {
        Handle {
            state: spool.state(),
            spool: Arc::new(Mutex::new(spool)),
        }
    }

    /// As it was after the last call.
    pub fn state(&self) -> State {
        self.state
    }

    async fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Result<T, Broken> {
        let spool = self.spool.clone();
        let call = move || {
            let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
            let result = work(&mut spool);
            (result, spool.state())
        };
        let (result, state) = tokio::task::spawn_blocking(call).await?;
        self.state = state;
        Ok(result)
    }

    /// [`Spool::append`].
    pub async fn append(
        &mut self,
        request: Bytes,
        tally: Tally,
    ) -> Result<Result<(), AppendError>, Broken> {
        self.call(move |spool| spool.append(&request, tally, super::now()))
            .await
    }

    /// [`Spool::oldest`].
    pub async fn oldest(&mut self) -> Result<(Option<Oldest>, GivenUp), Broken> {
        self.call(|spool| spool.oldest(super::now())).await
    }

    /// [`Spool::done`].
    pub async fn done(&mut self, batch: Oldest) -> Result<(), Broken> {
        self.call(move |spool| spool.done(&batch)).await
    }

    /// Lets go of the folder when all is on the disk itself.
    pub async fn close(mut self) -> Result<(), Broken> {
        self.call(Spool::seal).await
    }
}
