//! What rules can ask of a transaction and its process.
//!
//! Enters: a transaction with its process, or what is known of one so far. Leaves: values of fields.
//! Holds: values that stand in the transaction are borrowed; others are put together in the caller's buffer.

use super::expr::{Facts, Field, FieldId, Known, Number, Presence, Value};
use crate::enrich::identity::Labels;
use crate::enrich::{Identity, Lookup, Process};
use crate::event::Role;
use crate::proto::grpc;
use crate::transaction::{ConnectionInfo, Headers, Protocol, Request, Response, Transaction};
use percent_encoding::percent_decode;
use std::net::SocketAddr;

/// All facts of a transaction that is over.
pub struct TransactionFacts<'a> {
    pub transaction: &'a Transaction,
    pub process: &'a Process,
}

/// The part of other facts that is known at some moment: what comes later is not known yet.
pub struct UpTo<'a> {
    pub facts: &'a dyn Facts,
    pub known: Known,
}

/// What is known before the first request: the process, and of the connection what is given.
#[derive(Clone, Copy)]
pub struct Early<'a> {
    pub process: &'a Process,
    /// Side, local and remote address; None: of any connection of the process.
    pub connection: Option<(Role, Option<SocketAddr>, Option<SocketAddr>)>,
}

type Take<'t> = &'t mut dyn FnMut(Value<'_>);

impl Facts for UpTo<'_> {
    fn visit(&self, field: &Field, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        match field.def.known {
            Known::Never => Presence::Missing,
            known if known > self.known => Presence::NotYet,
            _ => self.facts.visit(field, buffer, take),
        }
    }
}

impl Facts for Early<'_> {
    fn visit(&self, field: &Field, _: &mut Vec<u8>, take: Take<'_>) -> Presence {
        match (field.def.known, self.connection) {
            (Known::Never, _) => Presence::Missing,
            // What is not known of a process now may be learnt later.
            (Known::Process, _) => match process(self.process, field, take) {
                Presence::Missing => Presence::NotYet,
                presence => presence,
            },
            (Known::Connection, Some((role, local, remote))) => {
                // Which socket a TLS session uses may be learnt late: without an address an egress may turn out either.
                if remote.is_none() && role == Role::Client && field.def.id == FieldId::Direction {
                    return Presence::NotYet;
                }
                let internal = internal(self.process, remote);
                match connection(role, local, remote, internal, field.def.id, take) {
                    Presence::Missing => Presence::NotYet,
                    presence => presence,
                }
            }
            _ => Presence::NotYet,
        }
    }
}

impl Facts for TransactionFacts<'_> {
    fn visit(&self, field: &Field, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        let transaction = self.transaction;
        let id = field.def.id;
        match field.def.known {
            Known::Never => Presence::Missing,
            Known::Process => process(self.process, field, take),
            Known::Connection => {
                let ConnectionInfo { local, remote, .. } = transaction.connection;
                let internal = internal(self.process, remote);
                connection(transaction.role, local, remote, internal, id, take)
            }
            Known::Request | Known::Response | Known::End => self.http(field, buffer, take),
        }
    }
}

/// Gives the value, where there is one.
fn give(value: Option<Value<'_>>, take: Take<'_>) -> Presence {
    match value {
        Some(value) => {
            take(value);
            Presence::Present
        }
        None => Presence::Missing,
    }
}

fn text(value: Option<&[u8]>, take: Take<'_>) -> Presence {
    give(value.map(Value::Text), take)
}

fn number(value: Option<impl Into<i128>>, take: Take<'_>) -> Presence {
    give(value.map(|n| Value::Number(Number::Int(n.into()))), take)
}

/// Gives all values; without one the field is missing.
fn all<'v>(values: impl Iterator<Item = &'v [u8]>, take: Take<'_>) -> Presence {
    let mut presence = Presence::Missing;
    for value in values {
        take(Value::Text(value));
        presence = Presence::Present;
    }
    presence
}

