//! Histograms by attribute set, bounded in their number.

use super::attributes::Measured;
use super::histogram::{Aggregation, Histogram, Scale};
use crate::event::Role;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::SystemTime;

/// A transaction that shows what a value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// End of the transaction.
    pub time: SystemTime,
}

/// All that is counted under one attribute set.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub duration: Histogram,
    pub request_body: Histogram,
    pub response_body: Histogram,
    /// The last transaction that makes a span, and its duration in nanoseconds.
    pub exemplar: Option<(Exemplar, u64)>,
}

/// One metric of a side.
#[derive(Debug, Clone, Copy)]
pub struct Instrument {
    pub name: &'static str,
    /// UCUM.
    pub unit: &'static str,
    pub about: &'static str,
    pub of: fn(&Point) -> &Histogram,
}

impl Instrument {
    /// The metrics of a side.
    pub fn all(role: Role) -> [Instrument; 3] {
        let names = match role {
            Role::Server => [
                "http.server.request.duration",
                "http.server.request.body.size",
                "http.server.response.body.size",
            ],
            Role::Client => [
                "http.client.request.duration",
                "http.client.request.body.size",
                "http.client.response.body.size",
            ],
        };
        let about = match role {
            Role::Server => [
                "Duration of HTTP server requests.",
                "Size of HTTP server request bodies.",
                "Size of HTTP server response bodies.",
            ],
            Role::Client => [
                "Duration of HTTP client requests.",
                "Size of HTTP client request bodies.",
                "Size of HTTP client response bodies.",
            ],
        };
        let instrument = |name, unit, about, of| Instrument {
            name,
            unit,
            about,
            of,
        };
        [
            instrument(names[0], "s", about[0], |point| &point.duration),
            instrument(names[1], "By", about[1], |point| &point.request_body),
            instrument(names[2], "By", about[2], |point| &point.response_body),
        ]
    }
}

impl Point {
    pub fn new(aggregation: Aggregation) -> Point {
        Point {
            duration: Histogram::new(Scale::Durations, aggregation),
            request_body: Histogram::new(Scale::Sizes, aggregation),
            response_body: Histogram::new(Scale::Sizes, aggregation),
            exemplar: None,
        }
    }

    /// What came since it was `before`.
    fn since(&self, before: &Point) -> Point {
        let exemplar = self.exemplar.clone();
        Point {
            duration: self.duration.since(&before.duration),
            request_body: self.request_body.since(&before.request_body),
            response_body: self.response_body.since(&before.response_body),
            exemplar: exemplar.filter(|_| self.exemplar != before.exemplar),
        }
    }

    fn add(&mut self, measured: &Measured) {
        self.duration.add(measured.duration_ns);
        if let Some(size) = measured.request_body {
            self.request_body.add(size);
        }
        if let Some(size) = measured.response_body {
            self.response_body.add(size);
        }
        if let Some(exemplar) = &measured.exemplar {
            self.exemplar = Some((exemplar.clone(), measured.duration_ns));
        }
    }
}

/// Points by attribute set; what finds no room is counted under none, by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<K: Eq + Hash> {
    aggregation: Aggregation,
    slots: HashMap<K, Slot>,
    /// By slot.
    points: Vec<Point>,
    overflow: Vec<(Role, Point)>,
}

/// Where the point of an attribute set is. It stays there, so that it need not be looked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(usize);

impl Slot {
    /// From 0 on, without a gap.
    pub fn index(self) -> usize {
        self.0
    }
}

impl<K: Eq + Hash> Series<K> {
    pub fn new(aggregation: Aggregation) -> Self {
        Series {
            aggregation,
            slots: HashMap::new(),
            points: Vec::new(),
            overflow: Vec::new(),
        }
    }

    pub fn find(&self, key: &K) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// The slot of `key`, a new one where it has none; None: there is none, and no `room` for one more.
    pub fn slot(&mut self, key: K, room: bool) -> Option<Slot> {
        let found = self.find(&key);
        if found.is_some() || !room {
            return found;
        }
        let slot = Slot(self.points.len());
        self.points.push(Point::new(self.aggregation));
        self.slots.insert(key, slot);
        Some(slot)
    }

    /// Counts at `slot`; None: in the overflow of a side.
    pub fn add(&mut self, slot: Option<Slot>, role: Role, measured: &Measured) {
        let known = slot.and_then(|Slot(at)| self.points.get_mut(at));
        match known {
            Some(point) => point.add(measured),
            None => self.overflow_of(role).add(measured),
        }
    }

    fn overflow_of(&mut self, role: Role) -> &mut Point {
        let found = self.overflow.iter().position(|(side, _)| *side == role);
        let at = found.unwrap_or_else(|| {
            self.overflow.push((role, Point::new(self.aggregation)));
            self.overflow.len() - 1
        });
        &mut self.overflow[at].1
    }

    /// Attribute sets, without those of the overflow.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Point)> {
        let points = &self.points;
        self.slots
            .iter()
            .filter_map(|(key, slot)| Some((key, points.get(slot.0)?)))
    }

    /// What found no room.
    pub fn overflow(&self) -> impl Iterator<Item = (Role, &Point)> {
        self.overflow.iter().map(|(role, point)| (*role, point))
    }
}

impl<K: Eq + Hash + Clone> Series<K> {
    /// What came since it was `before`, which is this one at an earlier time: slots stay where they are.
    pub fn since(&self, before: &Series<K>) -> Series<K> {
        let point = |(at, now): (usize, &Point)| match before.points.get(at) {
            Some(then) => now.since(then),
            None => now.clone(),
        };
        let overflow = |(role, now): &(Role, Point)| {
            let then = before.overflow.iter().find(|(side, _)| side == role);
            (
                *role,
                then.map_or_else(|| now.clone(), |(_, then)| now.since(then)),
            )
        };
        Series {
            aggregation: self.aggregation,
            slots: self.slots.clone(),
            points: self.points.iter().enumerate().map(point).collect(),
            overflow: self.overflow.iter().map(overflow).collect(),
        }
    }
}
