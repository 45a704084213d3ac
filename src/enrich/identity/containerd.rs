//! The socket of containerd: `containerd.services.containers.v1` and `.namespaces.v1`, the parts that are needed.

use super::rpc::Rpc;
use super::sources::{Found, Unanswered};
use super::{CONTAINER_NAME, Container, Pod, some};
use std::collections::HashMap;

/// Namespaces that are asked at the most.
const NAMESPACES_MAX: usize = 32;
const NERDCTL_NAME: &str = "nerdctl/name";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetContainerRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub container: Option<Stored>,
}

/// `Container` of the service.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stored {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "2")]
    pub labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    pub image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListNamespacesRequest {
    #[prost(string, tag = "1")]
    pub filter: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    pub namespaces: Vec<Namespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Namespace {
    #[prost(string, tag = "1")]
    pub name: String,
}

pub(super) const GET: &str = "/containerd.services.containers.v1.Containers/Get";
pub(super) const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";

/// Asks for one container in each of containerd's namespaces (`k8s.io`, `moby`, `default`, …).
pub async fn find(rpc: &Rpc, id: &str) -> Result<Found, Unanswered> {
    let list = ListNamespacesRequest::default();
    let Some(listed) = rpc
        .call::<_, ListNamespacesResponse>(NAMESPACES, None, list)
        .await?
    else {
        return Ok(None);
    };
    for namespace in listed.namespaces.iter().take(NAMESPACES_MAX) {
        let request = GetContainerRequest { id: id.to_owned() };
        let answer = rpc
            .call::<_, GetContainerResponse>(GET, Some(&namespace.name), request)
            .await?;
        if let Some(stored) = answer.and_then(|answer| answer.container) {
            return Ok(Some(container(id, stored)));
        }
    }
    Ok(None)
}

fn container(id: &str, stored: Stored) -> Container {
    let labels: super::Labels = stored.labels.into_iter().collect();
    let name = [CONTAINER_NAME, NERDCTL_NAME]
        .into_iter()
        .find_map(|label| labels.get(label).cloned());
    Container {
        id: id.to_owned(),
        name,
        image: some(stored.image),
        runtime: Some("containerd".into()),
        pod: Pod::of_labels(&labels),
        labels,
    }
}
