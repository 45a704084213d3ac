//! The task that keeps the list: fetches it, follows what changes in it, and begins anew where that breaks.

use super::super::api::{Api, Refused};
use super::super::pods::{Item, List};
use super::{PODS_MAX, Pods, encoded};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Pods of one page of a list, and bytes of a page.
pub(super) const PAGE: usize = 250;
const PAGE_MAX: usize = 32 << 20;
/// Bytes of one change at the most; etcd takes 1.5 MiB.
const CHANGE_MAX: usize = 4 << 20;
/// Time for a list, and for one request of changes; the server ends it sooner.
const LIST_TIME: Duration = Duration::from_secs(30);
const WATCH_TIME: Duration = Duration::from_secs(330);
const WATCH_SECONDS: u32 = 300;

/// Pauses after a failure: the first, and the longest.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Pace {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        }
    }
}

/// `WatchEvent`
#[derive(Deserialize)]
struct Change {
    #[serde(rename = "type")]
    kind: String,
    object: serde_json::Value,
}

/// `Status`, in a change of type `ERROR`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

/// Keeps the list.
pub(super) struct Keeper {
    pub api: Arc<Api>,
    pub pods: Arc<Pods>,
    pub changed: watch::Sender<()>,
    pub node: String,
}

impl Keeper {
    pub async fn run(self, pace: Pace) {
        let mut pause = pace.first;
        loop {
            let refused = match self.list().await {
                Ok(version) => {
                    self.recovered();
                    pause = pace.first;
                    self.follow(version).await
                }
                Err(refused) => refused,
            };
            self.failed(&refused);
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(pace.longest);
        }
    }

    /// Fetches the list in pages; returns its version.
    async fn list(&self) -> Result<String, Refused> {
        let mut rest = String::new();
        let mut all = Vec::new();
        loop {
            let page = format!("&limit={PAGE}&continue={}", encoded(&rest));
            let path = self.path(&page);
            let list: List = self.api.document(&path, LIST_TIME, PAGE_MAX).await?;
            all.extend(list.items.unwrap_or_default());
            rest = list.metadata.rest;
            if rest.is_empty() || all.len() >= PODS_MAX {
                self.replace(all);
                return Ok(list.metadata.resource_version);
            }
        }
    }

    fn path(&self, more: &str) -> String {
        let node = encoded(&self.node);
        format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}{more}")
    }

    fn replace(&self, items: Vec<Item>) {
        let mut state = self.pods.lock();
        state.pods.clear();
        state.containers.clear();
        if items.len() > PODS_MAX {
            tracing::warn!(pods = items.len(), "more pods than are kept: {PODS_MAX}");
        }
        for item in items {
            state.put(item);
        }
        state.listed = true;
        drop(state);
        self.changed.send_replace(());
    }

    /// Takes changes from a version on until that is not possible any more.
    async fn follow(&self, mut version: String) -> Refused {
        loop {
            let begun = Instant::now();
            if let Err(refused) = self.changes(&mut version).await {
                return refused;
            }
            // A server that ends each request at once is not asked without end.
            if begun.elapsed() < Duration::from_secs(1) {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// One request of changes, to its end.
    async fn changes(&self, version: &mut String) -> Result<(), Refused> {
        let path = self.path(&format!(
            "&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            encoded(version)
        ));
        let mut response = self.api.get(&path, WATCH_TIME).await?;
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &buffer) {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                self.change(&line, version)?;
            }
            if buffer.len() > CHANGE_MAX {
                return Err(Refused::other(format!(
                    "a change is longer than {CHANGE_MAX} bytes"
                )));
            }
        }
        Ok(())
    }

    fn change(&self, line: &[u8], version: &mut String) -> Result<(), Refused> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let broken = |error| Refused::other(format!("a change is not understood: {error}"));
        let change: Change = serde_json::from_slice(line).map_err(broken)?;
        if change.kind == "ERROR" {
            let status: Status = serde_json::from_value(change.object).unwrap_or_default();
            return Err(Refused {
                status: Some(status.code),
                why: format!("the server ends the changes: {}", status.message),
            });
        }
        if change.kind == "BOOKMARK" {
            let bookmark: Bookmark = serde_json::from_value(change.object).map_err(broken)?;
            *version = bookmark.metadata.resource_version;
            return Ok(());
        }
        let item: Item = serde_json::from_value(change.object).map_err(broken)?;
        version.clone_from(&item.metadata.resource_version);
        let mut state = self.pods.lock();
        match (change.kind.as_str(), &item.metadata.uid) {
            ("DELETED", Some(uid)) => state.remove(uid),
            ("ADDED" | "MODIFIED", _) => state.put(item),
            (other, _) => tracing::debug!(kind = other, "a change of an unknown kind"),
        }
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    /// Says what went wrong, once for each thing.
    fn failed(&self, refused: &Refused) {
        // The version is too old (410): the list is fetched anew, as it should be.
        if refused.status == Some(410) {
            tracing::debug!(error = refused.why, "the list of pods is fetched anew");
            return;
        }
        let what = match refused.status {
            Some(401) => "the token is not accepted",
            Some(403) => "the service account must be allowed to list and watch pods",
            _ => "it is asked again",
        };
        let why = format!("{} ({what})", refused.why);
        let mut state = self.pods.lock();
        if state.error.as_ref() != Some(&why) {
            tracing::warn!(error = why, "Kubernetes' API does not say this node's pods");
        }
        state.error = Some(why);
    }

    fn recovered(&self) {
        if self.pods.lock().error.take().is_some() {
            tracing::info!("Kubernetes' API says this node's pods again");
        }
    }
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: String,
}
