//! The agent: builds the stages of `docs/architecture.md`, starts them, waits, and drains them in the order of the line.

mod dry_run;
mod reload;

pub use reload::Reader;

use crate::capture::{self, Capture, Shared};
use crate::config::{
    AccessLogs, Config, EventStore, EventStoreKind, HttpCapture, ObjectStore, OtelStore,
};
use crate::conn::{self, Table};
use crate::enrich::{Ids, Processes};
use crate::pipeline::{Audience, Pipeline, Policies, Settings, Stage, Witness};
use crate::probe::finder::{self, Finder, FinderHandle, Verdicts};
use crate::probe::kernel::{Kernel, KernelOptions, Tier};
use crate::probe::time;
use crate::redact::Redactor;
use crate::rules::expr::Buffers;
use crate::rules::{Filter, Level, Ruleset};
use crate::sampling::Sampler;
use crate::sink::otlp::{KnownMethods, OtlpOptions, OtlpSink};
use crate::sink::payload::{PayloadOptions, PayloadStage};
use crate::sink::stdout::{Form, StdoutSink};
use crate::sink::{Fanout, Sink};
use crate::telemetry::Ledger;
use crate::telemetry::own::{LogFormat, Own};
use crate::telemetry::status::{self, Queues, Source, Status};
use crate::transaction::BodyLimits;
use anyhow::Context;
use dry_run::DryRun;
use reload::{InForce, Retiring};
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// How long payloads, and then telemetry, may take to leave when the agent stops.
const DRAIN: Duration = Duration::from_secs(4);
/// Threads for sinks and the status endpoint; the bytes' way has a thread of its own.
const SINK_THREADS: usize = 2;

/// What `run` was asked for.
pub struct Options {
    pub config: Config,
    /// SHA-256 of the configuration's text, in hex.
    pub digest: String,
    /// What the configuration is called.
    pub source: String,
    /// Reads it again; None: there is no file.
    pub read: Option<Reader>,
    /// Counts for this long what would leave, and lets nothing leave.
    pub dry_run: Option<Duration>,
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
    let until = options.dry_run.map(|time| Instant::now() + time);
    let (mut agent, mut signals) = {
        let _runtime = runtime.enter();
        let signals = Signals::listen()?;
        (Agent::start(options, runtime.handle())?, signals)
    };
    let reason = loop {
        match runtime.block_on(signals.next(until)) {
            Told::Reload => {
                let _runtime = runtime.enter();
                agent.reload(runtime.handle());
            }
            Told::Stop(reason) => break reason,
        }
    };
    tracing::info!(reason, "stopping");
    agent.stop(&runtime)
}

/// All that runs.
struct Agent {
    own: Own,
    ledger: Ledger,
    finder: FinderHandle,
    capture: Capture,
    payloads: Option<Payloads>,
    sinks: Sinks,
    config: Config,
    in_force: InForce,
    read: Option<Reader>,
    /// Sinks of configurations before this one.
    retiring: Vec<JoinHandle<()>>,
    dry_run: Option<DryRun>,
}

impl Agent {
    fn start(options: Options, runtime: &Handle) -> anyhow::Result<Agent> {
        let config = options.config;
        let dry_run = options.dry_run.map(|_| DryRun::start()).transpose()?;
        let store = own_store(&config).filter(|_| dry_run.is_none());
        let mut own = Own::start(&options.log_level, options.log_format, store)?;
        let _span = tracing::info_span!("start").entered();
        let ledger = Ledger::new();
        let (sinks, payloads) = match &dry_run {
            Some(dry_run) => (dry_run.sinks(&config), None),
            None => {
                let sinks = Sinks::start(&config, &ledger, runtime, None)?;
                let payloads = payload_stage(&config, &sinks.telemetry, &ledger, runtime, None)?;
                (sinks, payloads)
            }
        };
        let settings = settings(&config, &sinks, payloads.as_ref(), &ledger)?;
        let table = Table::new(settings.limits).with_progress(settings.progress);
        let stage = stage(settings, &ledger);

        let kernel = Kernel::load(&KernelOptions {
            tier: options.tier,
            ring_bytes: config.limits.ring,
            skip_bodies: !limits(&config).body.capture,
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

        let in_force = InForce::new(options.source, options.digest);
        let source = status_source(
            ledger.clone(),
            shared,
            finder.verdicts(),
            tier,
            in_force.clone(),
        );
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
            sinks,
            in_force,
            // A dry run starts no store, neither now nor later.
            read: options.read.filter(|_| dry_run.is_none()),
            config,
            retiring: Vec::new(),
            dry_run,
        })
    }

