//! The live page of `run --ui`: one page, its parts, and what it asks for, over HTTP on loopback.
//!
//! Enters: requests of a browser on this host, with the token in `Authorization`. Leaves: the page's own files, which
//! hold nothing captured; transactions as server-sent events; the agent's status.
//! Holds: [`guard`] looks at every request first: only loopback names reach it (no DNS rebinding), only the page itself
//! may ask (`Origin`), nothing is in the URL but a path, and nothing captured is sent without the token. The page shows
//! captured text as text alone, and its policy lets no script run but its own files.

mod assets;
mod events;
mod guard;
mod token;

pub use token::Token;

use super::{Feed, Watch};
use crate::endpoint;
use crate::telemetry::state::Look;
use crate::telemetry::status::Source;
use guard::Wanted;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the page sends: a filter, at most.
const MAX_BODY: usize = 256 << 10;

type Body = BoxBody<Bytes, Infallible>;

struct Page {
    feed: Feed,
    source: Arc<dyn Source>,
    token: Token,
    address: SocketAddr,
}

/// Binds the page's address.
///
/// # Errors
/// When it is no loopback address, or cannot be bound.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(std::io::Error::other(
            "the live page is for this host alone: name a loopback address, and go there through `ssh -L` from elsewhere",
        ));
    }
    TcpListener::bind(address).await
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, feed: Feed, source: Arc<dyn Source>, token: Token) {
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => return tracing::error!(%error, "the live page has no address"),
    };
    let page = Arc::new(Page {
        feed,
        source,
        token,
        address,
    });
    let answer = move |request| {
        let page = page.clone();
        async move { page.answer(request).await }
    };
    endpoint::serve(listener, "live page", answer).await;
}

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let wanted = guard::check(&request, self.address, &self.token);
        let mut response = match wanted {
            Err(refusal) => text(refusal.status(), refusal.to_string() + "\n"),
            Ok(Wanted::Asset(asset)) => with_type(asset.kind, Bytes::from_static(asset.content)),
            Ok(Wanted::Status) => self.status(),
            Ok(Wanted::Transactions) => self.transactions(request).await,
        };
        secure(response.headers_mut());
        response
    }

    fn status(&self) -> Response<Body> {
        match serde_json::to_vec(&self.source.status(Look::Status)) {
            Ok(json) => with_type("application/json", json.into()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// Transactions as they come, until the browser goes or the agent stops.
    async fn transactions(&self, request: Request<Incoming>) -> Response<Body> {
        let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let watch: Watch = match body.map(|body| serde_json::from_slice(&body.to_bytes())) {
            Ok(Ok(watch)) => watch,
            Ok(Err(error)) => {
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("cannot be read: {error}\n"),
                );
            }
            Err(error) => return text(StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")),
        };
        match self.feed.watch(&watch) {
            Ok(subscription) => {
                let events = events::body(subscription);
                let mut response = Response::new(events.boxed());
                let kind = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(refused) => match serde_json::to_vec(&refused) {
                Ok(json) => {
                    let mut response = with_type("application/json", json.into());
                    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                    response
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
        }
    }
}

/// What every answer tells the browser: run nothing but the page's own files, ask nobody else, be shown in no other page,
/// keep nothing.
const SECURITY: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cache-control", "no-store"),
];

fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = with_type("text/plain; charset=utf-8", body.into());
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

fn with_type(kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
