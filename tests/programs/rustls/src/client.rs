//! A client that carries out a plan of calls, its connections side by side.

use crate::Outcome;
use crate::tls::How;
use crate::tokio_rustls::TlsConnector;
use crate::tokio_rustls::client::TlsStream;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, Uri, body::Incoming, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Deserialize)]
struct Plan {
    base: String,
    ca: String,
    out: String,
    connections: Vec<Vec<Call>>,
}

#[derive(Deserialize, Clone)]
struct Call {
    index: usize,
    method: String,
    target: String,
    headers: HashMap<String, String>,
    body: Option<String>,
}

pub async fn perform(how: How, plan: &str) -> Outcome {
    let plan: Plan = serde_json::from_slice(&std::fs::read(plan)?)?;
    let connector = TlsConnector::from(how.client(&plan.ca)?);
    let plan = Arc::new(plan);
    let mut all = JoinSet::new();
    for number in 0..plan.connections.len() {
        let (plan, connector) = (plan.clone(), connector.clone());
        let (http, renew) = (how_http(how.http2), how.renew);
        all.spawn(async move { connection(&plan, number, connector, (http, renew)).await });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(())
}

const fn how_http(http2: bool) -> Http {
    if http2 { Http::Two } else { Http::One }
}

#[derive(Clone, Copy)]
enum Http {
    One,
    Two,
}

/// Sends requests of one connection.
pub enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// Opens a connection of HTTP on a stream.
    pub async fn open<S>(stream: S, http2: bool) -> Result<Sender, hyper::Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(driver);
            Ok(Sender::Two(sender))
        } else {
            let (sender, driver) = http1::handshake(io).await?;
            tokio::spawn(driver);
            Ok(Sender::One(sender))
        }
    }

    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// A TLS connection to a port of loopback.
pub async fn connect(
    connector: &TlsConnector,
    port: u16,
) -> Result<(TlsStream<TcpStream>, u16), std::io::Error> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let local = socket.local_addr()?.port();
    let name = "localhost".try_into().map_err(std::io::Error::other)?;
    Ok((connector.connect(name, socket).await?, local))
}

async fn connection(
    plan: &Plan,
    number: usize,
    connector: TlsConnector,
    (http, renew): (Http, bool),
) -> Outcome {
    let base: Uri = plan.base.parse()?;
    let (stream, local) = connect(&connector, base.port_u16().unwrap_or(443)).await?;
    let http2 = matches!(http, Http::Two);
    let mut sender = match renew {
        #[cfg(feature = "v23")]
        true => Sender::open(crate::renewing::Renewing::new(stream), http2).await?,
        #[cfg(not(feature = "v23"))]
        true => return Err("keys cannot be renewed before rustls 0.23".into()),
        false => Sender::open(stream, http2).await?,
    };
    for call in &plan.connections[number] {
        let body = match &call.body {
            Some(path) => Bytes::from(std::fs::read(path)?),
            None => Bytes::new(),
        };
        let target = match http {
            Http::One => call.target.clone(),
            Http::Two => format!("{}{}", plan.base, call.target),
        };
        let mut request = Request::builder().method(&*call.method).uri(target);
        if let (Http::One, Some(authority)) = (http, base.authority()) {
            request = request.header(header::HOST, authority.as_str());
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let response = sender.send(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        let content = response.into_body().collect().await?.to_bytes();
        std::fs::write(format!("{}/{}", plan.out, call.index), content)?;
        let index = call.index;
        println!(r#"{{"index": {index}, "status": {status}, "local_port": {local}}}"#);
    }
    Ok(())
}
