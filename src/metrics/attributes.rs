//! What a transaction is counted under, and what is counted of it.

use super::labels::Label;
use super::series::Exemplar;
use crate::event::Role;
use crate::redact::Facts;
use crate::sink::otlp::KnownMethods;
use crate::sink::otlp::encode::names;
use crate::sink::otlp::encode::{OTHER_METHOD, origin, outcome, status_code};
use crate::transaction::{Mark, Transaction};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of a server's name at the most: those of a DNS name (RFC 1035 §2.3.4).
const MAX_ADDRESS: usize = 255;

/// One attribute set. What a client chooses freely (path, query, its address, and on the server's side the host) is not
/// in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attributes {
    pub role: Role,
    method: Cow<'static, str>,
    scheme: &'static str,
    status: Option<u16>,
    error: Option<Cow<'static, str>>,
    version: &'static str,
    /// Of clients alone.
    server: Option<(String, Option<u16>)>,
    route: Option<Arc<str>>,
    labels: Box<[Label]>,
}

/// What a transaction is counted under beside what it says itself.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// Redaction hides the header that names the server.
    pub host_hidden: bool,
    pub route: Option<Arc<str>>,
    /// Headers that are attributes.
    pub labels: Box<[Label]>,
}

/// A value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Text(&'a str),
    Int(u16),
}

impl Attributes {
    /// Reads them from a transaction that is not redacted: user info of a URL is left out, and the server's name where
    /// that is hidden.
    pub fn of(
        transaction: &Transaction,
        known_methods: &KnownMethods,
        beside: Beside,
    ) -> Attributes {
        let role = transaction.role;
        let facts = facts(transaction, beside.host_hidden);
        let origin = origin(transaction, &facts);
        let method = match &transaction.request {
            Some(request) => known_methods.owned(&request.method),
            None => Cow::Borrowed(OTHER_METHOD),
        };
        let connection = &transaction.connection;
        let secured = connection.tls.is_some() || connection.tls_info.is_some();
        let scheme = match &*origin.scheme {
            "http" => "http",
            "https" => "https",
            // Whoever asks may write any other.
            _ if secured => "https",
            _ => "http",
        };
        let server = origin.server_address.filter(|_| role == Role::Client);
        Attributes {
            role,
            method,
            scheme,
            status: status_code(transaction),
            error: outcome(transaction).error,
            version: transaction.protocol.version(),
            server: server.map(Cow::into_owned).map(|mut address| {
                address.truncate(address.floor_char_boundary(MAX_ADDRESS));
                (address, origin.server_port)
            }),
            route: beside.route,
            labels: beside.labels,
        }
    }

    /// Names of the conventions, and those of headers, with their values.
    pub fn list(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        let route = match self.role {
            Role::Server => names::HTTP_ROUTE,
            Role::Client => names::URL_TEMPLATE,
        };
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| (&**name, Value::Text(value)));
        let (address, port) = match &self.server {
            Some((address, port)) => (Some(address.as_str()), *port),
            None => (None, None),
        };
        [
            Some((names::HTTP_REQUEST_METHOD, Value::Text(&self.method))),
            Some((names::URL_SCHEME, Value::Text(self.scheme))),
            self.status
                .map(|status| (names::HTTP_RESPONSE_STATUS_CODE, Value::Int(status))),
            self.error
                .as_deref()
                .map(|error| (names::ERROR_TYPE, Value::Text(error))),
            Some((names::NETWORK_PROTOCOL_VERSION, Value::Text(self.version))),
            address.map(|address| (names::SERVER_ADDRESS, Value::Text(address))),
            port.map(|port| (names::SERVER_PORT, Value::Int(port))),
            self.route
                .as_deref()
                .map(|template| (route, Value::Text(template))),
        ]
        .into_iter()
        .flatten()
        .chain(labels)
    }
}

/// The headers that say where a request went.
fn facts(transaction: &Transaction, host_hidden: bool) -> Facts {
    let Some(request) = &transaction.request else {
        return Facts::default();
    };
    let text = |name: &'static [u8]| {
        let value = request.headers.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    match transaction.role {
        Role::Client if host_hidden => Facts {
            host: Some("REDACTED".to_owned()),
            ..Facts::default()
        },
        Role::Client => Facts {
            host: text(b":authority").or_else(|| text(b"host")),
            ..Facts::default()
        },
        Role::Server => Facts {
            forwarded: text(b"forwarded"),
            x_forwarded_proto: text(b"x-forwarded-proto"),
            ..Facts::default()
        },
    }
}

/// The numbers of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// From the first byte of the request to the last of the response, as the span has it.
    pub duration_ns: u64,
    /// Bytes of the bodies; None: the message was not seen.
    pub request_body: Option<u64>,
    pub response_body: Option<u64>,
    pub exemplar: Option<Exemplar>,
}

impl Measured {
    pub fn of(transaction: &Transaction, exemplar: Option<Exemplar>) -> Measured {
        let timing = &transaction.timing;
        let whole = |gap| !transaction.marks.has(gap);
        let request = transaction.request.as_ref();
        let response = transaction.response.as_ref();
        Measured {
            duration_ns: timing.end.since(timing.start),
            request_body: request
                .filter(|_| whole(Mark::RequestGap))
                .map(|request| request.body.size()),
            response_body: response
                .filter(|_| whole(Mark::ResponseGap))
                .map(|response| response.body.size()),
            exemplar,
        }
    }
}
