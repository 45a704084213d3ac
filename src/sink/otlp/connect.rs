//! Connections of gRPC: straight to the destination or through a proxy, with TLS where the URL asks for it.

use super::{StartError, tls};
use crate::config::{OtlpEndpoint, OtlpProxy, OtlpTls};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codegen::http::Uri;

/// Bytes of a proxy's answer at the most.
const MAX_ANSWER: usize = 16 << 10;

/// Opens connections to one host.
#[derive(Clone)]
pub struct Connector {
    host: Host,
    proxy: Option<Proxy>,
}

/// A host, and TLS towards it.
#[derive(Clone)]
struct Host {
    name: Arc<str>,
    port: u16,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Proxy {
    host: Host,
    /// As it is shown.
    url: Arc<str>,
    /// The whole request that opens a tunnel.
    request: Arc<str>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Connector {
    /// # Errors
    /// When the URL has no host, or TLS files cannot be used.
    pub fn new(uri: &Uri, target: &OtlpEndpoint) -> Result<Connector, StartError> {
        let secured = uri.scheme_str() == Some("https");
        let config = match secured {
            true => Some(tls::client(&target.tls)?),
            false => None,
        };
        let host = Host::new(uri, &target.url, config, b"h2")?;
        let proxy = target.proxy.as_ref();
        let proxy = proxy.map(|proxy| Proxy::new(proxy, &host, &target.tls));
        Ok(Connector {
            host,
            proxy: proxy.transpose()?,
        })
    }

    async fn open(self) -> io::Result<Opened> {
        let stream = match &self.proxy {
            None => self.host.connect().await?,
            Some(proxy) => proxy.tunnel().await?,
        };
        Ok(TokioIo::new(self.host.secure(stream).await?))
    }
}

impl Host {
    fn new(
        uri: &Uri,
        shown: &str,
        config: Option<ClientConfig>,
        protocol: &[u8],
    ) -> Result<Host, StartError> {
        let name = uri
            .host()
            .ok_or_else(|| StartError::url(shown, "it has no host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let default = if config.is_some() { 443 } else { 80 };
        let tls = match config {
            None => None,
            Some(mut config) => {
                config.alpn_protocols = vec![protocol.to_vec()];
                let name =
                    ServerName::try_from(name.clone()).map_err(|e| StartError::url(shown, e))?;
                Some(Tls {
                    config: Arc::new(config),
                    name,
                })
            }
        };
        Ok(Host {
            name: name.into(),
            port: uri.port_u16().unwrap_or(default),
            tls,
        })
    }

    /// `host:port`, an IPv6 address in brackets.
    fn authority(&self) -> String {
        match self.name.contains(':') {
            true => format!("[{}]:{}", self.name, self.port),
            false => format!("{}:{}", self.name, self.port),
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((&*self.name, self.port)).await?;
        tcp.set_nodelay(true)?;
        Ok(Box::new(tcp))
    }

    async fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        let Some(tls) = &self.tls else {
            return Ok(stream);
        };
        let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
        Ok(Box::new(connector.connect(tls.name.clone(), stream).await?))
    }
}

impl Proxy {
    fn new(proxy: &OtlpProxy, to: &Host, trust: &OtlpTls) -> Result<Proxy, StartError> {
        let uri: Uri = proxy
            .url
            .parse()
            .map_err(|e| StartError::url(&proxy.url, e))?;
        // Our certificate is for the destination, not for who stands in between.
        let trust = OtlpTls {
            cert_file: None,
            key_file: None,
            ..trust.clone()
        };
        let config = match uri.scheme_str() == Some("https") {
            true => Some(tls::client(&trust)?),
            false => None,
        };
        let authority = to.authority();
        let authorization = match &proxy.authorization {
            Some(secret) => format!("Proxy-Authorization: {}\r\n", secret.expose()),
            None => String::new(),
        };
        let request =
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
        Ok(Proxy {
            host: Host::new(&uri, &proxy.url, config, b"http/1.1")?,
            url: proxy.url.as_str().into(),
            request: request.into(),
        })
    }

    /// A connection to the destination by CONNECT (RFC 9110 §9.3.6).
    async fn tunnel(&self) -> io::Result<Box<dyn Stream>> {
        let through = |error: io::Error| {
            let text = format!("proxy {}: {}", self.url, super::client::chain(&error));
            io::Error::new(error.kind(), text)
        };
        let stream = self.host.connect().await.map_err(through)?;
        let mut stream = self.host.secure(stream).await.map_err(through)?;
        stream
            .write_all(self.request.as_bytes())
            .await
            .map_err(through)?;
        stream.flush().await.map_err(through)?;
        let answer = head(&mut stream).await.map_err(through)?;
        let status = answer.lines().next().unwrap_or_default();
        let code = status
            .strip_prefix("HTTP/1.")
            .and_then(|s| s.split(' ').nth(1));
        if !code.is_some_and(|code| code.len() == 3 && code.starts_with('2')) {
            let shown: String = status
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect();
            return Err(through(io::Error::other(format!(
                "it answered `{shown}` to CONNECT"
            ))));
        }
        Ok(stream)
    }
}

/// The head of an answer, byte by byte: what follows it belongs to the destination.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(io::Error::other("its answer to CONNECT has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Of a connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub type Opened = TokioIo<Box<dyn Stream>>;

impl tower_service::Service<Uri> for Connector {
    type Response = Opened;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Opened>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}
