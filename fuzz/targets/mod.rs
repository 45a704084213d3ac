//! What the fuzz targets run: bodies that libFuzzer calls through `fuzz/fuzz_targets`, and `tests/fuzz_replay.rs` with
//! the checked-in corpus.
//!
//! Enters: any bytes, read as choices and as traffic. Leaves: nothing; a broken promise of a parser is a panic.
//! Holds: the same bytes do the same each time; no I/O, no clock.

#![allow(dead_code, reason = "each target is a program of its own")]

pub mod content;
pub mod context;
pub mod events;
pub mod grpc;
pub mod hpack;
pub mod http1;
pub mod http2;
mod input;
pub mod redact;
pub mod replay;
pub mod rules;
pub mod session;
pub mod websocket;

/// A name, and what runs an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 11] = [
    ("content", content::run),
    ("context", context::run),
    ("events", events::run),
    ("grpc", grpc::run),
    ("hpack", hpack::run),
    ("http1", http1::run),
    ("http2", http2::run),
    ("redact", redact::run),
    ("replay", replay::run),
    ("rules", rules::run),
    ("websocket", websocket::run),
];
