//! A transaction as its payload document says it.

use super::{Maker, protocol, scalar, texts, tls_version};
use crate::event::Role;
use crate::transaction::Headers;
use serde_json::{Map, Value};
use std::net::SocketAddr;

impl Maker {
    /// A payload document. What it lacks is missing.
    pub(super) fn document(&mut self, object: &Map<String, Value>) {
        let text = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        if let Some(request) = object.get("request").and_then(Value::as_object) {
            let field = |key: &str| text(request.get(key));
            self.path = field("path").unwrap_or_default();
            self.query = field("query");
            self.authority = field("authority");
            self.version = field("protocol_version").and_then(|version| protocol(&version));
            if field("scheme").as_deref() == Some("https") {
                self.tls();
            }
            let made = self.request();
            made.method = field("method").unwrap_or_default().into_bytes();
            made.headers = list(request, "header_list");
            made.trailers = list(request, "trailer_list");
            made.body.push_missing(
                request
                    .get("body_size")
                    .and_then(Value::as_u64)
                    .unwrap_or(0),
            );
        }
        if let Some(response) = object.get("response").and_then(Value::as_object) {
            let status = response.get("status").and_then(Value::as_u64);
            let made = self.response();
            made.status = status
                .and_then(|status| u16::try_from(status).ok())
                .unwrap_or(0);
            made.headers = list(response, "header_list");
            made.trailers = list(response, "trailer_list");
            made.body.push_missing(
                response
                    .get("body_size")
                    .and_then(Value::as_u64)
                    .unwrap_or(0),
            );
        }
        self.duration = object
            .get("duration_ns")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        self.ttfb = object.get("response_start_ns").and_then(Value::as_u64);
        if let Some(metadata) = object.get("metadata").and_then(Value::as_object) {
            let pid = metadata
                .get("process_id")
                .and_then(scalar)
                .and_then(|pid| pid.parse().ok());
            self.process.pid = pid.unwrap_or(0);
            self.process.exe = text(metadata.get("process_exe"));
            self.process.container_id = text(metadata.get("container_id"));
            if let Some(name) = text(metadata.get("container_name")) {
                self.process.container().name = Some(name);
            }
            if let Some(image) = text(metadata.get("container_image")) {
                self.process.container().image = Some(image);
            }
            if let Some(name) = text(metadata.get("pod_name")) {
                self.process.pod().name = name;
                self.process.pod().namespace =
                    text(metadata.get("pod_namespace")).unwrap_or_default();
            }
        }
        if let Some(connection) = object.get("connection").and_then(Value::as_object) {
            self.connection(connection);
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
            made.sni = tls
                .get("sni")
                .and_then(Value::as_str)
                .filter(|sni| !sni.is_empty())
                .map(str::to_owned);
            made.alpn_offered = tls.get("alpn_offered").and_then(texts).unwrap_or_default();
        }
    }
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
