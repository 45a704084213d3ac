//! What the conventions say of one HTTP transaction: method, URL, the far ends, how it ended.

use super::attributes::lossy;
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

    /// The same, to be kept: borrowed where it is one of the usual.
    pub fn owned(&self, method: &[u8]) -> Cow<'static, str> {
        match &self.0 {
            Some(_) => Cow::Owned(self.name(method).to_owned()),
            None => Cow::Borrowed(KNOWN.into_iter().find(|m| is(m, method)).unwrap_or(OTHER)),
        }
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
pub struct Web<'a> {
    pub origin: Origin<'a>,
    /// Absent for the target of CONNECT.
    pub path: Option<Cow<'a, str>>,
    pub query: Option<Cow<'a, str>>,
    url: Url<'a>,
}

/// What an absolute URL is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Url<'a> {
    #[default]
    Unknown,
    /// As it was sent.
    Whole(Cow<'a, str>),
    /// This behind scheme and host.
    Behind(Cow<'a, str>),
}

impl Web<'_> {
    /// The absolute URL. Absent where no host is known.
    pub fn full(&self) -> Option<Cow<'_, str>> {
        match (&self.url, &self.origin.host) {
            (Url::Whole(url), _) => Some(Cow::Borrowed(url)),
            (Url::Behind(rest), Some(host)) => Some(Cow::Owned(
                [&self.origin.scheme, "://", host, rest].concat(),
            )),
            (Url::Unknown, _) | (Url::Behind(_), None) => None,
        }
    }
}

/// Reads target, host and forwarding headers. Without a request there is only the scheme.
pub fn web(capture: &Capture) -> Web<'_> {
    let transaction = &capture.transaction;
    let origin = origin(transaction, &capture.facts);
    let Some(request) = &transaction.request else {
        return Web {
            origin,
            ..Web::default()
        };
    };
    match lossy(&request.target) {
        Cow::Borrowed(text) => of_target(origin, (&request.method, text), Cow::Borrowed),
        Cow::Owned(text) => of_target(
            origin,
            (&request.method, &text),
            |part: &str| -> Cow<'_, str> { owned(part) },
        ),
    }
}

fn owned(part: &str) -> Cow<'static, str> {
    Cow::Owned(part.to_owned())
}

fn of_target<'t, 'a>(
    origin: Origin<'a>,
    (method, text): (&[u8], &'t str),
    keep: impl Fn(&'t str) -> Cow<'a, str>,
) -> Web<'a> {
    let target = Target::parse(method, text);
    let (path, query) = target.path_and_query();
    let url = match target {
        Target::Absolute { .. } => Url::Whole(keep(text)),
        // A path that was not seen is not `/`.
        Target::Origin("") => Url::Unknown,
        Target::Origin(path) => Url::Behind(keep(path)),
        Target::Authority(_) | Target::Asterisk => Url::Behind(Cow::Borrowed("")),
    };
    Web {
        origin,
        path: path.map(&keep),
        query: query.map(&keep),
        url,
    }
}

/// Whom a request was for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin<'a> {
    pub scheme: Cow<'a, str>,
    /// As written.
    pub host: Option<Cow<'a, str>>,
    pub server_address: Option<Cow<'a, str>>,
    pub server_port: Option<u16>,
}

/// Reads the origin from a transaction, and from `facts` of its headers. Without a request there is only the scheme.
pub fn origin<'a>(transaction: &'a Transaction, facts: &'a Facts) -> Origin<'a> {
    let connection = &transaction.connection;
    let secured = connection.tls.is_some() || connection.tls_info.is_some();
    let own_scheme = if secured { "https" } else { "http" };
    let Some(request) = &transaction.request else {
        return Origin {
            scheme: Cow::Borrowed(own_scheme),
            ..Origin::default()
        };
    };
    let text = lossy(&request.target);
    let target = Target::parse(&request.method, &text);
    // Few targets have one.
    let named = target.authority().map(owned);
    let scheme = match transaction.role {
        Role::Server => forwarded_scheme(facts).unwrap_or(target_scheme(&target, own_scheme)),
        Role::Client => target_scheme(&target, own_scheme),
    };
    let host = match transaction.role {
        Role::Client => client_host(transaction, facts, named, &scheme),
        Role::Server => server_host(facts, named),
    };
    let server = match &host {
        Some(Cow::Borrowed(host)) => target::authority(host).map(|a| (a.host, a.port)),
        Some(Cow::Owned(host)) => target::authority(host).map(|a| (owned(&a.host), a.port)),
        None => None,
    };
    let forwarded_port = facts
        .x_forwarded_port
        .as_deref()
        .filter(|_| transaction.role == Role::Server && facts.x_forwarded_host.is_some())
        .and_then(|p| p.trim().parse().ok());
    let server_port = server
        .as_ref()
        .and_then(|(_, port)| port.or(forwarded_port).or(target::default_port(&scheme)));
    Origin {
        server_address: server.map(|(host, _)| host),
        server_port,
        scheme,
        host,
    }
}

fn target_scheme(target: &Target<'_>, own: &'static str) -> Cow<'static, str> {
    match target {
        Target::Absolute { scheme, .. } => Cow::Owned(scheme.to_ascii_lowercase()),
        _ => Cow::Borrowed(own),
    }
}

/// The scheme that the first proxy was asked with.
fn forwarded_scheme(facts: &Facts) -> Option<Cow<'static, str>> {
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
        .map(|s| Cow::Owned(s.to_ascii_lowercase()))
}

/// Of the target, else the Host header, else the name asked for in TLS, else the peer's address.
fn client_host<'a>(
    transaction: &'a Transaction,
    facts: &'a Facts,
    named: Option<Cow<'a, str>>,
    scheme: &str,
) -> Option<Cow<'a, str>> {
    let connection = &transaction.connection;
    let named = named
        .or(facts.host.as_deref().map(Cow::Borrowed))
        .and_then(without_space);
    if named.is_some() {
        return named;
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
    Some(Cow::Owned(written(&authority, scheme)))
}

/// Without white space around it. None: nothing is left.
fn without_space(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => owned(text.trim()),
    };
    (!text.is_empty()).then_some(text)
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
fn server_host<'a>(facts: &'a Facts, named: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let of_forwarded = facts
        .forwarded
        .as_deref()
        .and_then(|f| target::forwarded(f, "host"));
    if of_forwarded.is_some() {
        return of_forwarded;
    }
    facts
        .x_forwarded_host
        .as_deref()
        .and_then(target::first_of_list)
        .map(Cow::Borrowed)
        .or(named)
        .or(facts.host.as_deref().map(Cow::Borrowed))
        .and_then(without_space)
}

/// `client.address`, where proxies name one: the first client. Else it is the peer's.
pub fn named_client(capture: &Capture) -> Option<Cow<'_, str>> {
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
    of_forwarded.or_else(of_header).and_then(|name| match name {
        Cow::Borrowed(name) => target::authority(name).map(|a| a.host),
        Cow::Owned(name) => target::authority(&name).map(|a| owned(&a.host)),
    })
}
