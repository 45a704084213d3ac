//! How much a signal holds: bounded by count and by bytes.

use crate::telemetry::queues::{Fill, Watched};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Room for what one signal holds, from the offer to the end of its export.
#[derive(Debug)]
pub struct Room {
    items: AtomicUsize,
    bytes: AtomicUsize,
    max_items: usize,
    max_bytes: usize,
    /// Items that found no room.
    refused: AtomicU64,
    /// Items in requests under way.
    sending: AtomicUsize,
    /// `otel.component.type` of the exporter.
    exporter: Option<&'static str>,
}

impl Room {
    /// `exporter`: the `otel.component.type` of what empties it.
    pub fn new(exporter: Option<&'static str>, max_items: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Room {
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_items,
            max_bytes,
            refused: AtomicU64::new(0),
            sending: AtomicUsize::new(0),
            exporter,
        })
    }

    /// So many items are under way until the result is dropped.
    pub fn sending(self: &Arc<Self>, items: usize) -> Sending {
        self.sending.fetch_add(items, Ordering::Relaxed);
        Sending {
            room: self.clone(),
            items,
        }
    }

    /// Items that found no room so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether one item more, of so many bytes, finds room. Certain where one alone adds.
    pub fn fits(&self, bytes: usize) -> bool {
        let held = self.bytes.load(Ordering::Relaxed);
        self.items.load(Ordering::Relaxed) < self.max_items
            && held.saturating_add(bytes) <= self.max_bytes
    }

    /// An item found no room.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Watched for Room {
    fn fill(&self) -> Fill {
        let number = |n: &AtomicUsize| n.load(Ordering::Relaxed) as u64;
        Fill {
            items: number(&self.items),
            in_flight: number(&self.sending),
            bytes: number(&self.bytes),
            max_items: self.max_items as u64,
            max_bytes: self.max_bytes as u64,
            exporter: self.exporter,
            store: None,
        }
    }
}

/// Items in a request that is under way.
#[derive(Debug)]
pub struct Sending {
    room: Arc<Room>,
    items: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.room.sending.fetch_sub(self.items, Ordering::Relaxed);
    }
}

/// A part of the room; given back when dropped.
#[derive(Debug)]
pub struct Held {
    room: Arc<Room>,
    items: usize,
    bytes: usize,
}

impl Held {
    /// Of nothing yet.
    pub fn of(room: Arc<Room>) -> Held {
        Held {
            room,
            items: 0,
            bytes: 0,
        }
    }

    /// One item more, of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.items += 1;
        self.bytes += bytes;
        self.room.items.fetch_add(1, Ordering::Relaxed);
        self.room.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.items.fetch_sub(self.items, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
