//! Metrics of transactions: durations and sizes of bodies, counted for each process and each service.
//!
//! Enters: transactions whose level is decided, before sampling leaves any out. Leaves: cumulative histograms, those of
//! processes for OTLP and those of services as Prometheus text.
//! Holds: bounded in processes and in attribute sets, and what finds no room is counted; nothing of a transaction goes in
//! but its numbers, its method where that is known, its route, headers that are asked for by name, and for clients the
//! server's name. Counting asks no clock.
//!
//! Names, units, attributes and bounds of buckets: semantic conventions v1.44, HTTP metrics.

mod aggregate;
mod attributes;
mod exponential;
mod histogram;
mod labels;
mod prometheus;
mod series;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregator, Collected, Limits, Overflow};
pub use attributes::{Attributes, Beside, Measured, Value};
pub use exponential::Exponential;
pub use histogram::{Aggregation, Buckets, Histogram, Scale};
pub use labels::{Label, Labels, label_name};
pub use series::{Exemplar, Instrument, Point, Series};

use crate::enrich::Process;
use crate::sink::otlp::KnownMethods;
use crate::telemetry::Ledger;
use crate::telemetry::prometheus::Exposition;
use crate::transaction::Transaction;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Between two exports of the agent's own metrics, and of these where the configuration says nothing else.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Shared handle to what is counted. It outlives every configuration.
#[derive(Clone)]
pub struct Metrics {
    aggregator: Arc<Mutex<Aggregator>>,
    known_methods: Arc<KnownMethods>,
    ledger: Ledger,
}

impl Metrics {
    /// `now`: the start of everything that is counted.
    pub fn new(known_methods: KnownMethods, ledger: Ledger, now: SystemTime) -> Metrics {
        Metrics {
            aggregator: Arc::new(Mutex::new(Aggregator::new(Limits::default(), now))),
            known_methods: Arc::new(known_methods),
            ledger,
        }
    }

    /// Attribute sets of each process, and of all services, from now on. Those that are there stay.
    pub fn set_max_series(&self, max: usize) {
        let default = Limits::default();
        self.lock().set_limits(Limits {
            of_process: max,
            of_processes: default.of_processes.max(max),
            of_services: max,
            ..default
        });
    }

    /// Of processes, from now on. What was counted otherwise is collected a last time.
    pub fn set_aggregation(&self, aggregation: Aggregation) {
        self.lock().set_aggregation(aggregation);
    }

    /// Counts a transaction.
    pub fn count(
        &self,
        transaction: &Transaction,
        process: &Arc<Process>,
        beside: Beside,
        exemplar: Option<Exemplar>,
    ) {
        let attributes = Attributes::of(transaction, &self.known_methods, beside);
        let measured = Measured::of(transaction, exemplar);
        let overflow = self.lock().count(process, &attributes, &measured);
        self.ledger.measured(overflow);
    }

    /// From now on processes are counted too, until [`Metrics::unsubscribe`] was called as often.
    pub fn subscribe(&self, now: SystemTime) {
        self.lock().subscribe(now);
    }

    pub fn unsubscribe(&self) {
        self.lock().unsubscribe();
    }

    /// What was counted of each process. Those that are not `alive` are there for the last time, as soon as
    /// [`Metrics::exported`] says that they arrived.
    pub fn collect(&self, now: SystemTime, alive: impl FnMut(&Process) -> bool) -> Vec<Collected> {
        self.lock().collect(now, alive)
    }

    /// What was collected last has arrived.
    pub fn exported(&self) {
        self.lock().exported();
    }

    /// Services as Prometheus text (exposition format 0.0.4).
    pub fn prometheus(&self) -> String {
        self.exposed(Exposition::Text)
    }

    /// Services as text of this form.
    pub fn exposed(&self, exposition: Exposition) -> String {
        // Nobody who counts waits for the text.
        let services = self.lock().services.clone();
        prometheus::render(&services, exposition)
    }

    // A panic elsewhere must not take the numbers away: each is whole by itself.
    fn lock(&self) -> MutexGuard<'_, Aggregator> {
        self.aggregator
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
