//! Probes: finding TLS libraries, loading and attaching the kernel programs, reading their rings.
