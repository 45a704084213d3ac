//! Processes, and whom their containers are asked of.

use crate::config::Config;
use crate::enrich::identity::{Lookups, Sources, TIMEOUT};
use crate::enrich::{Processes, Wanted};
use tokio::runtime::Handle;

/// What is to be known of processes.
pub(super) fn wanted(config: &Config, variables: Vec<String>) -> Wanted {
    Wanted {
        resource: config.resource.clone(),
        tags: config.tags.clone(),
        private: config.tap.private_ranges.clone(),
        variables,
    }
}

/// `variables`: those of the environment that rules ask for.
pub(super) fn processes(
    config: &Config,
    variables: Vec<String>,
    runtime: &Handle,
) -> anyhow::Result<Processes> {
    let _runtime = runtime.enter();
    let sources = Sources::new(&config.tap.identity, TIMEOUT)?;
    let lookups = (!sources.is_empty()).then(|| Lookups::start(sources, runtime));
    Ok(Processes::with(wanted(config, variables), lookups))
}