fn process(process: &Process, field: &Field, take: Take<'_>) -> Presence {
    let identity = &process.identity;
    let container = identity.container.as_ref();
    let pod = identity.pod();
    let key = &*field.key;
    let known = |value: Option<&str>, take| text(value.map(str::as_bytes), take);
    let label = |labels: Option<&Labels>, take| {
        text(
            labels
                .and_then(|labels| labels.get(key))
                .map(|value| value.as_bytes()),
            take,
        )
    };
    match field.def.id {
        FieldId::ProcessEnv => known(identity.env.get(key), take),
        FieldId::ContainerName => known(container.and_then(|c| c.name.as_deref()), take),
        FieldId::ContainerImage => known(container.and_then(|c| c.image.as_deref()), take),
        FieldId::ContainerLabel => label(container.map(|c| &c.labels), take),
        FieldId::PodName => known(pod.map(|pod| &*pod.name), take),
        FieldId::PodNamespace => known(pod.map(|pod| &*pod.namespace), take),
        FieldId::PodLabel => label(pod.map(|pod| &pod.labels), take),
        FieldId::PodAnnotation => label(pod.map(|pod| &pod.annotations), take),
        FieldId::Tags => tags(identity, take),
        FieldId::ProcessPath => text(process.exe.as_deref().map(str::as_bytes), take),
        FieldId::ProcessBinary => text(Some(process.name.as_bytes()), take),
        FieldId::ProcessPid => number(Some(process.pid), take),
        FieldId::UserId => number(process.uid, take),
        FieldId::UserName => text(process.owner.as_deref().map(str::as_bytes), take),
        FieldId::ContainerId => match process.container_id.as_deref() {
            Some(id) => all(
                [id.get(..12).unwrap_or(id), id]
                    .into_iter()
                    .map(str::as_bytes),
                take,
            ),
            None => Presence::Missing,
        },
        _ => Presence::Missing,
    }
}

/// None: the peer is not known.
fn internal(process: &Process, remote: Option<SocketAddr>) -> Option<bool> {
    remote.map(|remote| process.identity.private.contain(remote.ip()))
}

/// Each as `key:value`. There is always a list, empty or not, once the container is known.
fn tags(identity: &Identity, take: Take<'_>) -> Presence {
    for tag in &identity.tags {
        take(Value::Text(tag.text().as_bytes()));
    }
    match (identity.tags.is_empty(), identity.lookup) {
        (true, Lookup::Pending) => Presence::Missing,
        _ => Presence::Present,
    }
}

fn connection(
    role: Role,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    internal: Option<bool>,
    id: FieldId,
    take: Take<'_>,
) -> Presence {
    let ip = |address: Option<SocketAddr>| address.map(|a| Value::Ip(a.ip().to_canonical()));
    let port = |address: Option<SocketAddr>| address.map(|a| a.port());
    match id {
        FieldId::Direction => {
            let values: &[&str] = match (role, internal) {
                (Role::Server, _) => &["ingress"],
                (Role::Client, Some(true)) => &["egress", "egress-internal"],
                (Role::Client, Some(false)) => &["egress", "egress-external"],
                // An unknown peer is neither.
                (Role::Client, None) => &["egress"],
            };
            all(values.iter().map(|value| value.as_bytes()), take)
        }
        FieldId::Transport => text(Some(b"tcp"), take),
        FieldId::SourceIp => give(ip(local), take),
        FieldId::SourcePort => number(port(local), take),
        FieldId::DestinationIp => give(ip(remote), take),
        FieldId::DestinationPort => number(port(remote), take),
        _ => Presence::Missing,
    }
}

