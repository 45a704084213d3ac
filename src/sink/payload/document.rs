//! The payload document: one transaction as JSON.
//!
//! Keys, values and their order depend on the capture alone. QTap's keys come first, with the meaning they have there;
//! ours follow. `headers` has one value a name, as QTap has it: the first, under its canonical name, with the
//! pseudo-headers of HTTP/2 for every version, sorted. The full truth is `header_list`: pairs in wire order, names as
//! sent. A value there that is not UTF-8 is `{"base64": "…"}`; in `headers` its odd bytes are U+FFFD.
//!
//! Where redaction changed a body, `body_redacted` says so, and `body_dropped` why some or all of it was left out.
//!
//! Level `summary` has neither headers nor bodies, `headers` no bodies; sizes are always there.

use super::target::Target;
use super::{grpc, websocket};
use crate::enrich::rfc3339;
use crate::enrich::{Process, ResourceValue};
use crate::event::Role;
use crate::redact::{Capture, Content};
use crate::rules::Level;
use crate::sink::json::Json;
use crate::transaction::{Body, Headers, Protocol, Request, Response, TlsInfo, Transaction};

/// Version of the document's shape. Grows when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// Which message of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    Request,
    Response,
}

impl Message {
    /// Its key in the document.
    pub fn name(self) -> &'static str {
        match self {
            Message::Request => "request",
            Message::Response => "response",
        }
    }
}

/// Where a body stands that is written already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyRef {
    /// First and last byte, in the same object, of what holds the document that it stands in.
    pub first: u64,
    pub last: u64,
    pub message: Message,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
}

/// Knows which bodies are written already.
pub trait Bodies {
    /// Where an equal body stands; None: it is to be written here.
    fn find(&mut self, message: Message, body: &[u8]) -> Option<BodyRef>;
}

/// Every body is written.
struct All;

impl Bodies for All {
    fn find(&mut self, _: Message, _: &[u8]) -> Option<BodyRef> {
        None
    }
}

/// Encodes `capture` at its level, with its bodies in it.
pub fn encode(capture: &Capture) -> Vec<u8> {
    encode_into(Vec::new(), capture, &mut All)
}

/// Encodes `capture` at its level, in the place of what was in `room`. For a body that `bodies` knows, `body_ref` says
/// where it stands in the place of `body`.
pub fn encode_into(mut room: Vec<u8>, capture: &Capture, bodies: &mut dyn Bodies) -> Vec<u8> {
    let target = Target::of(capture);
    let wanted = size_hint(capture);
    if room.capacity() < wanted {
        room = Vec::with_capacity(wanted);
    }
    let mut json = Json::into(room);
    json.object(|j| {
        j.key("metadata");
        metadata(j, capture, target.as_ref());
        j.key("request");
        match (&capture.transaction.request, &target) {
            (Some(r), Some(target)) => request(j, capture, (r, target), bodies),
            _ => j.null(),
        }
        j.key("response");
        match &capture.transaction.response {
            Some(r) => response(j, capture, r, bodies),
            None => j.null(),
        }
        times(j, capture);
        j.key("direction").string(direction(capture));
        ours(j, capture);
        connection(j, capture);
        if let Some(w) = &capture.transaction.websocket {
            websocket::write(j.key("websocket"), capture, w);
        }
        if let Some(call) = &capture.transaction.grpc {
            grpc::write(j.key("grpc"), capture, call, Level::Full);
        }
    });
    json.finish()
}

/// Bytes that a document of `capture` has, roughly and rather more than less.
pub(super) fn size_hint(capture: &Capture) -> usize {
    let t = &capture.transaction;
    let request = t.request.as_ref().map_or(0, |r| {
        4 * r.target.len()
            + 3 * (r.headers.memory() + r.trailers.memory())
            + body_hint(capture, &r.headers, &r.body)
    });
    let response = t.response.as_ref().map_or(0, |r| {
        3 * (r.headers.memory() + r.trailers.memory()) + body_hint(capture, &r.headers, &r.body)
    });
    let websocket = t.websocket.as_ref().map_or(0, |w| 1024 + 2 * w.memory());
    let call = t.grpc.as_ref().map_or(0, |_| 1024 + request + response);
    2048 + request + response + websocket + call
}

/// `service.name` of the process; empty where it has none.
pub fn service_name(capture: &Capture) -> &str {
    resource(&capture.process, "service.name")
}

