//! The status endpoint: `/healthz`, `/readyz`, `/status`, `/metrics` over plain HTTP.
//!
//! Enters: a function that gives the state of the moment. Leaves: text and JSON.
//! Holds: it answers GET alone, shows no command lines and no captured values.

use super::ledger::Snapshot;
use super::prometheus::{self, Exposition};
use super::state::{AgentState, Look};
use crate::endpoint;
use crate::guard::Measures;
use crate::metrics::Metrics;
use crate::probe::count::CallCounts;
use crate::probe::tier::Refused;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Everything that `/status` says.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub pid: u32,
    pub config: ConfigStatus,
    /// How TLS calls and sockets are seen, and how kernel programs loop, as `--tier` takes it: `session,tracepoints,bpf_loop`.
    pub tier: String,
    /// Better tiers that this kernel did not take, and why.
    pub tiers_refused: Vec<Refused>,
    /// True from the moment that everything present at start has its verdict and its probes.
    pub ready: bool,
    /// What the agent itself may do: each measure, and what became of it.
    pub sandbox: Measures,
    pub uptime_seconds: f64,
    pub ledger: Snapshot,
    pub queues: Connections,
    /// What the agent takes and holds.
    pub agent: AgentState,
    /// What went through the probes of each TLS stack, by its name.
    pub stacks: BTreeMap<&'static str, CallCounts>,
    /// What was found in each library, and whether it is probed.
    pub verdicts: serde_json::Value,
}

/// The configuration in force, and what became of reloads.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfigStatus {
    /// Path of the file, or what stands for one.
    pub source: String,
    /// SHA-256 of its text, in hex.
    pub digest: String,
    /// Since when it is in force, RFC 3339.
    pub loaded: String,
    pub loaded_unix_seconds: u64,
    pub reloads: Reloads,
    /// Why the last reload was refused; none since one was applied.
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reloads {
    pub applied: u64,
    pub refused: u64,
}

/// What the capture thread follows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Connections {
    /// Connections and TLS sessions that the capture thread follows.
    pub connections: u64,
    pub tls_sessions: u64,
    /// Bytes that it holds for them.
    pub connection_bytes: u64,
}

/// Gives the status of the moment.
pub trait Source: Send + Sync {
    fn ready(&self) -> bool;
    fn status(&self, who: Look) -> Status;
}

/// Binds the endpoint.
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, metrics: Metrics) {
    let answer =
        move |request: Request<Incoming>| std::future::ready(answer(&request, &*source, &metrics));
    endpoint::serve(listener, "status", answer).await;
}

fn answer(
    request: &Request<Incoming>,
    source: &dyn Source,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" if source.ready() => text(StatusCode::OK, "ready\n".into()),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT).iter();
            let accept: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
            let form = Exposition::wanted(&accept.join(","));
            let own = prometheus::render(&source.status(Look::Metrics), form);
            let page = own + &metrics.exposed(form) + form.end();
            with_type(StatusCode::OK, form.content_type(), page.into())
        }
        "/status" => match serde_json::to_vec_pretty(&source.status(Look::Status)) {
            Ok(json) => with_type(StatusCode::OK, "application/json", json.into()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "try /healthz, /readyz, /status or /metrics\n".into(),
        ),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