impl TransactionFacts<'_> {
    fn http(&self, field: &Field, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        let transaction = self.transaction;
        let request = transaction.request.as_ref();
        let response = transaction.response.as_ref();
        let key = &*field.key;
        match field.def.id {
            FieldId::Method => text(request.map(|r| &*r.method).filter(|m| !m.is_empty()), take),
            FieldId::Path => text(request.and_then(|r| Target::of(r).path), take),
            FieldId::Query => text(request.and_then(|r| Target::of(r).query), take),
            FieldId::QueryParameter => {
                parameters(request.and_then(|r| Target::of(r).query), key, buffer, take)
            }
            FieldId::Host => self.host(buffer, take),
            FieldId::Url => self.url(buffer, take),
            FieldId::Scheme => text(Some(self.scheme()), take),
            FieldId::RequestHeader => fields(request.map(|r| &r.headers), key, take),
            FieldId::Cookie => cookies(request.map(|r| &r.headers), key, take),
            FieldId::RequestSize => number(request.map(|r| r.body.size()), take),
            FieldId::Status => number(
                response.map(|r| r.status).filter(|status| *status > 0),
                take,
            ),
            FieldId::ResponseHeader => fields(response.map(|r| &r.headers), key, take),
            FieldId::ResponseSize => number(response.map(|r| r.body.size()), take),
            FieldId::Version => text(Some(transaction.protocol.version().as_bytes()), take),
            FieldId::Protocol => self.protocol(take),
            FieldId::TraceId => {
                let Some(context) = &transaction.context else {
                    return Presence::Missing;
                };
                for byte in context.trace_id {
                    buffer.extend(
                        [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]),
                    );
                }
                text(Some(buffer), take)
            }
            FieldId::TraceSampled => give(
                transaction
                    .context
                    .as_ref()
                    .map(|context| Value::Bool(context.flags & 1 != 0)),
                take,
            ),
            FieldId::Duration => {
                let timing = &transaction.timing;
                // Without an end of the response the time says nothing of the server, and is there all the same.
                give(
                    Some(Value::Duration(timing.end.since(timing.start).into())),
                    take,
                )
            }
            FieldId::Ttfb => {
                let timing = &transaction.timing;
                let first = timing.response_start.map(|first| first.since(timing.start));
                give(first.map(|ns| Value::Duration(ns.into())), take)
            }
            FieldId::GrpcService | FieldId::GrpcMethod | FieldId::GrpcStatus => {
                self.grpc(field.def.id, request, response, take)
            }
            FieldId::TlsEnabled | FieldId::TlsVersion | FieldId::TlsSni | FieldId::TlsAlpn => {
                self.tls(field.def.id, buffer, take)
            }
            FieldId::DestinationDomain => match self.sni() {
                Some(_) => self.tls(FieldId::TlsSni, buffer, take),
                None => {
                    let host = request
                        .and_then(|r| Target::of(r).host(r))
                        .map(without_port);
                    lowered(host, buffer, take)
                }
            },
            _ => Presence::Missing,
        }
    }

    fn is_tls(&self) -> bool {
        let connection = &self.transaction.connection;
        connection.tls.is_some() || connection.tls_info.is_some()
    }

    fn scheme(&self) -> &'static [u8] {
        if self.is_tls() { b"https" } else { b"http" }
    }

    fn sni(&self) -> Option<&str> {
        self.transaction
            .connection
            .tls_info
            .as_ref()
            .and_then(|tls| tls.sni.as_deref())
    }

    fn tls(&self, id: FieldId, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        let info = self.transaction.connection.tls_info.as_ref();
        match id {
            FieldId::TlsEnabled => give(Some(Value::Bool(self.is_tls())), take),
            FieldId::TlsVersion => {
                let version = info
                    .and_then(|tls| tls.version)
                    .and_then(|version| Number::parse(version.as_bytes()));
                give(version.map(Value::Number), take)
            }
            FieldId::TlsSni => lowered(self.sni().map(str::as_bytes), buffer, take),
            _ => match info {
                Some(tls) => {
                    tls.alpn_offered
                        .iter()
                        .for_each(|name| take(Value::Text(name.as_bytes())));
                    Presence::Present
                }
                None => Presence::Missing,
            },
        }
    }

    fn host(&self, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        let request = self.transaction.request.as_ref();
        let Some(host) = request.and_then(|r| Target::of(r).host(r)) else {
            return Presence::Missing;
        };
        buffer.extend(host.iter().map(u8::to_ascii_lowercase));
        take(Value::Text(buffer));
        let bare = without_port(buffer);
        if bare.len() < buffer.len() {
            take(Value::Text(bare));
        }
        Presence::Present
    }

    fn url(&self, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
        let Some(request) = &self.transaction.request else {
            return Presence::Missing;
        };
        let target = Target::of(request);
        let Some(host) = target.host(request) else {
            return Presence::Missing;
        };
        buffer.extend_from_slice(self.scheme());
        buffer.extend_from_slice(b"://");
        buffer.extend(host.iter().map(u8::to_ascii_lowercase));
        buffer.extend_from_slice(target.path.unwrap_or_default());
        if let Some(query) = target.query {
            buffer.push(b'?');
            buffer.extend_from_slice(query);
        }
        text(Some(buffer), take)
    }

    fn grpc_kind(&self) -> Option<grpc::Kind> {
        if let Some(call) = &self.transaction.grpc {
            return Some(call.kind);
        }
        let request = self.transaction.request.as_ref()?;
        grpc::Kind::of(request.headers.get(b"content-type")?)
    }

    fn protocol(&self, take: Take<'_>) -> Presence {
        let version: &[u8] = match self.transaction.protocol {
            Protocol::Http10 | Protocol::Http11 => b"http1",
            Protocol::Http2 => b"http2",
        };
        let grpc = self.grpc_kind().map(|_| &b"grpc"[..]);
        all([b"http", version].into_iter().chain(grpc), take)
    }

    fn grpc(
        &self,
        id: FieldId,
        request: Option<&Request>,
        response: Option<&Response>,
        take: Take<'_>,
    ) -> Presence {
        if self.grpc_kind().is_none() {
            return Presence::Missing;
        }
        if id == FieldId::GrpcStatus {
            let sent = || Some(grpc::Status::of(&response?.headers, &response?.trailers)?.code);
            let call = self.transaction.grpc.as_ref();
            let code = call.and_then(|call| call.code).or_else(sent);
            return number(code.map(|code| code.0), take);
        }
        let name = request.and_then(|r| grpc::method(&r.target));
        let slash = name.and_then(|name| memchr::memrchr(b'/', name));
        let part = name.zip(slash).and_then(|(name, slash)| match id {
            FieldId::GrpcService => name.get(..slash),
            _ => name.get(slash + 1..),
        });
        text(part, take)
    }
}

