//! The agent: builds the stages of `docs/architecture.md`, starts them, waits, and drains them in the order of the line.

mod identity;
mod stacks;

use stacks::Payloads;

use crate::capture::{self, Capture, Shared};
use crate::config::{AccessLogs, Config, EventStore, EventStoreKind, HttpCapture, OtelStore};
use crate::conn::{self, Table};
use crate::enrich::Ids;
use crate::pipeline::{Held, Pipeline, Plugins, Policies, Stacks, Stage, Witness};
use crate::probe::finder::{self, Finder, FinderHandle, Verdicts};
use crate::probe::kernel::{Kernel, KernelOptions, Tier};
use crate::probe::time;
use crate::rules::expr::Buffers;
use crate::rules::{Filter, Level};
use crate::sink::otlp::{KnownMethods, OtlpOptions, OtlpSink};
use crate::sink::payload::PayloadStage;
use crate::sink::stdout::{Form, StdoutSink};
use crate::sink::{Fanout, Sink};
use crate::telemetry::Ledger;
use crate::telemetry::own::{LogFormat, Own};
use crate::telemetry::status::{self, Queues, Source, Status};
use crate::transaction::BodyLimits;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
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
    payloads: Vec<Arc<PayloadStage>>,
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
        let sinks = Sinks::start(config, &ledger, runtime)?;
        let payloads = Payloads::start(config, &sinks.telemetry, &ledger, runtime)?;
        let stage = stage(config, &sinks, &payloads, &ledger, runtime)?;
        let table = Table::new(limits(config)).with_progress(config.tap.progress);

        let kernel = Kernel::load(&KernelOptions {
            tier: options.tier,
            ring_bytes: config.limits.ring,
            ..KernelOptions::default()
        })?;
        let tier = kernel.tier();
        let finder = Finder::start(kernel.attacher(), finder::Options::default())?;
        let shared = Arc::new(Shared::default());
        let witness = options.record.as_deref().map(recorder).transpose()?;
        let capture = Capture::start(
            kernel,
            Pipeline::new(table, stage, witness),
            ledger.clone(),
            shared.clone(),
        )?;

        let source = status_source(ledger.clone(), shared, finder.verdicts(), tier);
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
            payloads: payloads.stages(),
            otlp: sinks.otlp,
            stdout: sinks.stdout,
        })
    }

    /// Drains in the order of the line, within twice [`DRAIN`] and what capture needs.
    fn stop(self, runtime: &Runtime) {
        self.finder.stop();
        self.capture.stop();
        runtime.block_on(async {
            let deadline = Instant::now() + DRAIN;
            for payloads in &self.payloads {
                payloads.drain(deadline).await;
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

/// The store that takes the agent's own telemetry: the first of type `otel`.
fn own_store(config: &Config) -> Option<&OtelStore> {
    config
        .event_stores
        .iter()
        .find_map(|store| match &store.kind {
            EventStoreKind::Otel(otel) => Some(&**otel),
            EventStoreKind::Stdout | EventStoreKind::Disabled => None,
        })
}

/// The stores that transactions go to: the first of the file, as in QTap, and the first of type `otel`.
fn telemetry_stores(config: &Config) -> Vec<&EventStore> {
    let first = config.event_stores.first();
    let otel = config
        .event_stores
        .iter()
        .find(|store| matches!(store.kind, EventStoreKind::Otel(_)));
    let mut stores: Vec<&EventStore> = first.into_iter().chain(otel).collect();
    stores.dedup_by_key(|store| store.id.clone());
    stores
}

/// As much as any of the stacks wants: which one a transaction goes through shows when it is over.
fn limits(config: &Config) -> conn::Limits {
    let captures = || config.stacks.values().flat_map(|stack| &stack.http_capture);
    let access = config.stacks.values().flat_map(|stack| &stack.access_logs);
    let mut levels = captures()
        .map(HttpCapture::highest)
        .chain(access.map(AccessLogs::highest));
    let most = captures().map(|capture| capture.body_max_bytes).max();
    conn::Limits {
        body: BodyLimits {
            capture: levels.any(|level| level == Level::Full),
            max_bytes: most.unwrap_or(HttpCapture::default().body_max_bytes),
        },
        connection_memory: config.limits.connection_memory,
        // The rest of the budget is for what waits in the sinks.
        total_memory: config.limits.memory / 2,
    }
}

/// Everything that captures go to, as started.
struct Sinks {
    telemetry: Fanout,
    /// Lines of `access_logs`, by the stack's name.
    access: BTreeMap<String, Fanout>,
    otlp: Vec<Arc<OtlpSink>>,
    stdout: Vec<Arc<StdoutSink>>,
}

impl Sinks {
    fn start(config: &Config, ledger: &Ledger, runtime: &Handle) -> anyhow::Result<Sinks> {
        let mut otlp = Vec::new();
        let mut stdout = Vec::new();
        let mut telemetry: Vec<Arc<dyn Sink>> = Vec::new();
        for store in telemetry_stores(config) {
            match &store.kind {
                EventStoreKind::Otel(otel) => {
                    let sink = OtlpSink::start(
                        &store.id,
                        otel,
                        otlp_options(config),
                        ledger.clone(),
                        runtime,
                    )
                    .with_context(|| format!("event store `{}`", store.id))?;
                    let sink = Arc::new(sink);
                    telemetry.push(sink.clone());
                    otlp.push(sink);
                }
                EventStoreKind::Stdout => {
                    let form = Form::of_event_store();
                    let sink = Arc::new(StdoutSink::start(&store.id, form, ledger.clone())?);
                    telemetry.push(sink.clone());
                    stdout.push(sink);
                }
                EventStoreKind::Disabled => {}
            }
        }
        let mut access = BTreeMap::new();
        for (name, stack) in &config.stacks {
            let Some(logs) = stack.access_logs.as_ref() else {
                continue;
            };
            if logs.highest() == Level::None {
                continue;
            }
            let id = match config.tap.http_stack.as_ref() == Some(name) {
                true => "access_logs".to_owned(),
                false => format!("access_logs.{name}"),
            };
            let form = Form::of_access_logs(logs);
            let sink = Arc::new(StdoutSink::start(&id, form, ledger.clone())?);
            stdout.push(sink.clone());
            access.insert(name.clone(), Fanout::new(vec![sink]));
        }
        Ok(Sinks {
            telemetry: Fanout::new(telemetry),
            access,
            otlp,
            stdout,
        })
    }
}

/// Who gets transactions, and at which level.
fn stage(
    config: &Config,
    sinks: &Sinks,
    payloads: &Payloads,
    ledger: &Ledger,
    runtime: &Handle,
) -> anyhow::Result<Stage> {
    let mut general = Plugins::default();
    let mut others = Vec::new();
    for (name, stack) in &config.stacks {
        let plugins = Plugins {
            telemetry: Some(stacks::telemetry(config, stack, sinks, payloads.of(name))?),
            access: stacks::access(config, stack, sinks.access.get(name))?,
        };
        match config.tap.http_stack.as_ref() == Some(name) {
            true => general = plugins,
            false => others.push((name.clone(), plugins)),
        }
    }
    let all = others.iter().map(|(_, plugins)| plugins).chain([&general]);
    let variables = all
        .flat_map(|plugins| [&plugins.telemetry, &plugins.access])
        .flatten()
        .flat_map(|audience| audience.rules.variables())
        .collect();
    Ok(Stage {
        ledger: ledger.clone(),
        processes: identity::processes(config, variables, runtime)?,
        clock: time::clock(),
        ids: Ids::new(config.tap.trace_context),
        filter: Filter::new(&config.tap)?,
        telemetry: general.telemetry,
        access: general.access,
        stacks: Stacks::new(&config.tap, others),
        held: Held::default(),
        policies: Policies::default(),
        buffers: Buffers::default(),
    })
}

fn otlp_options(config: &Config) -> OtlpOptions {
    OtlpOptions {
        known_methods: KnownMethods::from_environment(),
        // A share for each signal of a store; 32-bit hosts are not supported, so nothing is cut.
        queue_bytes: usize::try_from(config.limits.memory / 16).unwrap_or(usize::MAX),
        ..OtlpOptions::default()
    }
}

/// Writes the file of `--record`: for its owner alone, and never one that is there already.
fn recorder(path: &Path) -> anyhow::Result<Witness> {
    tracing::warn!(
        path = %path.display(),
        "recording raw kernel events: the file holds all traffic in the clear, secrets included"
    );
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(capture::recorder)
        .with_context(|| format!("cannot make the recording {}", path.display()))
}

fn status_source(ledger: Ledger, shared: Arc<Shared>, verdicts: Verdicts, tier: Tier) -> Source {
    let started = Instant::now();
    Arc::new(move || {
        let verdicts = verdicts.snapshot();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            tier: tier.to_string(),
            ready: verdicts.ready,
            uptime_seconds: started.elapsed().as_secs_f64(),
            ledger: ledger.snapshot(),
            queues: Queues {
                connections: shared.connections.load(Ordering::Relaxed),
                connection_bytes: shared.connection_bytes.load(Ordering::Relaxed),
            },
            verdicts: serde_json::to_value(&verdicts).unwrap_or_default(),
        }
    })
}

async fn wait_for_signal() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = hangup.recv() => {
                tracing::warn!("SIGHUP: this version does not reload its configuration; restart it instead");
            }
        }
    }
}
