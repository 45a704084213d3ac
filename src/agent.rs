//! The agent: builds the stages of `docs/architecture.md`, starts them, waits, and drains them in the order of the line.

use crate::capture::{self, Capture, Shared};
use crate::config::{
    AccessLogs, Config, EventStore, EventStoreKind, HttpCapture, ObjectStore, OtelStore,
};
use crate::conn::{self, Table};
use crate::enrich::{Ids, Processes};
use crate::pipeline::{Audience, Pipeline, Policies, Stage, Witness};
use crate::probe::finder::{self, Finder, FinderHandle, Verdicts};
use crate::probe::kernel::{Kernel, KernelOptions, Tier};
use crate::probe::time;
use crate::redact::Redactor;
use crate::rules::expr::Buffers;
use crate::rules::{Filter, Level, Ruleset};
use crate::sink::otlp::{KnownMethods, OtlpOptions, OtlpSink};
use crate::sink::payload::{PayloadOptions, PayloadStage};
use crate::sink::stdout::{Form, StdoutSink};
use crate::sink::{Fanout, Sink};
use crate::telemetry::Ledger;
use crate::telemetry::own::{LogFormat, Own};
use crate::telemetry::status::{self, Queues, Source, Status};
use crate::transaction::BodyLimits;
use anyhow::Context;
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
        let sinks = Sinks::start(config, &ledger, runtime)?;
        let payloads = payload_stage(config, &sinks.telemetry, &ledger, runtime)?;
        let stage = stage(config, &sinks, payloads.as_ref(), &ledger)?;
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
            payloads,
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

fn limits(config: &Config) -> conn::Limits {
    let capture = config
        .http_stack()
        .and_then(|stack| stack.http_capture.as_ref());
    let access = config
        .http_stack()
        .and_then(|stack| stack.access_logs.as_ref());
    let levels = [
        capture.map(HttpCapture::highest),
        access.map(AccessLogs::highest),
    ];
    conn::Limits {
        body: BodyLimits {
            capture: levels.contains(&Some(Level::Full)),
            max_bytes: capture.map_or(HttpCapture::default().body_max_bytes, |c| c.body_max_bytes),
        },
        connection_memory: config.limits.connection_memory,
        // The rest of the budget is for what waits in the sinks.
        total_memory: config.limits.memory / 2,
    }
}

/// Everything that captures go to, as started.
struct Sinks {
    telemetry: Fanout,
    access: Option<Fanout>,
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
        let access_logs = config
            .http_stack()
            .and_then(|stack| stack.access_logs.as_ref());
        let access = match access_logs.filter(|access| access.highest() > Level::None) {
            Some(access) => {
                let form = Form::of_access_logs(access);
                let sink = Arc::new(StdoutSink::start("access_logs", form, ledger.clone())?);
                stdout.push(sink.clone());
                Some(Fanout::new(vec![sink]))
            }
            None => None,
        };
        Ok(Sinks {
            telemetry: Fanout::new(telemetry),
            access,
            otlp,
            stdout,
        })
    }
}

/// Starts the store that payloads go to, where the configuration has one in effect.
fn payload_stage(
    config: &Config,
    telemetry: &Fanout,
    ledger: &Ledger,
    runtime: &Handle,
) -> anyhow::Result<Option<Arc<PayloadStage>>> {
    let Some((store, capture)) = payload_store(config) else {
        return Ok(None);
    };
    let options = PayloadOptions {
        from_level: capture.object_from_level,
        max_queued_bytes: usize::try_from(config.limits.memory / 4)?,
        ..PayloadOptions::default()
    };
    let telemetry = telemetry.clone();
    let next = Arc::new(move |capture, link, ticket| telemetry.deliver(capture, link, ticket));
    let stage = PayloadStage::start(store, options, ledger.clone(), runtime, next)?;
    Ok(Some(Arc::new(stage)))
}

fn payload_store(config: &Config) -> Option<(&ObjectStore, &HttpCapture)> {
    let capture = config.http_stack()?.http_capture.as_ref()?;
    let id = capture.object_store.as_ref()?;
    let store = config.object_stores.iter().find(|store| store.id == *id)?;
    Some((store, capture))
}

/// Who gets transactions, and at which level.
fn stage(
    config: &Config,
    sinks: &Sinks,
    payloads: Option<&Arc<PayloadStage>>,
    ledger: &Ledger,
) -> anyhow::Result<Stage> {
    let stack = config.http_stack();
    let capture = stack.and_then(|stack| stack.http_capture.clone());
    let usage = stack.is_some_and(|stack| stack.report_usage);
    let settings = capture.unwrap_or_default();
    let redactor = || Redactor::new(&settings);
    let telemetry = Audience {
        rules: Ruleset::compile(settings.level, &settings.rules, &config.macros)?,
        // `report_usage` asks for a summary of everything.
        least: if usage { Level::Summary } else { Level::None },
        redactor: redactor()?,
        payloads: payloads.cloned(),
        sinks: sinks.telemetry.clone(),
    };
    let access_logs = stack.and_then(|stack| stack.access_logs.as_ref());
    let access = match (&sinks.access, access_logs) {
        (Some(sinks), Some(access)) => Some(Audience {
            rules: Ruleset::compile(access.mode, &access.rules, &config.macros)?,
            least: Level::None,
            redactor: redactor()?,
            payloads: None,
            sinks: sinks.clone(),
        }),
        _ => None,
    };
    Ok(Stage {
        ledger: ledger.clone(),
        processes: Processes::new(&config.resource),
        clock: time::clock(),
        ids: Ids::new(config.tap.trace_context),
        filter: Filter::new(&config.tap)?,
        telemetry: Some(telemetry),
        access,
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
