//! Probes: finding TLS libraries, loading and attaching the kernel programs, reading their rings.
//!
//! Enters: processes and their mappings, ELF files, what the kernel offers.
//! Leaves: attached probes; the records of two rings, undecoded; the kernel's own counters; a verdict for each library.
//! Holds: a probe stands only where linear decoding from a function's entry leads, once an inode. A probe that is
//! attached is detached when its handle is dropped, and by the kernel when the agent dies; nothing is pinned. The kernel
//! programs never wait for user space: what finds no room is counted.

pub mod attach;
pub mod count;
pub mod elf;
pub mod finder;
pub mod gauges;
pub mod host;
pub mod java;
pub mod kernel;
pub mod ring;
pub mod target;
pub mod tier;
pub mod time;
