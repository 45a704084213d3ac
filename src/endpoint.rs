//! Endpoints of the agent's own, for programs and people on this host: HTTP/1.1 on an address that is bound already.
//!
//! Enters: connections. Leaves: what `answer` makes of each request.
//! Holds: a client that does not finish its request is let go; one connection never waits for another; a failed accept
//! ends nothing.

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpListener;

/// A client that does not finish its request is let go after this.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the task is dropped. `name`: of the endpoint, in the log.
pub async fn serve<A, F, B>(listener: TcpListener, name: &'static str, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others may free some.
                tracing::warn!(endpoint = name, %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(endpoint = name, %error, "a connection ended early");
            }
        });
    }
}