    /// Drains in the order of the line, within twice [`DRAIN`] and what capture needs.
    fn stop(self, runtime: &Runtime) -> anyhow::Result<()> {
        self.finder.stop();
        self.capture.stop();
        let last = Retiring {
            payloads: self.payloads,
            sinks: self.sinks,
        };
        runtime.block_on(async {
            let deadline = Instant::now() + 2 * DRAIN;
            last.drain(DRAIN).await;
            for task in self.retiring {
                if tokio::time::timeout_at(deadline.into(), task)
                    .await
                    .is_err()
                {
                    tracing::warn!(
                        "stores of a configuration before this one did not take all that they had"
                    );
                }
            }
        });
        match serde_json::to_string(&self.ledger.snapshot()) {
            Ok(ledger) => tracing::info!(%ledger, "stopped"),
            Err(error) => tracing::error!(%error, "stopped; the ledger cannot be shown"),
        }
        self.own.stop();
        match self.dry_run {
            Some(dry_run) => dry_run.report(&self.ledger.snapshot()),
            None => Ok(()),
        }
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
            max_bytes: capture.map_or(
                HttpCapture::default().body_max_bytes,
                HttpCapture::most_body_bytes,
            ),
        },
        connection_memory: config.limits.connection_memory,
        // The rest of the budget is for what waits in the sinks.
        total_memory: config.limits.memory / 2,
    }
}

/// A sink, and what it was made of.
struct Running<M, S> {
    made_of: M,
    sink: Arc<S>,
}

/// Everything that captures go to, as started.
#[derive(Default)]
struct Sinks {
    telemetry: Fanout,
    access: Option<Fanout>,
    /// With `limits.memory`.
    otlp: Vec<Running<(EventStore, u64), OtlpSink>>,
    stdout: Vec<Running<(String, Form), StdoutSink>>,
}

impl Sinks {
    /// What is the same as `before` is taken from there.
    fn start(
        config: &Config,
        ledger: &Ledger,
        runtime: &Handle,
        before: Option<&Sinks>,
    ) -> anyhow::Result<Sinks> {
        let mut sinks = Sinks::default();
        let mut telemetry: Vec<Arc<dyn Sink>> = Vec::new();
        for store in telemetry_stores(config) {
            match &store.kind {
                EventStoreKind::Otel(otel) => {
                    let made_of = (store.clone(), config.limits.memory);
                    let sink = same(before.map(|b| &*b.otlp), &made_of).map_or_else(
                        || {
                            let options = otlp_options(config);
                            OtlpSink::start(&store.id, otel, options, ledger.clone(), runtime)
                                .map(Arc::new)
                                .with_context(|| format!("event store `{}`", store.id))
                        },
                        Ok,
                    )?;
                    telemetry.push(sink.clone());
                    sinks.otlp.push(Running { made_of, sink });
                }
                EventStoreKind::Stdout => {
                    let form = Form::of_event_store();
                    telemetry.push(sinks.lines(&store.id, form, ledger, before)?);
                }
                EventStoreKind::Disabled => {}
            }
        }
        sinks.telemetry = Fanout::new(telemetry);
        let access_logs = config
            .http_stack()
            .and_then(|stack| stack.access_logs.as_ref());
        if let Some(access) = access_logs.filter(|access| access.highest() > Level::None) {
            let form = Form::of_access_logs(access);
            let sink = sinks.lines("access_logs", form, ledger, before)?;
            sinks.access = Some(Fanout::new(vec![sink]));
        }
        Ok(sinks)
    }

    fn lines(
        &mut self,
        id: &str,
        form: Form,
        ledger: &Ledger,
        before: Option<&Sinks>,
    ) -> anyhow::Result<Arc<StdoutSink>> {
        let made_of = (id.to_owned(), form);
        let sink = match same(before.map(|b| &*b.stdout), &made_of) {
            Some(sink) => sink,
            None => Arc::new(StdoutSink::start(id, made_of.1.clone(), ledger.clone())?),
        };
        self.stdout.push(Running {
            made_of,
            sink: sink.clone(),
        });
        Ok(sink)
    }
}

fn same<M: PartialEq, S>(before: Option<&[Running<M, S>]>, made_of: &M) -> Option<Arc<S>> {
    let running = before?.iter().find(|running| running.made_of == *made_of)?;
    Some(running.sink.clone())
}

/// The payload stage, and what it was made of.
struct Payloads {
    store: ObjectStore,
    options: PayloadOptions,
    stage: Arc<PayloadStage>,
}

