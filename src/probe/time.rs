//! The kernel's clocks.

use crate::enrich::Clock;
use crate::event::KernelTime;
use std::time::SystemTime;

/// Kernel time of this moment (`CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` gives it).
pub fn now() -> KernelTime {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    KernelTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Samples the offset between kernel time and wall-clock time.
pub fn clock() -> Clock {
    // The wall clock is read between two readings of the kernel's, so that the error is half of what lies between.
    let before = now();
    let wall = SystemTime::now();
    let after = now();
    Clock::new(KernelTime((before.0 + after.0) / 2), wall)
}
