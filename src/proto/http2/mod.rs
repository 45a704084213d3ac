//! HTTP/2 for an observer (RFC 9113): frames, header blocks, streams.
//!
//! Enters: pieces and gaps of both directions. Leaves: exchanges.
//! Layers: [`frame`] is a frame's header, [`reader`] finds the frames of one direction, [`block`] joins header blocks and
//! decodes them with [`hpack`], [`head`] makes messages of their fields, [`stream`] is one request with its response,
//! [`streams`] all that have not ended, [`session`] joins both directions. No layer knows the one above.
//! Holds: streams pair by their number, so the order of the directions against each other does not matter; what was
//! lost marks the streams that it may have touched, and no others; memory is bounded by the constants here and the
//! limits of bodies.

mod block;
mod frame;
mod head;
pub mod hpack;
mod reader;
mod session;
mod stream;
mod streams;

pub use session::Session;

/// Streams that are followed at once; one more gives up the oldest.
const STREAMS_MAX: usize = 1024;
/// Longest payload of a frame that is kept to be read, other than header blocks, in bytes.
const FRAME_MAX: usize = 16 << 10;
/// Longest header block, in bytes as sent.
const BLOCK_MAX: usize = 80 << 10;
/// Streams that were given up or broken off, whose last frames may still come: so many are remembered.
const GIVEN_UP_KEPT: usize = 256;
/// Memory that streams gain at the most before the caller can see to its own bound, in bytes: a few bytes of an indexed
/// field stand for a long header, so one event may hold many times its size. More gives up the oldest streams.
const GAIN_MAX: usize = 8 << 20;
/// How long a stream that may have ended in lost bytes is kept without news, in nanoseconds of event time.
const LOST_NS: u64 = 10_000_000_000;