/// The first bytes of every document.
pub(super) const BEGIN: &[u8] = br#"{"metadata":"#;

/// How often longer coded content is taken to be when decoded.
const EXPANSION: usize = 5;

fn body_hint(capture: &Capture, headers: &Headers, body: &Body) -> usize {
    let base64 = |len: usize| len.div_ceil(3) * 4;
    let sent = body.bytes().len();
    if sent == 0 || headers.get(b"content-encoding").is_none() {
        return base64(sent);
    }
    let limit = capture.bodies.max_bytes.max(sent);
    let as_sent = if capture.bodies.as_sent { sent } else { 0 };
    base64(sent.saturating_mul(EXPANSION).min(limit)) + base64(as_sent)
}

fn metadata(j: &mut Json, capture: &Capture, target: Option<&Target<'_>>) {
    let t = &capture.transaction;
    let process = &*capture.process;
    let (sent, received) = wire_bytes(t);
    j.object(|j| {
        j.key("process_id").plain(format_args!("{}", t.pid));
        j.key("process_exe")
            .string(process.exe.as_deref().unwrap_or(&process.name));
        j.key("container_name")
            .string(resource(process, "container.name"));
        j.key("container_image").string(image(process));
        j.key("pod_name").string(resource(process, "k8s.pod.name"));
        j.key("pod_namespace")
            .string(resource(process, "k8s.namespace.name"));
        j.key("bytes_sent").number(sent);
        j.key("bytes_received").number(received);
        j.key("request_id").string(&capture.id);
        connection_id(j.key("connection_id"), capture);
        j.key("endpoint_id").string(target.map_or("", Target::host));
        j.key("container_id")
            .string(process.container_id.as_deref().unwrap_or_default());
        j.key("service_name")
            .string(resource(process, "service.name"));
        j.key("thread_id").number(t.tid);
    });
}

/// Bytes on the wire that the process sent, and those that it received.
pub(in crate::sink) fn wire_bytes(transaction: &Transaction) -> (u64, u64) {
    let to_server = transaction.request.as_ref().map_or(0, |r| r.wire_size);
    let to_client = transaction.response.as_ref().map_or(0, |r| r.wire_size);
    match transaction.role {
        Role::Client => (to_server, to_client),
        Role::Server => (to_client, to_server),
    }
}

/// The container's image as it was asked for, with tag or digest; empty where that is not known.
pub(in crate::sink) fn image(process: &Process) -> &str {
    let container = process.identity.container.as_ref();
    container
        .and_then(|container| container.image.as_deref())
        .unwrap_or_default()
}

/// Value of a resource attribute; empty where it has none.
pub(in crate::sink) fn resource<'a>(process: &'a Process, key: &str) -> &'a str {
    let found = process.resource.iter().find(|(k, _)| k == key);
    match found {
        Some((_, ResourceValue::Str(value))) => value,
        _ => "",
    }
}

/// `c` and the connection's number; `t` and the TLS session's where the socket is not known.
fn connection_id(j: &mut Json, capture: &Capture) {
    let connection = &capture.transaction.connection;
    match (connection.conn, connection.tls) {
        (Some(conn), _) => j.plain(format_args!("c{}", conn.0)),
        (None, Some(tls)) => j.plain(format_args!("t{}", tls.0)),
        (None, None) => j.string(""),
    }
}

fn request(
    j: &mut Json,
    capture: &Capture,
    (request, target): (&Request, &Target<'_>),
    bodies: &mut dyn Bodies,
) {
    let facts = &capture.facts;
    let level = capture.decision.level;
    j.object(|j| {
        j.key("method").lossy(&request.method);
        j.key("url").string(&target.url());
        j.key("scheme").string(&target.scheme);
        j.key("path").string(&target.path);
        j.key("authority").string(&target.authority);
        j.key("protocol")
            .string(protocol(capture.transaction.protocol));
        j.key("request_id").string(&capture.id);
        j.key("user_agent")
            .string(facts.user_agent.as_deref().unwrap_or_default());
        let content_type = facts.request_content_type.as_deref();
        j.key("content_type")
            .string(content_type.unwrap_or_default());
        if level >= Level::Headers {
            let path = target.path_and_query();
            let pseudo: [(&str, &[u8]); 4] = [
                (":authority", target.authority.as_bytes()),
                (":method", &request.method),
                (":path", path.as_bytes()),
                (":scheme", target.scheme.as_bytes()),
            ];
            headers(j.key("headers"), &pseudo, &request.headers);
        }
        if let Some(content) = capture.request_content().filter(|_| level >= Level::Full) {
            let known = bodies.find(Message::Request, content.bytes());
            body(j, &request.body, &content, known);
        }
        j.key("query")
            .string(target.query.as_deref().unwrap_or_default());
        j.key("protocol_version")
            .string(capture.transaction.protocol.version());
        lists(j, &request.headers, &request.trailers, level);
        body_facts(j, &request.body, request.wire_size);
    });
}

/// QTap's name of the protocol.
pub(in crate::sink) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 | Protocol::Http11 => "http1",
        Protocol::Http2 => "http2",
    }
}

