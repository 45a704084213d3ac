//! The kubelet's list of this node's pods (`/pods`), where the configuration says how to reach it.

use super::api::{Api, ApiError};
use super::pods::{Item, List};
use super::sources::{Found, Unanswered};
use crate::config::KubernetesServer;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Bytes of the list at the most.
const LIST_MAX: usize = 32 << 20;
/// A list is asked for again after this at the earliest.
const FRESH: Duration = Duration::from_secs(2);

/// A client of the kubelet, with the list as it was last.
pub struct Kubelet {
    api: Api,
    list: Mutex<(Option<Instant>, Vec<Item>)>,
}

impl Kubelet {
    /// # Errors
    /// When the files of TLS cannot be used.
    pub fn new(settings: &KubernetesServer) -> Result<Kubelet, ApiError> {
        Ok(Kubelet {
            api: Api::new("kubelet", settings)?,
            list: Mutex::default(),
        })
    }

    /// Looks a container up in the list, which is fetched anew where it is old and does not have it.
    pub async fn find(&self, id: &str) -> Result<Found, Unanswered> {
        let mut list = self.list.lock().await;
        let in_list = |items: &[Item]| items.iter().find_map(|item| item.container(id));
        if let Some(found) = in_list(&list.1) {
            return Ok(Some(found));
        }
        if list.0.is_none_or(|at| at.elapsed() >= FRESH) {
            let fetched: List = self.api.document("/pods", super::TIMEOUT, LIST_MAX).await?;
            *list = (Some(Instant::now()), fetched.items.unwrap_or_default());
        }
        Ok(in_list(&list.1))
    }
}
