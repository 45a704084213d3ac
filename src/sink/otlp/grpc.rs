//! OTLP over gRPC: unary calls with a message that is encoded already.

use super::StartError;
use super::client::{USER_AGENT, accepted, chain};
use super::connect::Connector;
use super::retry::{self, Reply};
use crate::config::{Compression, OtlpEndpoint};
use bytes::{Buf, BufMut, Bytes};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A connection is there by then, or the attempt failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Client {
    connector: Connector,
    endpoint: Endpoint,
    /// Replaced where its connection does not answer.
    service: Mutex<Grpc<Channel>>,
    path: PathAndQuery,
    metadata: MetadataMap,
    compression: Option<CompressionEncoding>,
    timeout: Duration,
}

impl Client {
    /// `service`: the path of the method. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When URL, headers or TLS files cannot be used.
    pub fn new(service: &'static str, target: &OtlpEndpoint) -> Result<Self, StartError> {
        let uri: Uri = target
            .url
            .parse()
            .map_err(|e| StartError::url(&target.url, e))?;
        let connector = Connector::new(&uri, target)?;
        let endpoint = endpoint(&uri, &target.url)?;
        Ok(Client {
            service: Mutex::new(channel(&endpoint, &connector)),
            connector,
            endpoint,
            path: PathAndQuery::from_static(service),
            metadata: metadata(target)?,
            compression: match target.compression {
                Compression::None => None,
                Compression::Gzip => Some(CompressionEncoding::Gzip),
                Compression::Zstd => Some(CompressionEncoding::Zstd),
            },
            timeout: target.timeout,
        })
    }

    fn service(&self) -> MutexGuard<'_, Grpc<Channel>> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn send(&self, message: Bytes) -> Reply {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.call(message)).await {
            Ok(Ok(reply)) => accepted(&reply),
            Ok(Err(status)) => retry::of_status(&status),
            Err(_) => {
                // The connection may be dead without a word: the next attempt makes a new one.
                *self.service() = channel(&self.endpoint, &self.connector);
                Reply::Later {
                    error: format!("no reply within {timeout:?}"),
                    after: None,
                }
            }
        }
    }

    async fn call(&self, message: Bytes) -> Result<Bytes, Status> {
        let mut service = self
            .service()
            .clone()
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        if let Some(encoding) = self.compression {
            service = service.send_compressed(encoding);
        }
        service
            .ready()
            .await
            .map_err(|e| Status::unavailable(chain(&e)))?;
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(self.timeout);
        let reply = service.unary(request, self.path.clone(), Frames).await?;
        Ok(reply.into_inner())
    }
}

fn endpoint(uri: &Uri, url: &str) -> Result<Endpoint, StartError> {
    let authority = uri
        .authority()
        .ok_or_else(|| StartError::url(url, "it has no host"))?;
    // TLS is the connector's part: tonic's own takes no verifier. Told https, it would insist on its own.
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .and_then(|e| e.user_agent(USER_AGENT))
        .map_err(|e| StartError::url(url, chain(&e)))?;
    let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or("http"));
    let origin = origin.parse().map_err(|e| StartError::url(url, e))?;
    Ok(endpoint.origin(origin).connect_timeout(CONNECT_TIMEOUT))
}

fn channel(endpoint: &Endpoint, connector: &Connector) -> Grpc<Channel> {
    Grpc::new(endpoint.connect_with_connector_lazy(connector.clone()))
}

fn metadata(target: &OtlpEndpoint) -> Result<MetadataMap, StartError> {
    let mut metadata = MetadataMap::new();
    for (name, value) in &target.headers {
        let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())
            .map_err(|_| StartError::Header { name: name.clone() })?;
        let mut value: AsciiMetadataValue = value
            .expose()
            .parse()
            .map_err(|_| StartError::Header { name: name.clone() })?;
        value.set_sensitive(true);
        metadata.append(key, value);
    }
    Ok(metadata)
}

/// Messages as bytes, both ways.
struct Frames;

impl Codec for Frames {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Frames;
    type Decoder = Frames;

    fn encoder(&mut self) -> Frames {
        Frames
    }

    fn decoder(&mut self) -> Frames {
        Frames
    }
}

impl Encoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Frames {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
