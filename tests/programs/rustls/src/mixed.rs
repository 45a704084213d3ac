//! Load for the test of connections: a server over TLS, a server without, and clients of both, all on the same threads.
//!
//! Every request has the port of its client's end in its path, so what comes out can be checked against its connection.

use crate::client::{Sender, connect};
use crate::tls::How;
use crate::tokio_rustls::{TlsAcceptor, TlsConnector};
use crate::{Outcome, server};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, header};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections of each kind at a time.
const AT_ONCE: usize = 25;
/// Requests on a connection.
const EACH: usize = 20;

/// Makes `count` requests over TLS, and as many without, once there is a file `start` beside the certificate, where the
/// key is too.
pub async fn run(how: &How, (port, plain): (u16, u16), cert: &str, count: usize) -> Outcome {
    let key = cert.replace("cert.pem", "key.pem");
    tokio::spawn(accept(
        how.clone(),
        port,
        Some(how.server(cert, &key)?.into()),
    ));
    tokio::spawn(accept(how.clone(), plain, None));
    let connector: TlsConnector = how.client(cert)?.into();
    println!("ready");
    let start = cert.replace("cert.pem", "start");
    while !std::path::Path::new(&start).exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut all = JoinSet::new();
    for _ in 0..AT_ONCE {
        let rounds = count / AT_ONCE / EACH;
        let (connector, http2) = (connector.clone(), how.http2);
        all.spawn(async move {
            for _ in 0..rounds {
                let (stream, local) = connect(&connector, port).await?;
                requests(
                    Sender::open(stream, http2).await?,
                    "tls",
                    (local, port),
                    http2,
                )
                .await?;
            }
            Outcome::Ok(())
        });
        all.spawn(async move {
            for _ in 0..rounds {
                let stream = TcpStream::connect(("127.0.0.1", plain)).await?;
                let local = stream.local_addr()?.port();
                requests(
                    Sender::open(stream, false).await?,
                    "plain",
                    (local, plain),
                    false,
                )
                .await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    println!("done");
    // Until it is killed: what still waits for its processes can then be asked for.
    tokio::time::sleep(Duration::from_secs(600)).await;
    Ok(())
}

async fn requests(
    mut sender: Sender,
    kind: &str,
    (local, port): (u16, u16),
    http2: bool,
) -> Outcome {
    for number in 0..EACH {
        // Bodies of the same size on all connections: nothing but the connection tells them apart.
        let body = if number % 2 == 0 {
            Bytes::new()
        } else {
            Bytes::from(vec![b'x'; 700])
        };
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let path = format!("/mixed/{kind}/{local}/{number}");
        let uri = if http2 {
            format!("https://localhost:{port}{path}")
        } else {
            path
        };
        let mut request = Request::builder().method(method).uri(uri);
        if !http2 {
            request = request.header(header::HOST, format!("localhost:{port}"));
        }
        let response = sender.send(request.body(Full::new(body))?).await?;
        response.into_body().collect().await?;
    }
    Ok(())
}

async fn accept(how: How, port: u16, acceptor: Option<TlsAcceptor>) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, peer) = listener.accept().await?;
        let (acceptor, http2) = (acceptor.clone(), how.http2);
        tokio::spawn(async move {
            let outcome = match acceptor {
                None => server::connection(socket, peer.port(), false).await,
                Some(acceptor) => match acceptor.accept(socket).await {
                    Ok(stream) => server::connection(stream, peer.port(), http2).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = outcome {
                eprintln!("{peer}: {error}");
            }
        });
    }
}
