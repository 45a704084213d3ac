//! One message as far as it was read: what a protocol hands to pairing.

use super::{Body, Headers, Protocol, Request, Response};
use crate::event::KernelTime;

/// The operation that moved a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// A write counts at the call's entry, a read at its return.
    pub time: KernelTime,
    pub pid: u32,
    pub tid: u32,
    /// Changes of direction on the stream before it.
    pub turn: u32,
}

/// A request or a response.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Request(Request),
    Response(Response),
}

/// A message, whole or as far as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// None: bytes were there, and not even a start line could be read from them.
    pub content: Option<Content>,
    pub protocol: Protocol,
    /// Its first byte.
    pub first: Stamp,
    /// The operation of its last byte seen.
    pub last: Stamp,
    /// Bytes of it were lost or could not be seen.
    pub gap: bool,
    /// It breaks RFC 9112 in a way that leaves its meaning or end in doubt.
    pub malformed: bool,
    /// Its direction ended before it did.
    pub cut: bool,
    /// The agent stopped before it ended.
    pub unfinished: bool,
    /// The connection was reset before it ended.
    pub reset: bool,
}

impl Message {
    /// A message of which nothing is known yet but its first byte.
    pub fn begin(first: Stamp) -> Self {
        Message {
            content: None,
            protocol: Protocol::Http11,
            first,
            last: first,
            gap: false,
            malformed: false,
            cut: false,
            unfinished: false,
            reset: false,
        }
    }

    /// The same without any byte of its content.
    pub fn without_content(&self) -> Message {
        let content = self.content.as_ref().map(|content| match content {
            Content::Request(r) => Content::Request(r.without_content()),
            Content::Response(r) => Content::Response(r.without_content()),
        });
        Message { content, ..*self }
    }

    /// The body; None where there is no head.
    pub fn body_mut(&mut self) -> Option<&mut Body> {
        match self.content.as_mut()? {
            Content::Request(r) => Some(&mut r.body),
            Content::Response(r) => Some(&mut r.body),
        }
    }

    /// Counts `bytes` more on the wire.
    pub fn add_wire(&mut self, bytes: u64) {
        match self.content.as_mut() {
            Some(Content::Request(r)) => r.wire_size += bytes,
            Some(Content::Response(r)) => r.wire_size += bytes,
            None => {}
        }
    }

    /// Sets the trailer fields.
    pub fn set_trailers(&mut self, trailers: Headers) {
        match self.content.as_mut() {
            Some(Content::Request(r)) => r.trailers = trailers,
            Some(Content::Response(r)) => r.trailers = trailers,
            None => {}
        }
    }

    /// Status code of a response.
    pub fn status(&self) -> Option<u16> {
        match self.content.as_ref()? {
            Content::Response(r) => Some(r.status),
            Content::Request(_) => None,
        }
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        match &self.content {
            Some(Content::Request(r)) => {
                r.method.capacity()
                    + r.target.capacity()
                    + r.headers.memory()
                    + r.trailers.memory()
                    + r.body.memory()
            }
            Some(Content::Response(r)) => {
                r.reason.capacity() + r.headers.memory() + r.trailers.memory() + r.body.memory()
            }
            None => 0,
        }
    }
}
