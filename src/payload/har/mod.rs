//! HAR 1.2: what browsers' developer tools, Playwright and k6 read.
//!
//! Enters: documents. Leaves: one entry each, and the text around many of them, so that an archive can be written without
//! being held.
//! Holds: what is not known is -1, or absent where the format lets it be; redacted values stay as they are. Our own
//! fields begin with `_`, as the format wants it.

mod cookies;
mod message;

use super::document::Document;
use message::{Request, Response};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

/// One transaction.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    started_date_time: String,
    /// Milliseconds, as all times.
    time: f64,
    request: Request,
    response: Response,
    cache: Empty,
    timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_ip_address: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    connection: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(rename = "_trace_id", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(rename = "_span_id", skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(rename = "_transaction_id", skip_serializing_if = "String::is_empty")]
    transaction_id: String,
    #[serde(rename = "_service_name", skip_serializing_if = "String::is_empty")]
    service_name: String,
    /// `client` or `server`: which end was seen.
    #[serde(rename = "_role", skip_serializing_if = "String::is_empty")]
    role: String,
    #[serde(rename = "_resourceType", skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    /// As Chrome writes them.
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Vec::is_empty")]
    web_socket_messages: Vec<WebSocketMessage>,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
struct Timings {
    blocked: i8,
    dns: i8,
    connect: i8,
    ssl: i8,
    send: f64,
    wait: f64,
    receive: f64,
}

#[derive(Debug, Serialize)]
struct WebSocketMessage {
    #[serde(rename = "type")]
    kind: &'static str,
    /// Seconds since 1970.
    time: f64,
    opcode: u8,
    /// Text, or base64 where it is binary.
    data: String,
}

impl Entry {
    pub fn of(document: &Document) -> Entry {
        let version = document.request.as_ref().map(message::version);
        let version = version.unwrap_or_default();
        let messages = web_socket_messages(document);
        Entry {
            started_date_time: document.transaction_time.clone(),
            time: millis(document.duration_ns()),
            request: Request::of(document.request.as_ref(), version),
            response: Response::of(document.response.as_ref(), version),
            cache: Empty {},
            timings: timings(document),
            server_ip_address: document.server().and_then(address),
            connection: document.metadata.connection_id.clone(),
            comment: comment(document),
            trace_id: document.trace_id.clone(),
            span_id: document.span_id.clone(),
            transaction_id: document.transaction_id.clone(),
            service_name: document.metadata.service_name.clone(),
            role: document.connection.role.clone(),
            resource_type: document.websocket.is_some().then_some("websocket"),
            web_socket_messages: messages,
        }
    }
}

/// What stands in front of the first entry of an archive.
pub fn head() -> String {
    format!(
        r#"{{"log":{{"version":"1.2","creator":{{"name":"plainspan","version":"{}"}},"pages":[],"entries":["#,
        env!("CARGO_PKG_VERSION")
    )
}

/// What stands behind the last. Between two entries is a comma.
pub const TAIL: &str = "]}}";

fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Together they are the entry's time. An early response begins before the request has ended: then nothing was waited for.
fn timings(document: &Document) -> Timings {
    let total = document.duration_ns();
    let sent = document.request_end_ns.unwrap_or_default().min(total);
    let first = document.response_start_ns.unwrap_or(total);
    let first = first.clamp(sent, total);
    Timings {
        blocked: -1,
        dns: -1,
        connect: -1,
        ssl: -1,
        send: millis(sent),
        wait: millis(first - sent),
        receive: millis(total - first),
    }
}

fn address(text: &str) -> Option<String> {
    let address: SocketAddr = text.parse().ok()?;
    Some(match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical().to_string(),
        ip => ip.to_string(),
    })
}

fn comment(document: &Document) -> String {
    let mut said = Vec::new();
    if document.request.is_none() {
        said.push("the request was not seen".to_owned());
    }
    if document.response.is_none() {
        said.push("no response was seen".to_owned());
    }
    if !document.marks.is_empty() {
        said.push(format!("marks: {}", document.marks.join(", ")));
    }
    said.join("; ")
}

fn web_socket_messages(document: &Document) -> Vec<WebSocketMessage> {
    let Some(socket) = &document.websocket else {
        return Vec::new();
    };
    let start = chrono::DateTime::parse_from_rfc3339(&document.transaction_time);
    let start = start.map_or(0.0, |start| start.timestamp_micros() as f64 / 1e6);
    let message = |m: &super::WebSocketMessage| WebSocketMessage {
        kind: if m.from == "client" {
            "send"
        } else {
            "receive"
        },
        time: start + m.time_ns as f64 / 1e9,
        opcode: if m.kind == "text" { 1 } else { 2 },
        data: m.text.clone().or(m.base64.clone()).unwrap_or_default(),
    };
    socket.messages.iter().map(message).collect()
}

#[cfg(test)]
mod tests;