/// Host that a request is for, with its port where it was written: that of the target, else of the header.
pub fn authority(request: &Request) -> Option<&[u8]> {
    Target::of(request).host(request)
}

/// The parts of a request target (RFC 9112 §3.2).
struct Target<'a> {
    /// Of the absolute and the authority form.
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    fn of(request: &'a Request) -> Target<'a> {
        let target = &*request.target;
        let target = target.split(|b| *b == b'#').next().unwrap_or_default();
        let mut parts = target.splitn(2, |b| *b == b'?');
        let (head, query) = (parts.next().unwrap_or_default(), parts.next());
        let none = Target {
            authority: None,
            path: None,
            query,
        };
        if head.is_empty() && query.is_none() {
            return none;
        }
        if request.method == b"CONNECT" && !head.starts_with(b"/") && query.is_none() {
            return Target {
                authority: Some(head),
                ..none
            };
        }
        let scheme = memchr::memmem::find(head, b"://").filter(|at| {
            let scheme = head.get(..*at).unwrap_or_default();
            !scheme.is_empty()
                && scheme
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        });
        let Some(after) = scheme.and_then(|at| head.get(at + 3..)) else {
            return Target {
                path: Some(head),
                ..none
            };
        };
        let slash = memchr::memchr(b'/', after).unwrap_or(after.len());
        let (authority, path) = after.split_at(slash);
        Target {
            authority: Some(authority),
            path: Some(if path.is_empty() { b"/" } else { path }),
            query,
        }
    }

    /// Host with its port, without user info: that of the target, else of the header (RFC 9112 §3.2.2).
    fn host(&self, request: &'a Request) -> Option<&'a [u8]> {
        let authority = self.authority.or_else(|| request.headers.get(b"host"))?;
        let host = match memchr::memrchr(b'@', authority) {
            Some(at) => authority.get(at + 1..)?,
            None => authority,
        };
        Some(host).filter(|host| !host.is_empty())
    }
}

/// A host without the port behind it.
pub fn without_port(host: &[u8]) -> &[u8] {
    let end = memchr::memrchr(b']', host).map_or(0, |at| at + 1);
    match memchr::memrchr(b':', host) {
        Some(colon) if colon >= end => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

fn lowered(value: Option<&[u8]>, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
    let Some(value) = value else {
        return Presence::Missing;
    };
    buffer.extend(value.iter().map(u8::to_ascii_lowercase));
    text(Some(buffer), take)
}

fn fields(headers: Option<&Headers>, name: &str, take: Take<'_>) -> Presence {
    match headers {
        Some(headers) => all(headers.get_all(name.as_bytes()), take),
        None => Presence::Missing,
    }
}

/// Values of the cookies of this name (RFC 6265 §5.4), without quotes.
fn cookies(headers: Option<&Headers>, name: &str, take: Take<'_>) -> Presence {
    let Some(headers) = headers else {
        return Presence::Missing;
    };
    let pairs = headers
        .get_all(b"cookie")
        .flat_map(|line| line.split(|b| *b == b';'));
    let values = pairs.filter_map(|pair| {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        let found = parts.next()?.trim_ascii();
        let value = parts.next()?.trim_ascii();
        let value = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""))
            .unwrap_or(value);
        (found == name.as_bytes()).then_some(value)
    });
    all(values, take)
}

/// Values of the query parameters of this name; both are form-urlencoded.
fn parameters(query: Option<&[u8]>, name: &str, buffer: &mut Vec<u8>, take: Take<'_>) -> Presence {
    let mut presence = Presence::Missing;
    for pair in query.unwrap_or_default().split(|b| *b == b'&') {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        buffer.clear();
        decode(parts.next().unwrap_or_default(), buffer);
        if buffer.as_slice() != name.as_bytes() {
            continue;
        }
        buffer.clear();
        decode(parts.next().unwrap_or_default(), buffer);
        take(Value::Text(buffer));
        presence = Presence::Present;
    }
    presence
}

fn decode(text: &[u8], buffer: &mut Vec<u8>) {
    for (i, part) in text.split(|b| *b == b'+').enumerate() {
        if i > 0 {
            buffer.push(b' ');
        }
        buffer.extend(percent_decode(part));
    }
}
