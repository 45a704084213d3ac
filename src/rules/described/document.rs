//! A transaction as its payload document says it.

use super::{Maker, protocol, scalar, texts, tls_version};
use crate::event::Role;
use crate::transaction::Headers;
use serde_json::{Map, Value};
use std::net::SocketAddr;

impl Maker {
    /// What the document lacks is missing.
    pub(super) fn document(&mut self, object: &Map<String, Value>) {
        let part = |key: &str| object.get(key).and_then(Value::as_object);
        let number = |key: &str| object.get(key).and_then(Value::as_u64);
        if let Some(request) = part("request") {
            self.request_of(request);
        }
        if let Some(response) = part("response") {
            self.response_of(response);
        }
        self.duration = number("duration_ns").unwrap_or(0);
        self.ttfb = number("response_start_ns");
        if let Some(metadata) = part("metadata") {
            self.process_of(metadata);
        }
        if let Some(connection) = part("connection") {
            self.connection(connection);
        }
    }

    fn request_of(&mut self, request: &Map<String, Value>) {
        self.path = text(request, "path").unwrap_or_default();
        self.query = text(request, "query");
        self.authority = text(request, "authority");
        let version = text(request, "protocol_version");
        self.version = version.and_then(|version| protocol(&version));
        if text(request, "scheme").as_deref() == Some("https") {
            self.tls();
        }
        let made = self.request();
        made.method = text(request, "method").unwrap_or_default().into_bytes();
        made.headers = list(request, "header_list");
        made.trailers = list(request, "trailer_list");
        made.body.push_missing(body_size(request));
    }

    fn response_of(&mut self, response: &Map<String, Value>) {
        let status = response.get("status").and_then(Value::as_u64);
        let made = self.response();
        made.status = status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(0);
        made.headers = list(response, "header_list");
        made.trailers = list(response, "trailer_list");
        made.body.push_missing(body_size(response));
    }

    fn process_of(&mut self, metadata: &Map<String, Value>) {
        let process = &mut self.process;
        let pid = metadata.get("process_id").and_then(scalar);
        process.pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or(0);
        process.exe = text(metadata, "process_exe");
        process.container_id = text(metadata, "container_id");
        if let Some(name) = text(metadata, "container_name") {
            process.container().name = Some(name);
        }
        if let Some(image) = text(metadata, "container_image") {
            process.container().image = Some(image);
        }
        if let Some(name) = text(metadata, "pod_name") {
            process.pod().name = name;
            process.pod().namespace = text(metadata, "pod_namespace").unwrap_or_default();
        }
    }

    fn connection(&mut self, connection: &Map<String, Value>) {
        let address = |key: &str| {
            connection
                .get(key)
                .and_then(Value::as_str)?
                .parse::<SocketAddr>()
                .ok()
        };
        let ends =
            |address: Option<SocketAddr>| (address.map(|a| a.ip()), address.map(|a| a.port()));
        self.local = ends(address("local"));
        self.remote = ends(address("remote"));
        self.role = match connection.get("role").and_then(Value::as_str) {
            Some("server") => Some(Role::Server),
            _ => Some(Role::Client),
        };
        if let Some(tls) = connection.get("tls").and_then(Value::as_object) {
            let version = tls.get("version").and_then(Value::as_str);
            let made = self.tls();
            made.version = version.and_then(tls_version);
            made.sni = text(tls, "sni");
            made.alpn_offered = tls.get("alpn_offered").and_then(texts).unwrap_or_default();
        }
    }
}

/// A text that is not empty.
fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    let text = object.get(key).and_then(Value::as_str);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn body_size(message: &Map<String, Value>) -> u64 {
    let size = message.get("body_size").and_then(Value::as_u64);
    size.unwrap_or(0)
}

/// Pairs of name and value.
fn list(message: &Map<String, Value>, key: &str) -> Headers {
    let mut headers = Headers::default();
    for pair in message
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some([name, value]) = pair.as_array().map(Vec::as_slice)
            && let (Some(name), Some(value)) = (name.as_str(), value.as_str())
        {
            headers.push(name.as_bytes(), value.as_bytes());
        }
    }
    headers
}
