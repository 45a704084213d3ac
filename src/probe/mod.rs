//! Probes: finding TLS libraries, loading and attaching the kernel programs, reading their rings.
//!
//! Enters: processes and their mappings, ELF files, what the kernel offers.
//! Leaves: attached probes; the records of two rings, undecoded; the kernel's own counters.
//! Holds: a probe that is attached is detached when its handle is dropped, and by the kernel when the agent dies;
//! nothing is pinned. The kernel programs never wait for user space: what finds no room is counted.

pub mod attach;
pub mod kernel;
pub mod ring;
pub mod target;
