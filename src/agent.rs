//! The agent: builds the stages of `docs/architecture.md`, starts them, waits, and drains them in the order of the line.

use crate::capture::{Capture, Shared};
use crate::config::{Config, EventStoreKind, OtelStore};
use crate::conn::{self, Table};
use crate::enrich::{Clock, Ids, Processes};
use crate::pipeline::{Audience, Pipeline, Stage};
use crate::probe::finder::{Finder, FinderHandle};
use crate::probe::kernel::{Kernel, KernelOptions, Tier};
use crate::redact::Redactor;
use crate::rules::{Filter, Level};
use crate::sink::otlp::{OtlpOptions, OtlpSink};
use crate::sink::payload::PayloadStage;
use crate::sink::stdout::StdoutSink;
use crate::sink::{Fanout, Sink};
use crate::telemetry::Ledger;
use crate::telemetry::own::{LogFormat, Own};
use crate::telemetry::status::{self, Queues, Source, Status};
use crate::transaction::BodyLimits;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// How long payloads, and then telemetry, may take to leave when the agent stops.
const DRAIN: Duration = Duration::from_secs(4);
/// Threads for sinks and the status endpoint; the bytes' way has a thread of its own.
const SINK_THREADS: usize = 2;

/// What `run` was asked for.
pub struct Options {
    pub config: Config,
    pub tier: Option<Tier>,
    /// Raw kernel records go to this file too. They hold secrets.
    pub record: Option<PathBuf>,
    /// None: no status endpoint.
    pub status_listen: Option<SocketAddr>,
    pub log_level: String,
    pub log_format: LogFormat,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When this host cannot run the kernel programs, or a part cannot be started. What was started is stopped again.
pub fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SINK_THREADS)
        .thread_name("sink")
        .enable_all()
        .build()
        .context("cannot start the runtime of the sinks")?;
    let agent = {
        let _runtime = runtime.enter();
        Agent::start(&options, runtime.handle())?
    };
    let signal = runtime.block_on(wait_for_signal())?;
    tracing::info!(signal, "stopping");
    agent.stop(&runtime);
    Ok(())
}

/// All that runs.
struct Agent {
    own: Own,
    ledger: Ledger,
    finder: FinderHandle,
    capture: Capture,
    payloads: Option<Arc<PayloadStage>>,
    otlp: Vec<Arc<OtlpSink>>,
    stdout: Vec<Arc<StdoutSink>>,
}

impl Agent {
    fn start(options: &Options, runtime: &Handle) -> anyhow::Result<Agent> {
        let config = &options.config;
        let store = own_store(config);
        let mut own = Own::start(&options.log_level, options.log_format, store)?;
        let _span = tracing::info_span!("start").entered();
        let ledger = Ledger::new();
        let mut sinks = Sinks::start(config, &ledger, runtime)?;
        let stage = stage(config, &ledger, &mut sinks, runtime)?;
        let table = Table::new(limits(config));

        let kernel = Kernel::load(&KernelOptions {
            tier: options.tier,
            ring_bytes: config.limits.ring,
            ..KernelOptions::default()
        })?;
        let tier = kernel.tier();
        let finder = Finder::start(kernel.attacher())?;
        let shared = Arc::new(Shared::default());
        let record = options.record.as_deref().map(record_file).transpose()?;
        let capture = Capture::start(
            kernel,
            Pipeline::new(table, stage),
            ledger.clone(),
            record,
            shared.clone(),
        )
        .context("cannot start the capture thread")?;

        let source = status_source(ledger.clone(), shared, &finder, tier);
        own.start_metrics(store, &source)?;
        if let Some(address) = options.status_listen {
            let listener = runtime
                .block_on(status::bind(address))
                .with_context(|| format!("cannot listen on {address} for the status endpoint; choose another with --status-listen, or `off`"))?;
            runtime.spawn(status::serve(listener, source));
        }
        tracing::info!(%tier, version = env!("CARGO_PKG_VERSION"), "running");
        Ok(Agent {
            own,
            ledger,
            finder,
            capture,
            payloads: sinks.payloads,
            otlp: sinks.otlp,
            stdout: sinks.stdout,
        })
    }

    /// Drains in the order of the line, within twice [`DRAIN`] and what capture needs.
    fn stop(self, runtime: &Runtime) {
        self.finder.stop();
        self.capture.stop();
        runtime.block_on(async {
            if let Some(payloads) = &self.payloads {
                payloads.drain(Instant::now() + DRAIN).await;
            }
            let deadline = Instant::now() + DRAIN;
            for sink in &self.otlp {
                sink.drain(deadline).await;
            }
            for sink in &self.stdout {
                sink.drain(deadline).await;
            }
        });
        match serde_json::to_string(&self.ledger.snapshot()) {
            Ok(ledger) => tracing::info!(%ledger, "stopped"),
            Err(error) => tracing::error!(%error, "stopped; the ledger cannot be shown"),
        }
        self.own.stop();
    }
}
