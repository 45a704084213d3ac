//! What is made of processes, and whom their containers are asked of.

use crate::config::Config;
use crate::enrich::Wanted;
use crate::enrich::identity::{Lookups, Sources, TIMEOUT};
use crate::enrich::published::Reader;
use crate::pipeline::LookupsChange;
use tokio::runtime::Handle;

/// What is to be known of processes; `variables`: those of the environment that rules ask for.
pub(super) fn wanted(config: &Config, variables: Vec<String>) -> Wanted {
    Wanted {
        resource: config.resource.clone(),
        tags: config.tags.clone(),
        private: config.tap.private_ranges.clone(),
        variables,
    }
}

/// Whom containers are asked of. Who was asked by the configuration `before` already goes on, with all that is known.
pub(super) fn lookups(
    config: &Config,
    before: Option<&Config>,
    runtime: &Handle,
) -> anyhow::Result<LookupsChange> {
    if before.is_some_and(|before| before.tap.identity == config.tap.identity) {
        return Ok(LookupsChange::Keep);
    }
    let _runtime = runtime.enter();
    let sources = Sources::new(&config.tap.identity, TIMEOUT)?;
    let lookups = (!sources.is_empty()).then(|| Lookups::start(sources, runtime));
    Ok(LookupsChange::Take(lookups))
}

/// Who reads what processes publish of themselves. Without a thread for it they are known by all the rest.
pub(super) fn reader() -> Option<Reader> {
    Reader::start()
        .inspect_err(|error| tracing::error!(%error, "no thread to read process contexts"))
        .ok()
}
