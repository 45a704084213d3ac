//! Transactions described in JSON, for `rules explain` and `rules test`.
//!
//! Enters: an object whose keys are fields of rules (`{"http.req.method": "GET"}`, or nested at the dots), or a payload
//! document as an object store has it. Leaves: a transaction and its process, over which rules are evaluated as ever.
//! Holds: a key that is no field is an error, never a silence. What is not given is missing, with one exception: an
//! address given without its port has port 0, a port without its address 0.0.0.0.

mod document;
mod fields;

use crate::enrich::identity::{Container, Pod};
use crate::enrich::{Identity, Lookup, Process, Tag, Variables};
use crate::event::{KernelTime, Role, TlsId};
use crate::transaction::{
    ConnectionInfo, Marks, Protocol, Request, Response, Timing, TlsInfo, TraceContext,
    TraceContextSource, Transaction,
};
use serde_json::Value;
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

impl Described {
    /// # Errors
    /// When a key is no field of a transaction, or a value does not fit it.
    pub fn new(value: &Value) -> Result<Described, DescribedError> {
        let object = value.as_object().ok_or(DescribedError::NoObject)?;
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

    fn finish(self) -> Process {
        let exe = self.exe.as_deref();
        let base = exe.and_then(|exe| exe.rsplit('/').next());
        let base = base.unwrap_or_default().to_owned();
        Process {
            pid: self.pid,
            parent_pid: None,
            name: self.name.unwrap_or(base),
            exe: self.exe,
            uid: self.uid,
            owner: self.owner,
            started: None,
            netns: None,
            container_id: self.container_id,
            identity: Identity {
                lookup: match self.container {
                    Some(_) => Lookup::Known,
                    None => Lookup::None,
                },
                container: self.container.map(Arc::new),
                env: Variables::new(self.env),
                tags: self.tags,
                ..Identity::default()
            },
            is_agent: false,
            resource: Vec::new(),
        }
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

    fn finish(mut self) -> Described {
        self.finish_request();
        let context = self.trace_context();
        let at = |ns: u64| KernelTime(1 + ns);
        let timing = Timing {
            start: at(0),
            request_end: at(0),
            response_start: self.response.as_ref().and(self.ttfb).map(at),
            end: at(self.duration),
        };
        let process = self.process.finish();
        let transaction = Transaction {
            role: self.role.unwrap_or(Role::Client),
            protocol: self.version.unwrap_or(Protocol::Http11),
            pid: process.pid,
            tid: process.pid,
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
        Described {
            transaction,
            process,
        }
    }

    /// Puts together what a request says in one piece.
    fn finish_request(&mut self) {
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
                let cookies = self.cookies.join("; ");
                request.headers.push(b"cookie", cookies.as_bytes());
            }
        }
    }

    fn trace_context(&self) -> Option<TraceContext> {
        let (given, sampled) = self.context;
        let given = given.map(|trace_id| TraceContext {
            trace_id,
            span_id: [1; 8],
            flags: u8::from(sampled),
            tracestate: String::new(),
            source: TraceContextSource::W3c,
        });
        given.or_else(|| TraceContext::from_headers(&self.request.as_ref()?.headers))
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

fn protocol(version: &str) -> Option<Protocol> {
    Some(match version {
        "1.0" => Protocol::Http10,
        "1.1" => Protocol::Http11,
        "2" | "2.0" => Protocol::Http2,
        _ => return None,
    })
}

/// As a connection names it; None: there is no such version.
fn tls_version(text: &str) -> Option<&'static str> {
    ["1.0", "1.1", "1.2", "1.3"]
        .into_iter()
        .find(|known| *known == text)
}

#[cfg(test)]
mod tests;
