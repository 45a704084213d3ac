//! One attempt to hand a request to a destination, over gRPC or HTTP.

use super::retry::Reply;
use super::{StartError, grpc, http};
use crate::config::{OtlpEndpoint, OtlpProtocol};
use bytes::Bytes;
use prost::Message;

/// Who asks: the conventions of OTLP exporters.
pub const USER_AGENT: &str = concat!(
    "plainspan/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust"
);

/// A destination of one signal. Connects when it is first used.
pub enum Client {
    Grpc(Box<grpc::Client>),
    Http(Box<http::Client>),
}

impl Client {
    /// `service`: the path of the method, for gRPC.
    ///
    /// # Errors
    /// When URL, headers or TLS files cannot be used.
    pub fn new(service: &'static str, endpoint: &OtlpEndpoint) -> Result<Self, StartError> {
        Ok(match endpoint.protocol {
            OtlpProtocol::Grpc => Client::Grpc(Box::new(grpc::Client::new(service, endpoint)?)),
            OtlpProtocol::Http => Client::Http(Box::new(http::Client::new(endpoint)?)),
        })
    }

    /// One attempt, beside others; it ends within the endpoint's timeout.
    pub async fn send(&self, request: Bytes) -> Reply {
        match self {
            Client::Grpc(client) => client.send(request).await,
            Client::Http(client) => client.send(request).await,
        }
    }
}

/// `Export…ServiceResponse` of any signal: they have the same shape.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// What a successful reply says. One that is no protobuf is a success all the same: the items were taken.
pub fn accepted(reply: &[u8]) -> Reply {
    let partial = match ExportResponse::decode(reply) {
        Ok(response) => response.partial_success.unwrap_or_default(),
        Err(error) => PartialSuccess {
            rejected: 0,
            error_message: format!("the reply cannot be read: {error}"),
        },
    };
    Reply::Accepted {
        rejected: u64::try_from(partial.rejected).unwrap_or(0),
        message: partial.error_message,
    }
}

/// An error with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
