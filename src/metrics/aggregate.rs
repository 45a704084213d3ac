//! What is counted of processes and of services.
//!
//! A process is a resource of OTLP, with a start of its own, and is let go when it is gone and its last numbers have
//! arrived. A service goes on when its processes change: one that lives shorter than the interval of a scrape shows too.

use super::attributes::{Attributes, Measured};
use super::histogram::Aggregation;
use super::series::{Series, Slot};
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

/// Where nobody collects what is counted of processes, they are there to find the series of their services fast: more
/// than these would only hold memory, of programs that are gone as well.
const UNCOLLECTED: Limits = Limits {
    of_process: 256,
    of_processes: 512,
    of_services: usize::MAX,
    processes: 64,
};

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
    /// Of processes. Services are shown to Prometheus, whose text has no other buckets than those of fixed bounds.
    aggregation: Aggregation,
    pub(super) services: Services,
    /// While nobody collects, they only tell where their services are counted.
    processes: HashMap<u32, Resource>,
    /// Of processes that are gone, and of those whose resource has changed since: nothing more is counted there.
    retired: Vec<Resource>,
    /// Attribute sets of all processes.
    held: usize,
    /// Resources so far.
    made: u64,
    /// Who collects.
    subscribers: usize,
    /// When was collected last: what is counted after it starts there.
    last: SystemTime,
}

#[derive(Debug, Clone)]
struct Resource {
    number: u64,
    process: Arc<Process>,
    start: SystemTime,
    series: Series<Attributes>,
    /// By slot of `series`: where its service is counted, None in the overflow.
    of_service: Vec<Option<Slot>>,
    /// It was collected after its end.
    collected: bool,
}

/// What was counted of one process.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The same each time, and no other's.
    pub number: u64,
    pub process: Arc<Process>,
    /// Nothing before it is counted.
    pub start: SystemTime,
    pub series: Series<Attributes>,
}

impl Aggregator {
    pub fn new(limits: Limits, now: SystemTime) -> Aggregator {
        Aggregator {
            limits,
            aggregation: Aggregation::default(),
            services: Series::new(Aggregation::Explicit),
            processes: HashMap::new(),
            retired: Vec::new(),
            held: 0,
            made: 0,
            subscribers: 0,
            last: now,
        }
    }

    /// From now on. What is held stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// From now on. What was counted of processes otherwise is collected a last time.
    pub fn set_aggregation(&mut self, aggregation: Aggregation) {
        if self.aggregation != aggregation {
            self.aggregation = aggregation;
            self.retired
                .extend(self.processes.drain().map(|(_, resource)| resource));
        }
    }

    /// Counts one transaction.
    pub fn count(
        &mut self,
        process: &Arc<Process>,
        attributes: &Attributes,
        measured: &Measured,
    ) -> Overflow {
        let role = attributes.role;
        let Some((resource, services)) = self.resource(process) else {
            let of_service = self.slot_of_service(process, attributes);
            self.services.add(of_service, role, measured);
            return Overflow {
                series: of_service.is_none(),
                process: self.subscribers > 0,
            };
        };
        if let Some(slot) = resource.series.find(attributes) {
            let of_service = resource.of_service(slot);
            resource.series.add(Some(slot), role, measured);
            services.add(of_service, role, measured);
            return Overflow {
                series: of_service.is_none(),
                process: false,
            };
        }
        self.count_new(process, attributes, measured)
    }

    /// Counts under an attribute set that is new to a process that is there.
    fn count_new(
        &mut self,
        process: &Arc<Process>,
        attributes: &Attributes,
        measured: &Measured,
    ) -> Overflow {
        let role = attributes.role;
        let of_service = self.slot_of_service(process, attributes);
        self.services.add(of_service, role, measured);
        let limits = self.bounds();
        let mut series = of_service.is_none();
        if let Some(resource) = self.processes.get_mut(&process.pid) {
            let room = resource.series.len() < limits.of_process && self.held < limits.of_processes;
            let slot = resource.series.slot(attributes.clone(), room);
            resource.series.add(slot, role, measured);
            if slot.is_some() {
                resource.of_service.push(of_service);
                self.held += 1;
            } else if self.subscribers > 0 {
                series = true;
            } else {
                self.forget_processes();
            }
        }
        Overflow {
            series,
            process: false,
        }
    }

    fn slot_of_service(&mut self, process: &Process, attributes: &Attributes) -> Option<Slot> {
        let key = (service(process), attributes.clone());
        let room = self.services.len() < self.limits.of_services;
        self.services.slot(key, room)
    }

    /// The process, and its services beside it. None: there are too many processes.
    fn resource(&mut self, process: &Arc<Process>) -> Option<(&mut Resource, &mut Services)> {
        let mut full = self.processes.len() + self.retired.len() >= self.bounds().processes;
        if full && self.subscribers == 0 {
            self.forget_processes();
            full = false;
        }
        let number = self.made;
        let new = || Resource {
            number,
            process: process.clone(),
            start: self.last,
            series: Series::new(self.aggregation),
            of_service: Vec::new(),
            collected: false,
        };
        let resource = match self.processes.entry(process.pid) {
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                if !Arc::ptr_eq(&known.process, process) {
                    // A process is made anew now and then, mostly with nothing new in it.
                    if known.process.resource != process.resource {
                        if full {
                            return None;
                        }
                        self.retired.push(std::mem::replace(known, new()));
                        self.made += 1;
                    }
                    known.process = process.clone();
                }
                known
            }
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => {
                self.made += 1;
                entry.insert(new())
            }
        };
        Some((resource, &mut self.services))
    }

    /// What may be held of processes now.
    fn bounds(&self) -> Limits {
        let limits = self.limits;
        match self.subscribers {
            0 => Limits {
                of_process: limits.of_process.min(UNCOLLECTED.of_process),
                of_processes: limits.of_processes.min(UNCOLLECTED.of_processes),
                processes: limits.processes.min(UNCOLLECTED.processes),
                ..limits
            },
            _ => limits,
        }
    }

    fn forget_processes(&mut self) {
        self.processes = HashMap::new();
        self.retired = Vec::new();
        self.held = 0;
    }

    /// Somebody collects from now on.
    pub fn subscribe(&mut self, now: SystemTime) {
        if self.subscribers == 0 {
            self.last = self.last.max(now);
            self.forget_processes();
        }
        self.subscribers += 1;
    }

    /// Somebody collects no more. Without anybody nothing of processes is given.
    pub fn unsubscribe(&mut self) {
        self.subscribers = self.subscribers.saturating_sub(1);
        if self.subscribers == 0 {
            self.forget_processes();
        }
    }

    /// What was counted of each process until `now`, since its own start. Processes that are not `alive` stay until
    /// [`Aggregator::exported`].
    pub fn collect(
        &mut self,
        now: SystemTime,
        mut alive: impl FnMut(&Process) -> bool,
    ) -> Vec<Collected> {
        if self.subscribers == 0 {
            return Vec::new();
        }
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
            number: resource.number,
            process: resource.process.clone(),
            // A wall clock may be set back: a start must not be after its end.
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

impl Resource {
    fn of_service(&self, slot: Slot) -> Option<Slot> {
        self.of_service.get(slot.index()).copied().flatten()
    }
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
