//! HTTP/1.0 and HTTP/1.1 (RFC 9112), read passively.
//!
//! Enters: pieces and gaps of both directions. Leaves: exchanges.
//! Layers: [`head`] parses start lines and fields, [`framing`] decides how long a body is, [`chunked`] undoes the chunked
//! coding, [`reader`] reads the messages of one direction, [`session`] joins both directions, [`turns`]
//! counts what nothing was seen of, [`switch`] is for what follows when a connection leaves HTTP.
//! Holds: what breaks the grammar is a marked message, and its direction is read on only from a clean start line at the
//! beginning of an operation; memory is bounded by the constants here and the limits of bodies.

mod chunked;
mod framing;
mod head;
mod reader;
mod session;
mod switch;
mod turns;

pub use super::{Ending, Sink};
pub use session::{Session, Upgrade};

/// Longest head, trailer section or line of the chunked coding, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// Most header fields of a message.
const FIELDS_MAX: usize = 256;
/// Most requests without a response on one connection.
const PIPELINE_MAX: usize = 1024;
