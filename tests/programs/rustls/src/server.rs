//! A server of HTTP/1.1 or HTTP/2.

use crate::Outcome;
use crate::tls::How;
use crate::tokio_rustls::TlsAcceptor;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub async fn serve(how: &How, address: &str, port: &str, cert: &str, key: &str) -> Outcome {
    let acceptor = TlsAcceptor::from(how.server(cert, key)?);
    let listener = TcpListener::bind(format!("{address}:{port}")).await?;
    println!("ready");
    loop {
        let (socket, peer) = listener.accept().await?;
        let (acceptor, http2) = (acceptor.clone(), how.http2);
        tokio::spawn(async move {
            let outcome = match acceptor.accept(socket).await {
                Ok(stream) => connection(stream, peer.port(), http2).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Serves one connection to its end.
pub async fn connection<S>(stream: S, port: u16, http2: bool) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(request, port));
    let io = TokioIo::new(stream);
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(io, service).await?;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(io, service).await?;
    }
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    port: u16,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = if head.method == Method::POST {
        format!("{} bytes\n", body.len())
    } else {
        format!("asked {} {}\n", head.method, head.uri.path())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert("x-server", "rustls".parse().expect("a header"));
    headers.insert("x-port", port.into());
    Ok(response)
}
