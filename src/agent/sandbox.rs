//! What this run needs of the host, given to [`Guard`]; all else is given up.

use super::Options;
use crate::config::{Config, EventStoreKind, ObjectStoreKind};
use crate::guard::capabilities::{self, USES};
use crate::guard::{Guard, Plan, State};
use crate::probe::host;
use crate::probe::tier::Tier;
use std::path::PathBuf;

/// Gives up what `options` do not need, where the configuration does not say otherwise.
pub(super) fn set(options: &Options) -> Guard {
    if !options.config.sandbox {
        return Guard::off();
    }
    let config = &options.config;
    Guard::set(&Plan {
        folders: match options.dry_run {
            // It leaves nothing behind.
            Some(_) => Vec::new(),
            None => folders(config),
        },
        admin: may_need_perf(options.tier.calls) || config.program_stats,
        java: config.tap.java && options.dry_run.is_none(),
    })
}

/// Perf probes need CAP_SYS_ADMIN on many kernels.
fn may_need_perf(tier: Option<Tier>) -> bool {
    match tier {
        Some(tier) => tier == Tier::Perf,
        None => !host::has_multi_links(),
    }
}

/// What threads that talk to the network write: spools and local payload stores.
fn folders(config: &Config) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for store in &config.event_stores {
        if let EventStoreKind::Otel(otel) = &store.kind
            && let Some(spool) = &otel.spool
        {
            folders.push(spool.dir.clone());
        }
    }
    for store in &config.object_stores {
        folders.extend(store.spool.iter().map(|spool| spool.dir.clone()));
        if let ObjectStoreKind::Disk(disk) = &store.kind {
            folders.push(disk.path.clone());
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

/// Of a thread that is to talk to the network.
pub(super) fn confine(guard: &Guard) {
    if let Err(error) = guard.confine_thread() {
        tracing::warn!(%error, "a thread is not confined to the folders of the configuration");
    }
}

/// What became of each measure, and what is missing of the rights that the agent uses.
pub(super) fn say(guard: &Guard) {
    for (measure, of) in guard.measures() {
        let (state, text) = (of.state.word(), &of.text);
        match of.state {
            State::On => tracing::debug!(measure, state, "sandbox: {text}"),
            State::Partly | State::Off => tracing::info!(measure, state, "sandbox: {text}"),
        }
    }
    for used in &USES {
        // Of those that it cannot go without, loading speaks; the last is for a thread that has it.
        let of_start = [caps::Capability::CAP_BPF, caps::Capability::CAP_SYS_NICE];
        let spoken = of_start.contains(&used.capability);
        if !spoken && matches!(capabilities::has_or_admin(used.capability), Ok(false)) {
            tracing::warn!(capability = used.name, "missing: {}", used.lacks);
        }
    }
}

/// # Errors
/// The kernel has perf probes alone, or was told to use them, and refuses them.
pub(super) fn may_probe(tier: Tier) -> anyhow::Result<()> {
    if tier == Tier::Perf && matches!(host::perf_probes_allowed(), Ok(false)) {
        anyhow::bail!(
            "probes of tier perf need CAP_SYS_ADMIN on this kernel, beside CAP_BPF and CAP_PERFMON: run as root, or give it \
             too (with the packages' unit: older-kernels.conf). From kernel 6.6 on there are better tiers, without it"
        );
    }
    Ok(())
}

/// A configuration that is reloaded writes where threads may write.
///
/// # Errors
/// Which folder it does not.
pub(super) fn check(guard: &Guard, config: &Config) -> anyhow::Result<()> {
    match folders(config)
        .into_iter()
        .find(|folder| !guard.allows(folder))
    {
        None => Ok(()),
        Some(folder) => anyhow::bail!(
            "{} is not among the folders that this agent may write to since its start: start it again (or name a folder \
             below one of those: docs/security.md)",
            folder.display()
        ),
    }
}
