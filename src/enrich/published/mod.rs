//! What the SDK in a process publishes of itself: the process context, a mapping named `OTEL_CTX` (OTEP 4719).
//!
//! Enters: process ids. Leaves: shared [`Published`] attributes of the SDK's own resource.
//! Holds: another process's memory is read by a thread of its own, bounded in bytes and tries, and nobody waits for it
//! longer than a moment; what is not of the published form gives nothing, and the log says so at level debug. A process
//! cannot hold the thread up for good: one that does is not read again, and another thread goes on.

mod memory;
mod message;
mod reader;

pub use message::Refused;
pub use reader::{Answer, Ask, Asked, Found, Reader};

use super::process::ResourceValue;

/// What a process has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Of the SDK's resource, in the SDK's order.
    pub attributes: Vec<(String, ResourceValue)>,
    /// Address of the header in the process.
    pub address: u64,
    /// When it was published, by the process's own word: another number means that it has changed.
    pub published_at: u64,
}
