//! What the conventions say of one HTTP transaction: method, URL, the far ends, how it ended.

use super::target::{self, Authority, Target};
use crate::event::Role;
use crate::redact::{Capture, Facts};
use crate::transaction::{Mark, Transaction};
use std::borrow::Cow;

/// Methods of RFC 9110, RFC 5789 and QUERY: what the conventions count as known.
const KNOWN: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];
/// `http.request.method` of all others.
pub const OTHER: &str = "_OTHER";

/// Methods that go into `http.request.method` as they are; case counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownMethods(Option<Vec<String>>);

impl KnownMethods {
    /// Reads `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`: a comma list that takes the place of the usual one.
    /// A list without a method in it changes nothing.
    pub fn parse(list: &str) -> Self {
        let methods: Vec<_> = list
            .split(',')
            .map(str::trim)
            .filter(|m| !m.is_empty())
            .map(str::to_owned)
            .collect();
        KnownMethods((!methods.is_empty()).then_some(methods))
    }

    /// Those of the list, where one takes the place of the usual.
    pub fn listed(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The method as an attribute has it.
    pub fn name<'a>(&'a self, method: &[u8]) -> &'a str {
        match &self.0 {
            Some(list) => list.iter().map(String::as_str).find(|m| is(m, method)),
            None => KNOWN.into_iter().find(|m| is(m, method)),
        }
        .unwrap_or(OTHER)
    }
}

fn is(name: &str, method: &[u8]) -> bool {
    name.as_bytes() == method
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `error.type`; the span's status is Error where there is one.
    pub error: Option<Cow<'static, str>>,
    pub severity: Severity,
}

/// Severity number of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info = 9,
    Warn = 13,
    Error = 17,
}

/// Status and error by the conventions. What only the capture lost is no error of the application.
/// A call whose code is known ends as that says.
pub fn outcome(transaction: &Transaction) -> Outcome {
    if let Some(outcome) = super::grpc::outcome(transaction) {
        return outcome;
    }
    if let Some(word) = failure(transaction) {
        return Outcome {
            error: Some(Cow::Borrowed(word)),
            severity: Severity::Error,
        };
    }
    let Some(status) = status(transaction) else {
        return Outcome {
            error: None,
            severity: Severity::Info,
        };
    };
    let (error, severity) = match (status, transaction.role) {
        (100..400, _) => (false, Severity::Info),
        (400..500, Role::Server) => (false, Severity::Warn),
        (400..500, Role::Client) => (true, Severity::Warn),
        _ => (true, Severity::Error),
    };
    Outcome {
        error: error.then(|| Cow::Owned(status.to_string())),
        severity,
    }
}

/// Status code of the response. None: there is no response, or its status refers to what was not seen.
pub fn status(transaction: &Transaction) -> Option<u16> {
    let status = transaction.response.as_ref()?.status;
    let unknown = status == 0 && transaction.marks.has(Mark::HeadersUnknown);
    (!unknown).then_some(status)
}

/// The word for a transaction that broke off.
fn failure(transaction: &Transaction) -> Option<&'static str> {
    let marks = transaction.marks;
    // We stopped looking, or did not see the bytes that would tell.
    if marks.has(Mark::Unfinished) || marks.has(Mark::ResponseGap) {
        return None;
    }
    let unanswered = transaction.response.is_none();
    let broken = marks.has(Mark::ResponseMissing)
        || marks.has(Mark::ResponseCut)
        || (marks.has(Mark::RequestCut) && unanswered);
    if broken && marks.has(Mark::Reset) {
        Some("connection_reset")
    } else if broken && marks.has(Mark::StreamReset) {
        Some("stream_reset")
    } else if marks.has(Mark::ResponseMalformed) && unanswered {
        Some("parse_error")
    } else if broken {
        Some("incomplete_response")
    } else {
        None
    }
}

/// Where a request went, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Web {
    pub scheme: String,
    /// Host of the URL, as written.
    pub host: Option<String>,
    pub server_address: Option<String>,
    pub server_port: Option<u16>,
    /// Absent for the target of CONNECT.
    pub path: Option<String>,
    pub query: Option<String>,
    /// The absolute URL. Absent where no host is known.
    pub full: Option<String>,
}

/// Reads target, host and forwarding headers. Without a request there is only the scheme.
pub fn web(capture: &Capture) -> Web {
    let transaction = &capture.transaction;
    let origin = origin(transaction, &capture.facts);
    let Some(request) = &transaction.request else {
        return Web {
            scheme: origin.scheme,
            ..Web::default()
        };
    };
    let text = String::from_utf8_lossy(&request.target);
    let target = Target::parse(&request.method, &text);
    let (path, query) = target.path_and_query();
    let scheme = &origin.scheme;
    let full = match (&target, &origin.host) {
        (Target::Absolute { .. }, _) => Some(text.to_string()),
        // A path that was not seen is not `/`.
        (Target::Origin(""), _) => None,
        (Target::Origin(path), Some(host)) => Some(format!("{scheme}://{host}{path}")),
        (Target::Authority(_) | Target::Asterisk, Some(host)) => Some(format!("{scheme}://{host}")),
        (_, None) => None,
    };
    Web {
        server_address: origin.server_address,
        server_port: origin.server_port,
        path: path.map(str::to_owned),
        query: query.map(str::to_owned),
        full,
        scheme: origin.scheme,
        host: origin.host,
    }
}

