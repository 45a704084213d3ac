//! Reload: another configuration, whole or not at all.
//!
//! Enters: SIGHUP. Leaves: a line with the new settings, or the old one untouched and a message.
//! Holds: all that can fail comes before the exchange; a store that stays as it is keeps its queue and its connections;
//! one that goes gets nothing new and sends what it has, payloads before the telemetry that links to them.

use super::choice::choice;
use super::live::macros;
use super::sandbox;
use super::sinks::{Running, Sinks};
use super::stacks::Payloads;
use super::{Agent, Parts, own_store, program_stats, settings};
use crate::config::{Config, Loaded};
use crate::enrich::rfc3339;
use crate::telemetry::status::ConfigStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tracing::field::Empty;

/// How long stores that are not used any more may take to send what they have, payloads and then telemetry.
const RETIRE: Duration = Duration::from_secs(30);

/// Reads the configuration again, or says all that is wrong with it.
pub type Reader = Box<dyn Fn() -> Result<Loaded, String> + Send>;

/// Where the configuration comes from, what runs of it, and what became of reloads.
#[derive(Clone)]
pub(super) struct InForce(Arc<Mutex<ConfigStatus>>);

impl InForce {
    pub fn new(source: String, digest: String) -> InForce {
        let mut status = ConfigStatus {
            source,
            ..ConfigStatus::default()
        };
        now_in_force(&mut status, digest);
        InForce(Arc::new(Mutex::new(status)))
    }

    pub fn status(&self) -> ConfigStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ConfigStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self, digest: String) {
        let mut status = self.lock();
        status.reloads.applied += 1;
        status.last_error = None;
        now_in_force(&mut status, digest);
    }

    fn refused(&self, error: String) {
        let mut status = self.lock();
        status.reloads.refused += 1;
        status.last_error = Some(error);
    }
}

fn now_in_force(status: &mut ConfigStatus, digest: String) {
    let now = SystemTime::now();
    status.digest = digest;
    status.loaded = rfc3339(now);
    status.loaded_unix_seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
}

impl Agent {
    /// Takes the configuration as it is now. What is wrong with it is in the log and at `/status`.
    pub(super) fn reload(&mut self, runtime: &Handle) {
        let span = tracing::info_span!(
            "reload",
            config.digest = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        );
        let _entered = span.clone().entered();
        match self.try_reload(runtime) {
            Ok(digest) => {
                tracing::info!(%digest, "configuration reloaded");
                span.record("config.digest", &*digest);
                self.in_force.applied(digest);
            }
            Err(error) => {
                let error = format!("{error:#}");
                span.record("otel.status_code", "error");
                span.record("otel.status_description", &*error);
                tracing::error!(%error, "configuration not reloaded; the one before stays in force");
                self.in_force.refused(error);
            }
        }
    }

    fn try_reload(&mut self, runtime: &Handle) -> anyhow::Result<String> {
        let Some(read) = &self.read else {
            anyhow::bail!(
                "there is no file to read again: the agent runs without one, or only counts"
            );
        };
        let Loaded {
            config,
            warnings,
            digest,
            ..
        } = read().map_err(anyhow::Error::msg)?;
        for warning in &warnings {
            tracing::warn!(
                line = warning.line,
                column = warning.column,
                "{}",
                warning.message
            );
        }
        sandbox::check(&self.guard, &config)?;
        let sinks = Sinks::start(
            &config,
            &self.metrics,
            &self.ledger,
            self.live.feed(),
            runtime,
            Some(&self.sinks),
        )?;
        let same = sinks.telemetry.same(&self.sinks.telemetry);
        let before = same.then_some(&self.payloads);
        let payloads = Payloads::start(&config, &sinks.telemetry, &self.ledger, runtime, before)?;
        let parts = Parts {
            sinks: &sinks,
            payloads: &payloads,
            ledger: &self.ledger,
        };
        let settings = settings(&config, Some(&self.config), &parts, runtime)?;
        let choice = choice(&config.tap)?;
        let macros = macros(&config)?;
        drop(self.capture.exchange(settings)?);
        self.finder.choose(choice);
        self.live.feed().set_macros(macros);
        self.budget.set(config.limits.cpu, &self.shared);
        self.metrics.set_max_series(config.metrics.max_series);
        self.metrics.set_aggregation(config.metrics.aggregation);

        say_what_needs_a_restart(&self.config, &config);
        let before = Retiring {
            payloads: std::mem::replace(&mut self.payloads, payloads),
            sinks: std::mem::replace(&mut self.sinks, sinks),
        };
        if self.config.program_stats != config.program_stats {
            self.program_stats = program_stats(config.program_stats);
        }
        self.config = config;
        let unused = before.unused(&self.payloads, &self.sinks);
        self.retiring.retain(|task| !task.is_finished());
        self.retiring.push(runtime.spawn(unused.drain(RETIRE)));
        Ok(digest)
    }
}

/// Ring and exporters of the agent's own telemetry are made once.
fn say_what_needs_a_restart(before: &Config, now: &Config) {
    if before.tap.join.state_file != now.tap.join.state_file {
        tracing::warn!("tap.trace.state_file takes effect when the agent is started again");
    }
    if before.tap.scan_cache != now.tap.scan_cache {
        tracing::warn!("tap.scan_cache takes effect when the agent is started again");
    }
    if before.tap.java != now.tap.java {
        tracing::warn!("tap.java takes effect when the agent is started again");
    }
    if before.limits.ring != now.limits.ring {
        tracing::warn!("limits.ring takes effect when the agent is started again");
    }
    if before.sandbox != now.sandbox {
        tracing::warn!("security.sandbox takes effect when the agent is started again");
    }
    if before.live_socket != now.live_socket {
        tracing::warn!("live.socket takes effect when the agent is started again");
    }
    if own_store(before) != own_store(now) {
        tracing::warn!(
            "the agent's own spans and metrics go where they went before until it is started again"
        );
    }
}

/// Parts of a line that gets nothing new.
pub(super) struct Retiring {
    pub payloads: Payloads,
    pub sinks: Sinks,
}

impl Retiring {
    /// Without what is used on.
    fn unused(mut self, payloads: &Payloads, sinks: &Sinks) -> Retiring {
        retain_unused(&mut self.payloads.stages, &payloads.stages);
        retain_unused(&mut self.sinks.otlp, &sinks.otlp);
        retain_unused(&mut self.sinks.metrics, &sinks.metrics);
        retain_unused(&mut self.sinks.stdout, &sinks.stdout);
        self
    }

    /// Lets it send what it has: payloads for `patience` at the most, then telemetry.
    pub async fn drain(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for running in &self.payloads.stages {
            running.part.drain(deadline).await;
        }
        let deadline = Instant::now() + patience;
        for running in &self.sinks.otlp {
            running.part.drain(deadline).await;
        }
        for running in &self.sinks.metrics {
            running.part.drain(deadline).await;
        }
        for running in &self.sinks.stdout {
            running.part.drain(deadline).await;
        }
    }
}

fn retain_unused<M, S>(before: &mut Vec<Running<M, S>>, now: &[Running<M, S>]) {
    before.retain(|old| !now.iter().any(|new| Arc::ptr_eq(&old.part, &new.part)));
}
