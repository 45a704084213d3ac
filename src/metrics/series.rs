//! Histograms by attribute set, bounded in their number.

use super::attributes::Measured;
use super::histogram::{Histogram, Scale};
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Default for Point {
    fn default() -> Point {
        Point {
            duration: Histogram::new(Scale::Durations),
            request_body: Histogram::new(Scale::Sizes),
            response_body: Histogram::new(Scale::Sizes),
            exemplar: None,
        }
    }
}

impl Point {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series<K: Eq + Hash> {
    points: HashMap<K, Point>,
    overflow: Vec<(Role, Point)>,
}

impl<K: Eq + Hash> Default for Series<K> {
    fn default() -> Self {
        Series {
            points: HashMap::new(),
            overflow: Vec::new(),
        }
    }
}

/// Where a transaction was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Known,
    /// Under an attribute set that is new.
    New,
    Overflow,
}

impl<K: Eq + Hash + Clone> Series<K> {
    /// Counts under `key`; `room`: there may be one attribute set more.
    pub fn add(&mut self, key: &K, role: Role, measured: &Measured, room: bool) -> Counted {
        if let Some(point) = self.points.get_mut(key) {
            point.add(measured);
            return Counted::Known;
        }
        if room {
            self.points.entry(key.clone()).or_default().add(measured);
            return Counted::New;
        }
        match self.overflow.iter_mut().find(|(side, _)| *side == role) {
            Some((_, point)) => point.add(measured),
            None => {
                let mut point = Point::default();
                point.add(measured);
                self.overflow.push((role, point));
            }
        }
        Counted::Overflow
    }

    /// Attribute sets, without those of the overflow.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Point)> {
        self.points.iter()
    }

    /// What found no room.
    pub fn overflow(&self) -> impl Iterator<Item = (Role, &Point)> {
        self.overflow.iter().map(|(role, point)| (*role, point))
    }
}
