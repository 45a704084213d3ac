//! Payloads read back: what documents become for people and other programs.
//!
//! Enters: bytes of documents, entries of segments' indices, links as people copy them from a span.
//! Leaves: a [`Document`]; HAR, a curl line, text for a terminal, numbers by key; the key that a link has in a store.
//! Holds: pure. Whoever wrote a document is not trusted: lists are bounded, and what is shown has no control bytes.
//! How documents get into a store is `sink::payload`; who fetches them is `cli::payload`.

pub mod curl;
mod document;
mod escape;
pub mod har;
mod link;
mod place;
mod quote;
pub mod readable;
pub mod report;
mod select;

pub use document::{
    Body, Bytes, Connection, Document, DocumentError, Message, Metadata, WebSocketMessage,
};
pub use escape::{escaped, escaped_json, escaped_text};
pub use link::{Link, LinkError, digest_of};
pub use place::key_of;
pub use select::{Select, SelectError, Status, Summary};
