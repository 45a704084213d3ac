//! The kubelet's list of this node's pods (`/pods`), where the configuration says how to reach it.

use super::sources::{Found, Unanswered};
use super::{Container, Labels, Pod, some};
use crate::config::Kubelet as Settings;
use crate::config::OtlpTls;
use crate::sink::otlp::tls;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Bytes of the list at the most.
const LIST_MAX: usize = 32 << 20;
/// A list is asked for again after this at the earliest.
const FRESH: Duration = Duration::from_secs(2);

/// The kubelet cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    #[error("tap.identity.kubelet: {0}")]
    Tls(String),
    #[error("tap.identity.kubelet: no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A client of the kubelet, with the list as it was last.
pub struct Kubelet {
    client: reqwest::Client,
    url: String,
    token_file: Option<PathBuf>,
    list: Mutex<(Option<Instant>, Vec<Item>)>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: Option<String>,
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
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
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
#[serde(rename_all = "camelCase")]
struct ContainerState {
    name: String,
    image: Option<String>,
    /// `runtime://id`
    #[serde(rename = "containerID", default)]
    container_id: String,
}

impl Kubelet {
    /// # Errors
    /// When the files of TLS cannot be used.
    pub fn new(settings: &Settings) -> Result<Kubelet, KubeletError> {
        let mut builder = reqwest::Client::builder()
            .timeout(super::TIMEOUT)
            // A redirect would take the token somewhere else.
            .redirect(reqwest::redirect::Policy::none());
        if settings.url.starts_with("https:") {
            let files = OtlpTls {
                ca_file: settings.ca_file.clone(),
                insecure_skip_verify: settings.insecure_skip_verify,
                ..OtlpTls::default()
            };
            let config =
                tls::client(&files).map_err(|error| KubeletError::Tls(error.to_string()))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        Ok(Kubelet {
            client: builder.build()?,
            url: format!("{}/pods", settings.url.trim_end_matches('/')),
            token_file: settings.token_file.clone(),
            list: Mutex::default(),
        })
    }

    /// Looks a container up in the list, which is fetched anew where it is old and does not have it.
    pub async fn find(&self, id: &str) -> Result<Found, Unanswered> {
        let mut list = self.list.lock().await;
        if let Some(found) = in_list(&list.1, id) {
            return Ok(Some(found));
        }
        if list.0.is_none_or(|at| at.elapsed() >= FRESH) {
            *list = (Some(Instant::now()), self.fetch().await?);
        }
        Ok(in_list(&list.1, id))
    }

    async fn fetch(&self) -> Result<Vec<Item>, Unanswered> {
        let mut request = self.client.get(&self.url);
        if let Some(file) = &self.token_file {
            // Tokens of service accounts are replaced about every hour.
            let token = tokio::fs::read_to_string(file).await.map_err(|error| {
                Unanswered::new(format!("the token of {}: {error}", file.display()))
            })?;
            request = request.bearer_auth(token.trim());
        }
        let mut response = request.send().await?;
        if !response.status().is_success() {
            return Err(Unanswered::new(format!(
                "HTTP status {}",
                response.status()
            )));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > LIST_MAX {
                return Err(Unanswered::new(format!(
                    "the list of pods is longer than {LIST_MAX} bytes"
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice::<List>(&bytes)?.items)
    }
}

fn in_list(items: &[Item], id: &str) -> Option<Container> {
    items.iter().find_map(|item| {
        let state = &item.status;
        let all = [
            &state.container_statuses,
            &state.init_container_statuses,
            &state.ephemeral_container_statuses,
        ];
        let found = all.into_iter().flatten().find(|container| {
            container.container_id.split_once("://").map(|(_, id)| id) == Some(id)
        })?;
        Some(container(item, found, id))
    })
}

fn container(item: &Item, state: &ContainerState, id: &str) -> Container {
    let metadata = &item.metadata;
    let owner = metadata.owner_references.iter().find(|o| o.controller);
    Container {
        id: id.to_owned(),
        name: Some(state.name.clone()),
        image: state.image.clone().and_then(some),
        runtime: state
            .container_id
            .split_once("://")
            .map(|(runtime, _)| runtime.to_owned()),
        labels: Labels::new(),
        pod: Some(Pod {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            container: Some(state.name.clone()),
            node: item.spec.node_name.clone(),
            ip: item.status.pod_ip.clone(),
            owner: owner.map(|owner| (owner.kind.clone(), owner.name.clone())),
            labels: metadata.labels.clone(),
            annotations: metadata.annotations.clone(),
            workload: None,
        }),
    }
}
