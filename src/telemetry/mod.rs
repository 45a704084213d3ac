//! What the agent says about itself: the ledger, the status endpoint, its own spans, metrics and logs.
//!
//! Enters: counts from every stage, where they happen. Leaves: `/status`, `/metrics`, OTLP, the last log line.
//! Holds: the books balance at every moment: `seen = exported + in_flight + left_out + lost`.

pub mod ledger;
pub mod numbers;
pub mod own;
pub mod prometheus;
pub mod queues;
pub mod samples;
pub mod state;
pub mod status;
mod ticket;

pub use ledger::Ledger;
