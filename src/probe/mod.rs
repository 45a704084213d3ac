//! Probes: finding TLS libraries, loading and attaching the kernel programs, reading their rings.
//!
//! Enters: processes and mappings of the host, ELF files. Leaves: attached probes, a verdict for each library.
//! Holds: a probe stands only where linear decoding from a function's entry leads, once an inode.

pub mod elf;
pub mod finder;
pub mod target;
