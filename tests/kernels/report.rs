//! What a virtual machine says to the test: a line of JSON for each thing that it did, and a last one.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    /// The suite begins, on this kernel, with this `kernel.perf_event_paranoid`.
    Began { release: String, paranoid: String },
    /// One thing that was looked at.
    Done(Done),
    /// It is over, and the machine goes off.
    Over { seconds: f64 },
}

/// One thing that was looked at, and how it went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// `automatic`, what `--tier` was, or nothing where there was no agent that ran.
    pub tier: String,
    /// A stack, or what else it was.
    pub what: String,
    pub seconds: f64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub enum Outcome {
    /// As wanted; what is to be said of it.
    Right(String),
    /// The panic's message.
    Wrong(String),
}
