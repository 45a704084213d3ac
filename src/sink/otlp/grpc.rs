//! OTLP over gRPC: unary calls with a message that is encoded and compressed already.
//!
//! tonic compresses at one level, the slow one. So it is given what is compressed, and told that it is not; the flag of
//! the message and the header that say otherwise are put on the way ([`Flagged`]).

use super::StartError;
use super::client::{USER_AGENT, accepted, chain};
use super::compress::compress;
use super::connect::Connector;
use super::retry::{self, Reply};
use crate::config::{Compression, OtlpEndpoint};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Frame;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::http::{self, Uri};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower_service::Service;

/// A connection is there by then, or the attempt failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Client {
    connector: Connector,
    endpoint: Endpoint,
    /// Replaced where its connection does not answer.
    service: Mutex<Grpc<Flagged>>,
    path: PathAndQuery,
    metadata: MetadataMap,
    compression: Compression,
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
            service: Mutex::new(channel(&endpoint, &connector, target.compression)),
            connector,
            endpoint,
            path: PathAndQuery::from_static(service),
            metadata: metadata(target)?,
            compression: target.compression,
            timeout: target.timeout,
        })
    }

    fn service(&self) -> MutexGuard<'_, Grpc<Flagged>> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn send(&self, message: Bytes) -> Reply {
        let message = match compress(self.compression, message) {
            Ok(message) => message,
            Err(error) => return Reply::refused(error),
        };
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.call(message)).await {
            Ok(Ok(reply)) => accepted(&reply),
            Ok(Err(status)) => retry::of_status(&status),
            Err(_) => {
                // The connection may be dead without a word: the next attempt makes a new one.
                *self.service() = channel(&self.endpoint, &self.connector, self.compression);
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

fn channel(endpoint: &Endpoint, connector: &Connector, compression: Compression) -> Grpc<Flagged> {
    Grpc::new(Flagged {
        channel: endpoint.connect_with_connector_lazy(connector.clone()),
        compressed: compression != Compression::None,
    })
}

/// A channel whose requests say that their one message is compressed, where it is: the first byte of a message in the
/// protocol of gRPC over HTTP/2.
#[derive(Clone)]
struct Flagged {
    channel: Channel,
    compressed: bool,
}

impl Service<http::Request<Body>> for Flagged {
    type Response = <Channel as Service<http::Request<Body>>>::Response;
    type Error = <Channel as Service<http::Request<Body>>>::Error;
    type Future = <Channel as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut flag = self.compressed;
        let flagged = move |body: Body| {
            Body::new(body.map_frame(move |frame| match frame.into_data() {
                Ok(data) if std::mem::take(&mut flag) => Frame::data(with_flag(data)),
                Ok(data) => Frame::data(data),
                Err(trailers) => trailers,
            }))
        };
        self.channel.call(request.map(flagged))
    }
}

fn with_flag(data: Bytes) -> Bytes {
    let mut data = BytesMut::from(data);
    if let Some(first) = data.first_mut() {
        *first = 1;
    }
    data.freeze()
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
    if let Some(name) = super::compress::name(target.compression) {
        metadata.insert("grpc-encoding", AsciiMetadataValue::from_static(name));
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
