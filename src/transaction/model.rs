//! The transaction and its parts.

use super::grpc::Grpc;
use super::websocket::WebSocket;
use super::{Body, Headers, Lasting, TraceContext};
use crate::event::{ConnId, KernelTime, Role, TlsId};
use std::net::SocketAddr;

/// HTTP version of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
}

impl Protocol {
    /// `network.protocol.version` of the semantic conventions.
    pub fn version(self) -> &'static str {
        match self {
            Protocol::Http10 => "1.0",
            Protocol::Http11 => "1.1",
            Protocol::Http2 => "2",
        }
    }
}

/// Something that is known to be missing or wrong in a transaction. Never an error of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mark {
    /// Bytes of the request were lost, or could not be seen.
    RequestGap = 0,
    /// Bytes of the response were lost, or could not be seen.
    ResponseGap = 1,
    /// No request was seen for this response. In HTTP/1 the end of its content is a guess then: the answer to HEAD or to
    /// CONNECT has none.
    RequestMissing = 2,
    /// The connection ended before the request was whole.
    RequestCut = 3,
    /// The connection ended before a response began.
    ResponseMissing = 4,
    /// The connection ended before the response was whole.
    ResponseCut = 5,
    /// The request breaks RFC 9112 or 9113 in a way that leaves its meaning or end in doubt.
    RequestMalformed = 6,
    /// The response breaks RFC 9112 or 9113 in a way that leaves its meaning or end in doubt.
    ResponseMalformed = 7,
    /// The agent stopped, or gave the connection up, before the transaction ended.
    Unfinished = 8,
    /// The connection was reset (ECONNRESET, EPIPE).
    Reset = 9,
    /// Header fields refer to what was sent before the agent saw the connection, or in what it lost: they are left out.
    HeadersUnknown = 10,
    /// The stream was broken off on an HTTP/2 connection that went on (RST_STREAM, or a GOAWAY that refuses it).
    StreamReset = 11,
    /// A header or trailer section was larger than is read: fields are left out.
    HeadersCut = 12,
}

impl Mark {
    /// The name that spans, log records and payloads carry.
    pub fn name(self) -> &'static str {
        match self {
            Mark::RequestGap => "request_gap",
            Mark::ResponseGap => "response_gap",
            Mark::RequestMissing => "request_missing",
            Mark::RequestCut => "request_cut",
            Mark::ResponseMissing => "response_missing",
            Mark::ResponseCut => "response_cut",
            Mark::RequestMalformed => "request_malformed",
            Mark::ResponseMalformed => "response_malformed",
            Mark::Unfinished => "unfinished",
            Mark::Reset => "reset",
            Mark::HeadersUnknown => "headers_unknown",
            Mark::StreamReset => "stream_reset",
            Mark::HeadersCut => "headers_cut",
        }
    }

    /// All marks, in the order of their numbers.
    pub const ALL: [Mark; 13] = [
        Mark::RequestGap,
        Mark::ResponseGap,
        Mark::RequestMissing,
        Mark::RequestCut,
        Mark::ResponseMissing,
        Mark::ResponseCut,
        Mark::RequestMalformed,
        Mark::ResponseMalformed,
        Mark::Unfinished,
        Mark::Reset,
        Mark::HeadersUnknown,
        Mark::StreamReset,
        Mark::HeadersCut,
    ];
}

/// A set of [`Mark`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Marks(u16);

impl Marks {
    pub fn set(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u8;
    }

    pub fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |m| self.has(*m))
    }
}

impl std::fmt::Debug for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(Mark::name)).finish()
    }
}

/// What the first TLS records of a connection said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsInfo {
    /// Negotiated version as it stands in the conventions: `1.2`, `1.3`.
    pub version: Option<&'static str>,
    /// Server name that the client asked for.
    pub sni: Option<String>,
    /// Protocols that the client offered (ALPN).
    pub alpn_offered: Vec<String>,
}

/// The connection that a transaction was seen on, as this process has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// None: the TLS session was never bound to a socket.
    pub conn: Option<ConnId>,
    pub tls: Option<TlsId>,
    /// None: peer unknown.
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    /// Inode number of the network namespace; 0 where unknown.
    pub netns: u32,
    /// Present where the bytes came out of TLS.
    pub tls_info: Option<TlsInfo>,
    /// What tells this connection from all others, at both ends; None where that is not certain. It never leaves:
    /// redaction removes it.
    pub join: Option<crate::join::Known>,
}

