//! The socket of a CRI runtime (containerd, CRI-O): `runtime.v1.RuntimeService`, the parts that are needed.

use super::rpc::Rpc;
use super::sources::{Found, Unanswered};
use super::{Container, Pod, some};
use std::collections::HashMap;

type Map = HashMap<String, String>;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ContainerFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerFilter {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Listed>,
}

/// `Container` of the service.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Listed {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "8")]
    pub labels: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ImageSpec {
    #[prost(string, tag = "1")]
    pub image: String,
    /// As the user asked for it; `image` may be a digest.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatusRequest {
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxStatus {
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    #[prost(message, optional, tag = "5")]
    pub network: Option<PodSandboxNetworkStatus>,
    #[prost(map = "string, string", tag = "7")]
    pub labels: Map,
    #[prost(map = "string, string", tag = "8")]
    pub annotations: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxNetworkStatus {
    #[prost(string, tag = "1")]
    pub ip: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

pub(super) const CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
pub(super) const SANDBOX: &str = "/runtime.v1.RuntimeService/PodSandboxStatus";

/// Asks for one container and its pod.
pub async fn find(rpc: &Rpc, id: &str) -> Result<Found, Unanswered> {
    let filter = ContainerFilter { id: id.to_owned() };
    let request = ListContainersRequest {
        filter: Some(filter),
    };
    let answer = rpc
        .call::<_, ListContainersResponse>(CONTAINERS, None, request)
        .await?;
    let listed = answer
        .into_iter()
        .flat_map(|answer| answer.containers)
        .find(|listed| listed.id == id);
    let Some(listed) = listed else {
        return Ok(None);
    };
    let request = PodSandboxStatusRequest {
        pod_sandbox_id: listed.pod_sandbox_id.clone(),
    };
    let sandbox = rpc
        .call::<_, PodSandboxStatusResponse>(SANDBOX, None, request)
        .await?;
    Ok(Some(container(
        listed,
        sandbox.and_then(|sandbox| sandbox.status),
    )))
}

fn container(listed: Listed, sandbox: Option<PodSandboxStatus>) -> Container {
    let name = listed.metadata.and_then(|metadata| some(metadata.name));
    let labels: super::Labels = listed.labels.into_iter().collect();
    let of_sandbox = sandbox.and_then(|status| {
        let metadata = status.metadata?;
        Some(Pod {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: some(metadata.uid),
            ip: status.network.and_then(|network| some(network.ip)),
            container: name.clone(),
            labels: status.labels.into_iter().collect(),
            annotations: status.annotations.into_iter().collect(),
            ..Pod::default()
        })
    });
    let image = listed
        .image
        .and_then(|spec| some(spec.user_specified_image).or(some(spec.image)));
    Container {
        id: listed.id,
        name,
        image,
        runtime: None,
        pod: of_sandbox.or_else(|| Pod::of_labels(&labels)),
        labels,
    }
}
