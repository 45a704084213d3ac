//! Kernel time to wall-clock time.

use crate::event::KernelTime;
use chrono::{DateTime, SecondsFormat, Utc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The offset between `CLOCK_MONOTONIC` and `CLOCK_REALTIME`, as sampled last.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Unix time of kernel time 0, in nanoseconds.
    zero_unix_ns: i128,
}

impl Clock {
    /// A clock for which kernel time `kernel` is the moment `wall`.
    pub fn new(kernel: KernelTime, wall: SystemTime) -> Self {
        let unix = match wall.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        Clock {
            zero_unix_ns: unix - i128::from(kernel.0),
        }
    }

    /// Wall-clock time of a kernel time. Before 1970 it is 1970.
    pub fn wall(&self, time: KernelTime) -> SystemTime {
        let ns = self.zero_unix_ns + i128::from(time.0);
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }
}

/// A time in UTC with nanoseconds: `2026-01-01T00:00:00.000000000Z` (RFC 3339).
pub fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A time in UTC with milliseconds, cut: `2026-01-01T00:00:00.000Z` (RFC 3339).
pub fn rfc3339_millis(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}
