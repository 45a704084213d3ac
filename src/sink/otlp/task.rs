//! A task that runs until it is asked to stop, and has a moment by which it must be over.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Says when to stop: None while running, then the moment by which all must be over.
pub type Stop = watch::Receiver<Option<Instant>>;

/// The task of one signal of one store.
pub struct Task {
    /// `STORE/SIGNAL`.
    name: Arc<str>,
    stop: watch::Sender<Option<Instant>>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Task {
    /// Starts what `run` makes.
    pub fn start<F>(name: Arc<str>, runtime: &Handle, run: impl FnOnce(Stop) -> F) -> Task
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(None);
        let running = Mutex::new(Some(runtime.spawn(run(stopped))));
        Task {
            name,
            stop,
            running,
        }
    }

    /// Asks it to be over by `deadline`.
    pub fn stop(&self, deadline: std::time::Instant) {
        self.stop.send_replace(Some(deadline.into()));
    }

    /// Waits for its end; the first who asks does.
    pub async fn ended(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(running) = running
            && let Err(error) = running.await
        {
            tracing::error!(signal = &*self.name, %error, "the worker of a signal broke off");
        }
    }
}

/// Ends when a stop was asked for, with its deadline. Without anyone left to ask it never does.
pub async fn stopped(stop: &mut Stop) -> Instant {
    let asked = stop.wait_for(Option::is_some).await.map(|asked| *asked);
    match asked {
        Ok(Some(deadline)) => deadline,
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
