//! Plainspan sees HTTPS traffic in the clear through eBPF and turns each HTTP transaction into OpenTelemetry
//! signals and a stored payload.
//!
//! The modules stand in the order that bytes take (`docs/architecture.md`):
//! [`probe`] → [`event`] → [`conn`] → [`proto`] → [`transaction`] → [`enrich`] → [`rules`] → [`routes`] → [`sampling`] → [`redact`] → [`sink`].
//! [`payload`] reads back what a sink stored.
//! `agent` puts them together; `capture` is the thread that reads the rings, `pipeline` the line that it drives.

pub mod agent;
pub mod capture;
pub mod cli;
pub mod config;
pub mod conn;
mod endpoint;
pub mod enrich;
pub mod event;
pub mod guard;
pub mod join;
pub mod metrics;
pub mod payload;
pub mod pipeline;
pub mod probe;
pub mod proto;
pub mod redact;
pub mod routes;
pub mod rules;
pub mod sampling;
pub mod sink;
pub mod spool;
pub mod telemetry;
pub mod trace;
pub mod transaction;
