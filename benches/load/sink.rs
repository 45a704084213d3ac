//! An OTLP receiver in a process of its own that reads and discards.

use crate::cost;
use crate::harness::free_port;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What it says once it listens.
const READY: &str = "ready\n";

/// It ends with this.
pub struct Sink {
    child: Child,
    port: u16,
}

impl Sink {
    /// # Panics
    /// When it does not listen.
    pub fn start() -> Sink {
        let port = free_port();
        let own = std::env::current_exe().expect("own path");
        let mut child = Command::new(own)
            .args(["--sink", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the sink");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the sink's first line");
        assert_eq!(line, READY, "the sink does not listen");
        Sink { child, port }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// CPU time that it used so far.
    pub fn cpu(&self) -> Duration {
        cost::cpu(self.child.id())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("the sink cannot be ended: {error}");
        }
    }
}

/// The process itself.
pub fn run(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("listen");
        print!("{READY}");
        loop {
            let (socket, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                let service = hyper::service::service_fn(discard);
                let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                http.initial_stream_window_size(8 << 20)
                    .initial_connection_window_size(8 << 20);
                // A client that goes away is no fault here.
                if let Err(error) = http.serve_connection(TokioIo::new(socket), service).await {
                    eprintln!("sink: {error}");
                }
            });
        }
    });
}

/// Reads all of a gRPC request and answers with an empty message.
async fn discard(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let mut response = Response::new(message.with_trailers(async { Some(Ok(trailers)) }));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}
