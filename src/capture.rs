//! The capture thread: reads the kernel's rings and drives the pipeline.
//!
//! Enters: records of the control and the data ring. Leaves: nothing itself; the pipeline offers captures to the sinks.
//! Holds: one thread owns the pipeline; it never waits for a sink. A round reads control records first, then all data
//! records, then applies the ends that the control records brought.

use crate::enrich::Clock;
use crate::event::KernelTime;
use crate::event::record::Writer;
use crate::pipeline::Pipeline;
use crate::probe::kernel::{Kernel, Rings};
use crate::probe::time;
use crate::telemetry::Ledger;
use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// How long a round waits for a control record when there is nothing to do. Data records make no wake-up until the ring
/// is an eighth full, so this bounds how late a transaction is noticed.
const IDLE_WAIT: Duration = Duration::from_millis(5);
/// How often counters are read and old state is given up.
const TICK: Duration = Duration::from_millis(500);

/// What the capture thread shows to the rest of the agent.
#[derive(Default)]
pub struct Shared {
    stop: AtomicBool,
    pub connections: AtomicU64,
    pub connection_bytes: AtomicU64,
}

/// A running capture thread.
pub struct Capture {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Capture {
    /// Starts the thread. `record`: every record goes to this file too, in the order in which it is used.
    ///
    /// # Errors
    /// When the rings or the thread cannot be made.
    pub fn start(
        kernel: Kernel,
        pipeline: Pipeline,
        ledger: Ledger,
        record: Option<File>,
        shared: Arc<Shared>,
    ) -> io::Result<Capture> {
        let worker = Worker {
            kernel,
            pipeline,
            ledger,
            record: record.map(|file| Writer::new(BufWriter::new(file))).transpose()?,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || worker.run())?;
        Ok(Capture { shared, thread })
    }

    /// Reads what is in the rings, lets unfinished transactions leave marked, and ends the thread.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!("the capture thread panicked: transactions of its last moments are lost");
        }
    }
}
