//! Containers and pods: who a process belongs to.
//!
//! Enters: cgroup paths, ids of containers. Leaves: shared [`Container`]s with their names, images, labels and pods.
//! Holds: the id comes from the cgroup alone, at once; everything else is asked of the host's container runtimes in
//! tasks of their own ([`Lookups`]): whoever asks never waits for a socket. A question gets exactly one answer, within
//! [`TIMEOUT`]; what nobody answers is said to be unknown, never guessed.

mod api;
mod cgroup;
mod containerd;
mod cri;
mod docker;
mod kubelet;
mod kubernetes;
mod lookups;
mod pods;
mod rpc;
mod sources;
mod unit;

pub use api::ApiError;
pub use cgroup::Cgroups;
pub use lookups::{Asked, Lookups, Question, TIMEOUT};
pub use sources::Sources;
pub use unit::Unit;

use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels that Kubernetes' runtimes put on each container.
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// Names by which labels and annotations are known.
pub type Labels = BTreeMap<String, String>;

/// A container, as the host's runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// 64 hex digits.
    pub id: String,
    pub name: Option<String>,
    /// Reference of the image, with tag or digest where it was asked for so.
    pub image: Option<String>,
    /// `docker`, `containerd`, `cri-o` and so on.
    pub runtime: Option<String>,
    pub labels: Labels,
    pub pod: Option<Pod>,
}

/// A pod of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    pub name: String,
    pub namespace: String,
    pub uid: Option<String>,
    /// Name of the process's container in the pod's specification.
    pub container: Option<String>,
    pub node: Option<String>,
    pub ip: Option<String>,
    /// Kind and name of the controller that made the pod: `ReplicaSet`, `web-5d4f8`.
    pub owner: Option<(String, String)>,
    /// Of the controller that made that one: `Deployment`, `web`.
    pub workload: Option<(String, String)>,
    pub labels: Labels,
    pub annotations: Labels,
}

/// What came out of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Known(Arc<Container>),
    /// Runtimes were asked, and none has it.
    NotFound,
    /// No runtime answered, or not in time.
    Unavailable,
}

impl Container {
    /// Takes what is missing here from `other`, which is the same container seen by another source.
    fn complete(&mut self, other: Container) {
        let take = |mine: &mut Option<String>, theirs: Option<String>| {
            if mine.is_none() {
                *mine = theirs;
            }
        };
        take(&mut self.name, other.name);
        take(&mut self.image, other.image);
        take(&mut self.runtime, other.runtime);
        for (key, value) in other.labels {
            self.labels.entry(key).or_insert(value);
        }
        match (&mut self.pod, other.pod) {
            (Some(mine), Some(theirs)) => mine.complete(theirs),
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }
}

impl Pod {
    /// The pod that the labels of a container name.
    fn of_labels(labels: &Labels) -> Option<Pod> {
        Some(Pod {
            name: labels.get(POD_NAME)?.clone(),
            namespace: labels.get(POD_NAMESPACE)?.clone(),
            uid: labels.get(POD_UID).cloned(),
            container: labels.get(CONTAINER_NAME).cloned(),
            ..Pod::default()
        })
    }

    fn complete(&mut self, other: Pod) {
        self.uid = self.uid.take().or(other.uid);
        self.container = self.container.take().or(other.container);
        self.node = self.node.take().or(other.node);
        self.ip = self.ip.take().or(other.ip);
        self.owner = self.owner.take().or(other.owner);
        self.workload = self.workload.take().or(other.workload);
        for (key, value) in other.labels {
            self.labels.entry(key).or_insert(value);
        }
        for (key, value) in other.annotations {
            self.annotations.entry(key).or_insert(value);
        }
    }
}

/// Text that is there.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
