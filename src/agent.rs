//! The agent: builds the stages of `docs/architecture.md`, starts them, waits, and drains them in the order of the line.

mod allocator;
mod budget;
mod choice;
mod dry_run;
mod identity;
mod live;
mod notify;
mod reload;
mod sandbox;
mod shares;
mod sinks;
mod stacks;
mod watch;

pub use reload::Reader;

use crate::capture::{self, Capture, Shared};
use crate::config::{
    AccessLogs, Config, EventStore, EventStoreKind, HashKeySource, HttpCapture, OtelStore,
};
use crate::conn::{self, Table};
use crate::enrich::{Ids, Processes};
use crate::guard::{Guard, Priority};
use crate::join::{Keeper, Scheme, Store};
use crate::metrics::{Labels, Metrics};
use crate::pipeline::{
    self, Audience, Held, JoinSettings, Joins, LookupsChange, Measures, Pipeline, Plugins,
    Policies, Settings, Stacks, Stage, Witness,
};
use crate::probe::finder::{self, Finder, FinderHandle, Reports, Verdicts};
use crate::probe::gauges::RunStats;
use crate::probe::host;
use crate::probe::kernel::{Kernel, KernelOptions};
use crate::probe::tier::Forced;
use crate::probe::time;
use crate::routes::{self, Routes};
use crate::rules::expr::Buffers;
use crate::rules::{Filter, Level};
use crate::sink::otlp::OtlpOptions;
use crate::telemetry::Ledger;
use crate::telemetry::own::{LogFormat, Own};
use crate::telemetry::status::{self, Source};
use crate::transaction::BodyLimits;
use anyhow::Context;
use budget::Budget;
use dry_run::DryRun;
use live::Live;
use notify::Notify;
use reload::{InForce, Retiring};
use shares::Shares;
use sinks::Sinks;
use stacks::Payloads;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use watch::Watch;

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
    pub tier: Forced,
    /// Raw kernel records go to this file too. They hold secrets.
    pub record: Option<PathBuf>,
    /// None: no status endpoint.
    pub status_listen: Option<SocketAddr>,
    /// A loopback address; None: no live page.
    pub ui: Option<SocketAddr>,
    pub log_level: String,
    pub log_format: LogFormat,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When this host cannot run the kernel programs, or a part cannot be started. What was started is stopped again.
pub fn run(options: Options) -> anyhow::Result<()> {
    let not_set = allocator::set_up();
    // Before any other thread: what this one gives up, they do not have.
    let priority = Priority::keep().context("cannot start a thread")?;
    let reports = Reports::ask();
    let guard = sandbox::set(&options);
    let confined = guard.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SINK_THREADS)
        .thread_name("sink")
        .on_thread_start(move || sandbox::confine(&confined))
        .enable_all()
        .build()
        .context("cannot start the runtime of the sinks")?;
    let until = options.dry_run.map(|time| Instant::now() + time);
    let notify = Notify::from_environment()
        .context("NOTIFY_SOCKET names a socket that cannot be connected; unset it")?;
    let (mut agent, mut signals) = {
        let _runtime = runtime.enter();
        let signals = Signals::listen()?;
        (
            Agent::start(options, guard, priority, reports, runtime.handle())?,
            signals,
        )
    };
    for option in not_set {
        tracing::warn!(
            option,
            "the C library does not take this: memory may vary more than it should"
        );
    }
    notify.ready(&agent.shared, runtime.handle());
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
    notify.stopping();
    agent.stop(&runtime)
}

/// All that runs.
struct Agent {
    own: Own,
    ledger: Ledger,
    metrics: Metrics,
    finder: FinderHandle,
    capture: Capture,
    shared: Arc<Shared>,
    /// Writes what the next agent has to know.
    keeper: Option<Keeper>,
    payloads: Payloads,
    sinks: Sinks,
    live: Live,
    config: Config,
    in_force: InForce,
    read: Option<Reader>,
    /// Sinks of configurations before this one.
    retiring: Vec<JoinHandle<()>>,
    /// While it is there, the kernel measures BPF programs.
    program_stats: Option<RunStats>,
    dry_run: Option<DryRun>,
    guard: Guard,
    /// Of CPU.
    budget: Budget,
}

