//! How the allocator of the C library is used.
//!
//! Holds: what was needed once stays for the next burst, so that memory grows to what `limits.memory` allows and is then
//! the same; it is the same memory for all threads.

/// Up to this size memory comes from the heap, in bytes: the most that glibc takes. Larger blocks go back to the kernel
/// when they are freed.
#[cfg(target_env = "gnu")]
const FROM_HEAP: libc::c_int = 32 << 20;
/// So much must be free at the end of the heap before it is given back, in bytes: more than all queues hold together.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 1 << 30;

/// Sets it up. Call it before any other thread. Gives what the C library does not take, for the log, which has not begun
/// by then.
///
/// One arena for all threads: what is filled by the capture thread is freed by those of the sinks, and what lies free in
/// the arena of one is of no use to the others. The cache that each thread has by itself keeps them apart where it counts.
#[cfg(target_env = "gnu")]
pub(super) fn set_up() -> Vec<&'static str> {
    let options = [
        ("M_ARENA_MAX", libc::M_ARENA_MAX, 1),
        ("M_MMAP_THRESHOLD", libc::M_MMAP_THRESHOLD, FROM_HEAP),
        ("M_TRIM_THRESHOLD", libc::M_TRIM_THRESHOLD, KEPT),
    ];
    // SAFETY: no memory is passed, and there is no other thread that allocates.
    let is_refused = |option, value| unsafe { libc::mallopt(option, value) } == 0;
    let refused = options.into_iter().filter(|(_, o, v)| is_refused(*o, *v));
    refused.map(|(name, ..)| name).collect()
}

/// Other C libraries have nothing to set.
#[cfg(not(target_env = "gnu"))]
pub(super) fn set_up() -> Vec<&'static str> {
    Vec::new()
}
