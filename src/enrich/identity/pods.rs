//! Pods as Kubernetes' API and the kubelet write them, the parts that are needed.

use super::{Container, Labels, Pod, some};
use serde::Deserialize;

/// `PodList`
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub metadata: ListMetadata,
    /// Null where there is none.
    #[serde(default)]
    pub items: Option<Vec<Item>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMetadata {
    pub resource_version: String,
    /// Where the list goes on; empty at its end.
    #[serde(rename = "continue")]
    pub rest: String,
}

/// `Pod`
#[derive(Deserialize)]
pub(super) struct Item {
    pub metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    pub uid: Option<String>,
    #[serde(default)]
    pub resource_version: String,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    containers: Vec<Specified>,
    init_containers: Vec<Specified>,
    ephemeral_containers: Vec<Specified>,
}

#[derive(Deserialize)]
struct Specified {
    name: String,
    image: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct State {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    container_statuses: Vec<ContainerState>,
    init_container_statuses: Vec<ContainerState>,
    ephemeral_container_statuses: Vec<ContainerState>,
}

#[derive(Deserialize)]
struct ContainerState {
    name: String,
    image: Option<String>,
    /// `runtime://id`
    #[serde(rename = "containerID", default)]
    container_id: String,
}

impl Metadata {
    /// Kind and name of the controller that made it.
    pub fn owner(&self) -> Option<(String, String)> {
        let owner = self.owner_references.iter().find(|owner| owner.controller);
        owner.map(|owner| (owner.kind.clone(), owner.name.clone()))
    }

    /// Leaves out annotations of more than `max` bytes: nobody looks for those.
    pub fn shorten(&mut self, max: usize) {
        self.annotations.retain(|_, value| value.len() <= max);
    }
}

impl Item {
    /// The container, where the pod has it.
    pub fn container(&self, id: &str) -> Option<Container> {
        let (runtime, found) = self.states().find_map(|state| {
            let (runtime, own) = state.container_id.split_once("://")?;
            (own == id).then_some((runtime, state))
        })?;
        Some(Container {
            id: id.to_owned(),
            name: Some(found.name.clone()),
            image: found.image.clone().and_then(some),
            runtime: Some(runtime.to_owned()),
            labels: Labels::new(),
            pod: Some(self.pod(Some(&found.name))),
        })
    }

    /// A container of the pod, of which the pod's status says nothing yet. Its name is known where there is only one.
    pub fn unnamed_container(&self, id: &str) -> Container {
        let spec = &self.spec;
        let more = spec.init_containers.is_empty() && spec.ephemeral_containers.is_empty();
        let only = match &spec.containers[..] {
            [only] if more => Some(only),
            _ => None,
        };
        let name = only.map(|only| only.name.clone());
        Container {
            id: id.to_owned(),
            image: only.and_then(|only| only.image.clone()).and_then(some),
            pod: Some(self.pod(name.as_deref())),
            name,
            ..Container::default()
        }
    }

    /// Ids of its containers, as far as its status says them.
    pub fn container_ids(&self) -> impl Iterator<Item = &str> {
        let ids = self
            .states()
            .map(|state| state.container_id.split_once("://"));
        ids.filter_map(|parts| parts.map(|(_, id)| id))
    }

    fn states(&self) -> impl Iterator<Item = &ContainerState> {
        let state = &self.status;
        let all = [
            &state.container_statuses,
            &state.init_container_statuses,
            &state.ephemeral_container_statuses,
        ];
        all.into_iter().flatten()
    }

    fn pod(&self, container: Option<&str>) -> Pod {
        let metadata = &self.metadata;
        Pod {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            container: container.map(str::to_owned),
            node: self.spec.node_name.clone(),
            ip: self.status.pod_ip.clone(),
            owner: metadata.owner(),
            workload: None,
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
        }
    }
}
