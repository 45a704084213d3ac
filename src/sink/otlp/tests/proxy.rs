//! Export through a proxy: CONNECT for gRPC and for TLS, whole URLs for plain HTTP.

use super::tls::{Certificates, attempt, taken};
use super::*;
use crate::config::OtlpProxy;
use crate::sink::otlp::retry::Reply;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy on loopback that sends everything to one port.
struct Proxy {
    port: u16,
    /// Heads of requests to it.
    heads: Arc<Mutex<Vec<String>>>,
    /// Runs it.
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// `refusal`: its answer to everybody.
    fn start(
        to: u16,
        tls: Option<Arc<rustls::ServerConfig>>,
        refusal: Option<&'static str>,
    ) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = heads.clone();
        runtime.spawn(async move {
            let acceptor = tls.map(|mut config| {
                let config = Arc::make_mut(&mut config);
                config.alpn_protocols.clear();
                tokio_rustls::TlsAcceptor::from(Arc::new(config.clone()))
            });
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => relay(client, to, refusal, &seen).await,
                        Some(acceptor) => match acceptor.accept(client).await {
                            Ok(client) => relay(client, to, refusal, &seen).await,
                            Err(error) => eprintln!("test proxy: {error}"),
                        },
                    }
                });
            }
        });
        Proxy {
            port,
            heads,
            _runtime: runtime,
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("heads").clone()
    }
}

async fn relay(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    to: u16,
    refusal: Option<&str>,
    seen: &Mutex<Vec<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let connect = text.starts_with("CONNECT ");
    seen.lock().expect("heads").push(text);
    if let Some(refusal) = refusal {
        let answer = client.write_all(refusal.as_bytes()).await;
        answer.expect("the client reads");
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", to))
        .await
        .expect("a server");
    let begun = match connect {
        // Together with what the server may say at once.
        true => {
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await
        }
        false => server.write_all(&head).await,
    };
    begun.expect("both ends read");
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        eprintln!("test proxy: {error}");
    }
}

/// `http(s)://localhost:PORT` as an endpoint behind the proxy, with a user.
fn behind(scheme: &str, proxy: &Proxy, url: &str, protocol: OtlpProtocol) -> OtlpEndpoint {
    let mut endpoint = endpoint(url, protocol, "/v1/traces");
    endpoint.proxy = Some(OtlpProxy {
        url: format!("{scheme}://localhost:{}", proxy.port),
        authorization: Some(Secret::new("Basic YTpi")),
    });
    endpoint
}

#[test]
fn plain_and_secure_destinations_are_reached_through_a_proxy() {
    let certificates = Certificates::new();
    for protocol in PROTOCOLS {
        for secure in [false, true] {
            let collector = match secure {
                true => certificates.collector(false),
                false => Collector::start(),
            };
            let proxy = Proxy::start(collector.port(), None, None);
            // A name that the proxy alone could look up; certificates have to fit it.
            let url = match secure {
                true => "https://localhost:4317",
                false => "http://collector.test:4317",
            };
            let mut endpoint = behind("http", &proxy, url, protocol);
            endpoint.tls = certificates.trust();
            let context = format!("{protocol:?} secure: {secure}");
            assert_eq!(attempt(&endpoint), taken(), "{context}");
            assert_eq!(collector.stats().requests, 1, "{context}");
            let heads = proxy.heads();
            let wanted = match (protocol, secure) {
                (OtlpProtocol::Http, false) => "POST http://collector.test:4317/v1/traces HTTP/1.1",
                (_, false) => "CONNECT collector.test:4317 HTTP/1.1",
                (_, true) => "CONNECT localhost:4317 HTTP/1.1",
            };
            assert!(heads[0].starts_with(wanted), "{context}: {heads:?}");
            let head = heads[0].to_ascii_lowercase();
            assert!(
                head.contains("proxy-authorization: basic ytpi"),
                "{context}: {heads:?}"
            );
            // The collector's own credentials are not for the proxy's eyes where there is a tunnel.
            assert_eq!(
                head.contains("s3cret"),
                head.starts_with("post"),
                "{context}"
            );
        }
    }
}

#[test]
fn a_proxy_may_speak_tls_itself() {
    let certificates = Certificates::new();
    for protocol in PROTOCOLS {
        let collector = certificates.collector(false);
        let proxy = Proxy::start(collector.port(), Some(certificates.server(false)), None);
        let mut endpoint = behind("https", &proxy, "https://localhost:4317", protocol);
        endpoint.tls = certificates.trust();
        assert_eq!(attempt(&endpoint), taken(), "{protocol:?}");
        assert!(proxy.heads()[0].starts_with("CONNECT localhost:4317"));
    }
}

#[test]
fn a_proxy_that_refuses_or_is_not_there_is_named() {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let certificates = Certificates::new();
    let proxy = Proxy::start(1, None, Some(refusal));
    for protocol in PROTOCOLS {
        let mut endpoint = behind("http", &proxy, "https://localhost:4317", protocol);
        endpoint.tls = certificates.trust();
        match attempt(&endpoint) {
            Reply::Later { error, .. } => {
                assert!(error.to_lowercase().contains("proxy"), "{error}");
                assert!(!error.contains("YTpi"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        if let Some(proxy) = endpoint.proxy.as_mut() {
            proxy.url = format!("http://127.0.0.1:{}", free_port());
        }
        match attempt(&endpoint) {
            Reply::Later { error, .. } => {
                assert!(
                    error.contains("refused") || error.contains("proxy"),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