impl Agent {
    fn start(
        options: Options,
        guard: Guard,
        priority: Priority,
        reports: Reports,
        runtime: &Handle,
    ) -> anyhow::Result<Agent> {
        let config = options.config;
        let dry_run = options.dry_run.map(|_| DryRun::start()).transpose()?;
        let store = own_store(&config).filter(|_| dry_run.is_none());
        let mut own = Own::start(&options.log_level, options.log_format, store, &config.agent)?;
        let _span = tracing::info_span!("start").entered();
        sandbox::say(&guard);
        // Before anything that connects: connections of the agent are known by their beginning.
        let kernel = Kernel::load(&KernelOptions {
            tier: options.tier,
            ring_bytes: config.limits.ring,
            ..KernelOptions::default()
        })?;
        let (chosen, gauges) = (kernel.chosen().clone(), kernel.gauges());
        for refused in &chosen.refused {
            tracing::info!(
                tier = refused.tier,
                why = refused.why,
                "this kernel does not take a better tier"
            );
        }
        let tier = chosen.tiers;
        sandbox::may_probe(tier.calls)?;
        let ledger = Ledger::new();
        let metrics = Metrics::new(
            config.known_methods.clone(),
            ledger.clone(),
            SystemTime::now(),
        );
        metrics.set_max_series(config.metrics.max_series);
        metrics.set_aggregation(config.metrics.aggregation);
        let mut live = Live::new(&config)?;
        let (sinks, payloads) = match &dry_run {
            Some(dry_run) => (dry_run.sinks(&config), Payloads::default()),
            None => {
                let feed = live.feed();
                let sinks = Sinks::start(&config, &metrics, &ledger, feed, runtime, None)?;
                let payloads = Payloads::start(&config, &sinks.telemetry, &ledger, runtime, None)?;
                (sinks, payloads)
            }
        };
        let parts = Parts {
            sinks: &sinks,
            payloads: &payloads,
            ledger: &ledger,
        };
        let settings = settings(&config, None, &parts, runtime)?;
        let mut table = Table::new(settings.limits).with_progress(settings.progress);
        let keeper = match dry_run {
            Some(_) => None,
            None => keeper(&config, &mut table)?,
        };
        kernel.want(settings.want)?;
        let stage = stage(settings, &metrics, &ledger);

        let trap = seccomp_trap();
        let found = finder::Options {
            verdicts: stage.verdicts.clone(),
            choice: choice::choice(&config.tap)?,
            seccomp_trap: trap,
            // A dry run leaves nothing behind.
            scan_cache: config.tap.scan_cache.clone().filter(|_| dry_run.is_none()),
            // Nor does it put anything into a program. What a JVM is given has to be probed at returns.
            java: config.tap.java && dry_run.is_none() && !trap,
            ..finder::Options::default()
        };
        let finder = Finder::start_with(reports, kernel.attacher(), found)?;
        let shared = Arc::new(Shared::default());
        let witness = options.record.as_deref().map(recorder).transpose()?;
        let capture = Capture::start(
            kernel,
            Pipeline::new(table, stage, witness),
            ledger.clone(),
            shared.clone(),
            keeper.as_ref().map(Keeper::sender),
            priority,
        )?;

        let cpu = config.limits.cpu;
        let budget = Budget::start(cpu, shared.clone(), gauges.clone(), runtime);
        let in_force = InForce::new(options.source, options.digest);
        let source: Arc<dyn Source> = Arc::new(Watch {
            ledger: ledger.clone(),
            shared: shared.clone(),
            verdicts: finder.verdicts(),
            chosen,
            in_force: in_force.clone(),
            gauges,
            guard: guard.clone(),
            dear: watch::Dear::default(),
            budget: budget.clone(),
            started: Instant::now(),
        });
        own.start_metrics(
            store,
            config.metrics.temporality,
            &config.agent,
            &source,
            runtime,
        )?;
        // A dry run shows what would leave as numbers alone.
        if dry_run.is_none() {
            live.serve(&config, options.ui, &source, runtime)?;
        }
        if let Some(address) = options.status_listen {
            let listener = runtime
                .block_on(status::bind(address))
                .with_context(|| format!("cannot listen on {address} for the status endpoint; choose another with --status-listen, or `off`"))?;
            runtime.spawn(status::serve(listener, source, metrics.clone()));
        }
        tracing::info!(%tier, version = env!("CARGO_PKG_VERSION"), "running");
        Ok(Agent {
            own,
            ledger,
            metrics,
            finder,
            capture,
            shared,
            keeper,
            payloads,
            sinks,
            live,
            in_force,
            // A dry run starts no store, neither now nor later.
            read: options.read.filter(|_| dry_run.is_none()),
            program_stats: program_stats(config.program_stats),
            config,
            retiring: Vec::new(),
            dry_run,
            guard,
            budget,
        })
    }

