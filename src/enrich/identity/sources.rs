//! Everybody who may know a container, asked at the same time.

use super::api::ApiError;
use super::kubelet::Kubelet;
use super::kubernetes::Kubernetes;
use super::rpc::Rpc;
use super::{Answer, Container, Question, containerd, cri, docker};
use crate::config::IdentitySources;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A source that did not answer is left alone for so long: it must not hold every process up.
const REST: Duration = Duration::from_secs(5);

/// A container, or that the source knows of none.
pub(super) type Found = Option<Container>;

/// Why a source did not answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Unanswered(String);

impl Unanswered {
    pub(super) fn new(what: String) -> Unanswered {
        Unanswered(what)
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Unanswered {
    fn from(error: E) -> Unanswered {
        Unanswered(error.to_string())
    }
}

/// The host's container runtimes, and the kubelet and Kubernetes' API where they are configured.
pub struct Sources {
    all: Vec<Arc<Source>>,
    timeout: Duration,
    started: Instant,
}

struct Source {
    name: String,
    way: Way,
    /// Milliseconds after the start until which it is not asked.
    resting: AtomicU64,
}

enum Way {
    Docker(PathBuf),
    Containerd(Rpc),
    Cri(Rpc),
    Kubelet(Kubelet),
    Kubernetes(Kubernetes),
}

impl Sources {
    /// Must be called inside a tokio runtime. Sockets need not be there yet.
    ///
    /// # Errors
    /// When the files of TLS towards the kubelet or the API cannot be used.
    pub fn new(config: &IdentitySources, timeout: Duration) -> Result<Sources, ApiError> {
        let mut all = Vec::new();
        let mut add = |name: String, way| {
            all.push(Arc::new(Source {
                name,
                way,
                resting: AtomicU64::new(0),
            }));
        };
        // The first who knows something is believed: who knows pods comes first.
        if let Some(kubernetes) = &config.kubernetes {
            let way = Way::Kubernetes(Kubernetes::new(kubernetes)?);
            add(kubernetes.server.url.clone(), way);
        }
        if let Some(kubelet) = &config.kubelet {
            add(kubelet.url.clone(), Way::Kubelet(Kubelet::new(kubelet)?));
        }
        for socket in &config.cri {
            add(
                format!("cri {}", socket.display()),
                Way::Cri(Rpc::new(socket)),
            );
        }
        for socket in &config.docker {
            add(socket.display().to_string(), Way::Docker(socket.clone()));
        }
        for socket in &config.containerd {
            add(
                format!("containerd {}", socket.display()),
                Way::Containerd(Rpc::new(socket)),
            );
        }
        Ok(Sources {
            all,
            timeout,
            started: Instant::now(),
        })
    }

    /// Nobody can be asked.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Asks all, and puts together what they say.
    pub async fn find(&self, question: &Question) -> Answer {
        let now = millis(self.started.elapsed());
        let mut asked = JoinSet::new();
        for (index, source) in self.all.iter().enumerate() {
            if source.resting.load(Ordering::Relaxed) > now {
                continue;
            }
            let (source, question, timeout) = (source.clone(), question.clone(), self.timeout);
            asked.spawn(async move {
                let answer = tokio::time::timeout(timeout, source.find(&question)).await;
                let late = || Err(Unanswered(format!("no answer within {timeout:?}")));
                (index, answer.unwrap_or_else(|_| late()))
            });
        }
        let mut found: Vec<(usize, Container)> = Vec::new();
        let mut answered = false;
        while let Some(joined) = asked.join_next().await {
            let Ok((index, answer)) = joined else {
                tracing::error!("a look-up of a container panicked");
                continue;
            };
            match answer {
                Ok(container) => {
                    answered = true;
                    found.extend(container.map(|container| (index, container)));
                }
                Err(error) => self.rest(index, &error),
            }
        }
        found.sort_by_key(|(index, _)| *index);
        let together = found.into_iter().map(|(_, container)| container);
        match together.reduce(|mut first, other| {
            first.complete(other);
            first
        }) {
            Some(container) => Answer::Known(Arc::new(container)),
            None if answered => Answer::NotFound,
            None => Answer::Unavailable,
        }
    }

    fn rest(&self, index: usize, error: &Unanswered) {
        if let Some(source) = self.all.get(index) {
            let until = millis(self.started.elapsed() + REST);
            source.resting.store(until, Ordering::Relaxed);
            tracing::debug!(source = source.name, %error, "cannot ask for a container");
        }
    }
}

impl Source {
    async fn find(&self, question: &Question) -> Result<Found, Unanswered> {
        let id = &*question.container;
        match &self.way {
            Way::Docker(socket) => docker::find(socket, id).await,
            Way::Containerd(rpc) => containerd::find(rpc, id).await,
            Way::Cri(rpc) => cri::find(rpc, id).await,
            Way::Kubelet(kubelet) => kubelet.find(id).await,
            Way::Kubernetes(kubernetes) => kubernetes.find(question).await,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