/// A request as it was on the wire.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Method token, any (RFC 9110 §9.1); empty where it is not known.
    pub method: Vec<u8>,
    /// Request target as sent: origin, absolute, authority or asterisk form (RFC 9112 §3.2); `:path`, or
    /// `:authority` of CONNECT (RFC 9113 §8.3.1). Empty where it is not known.
    pub target: Vec<u8>,
    /// In HTTP/2 without pseudo-header fields, but with `:authority` as `host` and `:protocol` as it is.
    pub headers: Headers,
    pub trailers: Headers,
    pub body: Body,
    /// Bytes on the wire: start line, headers, framing, content, trailers. HTTP/2: the stream's frames that carry these.
    pub wire_size: u64,
    /// Offset of the first byte in the plaintext from client to server, where counted from its beginning; HTTP/1 only.
    /// Of a plain connection that is older than the agent it is right if the client is who connected.
    pub offset: Option<u64>,
    /// Stream identifier (RFC 9113 §5.1.1); HTTP/2 only.
    pub h2_stream: Option<u32>,
}

impl Request {
    /// Bytes of memory that this holds beyond itself.
    pub fn memory(&self) -> usize {
        self.method.capacity()
            + self.target.capacity()
            + self.headers.memory()
            + self.trailers.memory()
            + self.body.memory()
    }

    /// The same without any byte of its content.
    pub fn without_content(&self) -> Request {
        Request {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            trailers: self.trailers.clone(),
            body: self.body.counts(),
            wire_size: self.wire_size,
            offset: self.offset,
            h2_stream: self.h2_stream,
        }
    }
}

/// A response as it was on the wire.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Status code, 100 to 999; 0 where it is not known.
    pub status: u16,
    pub reason: Vec<u8>,
    pub headers: Headers,
    pub trailers: Headers,
    pub body: Body,
    pub wire_size: u64,
    /// Status codes of the interim (1xx) responses before this one.
    pub interim: Vec<u16>,
}

impl Response {
    /// Bytes of memory that this holds beyond itself.
    pub fn memory(&self) -> usize {
        self.reason.capacity()
            + self.headers.memory()
            + self.trailers.memory()
            + self.body.memory()
            + self.interim.capacity() * size_of::<u16>()
    }

    /// The same without any byte of its content.
    pub fn without_content(&self) -> Response {
        Response {
            status: self.status,
            reason: self.reason.clone(),
            headers: self.headers.clone(),
            trailers: self.trailers.clone(),
            body: self.body.counts(),
            wire_size: self.wire_size,
            interim: self.interim.clone(),
        }
    }
}

/// Kernel times of a transaction. Over TLS a write counts at the call's entry and a read at its return,
/// so that the server's times lie inside the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// First byte of the request (of the response, where the request was not seen).
    pub start: KernelTime,
    /// Last byte of the request.
    pub request_end: KernelTime,
    /// First byte of the final response.
    pub response_start: Option<KernelTime>,
    /// Last byte of the response; where there is none, the moment it was clear that none comes.
    pub end: KernelTime,
}

/// One HTTP request with its response, or the mark of what is missing.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    /// `Client`: this process sent the request.
    pub role: Role,
    pub protocol: Protocol,
    /// Process and thread that sent or received the first byte.
    pub pid: u32,
    pub tid: u32,
    pub connection: ConnectionInfo,
    /// Number of the transaction on its connection, from 0.
    pub ordinal: u64,
    pub request: Option<Request>,
    pub response: Option<Response>,
    pub timing: Timing,
    pub marks: Marks,
    /// Trace context found in the request's headers.
    pub context: Option<TraceContext>,
    /// What followed a switch to WebSocket; the transaction ends with it.
    pub websocket: Option<WebSocket>,
    /// It is a call of gRPC, gRPC-Web or Connect.
    pub grpc: Option<Grpc>,
    /// It reported progress before it ended.
    pub lasting: Option<Lasting>,
}

impl Transaction {
    /// `package.Service/Method` of a call; None where it is no call, or its target not known.
    pub fn rpc_method(&self) -> Option<&[u8]> {
        self.grpc.as_ref()?;
        crate::proto::grpc::method(&self.request.as_ref()?.target)
    }

    /// No bytes are missing and nothing is in doubt.
    pub fn complete(&self) -> bool {
        self.marks.is_empty()
    }

    /// Approximate memory that this holds, in bytes.
    pub fn memory(&self) -> usize {
        let request = self.request.as_ref().map_or(0, Request::memory);
        let response = self.response.as_ref().map_or(0, Response::memory);
        let websocket = self.websocket.as_ref().map_or(0, WebSocket::memory);
        size_of::<Self>() + request + response + websocket
    }
}
