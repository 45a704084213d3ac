//! The live feed as started: its local socket, and the page of `run --ui`.

use crate::config::Config;
use crate::rules::expr::Macros;
use crate::sink::live::page::{self, Token};
use crate::sink::live::{Feed, socket};
use crate::telemetry::status::Source;
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long viewers may take what there is when the agent stops.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) struct Live {
    feed: Feed,
    socket: Option<socket::Server>,
}

impl Live {
    /// The feed alone: nobody can watch yet.
    pub fn new(config: &Config) -> anyhow::Result<Live> {
        let feed = Feed::default();
        feed.set_macros(macros(config)?);
        Ok(Live { feed, socket: None })
    }

    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Lets viewers in. Who cannot watch does not keep the agent from its work; a page that was asked for does.
    pub fn serve(
        &mut self,
        config: &Config,
        page: Option<SocketAddr>,
        source: &Arc<dyn Source>,
        runtime: &Handle,
    ) -> anyhow::Result<()> {
        if let Some(path) = &config.live_socket {
            match socket::Server::start(path, &self.feed, runtime) {
                Ok(server) => self.socket = Some(server),
                Err(error) => tracing::warn!(
                    %error,
                    "`plainspan tail` cannot attach to this agent; live.socket names another place, or `off`"
                ),
            }
        }
        let Some(address) = page else {
            return Ok(());
        };
        let listener = runtime.block_on(page::bind(address)).with_context(|| {
            format!("cannot listen on {address} for the live page; choose another with --ui=ADDR")
        })?;
        let address = listener.local_addr().context("the live page's address")?;
        let token = Token::new().context("no random numbers for the live page's token")?;
        // Never through the log, which may be sent to others.
        eprintln!("live page: http://{address}/#token={}", token.expose());
        runtime.spawn(page::serve(
            listener,
            self.feed.clone(),
            source.clone(),
            token,
        ));
        Ok(())
    }

    /// Tells viewers that the agent stops, and lets them take what there is.
    pub async fn stop(self) {
        self.feed.close();
        let deadline = Instant::now() + FAREWELL;
        while self.feed.viewers() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What filters may call.
pub(super) fn macros(config: &Config) -> anyhow::Result<Macros> {
    let mut macros = Macros::default();
    for one in &config.macros {
        macros
            .add(&one.name, &one.expr)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("macro `{}`", one.name))?;
    }
    Ok(macros)
}
