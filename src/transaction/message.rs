//! One message as far as it was read: what a protocol hands to pairing.

use super::grpc::Kind;
use super::{Body, BodyLimits, Headers, Protocol, Request, Response};
use crate::event::KernelTime;
use crate::proto::grpc::Messages;

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

impl Content {
    pub fn headers(&self) -> &Headers {
        match self {
            Content::Request(r) => &r.headers,
            Content::Response(r) => &r.headers,
        }
    }
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
    /// A section of header fields was larger than is read.
    pub headers_cut: bool,
    /// Its direction ended before it did.
    pub cut: bool,
    /// The agent stopped before it ended.
    pub unfinished: bool,
    /// The connection was reset before it ended.
    pub reset: bool,
    /// Counts the messages of gRPC in its content, where it has any, or may have.
    pub grpc: Option<Box<Messages>>,
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
            headers_cut: false,
            cut: false,
            unfinished: false,
            reset: false,
            grpc: None,
        }
    }

    /// Sets what the head says, and looks whether messages of gRPC will follow.
    pub fn set_head(&mut self, content: Content) {
        let headers = content.headers();
        let kind = headers.get(b"content-type").and_then(Kind::of);
        // Messages inside a content coding can't be seen.
        let is_coded = |v: &[u8]| !v.is_empty() && !v.eq_ignore_ascii_case(b"identity");
        let kind = kind.filter(|_| !headers.get_all(b"content-encoding").any(is_coded));
        self.grpc = kind.map(|kind| Box::new(Messages::new(kind)));
        self.content = Some(content);
    }

    /// Some header fields are not known: where the content type is among them, messages of gRPC may follow.
    pub fn suspect_grpc(&mut self) {
        let headers = self.content.as_ref().map(Content::headers);
        if headers.is_some_and(|headers| headers.get(b"content-type").is_none()) {
            self.grpc = Some(Box::new(Messages::new(Kind::Grpc)));
        }
    }

    /// Takes content.
    pub fn push_content(&mut self, bytes: &[u8], limits: BodyLimits) {
        if let Some(body) = self.body_mut() {
            body.push(bytes, limits);
        }
        if let Some(grpc) = &mut self.grpc {
            grpc.feed(bytes);
        }
    }

    /// `len` bytes of content were left out on purpose. Messages of gRPC whose prefix is among them go uncounted, and
    /// that is said.
    pub fn skip_content(&mut self, len: u64, limits: BodyLimits) {
        if let Some(body) = self.body_mut() {
            body.push_skipped(len, limits);
        }
        if let Some(grpc) = &mut self.grpc {
            grpc.gap(len);
        }
    }

    /// `len` bytes of content are missing.
    pub fn miss_content(&mut self, len: u64) {
        self.gap = true;
        if let Some(body) = self.body_mut() {
            body.push_missing(len);
        }
        if let Some(grpc) = &mut self.grpc {
            grpc.gap(len);
        }
    }

    /// An unknown part of it is missing here.
    pub fn lose(&mut self) {
        self.gap = true;
        if let Some(grpc) = &mut self.grpc {
            grpc.lose();
        }
    }

    /// The same without any byte of its content.
    pub fn without_content(&self) -> Message {
        let content = self.content.as_ref().map(|content| match content {
            Content::Request(r) => Content::Request(r.without_content()),
            Content::Response(r) => Content::Response(r.without_content()),
        });
        Message {
            content,
            grpc: self.grpc.clone(),
            ..*self
        }
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

    /// The trailer fields; None where there is no head.
    pub fn trailers_mut(&mut self) -> Option<&mut Headers> {
        match self.content.as_mut()? {
            Content::Request(r) => Some(&mut r.trailers),
            Content::Response(r) => Some(&mut r.trailers),
        }
    }

    /// Sets the trailer fields.
    pub fn set_trailers(&mut self, trailers: Headers) {
        if let Some(place) = self.trailers_mut() {
            *place = trailers;
        }
    }

    /// What is known of a request; None where it is none.
    pub fn request(&self) -> Option<&Request> {
        match self.content.as_ref()? {
            Content::Request(request) => Some(request),
            Content::Response(_) => None,
        }
    }

    /// What is known of a response; None where it is none.
    pub fn response(&self) -> Option<&Response> {
        match self.content.as_ref()? {
            Content::Response(response) => Some(response),
            Content::Request(_) => None,
        }
    }

    /// Status code of a response.
    pub fn status(&self) -> Option<u16> {
        self.response().map(|r| r.status)
    }

    /// A response that another one follows (RFC 9110 §15.2); 101 is the last of HTTP.
    pub fn is_interim(&self) -> bool {
        matches!(self.status(), Some(100 | 102..=199))
    }

    /// Approximate memory beyond the structure itself, in bytes.
    pub fn memory(&self) -> usize {
        let grpc = self.grpc.as_ref().map_or(0, |g| g.memory());
        let content = match &self.content {
            Some(Content::Request(request)) => request.memory(),
            Some(Content::Response(response)) => response.memory(),
            None => 0,
        };
        grpc + content
    }
}
