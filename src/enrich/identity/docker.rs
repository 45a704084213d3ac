//! The socket of Docker, and of Podman, which speaks the same (Docker Engine API v1.24 and later).

use super::sources::{Found, Unanswered};
use super::{Container, Labels, Pod, some};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::path::Path;
use tokio::net::UnixStream;

/// Bytes of an answer at the most.
const ANSWER_MAX: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: Option<String>,
    config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    labels: Option<Labels>,
}

/// Asks for one container by its id, which is hex digits alone.
pub async fn find(socket: &Path, id: &str) -> Result<Found, Unanswered> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let answer = ask(&mut sender, id).await;
    // The answer is read whole; the connection is of no further use.
    driven.abort();
    answer
}

async fn ask(sender: &mut http1::SendRequest<Empty<Bytes>>, id: &str) -> Result<Found, Unanswered> {
    let request = Request::get(format!("/containers/{id}/json"))
        .header("host", "docker")
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    match response.status().as_u16() {
        200 => {}
        404 => return Ok(None),
        status => return Err(Unanswered::new(format!("HTTP status {status}"))),
    }
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await
        .map_err(|error| Unanswered::new(error.to_string()))?;
    let inspected: Inspected = serde_json::from_slice(&body.to_bytes())?;
    Ok(Some(container(id, inspected)))
}

fn container(id: &str, inspected: Inspected) -> Container {
    let (image, labels) = match inspected.config {
        Some(config) => (config.image, config.labels.unwrap_or_default()),
        None => Default::default(),
    };
    let name = inspected.name.and_then(|name| {
        // Docker puts a slash in front.
        some(name.strip_prefix('/').unwrap_or(&name).to_owned())
    });
    Container {
        id: id.to_owned(),
        name,
        image: image.and_then(some),
        runtime: None,
        pod: Pod::of_labels(&labels),
        labels,
    }
}
