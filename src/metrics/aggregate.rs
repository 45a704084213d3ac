//! What is counted of processes and of services.
//!
//! A process is a resource of OTLP, with a start of its own, and is let go when it is gone and its last numbers have
//! arrived. A service goes on when its processes change: one that lives shorter than the interval of a scrape shows too.

use super::attributes::{Attributes, Measured};
use super::series::{Counted, Series};
use crate::enrich::{Process, ResourceValue};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::SystemTime;

/// Bounds of what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attribute sets of one process, both sides together (the SDK specification's default is the same).
    pub of_process: usize,
    /// Of all processes.
    pub of_processes: usize,
    /// Of all services.
    pub of_services: usize,
    /// Processes, with those that are gone and not exported yet.
    pub processes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            of_process: 2000,
            of_processes: 16_384,
            of_services: 2000,
            processes: 4096,
        }
    }
}

/// What found no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Counted without attributes.
    pub series: bool,
    /// Not counted for its process.
    pub process: bool,
}

/// `service.namespace` and `service.name`.
pub(super) type Service = (String, String);

/// What is counted of services.
pub(super) type Services = Series<(Service, Attributes)>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Aggregator {
    limits: Limits,
    pub(super) services: Services,
    processes: HashMap<u32, Resource>,
    /// Of processes that are gone, and of those whose resource has changed since: nothing more is counted there.
    retired: Vec<Resource>,
    /// Attribute sets of all processes.
    held: usize,
    /// Who collects.
    subscribers: usize,
    /// When was collected last: what is counted after it starts there.
    last: SystemTime,
}

#[derive(Debug, Clone)]
struct Resource {
    process: Arc<Process>,
    start: SystemTime,
    series: Series<Attributes>,
    /// It was collected after its end.
    collected: bool,
}

/// What was counted of one process.
#[derive(Debug, Clone)]
pub struct Collected {
    pub process: Arc<Process>,
    /// Nothing before it is counted.
    pub start: SystemTime,
    pub series: Series<Attributes>,
}

impl Aggregator {
    pub fn new(limits: Limits, now: SystemTime) -> Aggregator {
        Aggregator {
            limits,
            services: Series::default(),
            processes: HashMap::new(),
            retired: Vec::new(),
            held: 0,
            subscribers: 0,
            last: now,
        }
    }

    /// From now on. What is held stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Counts one transaction.
    pub fn count(
        &mut self,
        process: &Arc<Process>,
        attributes: &Attributes,
        measured: &Measured,
    ) -> Overflow {
        let key = (service(process), attributes.clone());
        let room = self.services.len() < self.limits.of_services;
        let counted = self.services.add(&key, attributes.role, measured, room);
        let mut overflow = Overflow {
            series: counted == Counted::Overflow,
            process: false,
        };
        if self.subscribers > 0 {
            match self.count_for_process(process, attributes, measured) {
                Some(counted) => overflow.series |= counted == Counted::Overflow,
                None => overflow.process = true,
            }
        }
        overflow
    }

    /// None: there are too many processes.
    fn count_for_process(
        &mut self,
        process: &Arc<Process>,
        attributes: &Attributes,
        measured: &Measured,
    ) -> Option<Counted> {
        let full = self.processes.len() + self.retired.len() >= self.limits.processes;
        let new = || Resource {
            process: process.clone(),
            start: self.last,
            series: Series::default(),
            collected: false,
        };
        let resource = match self.processes.entry(process.pid) {
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if !same(&known.process, process) {
                    if full {
                        return None;
                    }
                    self.retired.push(std::mem::replace(known, new()));
                }
                known.process = process.clone();
                known
            }
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => entry.insert(new()),
        };
        let limits = &self.limits;
        let room = resource.series.len() < limits.of_process && self.held < limits.of_processes;
        let counted = resource
            .series
            .add(attributes, attributes.role, measured, room);
        self.held += usize::from(counted == Counted::New);
        Some(counted)
    }

    /// Somebody collects from now on.
    pub fn subscribe(&mut self, now: SystemTime) {
        if self.subscribers == 0 {
            self.last = self.last.max(now);
        }
        self.subscribers += 1;
    }

    /// Somebody collects no more. Without anybody nothing of processes is held.
    pub fn unsubscribe(&mut self) {
        self.subscribers = self.subscribers.saturating_sub(1);
        if self.subscribers == 0 {
            self.processes = HashMap::new();
            self.retired = Vec::new();
            self.held = 0;
        }
    }

    /// What was counted of each process until `now`, since its own start. Processes that are not `alive` stay until
    /// [`Aggregator::exported`].
    pub fn collect(
        &mut self,
        now: SystemTime,
        mut alive: impl FnMut(&Process) -> bool,
    ) -> Vec<Collected> {
        // A wall clock may be set back: a start must not be after its end.
        self.last = now;
        let gone = self
            .processes
            .extract_if(|_, resource| !alive(&resource.process));
        self.retired.extend(gone.map(|(_, resource)| resource));
        for resource in &mut self.retired {
            resource.collected = true;
        }
        let all = self.retired.iter().chain(self.processes.values());
        all.map(|resource| Collected {
            process: resource.process.clone(),
            start: resource.start.min(now),
            series: resource.series.clone(),
        })
        .collect()
    }

    /// What was collected last has arrived: those who were gone then are let go.
    pub fn exported(&mut self) {
        self.retired.retain(|resource| !resource.collected);
        let all = self.retired.iter().chain(self.processes.values());
        self.held = all.map(|resource| resource.series.len()).sum();
    }
}

/// Whether both are one resource. A process is made anew now and then, mostly with nothing new in it.
fn same(a: &Arc<Process>, b: &Arc<Process>) -> bool {
    Arc::ptr_eq(a, b) || a.resource == b.resource
}

fn service(process: &Process) -> Service {
    let text = |name: &str| {
        let found = process.resource.iter().find(|(key, _)| key == name);
        match found {
            Some((_, ResourceValue::Str(text))) => text.clone(),
            _ => String::new(),
        }
    };
    (text("service.namespace"), text("service.name"))
}
