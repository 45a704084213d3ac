//! gRPC over a unix socket, with messages written by hand.

use super::sources::Unanswered;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A runtime's socket. The connection is made with the first call, and again after it broke.
#[derive(Clone)]
pub struct Rpc {
    channel: Channel,
}

impl Rpc {
    /// Must be called inside a tokio runtime.
    pub fn new(socket: &Path) -> Rpc {
        // The authority is only said in the requests: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost");
        Rpc {
            channel: endpoint.connect_with_connector_lazy(Connector(socket.into())),
        }
    }

    /// One call; None: the runtime says that there is no such thing.
    pub async fn call<Q, A>(
        &self,
        path: &'static str,
        namespace: Option<&str>,
        message: Q,
    ) -> Result<Option<A>, Unanswered>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(message);
        if let Some(namespace) = namespace {
            let value: AsciiMetadataValue = namespace
                .parse()
                .map_err(|_| Unanswered::new(format!("namespace `{namespace}`")))?;
            request.metadata_mut().insert("containerd-namespace", value);
        }
        let mut service = Grpc::new(self.channel.clone());
        service
            .ready()
            .await
            .map_err(|error| Unanswered::new(error.to_string()))?;
        let path = PathAndQuery::from_static(path);
        match service.unary(request, path, Messages::default()).await {
            Ok(answer) => Ok(Some(answer.into_inner())),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(Unanswered::new(status.to_string())),
        }
    }
}

#[derive(Clone)]
struct Connector(Arc<Path>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(UnixStream::connect(socket).await?)) })
    }
}

/// Messages of one method.
pub struct Messages<Q, A>(PhantomData<(Q, A)>);

impl<Q, A> Default for Messages<Q, A> {
    fn default() -> Self {
        Messages(PhantomData)
    }
}

impl<Q, A> Codec for Messages<Q, A>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    type Encode = Q;
    type Decode = A;
    type Encoder = Messages<Q, A>;
    type Decoder = Messages<Q, A>;

    fn encoder(&mut self) -> Self::Encoder {
        Messages::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Messages::default()
    }
}

impl<Q: Message, A> Encoder for Messages<Q, A> {
    type Item = Q;
    type Error = Status;

    fn encode(&mut self, item: Q, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl<Q, A: Message + Default> Decoder for Messages<Q, A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        A::decode(from)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
