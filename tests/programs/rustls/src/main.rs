//! HTTPS client and server with rustls, over a runtime of several threads.
//!
//! ```text
//! rustls-peer server HOW ADDRESS PORT CERT KEY   prints "ready" when it listens
//! rustls-peer client HOW PLAN.json               carries out a plan of calls (see ../client.py)
//! rustls-peer mixed HOW PORT PLAIN_PORT CERT COUNT   see mixed.rs
//! rustls-peer idle                               prints "ready" and waits
//! ```
//!
//! HOW: `aws-lc` or `ring`, then the version of TLS, the version of HTTP and, for TLS 1.2, the cipher: `ring,1.2,1.1,chacha`;
//! for a client of TLS 1.3 that asks for new keys, `renew`. Before rustls 0.22 there is `ring` alone, and before
//! 0.23 no `renew`.
//!
//! The server answers GET with what was asked, POST with the length of the body that came, and every answer has the
//! client's port in `x-port`.

mod client;
mod mixed;
#[cfg(feature = "v23")]
mod renewing;
mod server;
#[cfg_attr(any(feature = "v20", feature = "v21"), path = "tls_before_22.rs")]
mod tls;

#[cfg(feature = "v20")]
use tokio_rustls_23 as tokio_rustls;
#[cfg(feature = "v21")]
use tokio_rustls_24 as tokio_rustls;
#[cfg(feature = "v22")]
use tokio_rustls_25 as tokio_rustls;
#[cfg(feature = "v23")]
use tokio_rustls_26 as tokio_rustls;

use std::error::Error;
use std::time::Duration;

pub type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["server", how, address, port, cert, key] => {
            server::serve(&tls::How::parse(how)?, address, port, cert, key).await
        }
        ["client", how, plan] => client::perform(tls::How::parse(how)?, plan).await,
        ["mixed", how, port, plain, cert, count] => {
            let ports = (port.parse()?, plain.parse()?);
            mixed::run(&tls::How::parse(how)?, ports, cert, count.parse()?).await
        }
        ["idle"] => {
            println!("ready");
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(300))).await?;
            Ok(())
        }
        _ => Err("usage: see the beginning of main.rs".into()),
    }
}
