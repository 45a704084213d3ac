//! HTTP/2 for an observer (RFC 9113): frames, header blocks, streams.
//!
//! Layered as bytes → [`frame`] → [`hpack`] → streams; no layer knows the one above.

pub mod hpack;