fn response(j: &mut Json, capture: &Capture, response: &Response, bodies: &mut dyn Bodies) {
    let level = capture.decision.level;
    j.object(|j| {
        j.key("status").number(response.status);
        let content_type = capture.facts.response_content_type.as_deref();
        j.key("content_type")
            .string(content_type.unwrap_or_default());
        if level >= Level::Headers {
            let status = response.status.to_string();
            headers(
                j.key("headers"),
                &[(":status", status.as_bytes())],
                &response.headers,
            );
        }
        if let Some(content) = capture.response_content().filter(|_| level >= Level::Full) {
            let known = bodies.find(Message::Response, content.bytes());
            body(j, &response.body, &content, known);
        }
        if level >= Level::Headers {
            j.key("reason").lossy(&response.reason);
        }
        lists(j, &response.headers, &response.trailers, level);
        body_facts(j, &response.body, response.wire_size);
        j.key("interim")
            .array(|j| response.interim.iter().for_each(|s| j.number(*s)));
    });
}

pub(in crate::sink) fn headers(j: &mut Json, pseudo: &[(&str, &[u8])], headers: &Headers) {
    // Stable: of equal names the first on the wire stays first.
    let mut fields: Vec<(String, &[u8])> = headers
        .iter()
        .filter(|(name, _)| !name.starts_with(b":"))
        .map(|(name, value)| (canonical(name), value))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields.dedup_by(|later, first| later.0 == first.0);
    j.object(|j| {
        for (name, value) in pseudo {
            j.key(name).lossy(value);
        }
        for (name, value) in &fields {
            j.key(name).lossy(value);
        }
    });
}

/// `x-user-ID` as `X-User-Id`. A name that is no token stays as it is.
fn canonical(name: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(name).into_owned();
    if !name
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
    {
        return text;
    }
    let mut upper = true;
    text = text
        .chars()
        .map(|c| {
            let c = if upper {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            };
            upper = c == '-';
            c
        })
        .collect();
    text
}

fn lists(j: &mut Json, headers: &Headers, trailers: &Headers, level: Level) {
    if level >= Level::Headers {
        list(j.key("header_list"), headers);
        list(j.key("trailer_list"), trailers);
    }
}

pub(in crate::sink) fn list(j: &mut Json, headers: &Headers) {
    j.array(|j| {
        for (name, value) in headers.iter() {
            j.array(|j| {
                bytes(j, name);
                bytes(j, value);
            });
        }
    });
}

/// A string, or an object with the bytes in base64 where they are not UTF-8.
fn bytes(j: &mut Json, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => j.string(text),
        Err(_) => j.object(|j| j.key("base64").base64(bytes)),
    }
}

/// `body` is what was captured with its codings undone; all sizes are those on the wire.
fn body(j: &mut Json, body: &Body, content: &Content<'_>, known: Option<BodyRef>) {
    match known {
        Some(known) => j.key("body_ref").object(|j| {
            j.key("bytes")
                .plain(format_args!("{}-{}", known.first, known.last));
            j.key("message").string(known.message.name());
            hex(j.key("sha256"), &known.digest);
        }),
        None => j.key("body").base64(content.bytes()),
    }
    j.key("body_is_text").bool(content.text().is_some());
    match content.encoding().as_str() {
        "" => j.key("body_encoding").null(),
        undone => j.key("body_encoding").string(undone),
    }
    // Also where the coded bytes were cut by capturing.
    j.key("body_decoded_truncated")
        .bool(content.stop().is_some());
    match content.stop() {
        Some(stop) => j.key("body_decode_stop").string(stop.name()),
        None => j.key("body_decode_stop").null(),
    }
    if content.redacted() {
        j.key("body_redacted").bool(true);
    }
    if let Some(dropped) = content.dropped() {
        j.key("body_dropped").string(dropped.name());
    }
    if let Some(as_sent) = content.as_sent() {
        j.key("body_as_sent").base64(as_sent);
    }
    j.key("body_captured").number(body.bytes().len() as u64);
}

