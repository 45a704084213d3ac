//! The transaction: one HTTP request with its response, or the mark of what is missing.
//!
//! Enters: messages that a protocol read from a connection.
//! Leaves: a [`Transaction`], raw.
//! Holds: nothing here does I/O or reads a clock; everything a sink may say about a transaction is a field here.

mod body;
pub mod content;
mod context;
mod exchange;
pub mod grpc;
mod headers;
mod message;
mod model;
pub mod pairing;
mod progress;
pub mod websocket;

pub use body::{Body, BodyLimits};
pub use context::{TRACESTATE_MEMBERS, TraceContext, TraceContextSource};
pub use exchange::{Asked, Exchange, INTERIM_MAX};
pub use headers::Headers;
pub use message::{Content, Message, Stamp};
pub use model::{
    ConnectionInfo, Mark, Marks, Protocol, Request, Response, Timing, TlsInfo, Transaction,
};
pub use progress::{Lasting, Progress, Schedule};
