//! The way of the agent's own requests: that of transactions, with its TLS, proxies, headers, compression and timeouts.

use crate::sink::otlp::Courier;
use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The exporters' client. They make a request of HTTP of each message; the courier takes the message, whatever protocol
/// the store speaks.
#[derive(Clone)]
pub(super) struct Way {
    courier: Arc<Courier>,
    /// The SDK exports on threads of its own.
    runtime: Handle,
}

impl Way {
    pub fn new(courier: Courier, runtime: &Handle) -> Way {
        Way {
            courier: Arc::new(courier),
            runtime: runtime.clone(),
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

#[async_trait]
impl HttpClient for Way {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let courier = self.courier.clone();
        let message = request.into_body();
        let sent = self
            .runtime
            .spawn(async move { courier.send(message).await });
        sent.await??;
        Ok(Response::new(Bytes::new()))
    }
}