fn body_facts(j: &mut Json, body: &Body, wire_size: u64) {
    j.key("body_size").number(body.size());
    j.key("body_truncated").bool(body.truncated());
    j.key("body_missing").number(body.missing());
    j.key("wire_size").number(wire_size);
}

fn times(j: &mut Json, capture: &Capture) {
    j.key("transaction_time")
        .plain(format_args!("{}", rfc3339(capture.start)));
    // Whole milliseconds, rounded up as QTap's floor of 1 has it; `duration_ns` is exact.
    j.key("duration_ms")
        .number(duration_ns(capture).div_ceil(1_000_000));
}

fn duration_ns(capture: &Capture) -> u64 {
    let timing = &capture.transaction.timing;
    timing.end.since(timing.start)
}

fn ours(j: &mut Json, capture: &Capture) {
    let t = &capture.transaction;
    let ids = &capture.ids;
    j.key("version").number(VERSION);
    j.key("transaction_id").string(&capture.id);
    match ids.shown() {
        Some((trace_id, span_id)) => {
            hex(j.key("trace_id"), trace_id);
            hex(j.key("span_id"), span_id);
        }
        None => {
            j.key("trace_id").null();
            j.key("span_id").null();
        }
    }
    match &ids.parent_span_id {
        Some(parent) => hex(j.key("parent_span_id"), parent),
        None => j.key("parent_span_id").null(),
    }
    j.key("level").string(capture.decision.level.name());
    match &capture.decision.rule {
        Some(rule) => j.key("rule").string(rule),
        None => j.key("rule").null(),
    }
    j.key("complete").bool(t.complete());
    j.key("marks")
        .array(|j| t.marks.iter().for_each(|m| j.string(m.name())));
    j.key("end_time")
        .plain(format_args!("{}", rfc3339(capture.end)));
    j.key("duration_ns").number(duration_ns(capture));
    j.key("request_end_ns")
        .number(t.timing.request_end.since(t.timing.start));
    match t.timing.response_start {
        Some(first) => j
            .key("response_start_ns")
            .number(first.since(t.timing.start)),
        None => j.key("response_start_ns").null(),
    }
}

fn connection(j: &mut Json, capture: &Capture) {
    let t = &capture.transaction;
    let address = |j: &mut Json, key: &str, address: Option<std::net::SocketAddr>| match address {
        Some(address) => j.key(key).plain(format_args!("{address}")),
        None => j.key(key).null(),
    };
    j.key("connection").object(|j| {
        let role = match t.role {
            Role::Client => "client",
            Role::Server => "server",
        };
        j.key("role").string(role);
        address(j, "local", t.connection.local);
        address(j, "remote", t.connection.remote);
        j.key("ordinal").number(t.ordinal);
        j.key("tls");
        match &t.connection.tls_info {
            Some(info) => tls(j, info),
            None => j.null(),
        }
    });
}

fn tls(j: &mut Json, info: &TlsInfo) {
    j.object(|j| {
        j.key("version").string(info.version.unwrap_or_default());
        j.key("sni").string(info.sni.as_deref().unwrap_or_default());
        j.key("alpn_offered")
            .array(|j| info.alpn_offered.iter().for_each(|p| j.string(p)));
    });
}

pub(in crate::sink) fn hex(j: &mut Json, id: &[u8]) {
    j.plain(format_args!("{}", Hex(id)));
}

/// Lower-case hex digits of bytes.
pub(super) struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// QTap's word for the direction. An unknown remote address counts as external.
pub(in crate::sink) fn direction(capture: &Capture) -> &'static str {
    let t = &capture.transaction;
    match (t.role, t.connection.remote) {
        (Role::Server, _) => "ingress",
        (Role::Client, Some(remote)) if capture.process.identity.private.contain(remote.ip()) => {
            "egress-internal"
        }
        (Role::Client, _) => "egress-external",
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
