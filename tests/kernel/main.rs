//! The kernel programs against real programs, with real eBPF: they need root, and fail without it.

mod association;
mod bodies;
mod plain;
mod support;
mod tiers;
mod tls;
