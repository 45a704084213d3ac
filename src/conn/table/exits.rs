//! What the end of a process means for its streams.
//!
//! Enters: ends of processes, time. Leaves: streams that end.
//! Holds: a stream of a TLS session ends with its process, for nothing else may come of it. One of a socket waits for the
//! socket's own end, which comes right after the process's and says how far both directions came; another process may
//! have the socket too, and goes on with it. Where that end does not come, the stream ends after [`LOST`] all the same.

use super::{Ending, KernelTime, Key, Output, Table};

/// How long after the end of its process a socket that did nothing since may still end by itself: the kernel closes it at
/// once, but for what the peer has to acknowledge.
const LOST: u64 = 2_000_000_000;

/// A stream that waits for its socket's end since its process's.
pub(super) struct Orphan {
    key: Key,
    since: KernelTime,
}

impl Table {
    /// Ends the streams of TLS sessions of a process.
    pub(super) fn end_sessions(&mut self, pid: u32, time: KernelTime, out: &mut impl Output) {
        for key in self.streams(pid) {
            if key.tls().is_some() {
                self.end(key, Ending::Closed, time, out);
            }
        }
    }

    /// A process has ended.
    pub(super) fn exit(&mut self, pid: u32, time: KernelTime, out: &mut impl Output) {
        for key in self.streams(pid) {
            match key {
                Key::Socket(conn) if self.sockets.contains_key(&conn) => {
                    self.orphans.push(Orphan { key, since: time });
                }
                // Nothing tells of its end any more.
                Key::Socket(_) | Key::Tls(_) => self.end(key, Ending::Closed, time, out),
            }
        }
    }

    /// Time passes: ends what waited in vain.
    pub(super) fn end_orphans(&mut self, now: KernelTime, out: &mut impl Output) {
        let (due, waiting) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition(|orphan| now.0.saturating_sub(orphan.since.0) >= LOST);
        self.orphans = waiting;
        let due: Vec<Orphan> = due;
        for Orphan { key, since } in due {
            // Who did something since is another process.
            let is_idle = |pair: &super::Pair| pair.active <= since;
            if self.pairs.get(&key).is_some_and(is_idle) {
                self.end(key, Ending::Closed, since, out);
            }
        }
    }

    fn streams(&self, pid: u32) -> Vec<Key> {
        if !self.by_pid.contains_key(&pid) {
            return Vec::new();
        }
        self.keys(|_, pair| pair.pid == pid)
    }
}
