//! One request handed to a destination, over gRPC or HTTP.

use super::retry::Reply;
use super::{StartError, grpc, http, split, tls};
use crate::config::{OtlpEndpoint, OtlpProtocol};
use bytes::Bytes;
use prost::Message;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who asks: the conventions of OTLP exporters.
pub const USER_AGENT: &str = concat!(
    "plainspan/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Rust"
);

/// A destination of one signal. Connects when it is first used.
pub struct Client {
    way: Way,
    /// Items of a request, as the ledger counts them.
    count: fn(&[u8]) -> u64,
    /// Over TLS.
    secured: bool,
    /// Bytes of a request that are tried, since a larger one was refused.
    largest: AtomicUsize,
}

enum Way {
    Grpc(Box<grpc::Client>),
    Http(Box<http::Client>),
}

impl Client {
    /// `service`: the path of the method, for gRPC. `count`: items of a request.
    ///
    /// # Errors
    /// When URL, headers or TLS files cannot be used.
    pub fn new(
        service: &'static str,
        count: fn(&[u8]) -> u64,
        endpoint: &OtlpEndpoint,
    ) -> Result<Self, StartError> {
        let way = match endpoint.protocol {
            OtlpProtocol::Grpc => Way::Grpc(Box::new(grpc::Client::new(service, endpoint)?)),
            OtlpProtocol::Http => Way::Http(Box::new(http::Client::new(endpoint)?)),
        };
        Ok(Client {
            way,
            count,
            secured: endpoint.url.starts_with("https:"),
            largest: AtomicUsize::new(usize::MAX),
        })
    }

    /// Sends a request, in parts where the destination takes no larger ones; beside others. Each attempt ends within the
    /// endpoint's timeout. Where one part cannot be sent now, none of it counts as sent.
    pub async fn send(&self, request: Bytes) -> Reply {
        let mut sum = Sum::default();
        let whole = request.len();
        let mut parts = vec![request];
        while let Some(part) = parts.pop() {
            let most = self.largest.load(Ordering::Relaxed);
            if part.len() > most
                && let Some([first, second]) = split::halves(&part)
            {
                parts.extend([second, first]);
                continue;
            }
            let (error, too_large) = match self.attempt(part.clone()).await {
                Reply::Accepted { rejected, message } => {
                    sum.add(rejected, message);
                    continue;
                }
                Reply::Refused { error, too_large } => (error, too_large),
                Reply::Later { error, after } => {
                    // A server that comes back may have another limit.
                    self.largest.store(usize::MAX, Ordering::Relaxed);
                    return Reply::Later { error, after };
                }
            };
            match split::halves(&part).filter(|_| too_large) {
                Some([first, second]) => {
                    let half = first.len().max(second.len());
                    self.largest.fetch_min(half, Ordering::Relaxed);
                    parts.extend([second, first]);
                }
                None if part.len() == whole => return Reply::refused(error),
                None => sum.add((self.count)(&part), error),
            }
        }
        sum.into()
    }

    async fn attempt(&self, request: Bytes) -> Reply {
        let reply = match &self.way {
            Way::Grpc(client) => client.send(request).await,
            Way::Http(client) => client.send(request).await,
        };
        match reply {
            // What the collector itself said begins with its protocol.
            Reply::Later { error, after }
                if self.secured && !error.starts_with("gRPC ") && !error.starts_with("HTTP ") =>
            {
                let error = tls::without_answer(error);
                Reply::Later { error, after }
            }
            reply => reply,
        }
    }
}

/// What became of the parts of a request.
#[derive(Default)]
struct Sum {
    rejected: u64,
    message: String,
}

impl Sum {
    fn add(&mut self, rejected: u64, message: String) {
        self.rejected += rejected;
        if !message.is_empty() {
            self.message = message;
        }
    }
}

impl From<Sum> for Reply {
    fn from(sum: Sum) -> Reply {
        Reply::Accepted {
            rejected: sum.rejected,
            message: sum.message,
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

/// An error with all its causes; of TLS first what it means.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = causes(error);
    match tls::explain(error, &causes) {
        Some(meaning) => format!("{meaning} ({causes})"),
        None => causes,
    }
}

fn causes(error: &dyn std::error::Error) -> String {
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
