//! Transactions described in JSON, for `rules explain` and `rules test`.
//!
//! Enters: an object whose keys are fields of rules (`{"http.req.method": "GET"}`, or nested at the dots), or a payload
//! document as an object store has it. Leaves: a transaction and its process, over which rules are evaluated as ever.
//! Holds: a key that is no field is an error, never a silence. What is not given is missing, with one exception: an
//! address given without its port has port 0, a port without its address 0.0.0.0.

use super::expr::{Field, FieldId, Known, Lookup, lookup};
use crate::enrich::identity::{Container, Pod};
use crate::enrich::{Identity, Lookup as Asked, Process, Tag, Variables};
use crate::event::{KernelTime, Role, TlsId};
use crate::transaction::{
    ConnectionInfo, Headers, Marks, Protocol, Request, Response, Timing, TlsInfo, TraceContext,
    TraceContextSource, Transaction,
};
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A transaction made from its description.
pub struct Described {
    pub transaction: Transaction,
    pub process: Process,
}

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescribedError {
    #[error("a transaction is described by a JSON object")]
    NoObject,
    #[error("there is no field `{name}`{hint}")]
    NoField { name: String, hint: String },
    #[error("`{0}` is not known to this version")]
    NeverKnown(String),
    #[error("`{0}` follows from other fields; give those instead")]
    Derived(String),
    #[error("`{name}` must be {wanted}")]
    Wrong { name: String, wanted: &'static str },
}

use DescribedError::{Derived, NeverKnown, NoField, NoObject, Wrong};

impl Described {
    /// # Errors
    /// When a key is no field of a transaction, or a value does not fit it.
    pub fn new(value: &Value) -> Result<Described, DescribedError> {
        let object = value.as_object().ok_or(NoObject)?;
        let document = ["request", "response", "metadata"]
            .iter()
            .any(|key| object.get(*key).is_some_and(Value::is_object))
            && object.contains_key("transaction_id");
        let mut maker = Maker::default();
        match document {
            true => maker.document(object),
            false => maker.fields(object, "")?,
        }
        Ok(maker.finish())
    }
}

/// What is given so far.
#[derive(Default)]
struct Maker {
    request: Option<Request>,
    response: Option<Response>,
    path: String,
    query: Option<String>,
    host: Option<String>,
    authority: Option<String>,
    grpc: (String, String),
    cookies: Vec<String>,
    version: Option<Protocol>,
    role: Option<Role>,
    local: (Option<IpAddr>, Option<u16>),
    remote: (Option<IpAddr>, Option<u16>),
    tls: Option<TlsInfo>,
    duration: u64,
    ttfb: Option<u64>,
    context: (Option<[u8; 16]>, bool),
    process: Who,
}

/// What is given of the process.
#[derive(Default)]
struct Who {
    exe: Option<String>,
    name: Option<String>,
    pid: u32,
    uid: Option<u32>,
    owner: Option<String>,
    container_id: Option<String>,
    container: Option<Container>,
    env: Vec<(String, String)>,
    tags: Vec<Tag>,
}

impl Who {
    fn container(&mut self) -> &mut Container {
        self.container.get_or_insert_default()
    }

    fn pod(&mut self) -> &mut Pod {
        self.container().pod.get_or_insert_default()
    }
}

impl Maker {
    fn request(&mut self) -> &mut Request {
        self.request.get_or_insert_default()
    }

    fn response(&mut self) -> &mut Response {
        self.response.get_or_insert_default()
    }

    fn tls(&mut self) -> &mut TlsInfo {
        self.tls.get_or_insert_default()
    }

    /// Keys are fields, or beginnings of their names.
    fn fields(&mut self, object: &Map<String, Value>, before: &str) -> Result<(), DescribedError> {
        for (key, value) in object {
            let name = format!("{before}{key}");
            match (lookup(&name), value) {
                (Lookup::Found(field) | Lookup::Former(field, _), value) if !value.is_object() => {
                    self.set(&field, value)?
                }
                (Lookup::Unknown(Some(meant)), value) if !value.is_object() => {
                    return Err(NoField {
                        name,
                        hint: format!("; did you mean `{meant}`?"),
                    });
                }
                (_, Value::Object(inner)) => self.fields(inner, &format!("{name}."))?,
                _ => {
                    return Err(NoField {
                        name,
                        hint: String::new(),
                    });
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, field: &Field, value: &Value) -> Result<(), DescribedError> {
        let name = field.name();
        let wrong = |wanted| Wrong {
            name: name.clone(),
            wanted,
        };
        if field.def.known == Known::Never {
            return Err(NeverKnown(name));
        }
        // Null stands for missing.
        if value.is_null() {
            return Ok(());
        }
        let text = || scalar(value).ok_or_else(|| wrong("a text"));
        let key = || field.key.to_string();
        let number = || {
            scalar(value)
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| wrong("a whole number"))
        };
        let small =
            || number().and_then(|n| u32::try_from(n).map_err(|_| wrong("a number of 32 bits")));
        let port = || number().and_then(|n| u16::try_from(n).map_err(|_| wrong("a port")));
        let size = || measured(value).ok_or_else(|| wrong("bytes, or a size such as `64KiB`"));
        let time = || measured(value).ok_or_else(|| wrong("a time such as `250ms`"));
        let address = || text().and_then(|t| t.parse().map_err(|_| wrong("an address")));
        let truth = || value.as_bool().ok_or_else(|| wrong("true or false"));
        match field.def.id {
            FieldId::Method => self.request().method = text()?.into_bytes(),
            FieldId::Path => {
                self.request();
                self.path = text()?;
            }
            FieldId::Query => {
                self.request();
                self.query = Some(text()?);
            }
            FieldId::QueryParameter => {
                for value in texts(value).ok_or_else(|| wrong("a text or a list of texts"))? {
                    self.parameter(&field.key, &value);
                }
            }
            FieldId::Host => {
                self.request();
                self.host = Some(text()?);
            }
            FieldId::Url => {
                let url = text()?;
                self.url(&url)
                    .ok_or_else(|| wrong("a URL such as `https://host/path?query`"))?;
            }
            FieldId::Scheme => match text()?.as_str() {
                "https" => {
                    self.tls();
                }
                "http" => {}
                _ => return Err(wrong("`http` or `https`")),
            },
            FieldId::RequestHeader | FieldId::ResponseHeader => {
                let values = texts(value).ok_or_else(|| wrong("a text or a list of texts"))?;
                let headers = match field.def.id {
                    FieldId::RequestHeader => &mut self.request().headers,
                    _ => &mut self.response().headers,
                };
                values
                    .iter()
                    .for_each(|value| headers.push(field.key.as_bytes(), value.as_bytes()));
            }
            FieldId::Cookie => {
                self.request();
                let values = texts(value).ok_or_else(|| wrong("a text or a list of texts"))?;
                self.cookies
                    .extend(values.iter().map(|value| format!("{}={value}", field.key)));
            }
            FieldId::RequestSize => self.request().body.push_missing(size()?),
            FieldId::ResponseSize => self.response().body.push_missing(size()?),
            FieldId::Status => {
                self.response().status = u16::try_from(number()?).map_err(|_| wrong("a status"))?
            }
            FieldId::Duration => self.duration = time()?,
            FieldId::Ttfb => self.ttfb = Some(time()?),
            FieldId::Version => {
                self.version =
                    Some(protocol(&text()?).ok_or_else(|| wrong("`1.0`, `1.1` or `2`"))?);
            }
            FieldId::Protocol => {
                let names = texts(value).ok_or_else(|| wrong("`http1`, `http2`, `grpc`"))?;
                for name in names {
                    match name.as_str() {
                        "http2" | "grpc" => self.version = Some(Protocol::Http2),
                        "http1" | "http" => {}
                        _ => return Err(wrong("`http1`, `http2`, `grpc`")),
                    }
                }
            }
            FieldId::GrpcService => self.grpc.0 = text()?,
            FieldId::GrpcMethod => self.grpc.1 = text()?,
            FieldId::GrpcStatus => {
                let status = number()?.to_string();
                self.response()
                    .trailers
                    .push(b"grpc-status", status.as_bytes());
            }
            FieldId::Direction => self
                .direction(&text()?)
                .ok_or_else(|| wrong("a direction"))?,
            FieldId::Transport => return Err(Derived(name)),
            FieldId::TlsEnabled => {
                if truth()? {
                    self.tls();
                }
            }
            FieldId::TlsVersion => {
                let version = ["1.0", "1.1", "1.2", "1.3"]
                    .into_iter()
                    .find(|known| scalar(value).as_deref() == Some(known));
                self.tls().version =
                    Some(version.ok_or_else(|| wrong("a version from 1.0 to 1.3"))?);
            }
            FieldId::TlsSni => self.tls().sni = Some(text()?),
            FieldId::TlsAlpn => {
                self.tls().alpn_offered = texts(value).ok_or_else(|| wrong("a list of texts"))?
            }
            FieldId::SourceIp => self.local.0 = Some(address()?),
            FieldId::SourcePort => self.local.1 = Some(port()?),
            FieldId::DestinationIp => self.remote.0 = Some(address()?),
            FieldId::DestinationPort => self.remote.1 = Some(port()?),
            FieldId::DestinationDomain => return Err(Derived(name)),
            FieldId::ProcessPath => self.process.exe = Some(text()?),
            FieldId::ProcessBinary => self.process.name = Some(text()?),
            FieldId::ProcessPid => self.process.pid = small()?,
            FieldId::UserId => self.process.uid = Some(small()?),
            FieldId::UserName => self.process.owner = Some(text()?),
            FieldId::ContainerId => self.process.container_id = Some(text()?),
            FieldId::ProcessEnv => self.process.env.push((key(), text()?)),
            FieldId::ContainerName => self.process.container().name = Some(text()?),
            FieldId::ContainerImage => self.process.container().image = Some(text()?),
            FieldId::ContainerLabel => {
                self.process.container().labels.insert(key(), text()?);
            }
            FieldId::PodName => self.process.pod().name = text()?,
            FieldId::PodNamespace => self.process.pod().namespace = text()?,
            FieldId::PodLabel => {
                self.process.pod().labels.insert(key(), text()?);
            }
            FieldId::PodAnnotation => {
                self.process.pod().annotations.insert(key(), text()?);
            }
            FieldId::Tags => {
                let tags =
                    texts(value).and_then(|tags| tags.iter().map(|tag| Tag::parse(tag)).collect());
                self.process.tags = tags.ok_or_else(|| wrong("a list of `key:value`"))?;
            }
            FieldId::TraceId => {
                self.context.0 = Some(trace_id(&text()?).ok_or_else(|| wrong("32 hex digits"))?)
            }
            FieldId::TraceSampled => self.context.1 = truth()?,
            // Not known to this version: refused above.
            FieldId::ProcessHostname => return Err(NeverKnown(name)),
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.request();
        let encoded = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let pair = format!("{}={}", encoded(name), encoded(value));
        self.query = Some(match self.query.take() {
            Some(before) => format!("{before}&{pair}"),
            None => pair,
        });
    }

    fn url(&mut self, url: &str) -> Option<()> {
        let (scheme, rest) = url.split_once("://")?;
        match scheme {
            "https" => {
                self.tls();
            }
            "http" => {}
            _ => return None,
        }
        self.request();
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(slash);
        self.host = Some(host.to_owned());
        self.path = path.to_owned();
        self.query = query.map(str::to_owned);
        Some(())
    }

    /// The address of the remote side decides over `internal` and `external`, where it is given.
    fn direction(&mut self, direction: &str) -> Option<()> {
        let (role, address) = match direction {
            "ingress" => (Role::Server, None),
            "egress" => (Role::Client, None),
            "egress-internal" => (Role::Client, Some(Ipv4Addr::new(10, 0, 0, 1))),
            // Of the block for documentation (RFC 5737).
            "egress-external" => (Role::Client, Some(Ipv4Addr::new(192, 0, 2, 1))),
            _ => return None,
        };
        self.role = Some(role);
        self.remote.0 = self.remote.0.or(address.map(IpAddr::V4));
        Some(())
    }

    /// A payload document. What it lacks is missing.
    fn document(&mut self, object: &Map<String, Value>) {
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
            made.version = ["1.0", "1.1", "1.2", "1.3"]
                .into_iter()
                .find(|known| Some(*known) == version);
            made.sni = tls
                .get("sni")
                .and_then(Value::as_str)
                .filter(|sni| !sni.is_empty())
                .map(str::to_owned);
            made.alpn_offered = tls.get("alpn_offered").and_then(texts).unwrap_or_default();
        }
    }

    fn finish(mut self) -> Described {
        if !self.grpc.0.is_empty() || !self.grpc.1.is_empty() {
            self.version.get_or_insert(Protocol::Http2);
            self.path = format!("/{}/{}", self.grpc.0, self.grpc.1);
            let headers = &mut self.request().headers;
            if headers.get(b"content-type").is_none() {
                headers.push(b"content-type", b"application/grpc");
            }
        }
        let target = self.target();
        let host = self.host.take().or_else(|| self.authority.take());
        if let Some(request) = &mut self.request {
            request.target = target.into_bytes();
            if let Some(host) = host.filter(|_| request.headers.get(b"host").is_none()) {
                request.headers.push(b"host", host.as_bytes());
            }
            if !self.cookies.is_empty() {
                request
                    .headers
                    .push(b"cookie", self.cookies.join("; ").as_bytes());
            }
        }
        let given = self.context.0.map(|trace_id| TraceContext {
            trace_id,
            span_id: [1; 8],
            flags: u8::from(self.context.1),
            tracestate: String::new(),
            source: TraceContextSource::W3c,
        });
        let in_headers = || {
            self.request
                .as_ref()
                .and_then(|request| TraceContext::from_headers(&request.headers))
        };
        let context = given.or_else(in_headers);
        let at = |ns: u64| KernelTime(1 + ns);
        let timing = Timing {
            start: at(0),
            request_end: at(0),
            response_start: self.response.as_ref().and(self.ttfb).map(at),
            end: at(self.duration),
        };
        let Who {
            exe,
            name,
            pid,
            uid,
            owner,
            container_id,
            container,
            env,
            tags,
        } = self.process;
        let transaction = Transaction {
            role: self.role.unwrap_or(Role::Client),
            protocol: self.version.unwrap_or(Protocol::Http11),
            pid,
            tid: pid,
            connection: ConnectionInfo {
                conn: None,
                tls: self.tls.as_ref().map(|_| TlsId(1)),
                local: socket(self.local),
                remote: socket(self.remote),
                netns: 0,
                tls_info: self.tls,
                join: None,
            },
            ordinal: 0,
            request: self.request,
            response: self.response,
            timing,
            marks: Marks::default(),
            context,
            websocket: None,
            grpc: None,
            lasting: None,
        };
        let base = exe
            .as_deref()
            .and_then(|exe| exe.rsplit('/').next())
            .unwrap_or_default()
            .to_owned();
        let process = Process {
            pid,
            parent_pid: None,
            name: name.unwrap_or(base),
            exe,
            uid,
            owner,
            started: None,
            netns: None,
            container_id,
            identity: Identity {
                lookup: match container {
                    Some(_) => Asked::Known,
                    None => Asked::None,
                },
                container: container.map(Arc::new),
                env: Variables::new(env),
                tags,
                ..Identity::default()
            },
            is_agent: false,
            resource: Vec::new(),
        };
        Described {
            transaction,
            process,
        }
    }

    fn target(&self) -> String {
        let path = match (self.path.as_str(), &self.query) {
            ("", None) => return String::new(),
            ("", Some(_)) => "/",
            (path, _) => path,
        };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

/// An address without port, or a port without address, is there as far as it is given.
fn socket((ip, port): (Option<IpAddr>, Option<u16>)) -> Option<SocketAddr> {
    match (ip, port) {
        (None, None) => None,
        (ip, port) => Some(SocketAddr::new(
            ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port.unwrap_or(0),
        )),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(scalar).collect(),
        value => scalar(value).map(|text| vec![text]),
    }
}

/// Nanoseconds or bytes: with a unit, or as a plain number.
fn measured(value: &Value) -> Option<u64> {
    let text = scalar(value)?;
    let value = match text.parse::<u64>() {
        Ok(plain) => return Some(plain),
        Err(_) => super::expr::measure(&text)?,
    };
    u64::try_from(value).ok()
}

fn protocol(version: &str) -> Option<Protocol> {
    Some(match version {
        "1.0" => Protocol::Http10,
        "1.1" => Protocol::Http11,
        "2" | "2.0" => Protocol::Http2,
        _ => return None,
    })
}

fn trace_id(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| text.len() == 32)?;
    (number != 0).then(|| number.to_be_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::expr::{Buffers, Macros, Program};
    use crate::rules::facts::TransactionFacts;
    use serde_json::json;

    fn holds(description: &Value, text: &str) -> bool {
        let described = Described::new(description).unwrap_or_else(|e| panic!("{e}"));
        let facts = TransactionFacts {
            transaction: &described.transaction,
            process: &described.process,
        };
        let (program, _) =
            Program::compile(text, &Macros::default()).unwrap_or_else(|f| panic!("{text}: {f:?}"));
        program.evaluate(&facts, &mut Buffers::default()).is_true()
    }

    #[test]
    fn every_field_that_can_be_given_is_what_was_given() {
        for (field, value, text) in [
            (
                "http.req.method",
                json!("GET"),
                "http.req.method == \"GET\"",
            ),
            ("http.req.path", json!("/a"), "http.req.path == \"/a\""),
            ("http.req.query", json!("a=1"), "http.req.query.a == 1"),
            (
                "http.req.query.x",
                json!(["a b", "c"]),
                "http.req.query.x == \"a b\" and http.req.query.x == \"c\"",
            ),
            ("http.req.host", json!("a:80"), "http.req.host == \"a\""),
            (
                "http.req.url",
                json!("https://h/p?q=1"),
                "http.req.url == \"https://h/p?q=1\"",
            ),
            ("http.req.scheme", json!("https"), "tls.enabled"),
            (
                "http.req.headers.accept",
                json!(["a", "b"]),
                "http.req.headers.accept == \"b\"",
            ),
            (
                "http.req.cookies.sid",
                json!("1"),
                "http.req.cookies.sid == 1",
            ),
            (
                "http.req.body.size",
                json!("64KiB"),
                "http.req.body.size == 64KiB",
            ),
            ("http.res.status", json!(404), "http.res.status == 404"),
            ("http.res.headers.x", json!("1"), "http.res.headers.x == 1"),
            ("http.res.body.size", json!(7), "http.res.body.size == 7"),
            ("http.duration", json!("2s"), "http.duration == 2s"),
            ("http.version", json!("2"), "http.version == \"2\""),
            ("protocol", json!("http2"), "protocol == \"http2\""),
            (
                "grpc.status",
                json!(5),
                "exists(grpc.status) or http.duration == 0",
            ),
            (
                "direction",
                json!("egress-external"),
                "direction == \"egress-external\"",
            ),
            ("tls.enabled", json!(true), "tls.enabled"),
            ("tls.version", json!("1.3"), "tls.version == 1.3"),
            ("tls.sni", json!("a.b"), "dst.domain == \"a.b\""),
            ("tls.alpn", json!(["h2"]), "tls.alpn contains \"h2\""),
            ("src.ip", json!("10.0.0.1"), "src.ip == 10.0.0.1"),
            ("src.port", json!(80), "src.port == 80"),
            ("dst.ip", json!("::1"), "dst.ip == ::1"),
            ("dst.port", json!(443), "dst.port == 443"),
            (
                "src.process.path",
                json!("/bin/a"),
                "src.process.binary == \"a\"",
            ),
            (
                "src.process.binary",
                json!("b"),
                "src.process.binary == \"b\"",
            ),
            ("src.process.pid", json!(7), "src.process.pid == 7"),
            ("src.process.user.id", json!(0), "src.process.user.id == 0"),
            (
                "src.process.user.name",
                json!("root"),
                "src.process.user.name == \"root\"",
            ),
            (
                "src.container.id",
                json!("abcdef"),
                "src.container.id == \"abcdef\"",
            ),
            (
                "trace.id",
                json!("0af7651916cd43dd8448eb211c80319c"),
                "trace.id == \"0af7651916cd43dd8448eb211c80319c\"",
            ),
        ] {
            assert!(holds(&json!({field: value}), text), "{field}");
        }
        let nested =
            json!({"http": {"req": {"method": "PUT", "headers": {"x-a": "1"}}, "res.status": 500}});
        assert!(holds(
            &nested,
            "http.req.method == \"PUT\" and http.req.headers.x-a == 1 and http.res.status == 500"
        ));
        let call = json!({"grpc": {"service": "a.B", "method": "C", "status": 5}});
        assert!(holds(
            &call,
            "grpc.service == \"a.B\" and grpc.method == \"C\" and grpc.status == 5 and protocol == \"grpc\""
        ));
    }

    #[test]
    fn what_is_no_field_or_does_not_fit_is_an_error() {
        for (description, said) in [
            (json!([]), "JSON object"),
            (
                json!({"http.req.mehtod": "GET"}),
                "did you mean `http.req.method`",
            ),
            (json!({"http": {"foo": 1}}), "no field `http.foo`"),
            (
                json!({"src.process.hostname": "a"}),
                "not known to this version",
            ),
            (json!({"tags": ["a"]}), "a list of `key:value`"),
            (json!({"dst.domain": "a"}), "follows from other fields"),
            (json!({"http.res.status": "ok"}), "a whole number"),
            (json!({"dst.ip": "host"}), "an address"),
            (json!({"http.duration": "soon"}), "a time"),
            (json!({"tls.enabled": "yes"}), "true or false"),
            (json!({"http.req.headers.a": {}}), ""),
        ] {
            match Described::new(&description) {
                Err(error) => assert!(error.to_string().contains(said), "{description}: {error}"),
                Ok(_) => assert!(said.is_empty(), "{description}"),
            }
        }
    }

    #[test]
    fn a_payload_document_is_the_transaction_that_it_was_made_of() {
        let document = json!({
            "transaction_id": "x",
            "metadata": {"process_id": "42", "process_exe": "/usr/bin/curl", "container_id": ""},
            "request": {
                "method": "POST", "path": "/a", "query": "b=1", "authority": "h.example", "scheme": "https",
                "protocol_version": "2", "header_list": [["x-a", "1"], ["x-a", "2"]], "body_size": 3
            },
            "response": {"status": 503, "header_list": [["retry-after", "9"]], "body_size": 4},
            "duration_ns": 2_500_000_000u64, "response_start_ns": 1_000_000,
            "connection": {"role": "client", "local": "10.0.0.1:5", "remote": "1.1.1.1:443",
                "tls": {"version": "1.3", "sni": "h.example", "alpn_offered": ["h2"]}}
        });
        for text in [
            "http.req.method == \"POST\" and http.req.path == \"/a\" and http.req.query.b == 1",
            "http.req.host == \"h.example\" and http.req.headers.x-a == 2 and http.req.body.size == 3",
            "http.res.status == 503 and http.res.headers.retry-after > 8 and http.res.body.size == 4",
            "http.duration == 2500ms and http.ttfb == 1ms and http.version == \"2\"",
            "direction == \"egress-external\" and dst.port == 443 and tls.version == 1.3 and tls.alpn contains \"h2\"",
            "src.process.pid == 42 and src.process.binary == \"curl\" and not exists(src.container.id)",
        ] {
            assert!(holds(&document, text), "{text}");
        }
    }
}
