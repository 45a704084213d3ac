//! The clients' ends of connections that this agent sees: where a span of the client can be relied on.
//!
//! Enters: a client's end when its key is known, and its close. Leaves: whether the end of a key is there.
//! Holds: no more than one entry for each connection that is open, and of those that were closed a bounded number for a
//! bounded time: a server's events may come after the client's close.

use super::Key;
use crate::event::KernelTime;
use crate::transaction::ConnectionInfo;
use std::collections::{HashMap, VecDeque};

/// How long an end that was closed is remembered, in ns.
const LINGER: u64 = 10_000_000_000;
/// Ends that were closed and are remembered.
const CLOSED_MAX: usize = 16_384;

/// The client's end of a connection, in a process whose plaintext is seen.
#[derive(Debug, Clone)]
pub struct ClientEnd {
    pub key: Key,
    pub pid: u32,
    pub time: KernelTime,
    pub connection: ConnectionInfo,
}

/// All clients' ends.
#[derive(Default)]
pub struct ClientEnds {
    all: HashMap<Key, Entry>,
    /// With the time of the close, oldest first.
    closed: VecDeque<(KernelTime, Key)>,
}

struct Entry {
    end: ClientEnd,
    /// Whether its spans leave; None: not asked yet, or not certain then.
    wanted: Option<bool>,
}

impl ClientEnds {
    pub fn open(&mut self, end: ClientEnd) {
        let entry = Entry { end, wanted: None };
        self.all.insert(entry.end.key, entry);
    }

    pub fn close(&mut self, key: &Key, time: KernelTime) {
        if !self.all.contains_key(key) {
            return;
        }
        self.closed.push_back((time, *key));
        if self.closed.len() > CLOSED_MAX {
            self.forget_oldest();
        }
    }

    /// Whether the client's end of `key` is here and its spans leave. `judge`: says so of an end; None: not certain yet.
    pub fn covers(&mut self, key: &Key, judge: impl FnOnce(&ClientEnd) -> Option<bool>) -> bool {
        let Some(entry) = self.all.get_mut(key) else {
            return false;
        };
        if entry.wanted.is_none() {
            entry.wanted = judge(&entry.end);
        }
        entry.wanted == Some(true)
    }

    /// The client's end of `key`, wanted or not.
    pub fn client(&self, key: &Key) -> Option<&ClientEnd> {
        self.all.get(key).map(|entry| &entry.end)
    }

    /// What is wanted has changed.
    pub fn judge_anew(&mut self) {
        self.all.values_mut().for_each(|entry| entry.wanted = None);
    }

    /// Time passes.
    pub fn tick(&mut self, now: KernelTime) {
        while self
            .closed
            .front()
            .is_some_and(|(time, _)| now.since(*time) > LINGER)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.closed.pop_front() {
            self.all.remove(&key);
        }
    }

    /// Approximate memory, in bytes.
    pub fn memory(&self) -> u64 {
        let bytes = self.all.capacity() * size_of::<(Key, Entry)>()
            + self.closed.capacity() * size_of::<(KernelTime, Key)>();
        bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(client: u32) -> ClientEnd {
        ClientEnd {
            key: key(client),
            pid: 7,
            time: KernelTime(1),
            connection: ConnectionInfo::default(),
        }
    }

    fn key(client: u32) -> Key {
        Key::Tcp { client, server: 1 }
    }

    #[test]
    fn an_end_covers_while_it_is_open_and_a_while_after() {
        let mut ends = ClientEnds::default();
        ends.open(end(1));
        assert!(ends.covers(&key(1), |end| Some(end.pid == 7)));
        assert!(!ends.covers(&key(2), |_| Some(true)));
        ends.close(&key(1), KernelTime(100));
        ends.tick(KernelTime(100 + LINGER));
        assert!(ends.covers(&key(1), |_| None));
        ends.tick(KernelTime(101 + LINGER));
        assert!(ends.client(&key(1)).is_none());
    }

    #[test]
    fn a_judgement_holds_until_what_is_wanted_changes_and_none_is_asked_again() {
        let mut ends = ClientEnds::default();
        ends.open(end(1));
        assert!(!ends.covers(&key(1), |_| None));
        assert!(!ends.covers(&key(1), |_| Some(false)));
        assert!(!ends.covers(&key(1), |_| Some(true)));
        ends.judge_anew();
        assert!(ends.covers(&key(1), |_| Some(true)));
    }

    #[test]
    fn closed_ends_are_bounded_in_number() {
        let mut ends = ClientEnds::default();
        let more = u32::try_from(CLOSED_MAX).expect("few") + 10;
        for n in 0..more {
            ends.open(end(n));
            ends.close(&key(n), KernelTime(1));
        }
        assert_eq!(
            (ends.all.len(), ends.closed.len()),
            (CLOSED_MAX, CLOSED_MAX)
        );
        assert!(ends.client(&key(0)).is_none() && ends.client(&key(more - 1)).is_some());
    }
}
