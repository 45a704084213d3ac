//! The capture thread: reads the kernel's rings and drives the pipeline.
//!
//! Enters: records of the control and the data ring. Leaves: nothing itself; the pipeline offers captures to the sinks.
//! Holds: one thread owns the pipeline; it never waits for a sink. A round reads control records first, then all data
//! records, then applies the ends that the control records brought.

use crate::event::record::Writer;
use crate::guard::Priority;
use crate::join::{self, Kept};
use crate::pipeline::{Pipeline, Policy, Retired, Settings, Witness};
use crate::probe::kernel::{Kernel, KernelError};
use crate::probe::ring::Rings;
use crate::probe::time;
use crate::rules::Level;
use crate::telemetry::Ledger;
use crate::telemetry::state::RingFill;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the data ring is read in a round, for the bytes that came before ends which were read meanwhile.
const PASSES: usize = 4;

/// How long a round waits for a control record when there is nothing to do. Data records make no wake-up until the ring
/// is an eighth full, so this bounds how late a transaction is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(5);
/// The same once there was nothing for so many rounds, half a second: a span after a pause may be later, and a host
/// without traffic is looked at less often.
const QUIET_WAIT: Duration = Duration::from_millis(30);
const QUIET_ROUNDS: u32 = 100;
/// How often counters are read and old state is given up.
const TICK: Duration = Duration::from_millis(500);
/// How often what has to survive a restart is written down: what was opened since is lost where the agent is killed.
const KEEP: Duration = Duration::from_secs(10);

/// Priority of the thread where the host allows it: bytes that it does not read in time are lost for good, and the
/// programs that made them can wait.
const NICE: libc::c_int = -10;

/// What the capture thread shows to the rest of the agent.
#[derive(Default)]
pub struct Shared {
    stop: AtomicBool,
    /// Grows while the capture thread works, at each of its ticks.
    pub ticks: AtomicU64,
    pub connections: AtomicU64,
    pub connection_bytes: AtomicU64,
    pub tls_sessions: AtomicU64,
    pub data_ring: RingFill,
    pub control_ring: RingFill,
    /// How far below [`Level::Full`] the highest level is that is allowed.
    lowered: AtomicU8,
}

impl Shared {
    /// From the next tick on nothing gets a higher level.
    pub fn allow(&self, level: Level) {
        let lowered = LEVELS.iter().position(|l| *l == level).unwrap_or(0);
        self.lowered.store(lowered as u8, Ordering::Relaxed);
    }

    fn allowed(&self) -> Level {
        let lowered = usize::from(self.lowered.load(Ordering::Relaxed));
        LEVELS.get(lowered).copied().unwrap_or(Level::Full)
    }
}

/// From the highest on.
const LEVELS: [Level; 4] = [Level::Full, Level::Headers, Level::Summary, Level::None];

/// A running capture thread.
pub struct Capture {
    shared: Arc<Shared>,
    exchanges: mpsc::Sender<Exchange>,
    thread: JoinHandle<()>,
}

/// Settings to take, and where those before go.
struct Exchange {
    settings: Settings,
    retired: mpsc::Sender<Retired>,
}

/// The capture thread took no other settings.
#[derive(Debug, thiserror::Error)]
#[error("the capture thread did not take the new configuration within {EXCHANGE_WAIT:?}")]
pub struct NotExchanged;

/// A round of the capture thread is over long before.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);

/// Why capture cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("cannot start the capture thread: {0}")]
    Thread(io::Error),
}

impl Capture {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the rings cannot be mapped, or no thread can be had. `keep` takes what the next agent has to know; `priority` is
    /// for the thread.
    pub fn start(
        kernel: Kernel,
        pipeline: Pipeline,
        ledger: Ledger,
        shared: Arc<Shared>,
        keep: Option<mpsc::SyncSender<Vec<Kept>>>,
        priority: Priority,
    ) -> Result<Capture, CaptureError> {
        let (exchanges, to_exchange) = mpsc::channel();
        let rings = kernel.rings()?;
        shared.data_ring.sized(rings.data.size());
        shared.control_ring.sized(rings.control.size());
        let worker = Worker {
            exchanges: to_exchange,
            rings,
            kernel,
            pipeline,
            ledger,
            shared: shared.clone(),
            keep,
        };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || worker.run(priority))
            .map_err(CaptureError::Thread)?;
        Ok(Capture {
            shared,
            exchanges,
            thread,
        })
    }

    /// Takes other settings between two rounds, and gives back those before. Waits until that is done.
    ///
    /// # Errors
    /// When the thread does not answer: it has ended, or hangs.
    pub fn exchange(&self, settings: Settings) -> Result<Retired, NotExchanged> {
        let (retired, before) = mpsc::channel();
        let exchange = Exchange { settings, retired };
        self.exchanges.send(exchange).map_err(|_| NotExchanged)?;
        before.recv_timeout(EXCHANGE_WAIT).map_err(|_| NotExchanged)
    }

    /// Reads what is in the rings, lets unfinished transactions leave marked, and ends the thread.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!(
                "the capture thread panicked: transactions of its last moments are lost"
            );
        }
    }
}

/// What the thread owns.
struct Worker {
    exchanges: mpsc::Receiver<Exchange>,
    kernel: Kernel,
    rings: Rings,
    pipeline: Pipeline,
    ledger: Ledger,
    shared: Arc<Shared>,
    keep: Option<mpsc::SyncSender<Vec<Kept>>>,
}

