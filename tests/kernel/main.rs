//! The kernel programs against real programs, with real eBPF: they need root, and fail without it.

mod plain;
mod support;
mod tls;