/// Starts the store that payloads go to, where the configuration has one in effect; `before` goes on where it is the
/// same, with the same telemetry behind it.
fn payload_stage(
    config: &Config,
    telemetry: &Fanout,
    ledger: &Ledger,
    runtime: &Handle,
    before: Option<&Payloads>,
) -> anyhow::Result<Option<Payloads>> {
    let Some((store, capture)) = payload_store(config) else {
        return Ok(None);
    };
    let options = PayloadOptions {
        from_level: capture.object_from_level,
        max_queued_bytes: usize::try_from(config.limits.memory / 4)?,
        ..PayloadOptions::default()
    };
    let running = before.filter(|before| before.store == *store && before.options == options);
    let stage = match running {
        Some(running) => running.stage.clone(),
        None => {
            let telemetry = telemetry.clone();
            let next =
                Arc::new(move |capture, link, ticket| telemetry.deliver(capture, link, ticket));
            let stage = PayloadStage::start(store, options, ledger.clone(), runtime, next)?;
            Arc::new(stage)
        }
    };
    Ok(Some(Payloads {
        store: store.clone(),
        options,
        stage,
    }))
}

fn payload_store(config: &Config) -> Option<(&ObjectStore, &HttpCapture)> {
    let capture = config.http_stack()?.http_capture.as_ref()?;
    let id = capture.object_store.as_ref()?;
    let store = config.object_stores.iter().find(|store| store.id == *id)?;
    Some((store, capture))
}

/// Who gets transactions, and at which level.
fn settings(
    config: &Config,
    sinks: &Sinks,
    payloads: Option<&Payloads>,
    ledger: &Ledger,
) -> anyhow::Result<Settings> {
    let stack = config.http_stack();
    let capture = stack.and_then(|stack| stack.http_capture.clone());
    let usage = stack.is_some_and(|stack| stack.report_usage);
    let capture = capture.unwrap_or_default();
    let redactor = || {
        let ledger = ledger.clone();
        let report = move |matcher: &str, count| ledger.redacted(matcher, count);
        Redactor::new(&capture).map(|redactor| redactor.reporting(Arc::new(report)))
    };
    let telemetry = Audience {
        rules: Ruleset::compile(capture.level, &capture.rules, &config.macros)?,
        // `report_usage` asks for a summary of everything.
        least: if usage { Level::Summary } else { Level::None },
        sampler: Sampler::new(&capture, &config.macros)?,
        redactor: redactor()?,
        payloads: payloads.map(|payloads| payloads.stage.clone()),
        sinks: sinks.telemetry.clone(),
    };
    let access_logs = stack.and_then(|stack| stack.access_logs.as_ref());
    let access = match (&sinks.access, access_logs) {
        (Some(sinks), Some(access)) => Some(Audience {
            rules: Ruleset::compile(access.mode, &access.rules, &config.macros)?,
            least: Level::None,
            sampler: Sampler::new(&HttpCapture::default(), &[])?,
            redactor: redactor()?,
            payloads: None,
            sinks: sinks.clone(),
        }),
        _ => None,
    };
    Ok(Settings {
        limits: limits(config),
        progress: config.tap.progress,
        trace_context: config.tap.trace_context,
        resource: config.resource.clone(),
        filter: Filter::new(&config.tap)?,
        telemetry: Some(telemetry),
        access,
    })
}

fn stage(settings: Settings, ledger: &Ledger) -> Stage {
    Stage {
        ledger: ledger.clone(),
        processes: Processes::new(&settings.resource),
        clock: time::clock(),
        ids: Ids::new(settings.trace_context),
        filter: settings.filter,
        telemetry: settings.telemetry,
        access: settings.access,
        policies: Policies::default(),
        buffers: Buffers::default(),
    }
}

fn otlp_options(config: &Config) -> OtlpOptions {
    OtlpOptions {
        known_methods: KnownMethods::from_environment(),
        // A share for each signal of a store; 32-bit hosts are not supported, so nothing is cut.
        queue_bytes: usize::try_from(config.limits.memory / 8).unwrap_or(usize::MAX),
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

fn status_source(
    ledger: Ledger,
    shared: Arc<Shared>,
    verdicts: Verdicts,
    tier: Tier,
    in_force: InForce,
) -> Source {
    let started = Instant::now();
    Arc::new(move || {
        let verdicts = verdicts.snapshot();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            config: in_force.status(),
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

/// What the agent was told.
enum Told {
    Reload,
    Stop(&'static str),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal, or the end of the time given.
    async fn next(&mut self, until: Option<Instant>) -> Told {
        let over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Told::Stop("SIGINT"),
            _ = self.hangup.recv() => Told::Reload,
            () = over => Told::Stop("the time of the dry run is over"),
        }
    }
}