impl Worker {
    fn run(mut self, priority: Priority) {
        raise(priority);
        let mut next_tick = Instant::now();
        let mut next_keep = Instant::now() + KEEP;
        let mut quiet = 0_u32;
        while !self.shared.stop.load(Ordering::Acquire) {
            self.exchange();
            if self.round() == 0 {
                self.wait(if quiet < QUIET_ROUNDS {
                    IDLE_WAIT
                } else {
                    QUIET_WAIT
                });
                quiet = quiet.saturating_add(1);
            } else {
                quiet = 0;
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            if Instant::now() >= next_keep {
                self.keep();
                next_keep = Instant::now() + KEEP;
            }
        }
        // What the rings hold now happened before the stop.
        while self.round() > 0 {}
        self.keep_last();
        self.pipeline.finish(time::now());
        self.tick();
    }

    fn exchange(&mut self) {
        while let Ok(exchange) = self.exchanges.try_recv() {
            let retired = self.pipeline.exchange(exchange.settings, time::now());
            let want = self.pipeline.want();
            if let Err(error) = self.kernel.want(want) {
                tracing::warn!(%error, ?want, "the kernel programs go on as before");
            }
            if exchange.retired.send(retired).is_err() {
                tracing::warn!("a configuration was taken later than its reload waited for");
            }
        }
    }

    /// Reads what is there; returns the number of records.
    fn round(&mut self) -> usize {
        let Worker {
            rings, pipeline, ..
        } = self;
        let Rings { data, control, .. } = rings;
        self.shared.data_ring.set(data.fill());
        self.shared.control_ring.set(control.fill());
        let mut records = control.consume(|bytes| pipeline.control(bytes));
        let mut before_ends = data.written();
        for _ in 0..PASSES {
            let mut late = 0;
            records += data.consume(|bytes| {
                pipeline.data_after(bytes, |pipeline| {
                    late += control.consume(|bytes| pipeline.control(bytes));
                });
            });
            records += late;
            if late > 0 {
                before_ends = data.written();
            }
            if data.is_read_to(before_ends) {
                break;
            }
        }
        // Where a writer is still at work on one, ends wait for the bytes behind it.
        if data.is_read_to(before_ends) {
            pipeline.apply_ends();
        }
        pipeline.settle(time::now());
        for policy in pipeline.policies() {
            let told = match policy {
                Policy::Ignore(pid) => self.kernel.ignore_process(pid),
                Policy::Want(pid, want) => self.kernel.want_of_process(pid, want),
                Policy::Connection(conn, want) => self.kernel.want_of_connection(conn, want),
                Policy::Forget(pid) => self.kernel.forget_process(pid),
            };
            if let Err(error) = told {
                self.ledger.policy_not_told();
                tracing::debug!(?policy, %error, "the kernel programs do not know of a policy");
            }
        }
        records
    }

    /// Writes down what the next agent has to know, should this one be killed.
    fn keep(&self) {
        if let Some(keep) = &self.keep
            && !join::offer(keep, self.pipeline.keep())
        {
            tracing::debug!("connections are not written down this time: the writer is at work");
        }
    }

    fn keep_last(&self) {
        if let Some(keep) = &self.keep
            && keep.send(self.pipeline.keep()).is_err()
        {
            tracing::warn!("the next agent will not know the connections that are open now");
        }
    }

    fn wait(&self, time: Duration) {
        if let Err(error) = self.rings.wait(time) {
            tracing::warn!(%error, "cannot wait for kernel records; polling");
            std::thread::sleep(IDLE_WAIT);
        }
    }

    /// Takes another bound of levels.
    fn allow(&mut self) {
        if !self.pipeline.allow(self.shared.allowed(), time::now()) {
            return;
        }
        let want = self.pipeline.want();
        if let Err(error) = self.kernel.want(want) {
            tracing::warn!(%error, ?want, "the kernel programs go on as before");
        }
    }

    fn tick(&mut self) {
        self.allow();
        self.shared.ticks.fetch_add(1, Ordering::Relaxed);
        self.pipeline.tick(time::now(), time::clock());
        match self.kernel.counters() {
            Ok(counters) => self.ledger.set_kernel(counters.bytes, counters.capture),
            Err(error) => tracing::warn!(%error, "the kernel's counters cannot be read"),
        }
        let open = self.pipeline.open() as u64;
        self.shared.connections.store(open, Ordering::Relaxed);
        let sessions = self.pipeline.tls_sessions() as u64;
        self.shared.tls_sessions.store(sessions, Ordering::Relaxed);
        let memory = self.pipeline.memory();
        self.shared
            .connection_bytes
            .store(memory, Ordering::Relaxed);
    }
}

/// Without CAP_SYS_NICE the thread works at the agent's own priority.
fn raise(priority: Priority) {
    if let Err(error) = priority.raise(NICE) {
        tracing::info!(%error, "the capture thread runs at normal priority: with CAP_SYS_NICE it loses less under load");
    }
}

/// Writes every record to a file, in the order in which it is used, until that fails.
///
/// # Errors
/// When the file cannot be begun.
pub fn recorder(file: File) -> io::Result<Witness> {
    // Unbuffered: what was used is in the file, however the agent ends.
    let mut writer = Some(Writer::new(file)?);
    Ok(Box::new(move |ring, record| {
        if let Some(open) = &mut writer
            && let Err(error) = open.write(ring, record)
        {
            tracing::error!(%error, "recording ends: the file cannot be written");
            writer = None;
        }
    }))
}