    /// Drains in the order of the line, within twice [`DRAIN`] and what capture needs.
    fn stop(self, runtime: &Runtime) -> anyhow::Result<()> {
        self.finder.stop();
        self.capture.stop();
        if let Some(keeper) = self.keeper {
            keeper.finish();
        }
        let last = Retiring {
            payloads: self.payloads,
            sinks: self.sinks,
        };
        let live = self.live;
        runtime.block_on(async {
            let deadline = Instant::now() + 2 * DRAIN;
            last.drain(DRAIN).await;
            live.stop().await;
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
        let measured = self.dry_run.map(DryRun::finish).transpose()?;
        match serde_json::to_string(&self.ledger.snapshot()) {
            Ok(ledger) => tracing::info!(%ledger, "stopped"),
            Err(error) => tracing::error!(%error, "stopped; the ledger cannot be shown"),
        }
        self.own.stop();
        match measured {
            Some(measured) => measured.report(&self.ledger.snapshot()),
            None => Ok(()),
        }
    }
}

/// Programs with a seccomp filter would be ended by return probes: the finder does without, and it is said loudly.
fn seccomp_trap() -> bool {
    match host::seccomp_ends_probed_programs() {
        Ok(false) => false,
        Ok(true) => {
            tracing::error!(
                "this kernel ends programs with a seccomp filter, as in containers, when a probe returns (6.11 to 6.13 \
                 without the fix of 6.14): nothing is probed at returns, so of TLS only that of Go's programs is captured. \
                 Update the kernel"
            );
            true
        }
        Err(error) => {
            tracing::debug!(%error, "cannot tell whether seccomp filters and return probes go together");
            false
        }
    }
}

/// Lets the kernel measure programs, where that is wanted and allowed.
fn program_stats(wanted: bool) -> Option<RunStats> {
    if !wanted {
        return None;
    }
    match RunStats::start() {
        Ok(stats) => Some(stats),
        Err(error) => {
            tracing::warn!(%error, "telemetry.program_stats has no effect: the kernel does not count (it needs CAP_SYS_ADMIN, which the agent has given up unless the key was true at its start)");
            None
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

/// As much as any of the stacks wants: which one a transaction goes through shows when it is over.
fn limits(config: &Config) -> conn::Limits {
    let captures = || config.stacks.values().flat_map(|stack| &stack.http_capture);
    let access = config.stacks.values().flat_map(|stack| &stack.access_logs);
    let mut levels = captures()
        .map(HttpCapture::highest)
        .chain(access.map(AccessLogs::highest));
    let most = captures().map(HttpCapture::most_body_bytes).max();
    conn::Limits {
        body: BodyLimits {
            capture: levels.any(|level| level == Level::Full),
            max_bytes: most.unwrap_or(HttpCapture::default().body_max_bytes),
        },
        connection_memory: config.limits.connection_memory,
        total_memory: Shares::of(config.limits.memory).connections(),
    }
}

/// What stacks deliver to.
struct Parts<'a> {
    sinks: &'a Sinks,
    payloads: &'a Payloads,
    ledger: &'a Ledger,
}

/// Who gets transactions, and at which level; `before`: the configuration in force.
fn settings(
    config: &Config,
    before: Option<&Config>,
    parts: &Parts<'_>,
    runtime: &Handle,
) -> anyhow::Result<Settings> {
    let mut general = Plugins::default();
    let mut others = Vec::new();
    for (name, stack) in &config.stacks {
        let plugins = Plugins {
            telemetry: Some(stacks::telemetry(config, (name, stack), parts)?),
            access: stacks::access(config, (name, stack), parts)?,
        };
        match config.tap.http_stack.as_ref() == Some(name) {
            true => general = plugins,
            false => others.push((name.clone(), plugins)),
        }
    }
    let variables = audiences(&general, &others).flat_map(|audience| {
        let rules = audience.rules.variables();
        rules.chain(audience.sampler.variables())
    });
    let highest = audiences(&general, &others).map(Audience::highest).max();
    Ok(Settings {
        limits: limits(config),
        want: pipeline::want(highest.unwrap_or(Level::None)),
        progress: config.tap.progress,
        trace_context: config.tap.trace_context,
        join: join(config),
        wanted: identity::wanted(config, variables.collect()),
        lookups: identity::lookups(config, before, runtime)?,
        filter: Filter::new(&config.tap)?,
        routes: routes(config)?,
        measures: Measures {
            labels: Labels::new(&config.metrics.headers),
            exemplars: config.metrics.exemplars,
        },
        telemetry: general.telemetry,
        access: general.access,
        stacks: Stacks::new(&config.tap, others),
    })
}

fn routes(config: &Config) -> anyhow::Result<Routes> {
    let table = routes::Table::new(&config.tap.routes).context("tap.routes")?;
    Ok(Routes::new(table, config.tap.route_heuristic))
}

fn audiences<'a>(
    general: &'a Plugins,
    others: &'a [(String, Plugins)],
) -> impl Iterator<Item = &'a Audience> {
    let all = others.iter().map(|(_, plugins)| plugins).chain([general]);
    all.flat_map(|plugins| [&plugins.telemetry, &plugins.access])
        .flatten()
}

fn join(config: &Config) -> JoinSettings {
    let join = &config.tap.join;
    let key = match &join.site_key {
        Some(HashKeySource::Text(key)) => Some(key.expose().as_bytes()),
        // Read before.
        Some(HashKeySource::File(_)) | None => None,
    };
    JoinSettings {
        scheme: Scheme::new(key),
        networks: join.networks.clone(),
        untrusted: join.untrusted.clone(),
        caps: join.caps,
        inferred: join.inferred,
    }
}

/// The keys that an agent before this one left, and where this one leaves them. What is lost costs joins alone.
fn keeper(config: &Config, table: &mut Table) -> anyhow::Result<Option<Keeper>> {
    let Some(path) = &config.tap.join.state_file else {
        return Ok(None);
    };
    let store = Store::new(path.clone());
    match store.load() {
        Ok((kept, damaged)) => {
            tracing::debug!(connections = kept.len(), damaged, "known from before");
            table.remember(kept);
        }
        Err(error) => tracing::warn!(%error, "connections that are open now have no common trace"),
    }
    let keeper = Keeper::start(store).context("cannot start the thread that keeps connections")?;
    Ok(Some(keeper))
}

fn stage(settings: Settings, metrics: &Metrics, ledger: &Ledger) -> Stage {
    let lookups = match settings.lookups {
        LookupsChange::Keep => None,
        LookupsChange::Take(lookups) => lookups,
    };
    Stage {
        ledger: ledger.clone(),
        processes: Processes::with(settings.wanted, lookups, identity::reader()),
        clock: time::clock(),
        ids: Ids::new(settings.trace_context),
        filter: settings.filter,
        telemetry: settings.telemetry,
        access: settings.access,
        metrics: metrics.clone(),
        stacks: settings.stacks,
        routes: settings.routes,
        measures: settings.measures,
        held: Held::default(),
        joins: Joins::new(settings.join),
        policies: Policies::new(settings.want),
        buffers: Buffers::default(),
        verdicts: Verdicts::default(),
    }
}

fn otlp_options(config: &Config) -> OtlpOptions {
    OtlpOptions {
        known_methods: config.known_methods.clone(),
        metrics_interval: config.metrics.interval,
        temporality: config.metrics.temporality,
        queue_bytes: Shares::of(config.limits.memory).signal(),
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
