//! Kubernetes' API, where the configuration says how to reach it: this node's pods, and what made them.
//!
//! Enters: the list of the node's pods and what changes in it, from one request that stays open. Leaves: containers with
//! their pods, from memory. Holds: pods by count and bytes; a server that is away is asked again after a time that
//! doubles, and what was known stays; whoever asks for a container waits for no list.

mod keeper;

use self::keeper::{Keeper, Pace};
use super::api::{Api, ApiError};
use super::pods::{Item, Metadata};
use super::sources::{Found, Unanswered};
use super::{Container, Question};
use crate::config::Kubernetes as Settings;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Pods of one node at the most; a kubelet takes 110 as a rule.
const PODS_MAX: usize = 2048;
/// Bytes of an annotation that is kept.
const ANNOTATION_MAX: usize = 4 << 10;
/// A container can run before its pod's status says so.
const STATUS_WAIT: Duration = Duration::from_millis(200);
/// Time for what made the maker of a pod, and how many are kept.
const OWNER_WAIT: Duration = Duration::from_millis(150);
const OWNERS_MAX: usize = 4096;
/// An owner that could not be had is asked for again after this.
const OWNER_AGAIN: Duration = Duration::from_secs(60);
/// Bytes of an owner; it has the specification of its pods in it.
const OWNER_MAX: usize = 4 << 20;

/// Kind and name.
type Owner = (String, String);
/// By namespace and what was made: what made it, and when that was asked.
type Owners = HashMap<(String, Owner), (Option<Owner>, Instant)>;

/// The node's pods, kept as they are.
pub struct Kubernetes {
    api: Arc<Api>,
    pods: Arc<Pods>,
    changed: watch::Receiver<()>,
    owners: Mutex<Owners>,
    task: JoinHandle<()>,
}

/// What is known, by uid of the pod.
#[derive(Default)]
struct Pods {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: HashMap<String, Arc<Item>>,
    /// Container to uid.
    containers: HashMap<String, String>,
    /// The list was there once.
    listed: bool,
    /// Why it is not there, or old.
    error: Option<String>,
}

#[derive(Deserialize)]
struct Owned {
    metadata: Metadata,
}

impl Kubernetes {
    /// Starts the task that keeps the list. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the files of TLS cannot be used.
    pub fn new(settings: &Settings) -> Result<Kubernetes, ApiError> {
        Kubernetes::with(settings, Pace::default())
    }

    pub(super) fn with(settings: &Settings, pace: Pace) -> Result<Kubernetes, ApiError> {
        let api = Arc::new(Api::new("kubernetes", &settings.server)?);
        let pods = Arc::new(Pods::default());
        let (sender, changed) = watch::channel(());
        let keeper = Keeper {
            api: api.clone(),
            pods: pods.clone(),
            changed: sender,
            node: settings.node.clone(),
        };
        Ok(Kubernetes {
            api,
            pods,
            changed,
            owners: Mutex::default(),
            task: tokio::spawn(keeper.run(pace)),
        })
    }

    /// The container, from memory; what made the maker of its pod is asked for once.
    pub async fn find(&self, question: &Question) -> Result<Found, Unanswered> {
        let Some(mut container) = self.known(question).await? else {
            return Ok(None);
        };
        if let Some(pod) = &mut container.pod
            && let Some(owner) = &pod.owner
        {
            pod.workload = self.workload(&pod.namespace, owner).await;
        }
        Ok(Some(container))
    }

    async fn known(&self, question: &Question) -> Result<Found, Unanswered> {
        let mut changed = self.changed.clone();
        let deadline = Instant::now() + STATUS_WAIT;
        loop {
            changed.mark_unchanged();
            let unnamed = {
                let state = self.pods.lock();
                match state.find(question) {
                    Some((container, true)) => return Ok(Some(container)),
                    Some((container, false)) => Some(container),
                    None if !state.listed => {
                        let why = state.error.as_deref();
                        let why = why.unwrap_or("the list of pods is not there yet");
                        return Err(Unanswered::new(why.to_owned()));
                    }
                    None => return Ok(None),
                }
            };
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(unnamed),
            }
        }
    }

    /// What made a ReplicaSet or a Job.
    async fn workload(&self, namespace: &str, owner: &Owner) -> Option<Owner> {
        let (kind, name) = owner;
        let plural = match kind.as_str() {
            "ReplicaSet" => "apps/v1/namespaces",
            "Job" => "batch/v1/namespaces",
            _ => return None,
        };
        let resource = match kind.as_str() {
            "ReplicaSet" => "replicasets",
            _ => "jobs",
        };
        let key = (namespace.to_owned(), owner.clone());
        if let Some((known, at)) = lock(&self.owners).get(&key)
            && (known.is_some() || at.elapsed() < OWNER_AGAIN)
        {
            return known.clone();
        }
        let path = format!(
            "/apis/{plural}/{}/{resource}/{}",
            encoded(namespace),
            encoded(name)
        );
        let asked = self.api.document::<Owned>(&path, OWNER_WAIT, OWNER_MAX);
        let found = match asked.await {
            Ok(owned) => owned.metadata.owner(),
            Err(refused) => {
                tracing::debug!(
                    kind,
                    name,
                    namespace,
                    error = refused.why,
                    "what made it is not known"
                );
                None
            }
        };
        let mut owners = lock(&self.owners);
        if owners.len() >= OWNERS_MAX {
            owners.clear();
        }
        owners.insert(key, (found.clone(), Instant::now()));
        found
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pods {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The container, and whether the pod's status names it.
    fn find(&self, question: &Question) -> Option<(Container, bool)> {
        let id = &question.container;
        let named = self
            .containers
            .get(id)
            .and_then(|uid| self.pods.get(uid)?.container(id));
        if let Some(container) = named {
            return Some((container, true));
        }
        let pod = self.pods.get(question.pod.as_ref()?)?;
        Some((pod.unnamed_container(id), false))
    }

    fn put(&mut self, mut item: Item) {
        let Some(uid) = item.metadata.uid.clone() else {
            return;
        };
        if self.pods.len() >= PODS_MAX && !self.pods.contains_key(&uid) {
            return;
        }
        self.remove(&uid);
        item.metadata.shorten(ANNOTATION_MAX);
        for id in item.container_ids() {
            self.containers.insert(id.to_owned(), uid.clone());
        }
        self.pods.insert(uid, Arc::new(item));
    }

    fn remove(&mut self, uid: &str) {
        if let Some(item) = self.pods.remove(uid) {
            for id in item.container_ids() {
                self.containers.remove(id);
            }
        }
    }
}

/// All but what is unreserved in a URL (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests;