/// Whom a request was for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    pub scheme: String,
    /// As written.
    pub host: Option<String>,
    pub server_address: Option<String>,
    pub server_port: Option<u16>,
}

/// Reads the origin from a transaction, and from `facts` of its headers. Without a request there is only the scheme.
pub fn origin(transaction: &Transaction, facts: &Facts) -> Origin {
    let connection = &transaction.connection;
    let secured = connection.tls.is_some() || connection.tls_info.is_some();
    let own_scheme = if secured { "https" } else { "http" };
    let Some(request) = &transaction.request else {
        return Origin {
            scheme: own_scheme.to_owned(),
            ..Origin::default()
        };
    };
    let text = String::from_utf8_lossy(&request.target);
    let target = Target::parse(&request.method, &text);
    let scheme = match (&target, transaction.role) {
        (_, Role::Server) => forwarded_scheme(facts).unwrap_or(target_scheme(&target, own_scheme)),
        (_, Role::Client) => target_scheme(&target, own_scheme),
    };
    let host = match transaction.role {
        Role::Client => client_host(transaction, facts, &target, &scheme),
        Role::Server => server_host(facts, &target),
    };
    let server = host.as_deref().and_then(target::authority);
    let forwarded_port = facts
        .x_forwarded_port
        .as_deref()
        .filter(|_| transaction.role == Role::Server && facts.x_forwarded_host.is_some())
        .and_then(|p| p.trim().parse().ok());
    let server_port = server
        .as_ref()
        .and_then(|s| s.port.or(forwarded_port).or(target::default_port(&scheme)));
    Origin {
        server_address: server.map(|s| s.host.into_owned()),
        server_port,
        scheme,
        host,
    }
}

fn target_scheme(target: &Target<'_>, own: &str) -> String {
    match target {
        Target::Absolute { scheme, .. } => scheme.to_ascii_lowercase(),
        _ => own.to_owned(),
    }
}

/// The scheme that the first proxy was asked with.
fn forwarded_scheme(facts: &Facts) -> Option<String> {
    let of_forwarded = facts
        .forwarded
        .as_deref()
        .and_then(|f| target::forwarded(f, "proto"));
    let of_header = || {
        let header = facts.x_forwarded_proto.as_deref()?;
        target::first_of_list(header).map(Cow::Borrowed)
    };
    of_forwarded
        .or_else(of_header)
        .filter(|s| target::is_scheme(s))
        .map(|s| s.to_ascii_lowercase())
}

/// Of the target, else the Host header, else the name asked for in TLS, else the peer's address.
fn client_host(
    transaction: &Transaction,
    facts: &Facts,
    target: &Target<'_>,
    scheme: &str,
) -> Option<String> {
    let connection = &transaction.connection;
    let named = target
        .authority()
        .or(facts.host.as_deref())
        .map(str::trim)
        .filter(|h| !h.is_empty());
    if let Some(host) = named {
        return Some(host.to_owned());
    }
    let peer = connection.remote.map(target::of_socket);
    let sni = connection.tls_info.as_ref().and_then(|t| t.sni.as_deref());
    let authority = match sni {
        Some(name) => Authority {
            host: Cow::Borrowed(name),
            port: peer.and_then(|p| p.port),
        },
        None => peer?,
    };
    Some(written(&authority, scheme))
}

/// An authority as a URL has it.
fn written(authority: &Authority<'_>, scheme: &str) -> String {
    let host = &authority.host;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_string()
    };
    match authority.port {
        Some(port) if target::default_port(scheme) != Some(port) => format!("{host}:{port}"),
        _ => host,
    }
}

/// The host that the first proxy was asked for, else that of the request.
fn server_host(facts: &Facts, target: &Target<'_>) -> Option<String> {
    let of_forwarded = facts
        .forwarded
        .as_deref()
        .and_then(|f| target::forwarded(f, "host"));
    if let Some(host) = of_forwarded {
        return Some(host.into_owned());
    }
    facts
        .x_forwarded_host
        .as_deref()
        .and_then(target::first_of_list)
        .or(target.authority())
        .or(facts.host.as_deref())
        .map(str::trim)
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
}

/// `client.address`: the first client that proxies name, else the peer.
pub fn client_address(capture: &Capture) -> Option<String> {
    let facts = &capture.facts;
    let known = |name: &str| !name.eq_ignore_ascii_case("unknown");
    let of_forwarded = facts
        .forwarded
        .as_deref()
        .and_then(|f| target::forwarded(f, "for"))
        .filter(|name| known(name));
    let of_header = || {
        let header = facts.x_forwarded_for.as_deref()?;
        target::first_of_list(header)
            .filter(|name| known(name))
            .map(Cow::Borrowed)
    };
    let named = of_forwarded
        .or_else(of_header)
        .and_then(|name| target::authority(&name).map(|a| a.host.into_owned()));
    let peer = || capture.transaction.connection.remote;
    named.or_else(|| peer().map(|p| target::ip(p.ip())))
}
