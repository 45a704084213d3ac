//! Requests to the servers of Kubernetes: the kubelet's own, and the API.

use super::sources::Unanswered;
use crate::config::{KubernetesServer, OtlpTls};
use crate::sink::otlp::tls;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of an answer that says what is wrong.
const SAID_MAX: usize = 4 << 10;

/// A server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("tap.identity.{0}: {1}")]
    Tls(&'static str, String),
    #[error("tap.identity.{0}: no HTTP client: {1}")]
    Client(&'static str, reqwest::Error),
}

/// A server, and how it is spoken to.
pub(super) struct Api {
    client: reqwest::Client,
    url: String,
    token_file: Option<PathBuf>,
}

impl Api {
    /// `section`: of `tap.identity`, for errors.
    ///
    /// # Errors
    /// When the files of TLS cannot be used.
    pub fn new(section: &'static str, settings: &KubernetesServer) -> Result<Api, ApiError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .tcp_keepalive(CONNECT)
            // A redirect would take the token somewhere else, and a proxy would see what stays on the host or in the
            // cluster.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if settings.url.starts_with("https:") {
            let files = OtlpTls {
                ca_file: settings.ca_file.clone(),
                insecure_skip_verify: settings.insecure_skip_verify,
                ..OtlpTls::default()
            };
            let config =
                tls::client(&files).map_err(|error| ApiError::Tls(section, error.to_string()))?;
            builder = builder.tls_backend_preconfigured(config);
        }
        let client = builder.build();
        Ok(Api {
            client: client.map_err(|error| ApiError::Client(section, error))?,
            url: settings.url.trim_end_matches('/').to_owned(),
            token_file: settings.token_file.clone(),
        })
    }

    /// Asks for `path`, which has its query; the answer has status 200. `timeout` is that of the whole answer.
    pub async fn get(&self, path: &str, timeout: Duration) -> Result<reqwest::Response, Refused> {
        let mut request = self
            .client
            .get(format!("{}{path}", self.url))
            .timeout(timeout);
        if let Some(file) = &self.token_file {
            // Tokens of service accounts are replaced about every hour.
            let token = tokio::fs::read_to_string(file).await.map_err(|error| {
                Refused::other(format!("cannot read the token {}: {error}", file.display()))
            })?;
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await.map_err(Refused::from)?;
        if response.status() == reqwest::StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let said = body(response, SAID_MAX).await.unwrap_or_default();
        Err(Refused {
            status: Some(status.as_u16()),
            why: match said_by(&said) {
                Some(said) => format!("HTTP status {status}: {said}"),
                None => format!("HTTP status {status}"),
            },
        })
    }

    /// Asks for a document of `max` bytes at the most.
    pub async fn document<T: DeserializeOwned>(
        &self,
        path: &str,
        timeout: Duration,
        max: usize,
    ) -> Result<T, Refused> {
        let bytes = body(self.get(path, timeout).await?, max).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Refused::other(format!("the answer is not understood: {error}")))
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refused {
    /// Of HTTP, where the server answered.
    pub status: Option<u16>,
    pub why: String,
}

impl Refused {
    pub fn other(why: String) -> Refused {
        Refused { status: None, why }
    }
}

impl From<reqwest::Error> for Refused {
    /// What went wrong underneath says more than that a request failed.
    fn from(error: reqwest::Error) -> Refused {
        let error = error.without_url();
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(below) = cause {
            why = format!("{why}: {below}");
            cause = below.source();
        }
        Refused::other(why)
    }
}

/// Reads an answer of `max` bytes at the most.
async fn body(mut response: reqwest::Response, max: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > max {
            return Err(Refused::other(format!(
                "the answer is longer than {max} bytes"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// `message` of a `Status` of Kubernetes.
fn said_by(body: &[u8]) -> Option<String> {
    let status: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(status.get("message")?.as_str()?.to_owned())
}

impl From<Refused> for Unanswered {
    fn from(refused: Refused) -> Unanswered {
        Unanswered::new(refused.why)
    }
}
