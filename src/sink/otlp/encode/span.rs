//! A capture as a span.

use super::attributes::{Attributes, OF_LOG_RECORD, OF_SPAN, lossy};
use super::common::Common;
use super::grpc;
use super::http::{self, Outcome, Web};
use super::{EncodeOptions, names, unix_nanos, wire};
use crate::event::Role;
use crate::redact::{Capture, Origin};
use crate::rules::Level;
use crate::sink::PayloadLink;
use crate::sink::payload::websocket::counts;
use crate::telemetry::ledger::LeftOut;
use crate::transaction::{
    Headers, Request, Response, TraceContext, TraceContextSource, Transaction,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{
    Span, Status,
    span::{Link, SpanKind},
    status::StatusCode,
};
use prost::Message;
use std::borrow::Cow;

/// OTLP span flags: whether the parent is remote is known.
const FLAG_REMOTE_KNOWN: u32 = 0x100;
/// OTLP span flags: the parent is remote.
const FLAG_REMOTE: u32 = 0x200;

/// Fields of a span.
mod field {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const PARENT_SPAN_ID: u32 = 4;
    pub const NAME: u32 = 5;
    pub const KIND: u32 = 6;
    pub const START: u32 = 7;
    pub const END: u32 = 8;
    pub const LINKS: u32 = 13;
    pub const STATUS: u32 = 15;
    pub const FLAGS: u32 = 16;
}

/// The span of a capture.
pub fn span(capture: &Capture, link: Option<&PayloadLink>, options: &EncodeOptions) -> Span {
    let bytes = span_bytes(Vec::new(), &Common::new(capture, link, options));
    Span::decode(&bytes[..]).expect("what was written here reads back")
}

/// The span of a capture as a message of protobuf, behind what is in `out`.
pub fn span_bytes(out: Vec<u8>, common: &Common<'_>) -> Vec<u8> {
    let Common {
        capture,
        options,
        outcome,
        ..
    } = common;
    let mut out = attributes_of(out, common).into_bytes();
    // Fields may stand in any order.
    let ids = &capture.ids;
    if let Some((trace, span)) = ids.shown() {
        wire::bytes(&mut out, field::TRACE_ID, trace);
        wire::bytes(&mut out, field::SPAN_ID, span);
    }
    wire::unless_empty(&mut out, field::TRACE_STATE, ids.tracestate.as_bytes());
    if let Some(parent) = &ids.parent_span_id {
        wire::bytes(&mut out, field::PARENT_SPAN_ID, parent);
    }
    wire::bytes(&mut out, field::NAME, name(capture, options).as_bytes());
    wire::varint(&mut out, field::KIND, kind(capture) as u64);
    wire::fixed64(&mut out, field::START, unix_nanos(capture.start));
    wire::fixed64(&mut out, field::END, unix_nanos(capture.end));
    if let Some(context) = &ids.link {
        wire::bytes(&mut out, field::LINKS, &self::link(context).encode_to_vec());
    }
    // Unset is the absence of a status.
    if outcome.error.is_some() {
        let status = Status {
            code: StatusCode::Error as i32,
            ..Status::default()
        };
        wire::bytes(&mut out, field::STATUS, &status.encode_to_vec());
    }
    wire::fixed32(&mut out, field::FLAGS, flags(capture));
    out
}

/// `flags` of the span: W3C flags of its context, and whether its parent is remote.
fn flags(capture: &Capture) -> u32 {
    let remote = match (capture.ids.parent_span_id, capture.ids.origin) {
        // Of the same process.
        (_, Origin::Inferred) | (None, _) => 0,
        (Some(_), _) => FLAG_REMOTE,
    };
    FLAG_REMOTE_KNOWN | remote | u32::from(capture.ids.flags)
}

/// The method of a call; else that of HTTP, with the route where one is known: a path must not be a name.
pub(super) fn name<'a>(capture: &'a Capture, options: &'a EncodeOptions) -> Cow<'a, str> {
    if let Some(name) = grpc::name(&capture.transaction) {
        return name;
    }
    let method = match &capture.transaction.request {
        Some(request) => match options.known_methods.name(&request.method) {
            http::OTHER => "HTTP",
            method => method,
        },
        None => "HTTP",
    };
    match &capture.route {
        Some(route) => Cow::Owned(format!("{method} {}", route.template)),
        None => Cow::Borrowed(method),
    }
}

fn kind(capture: &Capture) -> SpanKind {
    match capture.transaction.role {
        Role::Client => SpanKind::Client,
        Role::Server => SpanKind::Server,
    }
}

fn link(context: &TraceContext) -> Link {
    let inferred = context.source == TraceContextSource::Inferred;
    let remote = if inferred { 0 } else { FLAG_REMOTE };
    let mark = inferred.then(|| KeyValue {
        key: names::TRACE_PARENT.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(names::INFERRED.to_owned())),
        }),
        ..KeyValue::default()
    });
    Link {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        trace_state: context.tracestate.clone(),
        flags: FLAG_REMOTE_KNOWN | remote | u32::from(context.flags),
        attributes: mark.into_iter().collect(),
        ..Link::default()
    }
}

/// Attributes of the span, cut down to `level` where that is below the capture's own.
pub fn attributes(
    capture: &Capture,
    link: Option<&PayloadLink>,
    level: Level,
    options: &EncodeOptions,
) -> Attributes {
    attributes_of(Vec::new(), &Common::at(level, capture, link, options))
}

fn attributes_of(out: Vec<u8>, common: &Common<'_>) -> Attributes {
    let Common { capture, web, .. } = common;
    let mut list = Attributes::of(OF_SPAN, out);
    list.extend(&common.alike);
    peers(&mut list, capture, web);
    sizes(&mut list, capture);
    user_agent(&mut list, capture, common.level);
    tls(&mut list, capture);
    list
}

/// What a reader of log records looks for, without all that the span says.
pub(super) fn alike(common: &mut Common<'_>, link: Option<&PayloadLink>) {
    let Common {
        capture,
        options,
        level,
        outcome,
        web,
        alike: list,
    } = common;
    method(list, capture, options);
    url(list, capture, web);
    list.maybe_text(names::SERVER_ADDRESS, web.origin.server_address.as_deref());
    response(list, capture, outcome);
    headers(list, capture, *level);
    own(list, capture);
    websocket(list, capture);
    grpc::attributes(list, capture, *level);
    payload(list, link);
}

/// Attributes of a report of a transaction that goes on: what it is, and how far it has come.
pub(super) fn progress_attributes(capture: &Capture, options: &EncodeOptions) -> Vec<KeyValue> {
    let transaction = &capture.transaction;
    let web = http::web(capture);
    let mut list = Attributes::of(OF_LOG_RECORD, Vec::new());
    method(&mut list, capture, options);
    url(&mut list, capture, &web);
    list.maybe_text(names::SERVER_ADDRESS, web.origin.server_address.as_deref());
    if let Some(status) = http::status(transaction) {
        list.int(names::HTTP_RESPONSE_STATUS_CODE, status.into());
    }
    sizes(&mut list, capture);
    list.text(names::TRANSACTION_ID, capture.id.as_str());
    list.text(names::CAPTURE_LEVEL, capture.decision.level.name());
    list.maybe_text(names::CAPTURE_RULE, capture.decision.rule.as_deref());
    marks(&mut list, transaction);
    ttfb(&mut list, transaction);
    if let Some(lasting) = transaction.lasting {
        list.int(names::PROGRESS_REPORT, lasting.reports);
    }
    let nanos = transaction.timing.end.since(transaction.timing.start);
    list.double(names::PROGRESS_DURATION, nanos as f64 / 1e9);
    websocket(&mut list, capture);
    grpc::attributes(&mut list, capture, capture.decision.level);
    list.finish()
}

fn method(list: &mut Attributes, capture: &Capture, options: &EncodeOptions) {
    let Some(request) = &capture.transaction.request else {
        // Required, and not known: the request was not seen.
        list.text(names::HTTP_REQUEST_METHOD, http::OTHER);
        return;
    };
    let name = options.known_methods.name(&request.method);
    list.text(names::HTTP_REQUEST_METHOD, name);
    if name.as_bytes() != request.method && !request.method.is_empty() {
        let original = lossy(&request.method);
        list.text(names::HTTP_REQUEST_METHOD_ORIGINAL, original);
    }
}

fn url(list: &mut Attributes, capture: &Capture, web: &Web<'_>) {
    list.text(names::URL_SCHEME, &*web.origin.scheme);
    match capture.transaction.role {
        Role::Client => list.maybe_text(names::URL_FULL, web.full()),
        Role::Server => {
            list.maybe_text(names::URL_PATH, web.path.as_deref());
            list.maybe_text(names::URL_QUERY, web.query.as_deref());
        }
    }
    route(list, capture);
}

fn route(list: &mut Attributes, capture: &Capture) {
    let Some(route) = &capture.route else {
        return;
    };
    let name = match capture.transaction.role {
        Role::Client => names::URL_TEMPLATE,
        Role::Server => names::HTTP_ROUTE,
    };
    list.text(name, &*route.template);
    if route.guessed {
        list.bool(names::ROUTE_GUESSED, true);
    }
}

fn peers(list: &mut Attributes, capture: &Capture, web: &Web<'_>) {
    let transaction = &capture.transaction;
    if let Some(port) = web.origin.server_port {
        list.int(names::SERVER_PORT, port.into());
    }
    match transaction.role {
        Role::Server => match (http::named_client(capture), transaction.connection.remote) {
            (Some(name), _) => list.text(names::CLIENT_ADDRESS, name),
            (None, Some(peer)) => list.ip(names::CLIENT_ADDRESS, peer.ip()),
            (None, None) => {}
        },
        Role::Client => peer_service(list, capture, web),
    }
    let connection = &transaction.connection;
    if let Some(peer) = connection.remote {
        list.ip(names::NETWORK_PEER_ADDRESS, peer.ip());
        list.int(names::NETWORK_PEER_PORT, peer.port().into());
    }
    if let Some(local) = connection.local {
        list.ip(names::NETWORK_LOCAL_ADDRESS, local.ip());
        list.int(names::NETWORK_LOCAL_PORT, local.port().into());
    }
    // `network.protocol.name` is for what is not http.
    list.text(
        names::NETWORK_PROTOCOL_VERSION,
        transaction.protocol.version(),
    );
}

/// Draws the edge to a server that has no span of its own. With a trace context in the request there may be one,
/// and the edge would be there twice.
fn peer_service(list: &mut Attributes, capture: &Capture, web: &Web<'_>) {
    let transaction = &capture.transaction;
    let untraced = transaction.context.is_none() && transaction.request.is_some();
    if let Some(server) = web.origin.server_address.as_deref().filter(|_| untraced) {
        list.text(names::PEER_SERVICE, server);
        list.text(names::SERVICE_PEER_NAME, server);
    }
}

fn response(list: &mut Attributes, capture: &Capture, outcome: &Outcome) {
    if let Some(status) = http::status(&capture.transaction) {
        list.int(names::HTTP_RESPONSE_STATUS_CODE, status.into());
    }
    list.maybe_text(names::ERROR_TYPE, outcome.error.clone());
}

fn sizes(list: &mut Attributes, capture: &Capture) {
    if let Some(request) = &capture.transaction.request {
        list.int(names::HTTP_REQUEST_BODY_SIZE, request.body.size());
        list.int(names::HTTP_REQUEST_SIZE, request.wire_size);
    }
    if let Some(response) = &capture.transaction.response {
        list.int(names::HTTP_RESPONSE_BODY_SIZE, response.body.size());
        list.int(names::HTTP_RESPONSE_SIZE, response.wire_size);
    }
}

fn user_agent(list: &mut Attributes, capture: &Capture, level: Level) {
    if capture.transaction.role == Role::Server || level >= Level::Headers {
        list.maybe_text(
            names::USER_AGENT_ORIGINAL,
            capture.facts.user_agent.as_deref(),
        );
    }
}

fn tls(list: &mut Attributes, capture: &Capture) {
    let connection = &capture.transaction.connection;
    if connection.tls.is_none() && connection.tls_info.is_none() {
        return;
    }
    list.text(names::TLS_PROTOCOL_NAME, "tls");
    let version = connection.tls_info.as_ref().and_then(|t| t.version);
    list.maybe_text(names::TLS_PROTOCOL_VERSION, version);
}

fn headers(list: &mut Attributes, capture: &Capture, level: Level) {
    if level < Level::Headers {
        return;
    }
    let none = Headers::default();
    let request = capture.transaction.request.as_ref();
    let response = capture.transaction.response.as_ref();
    let of_request = |part: fn(&Request) -> &Headers| request.map_or(&none, part);
    let of_response = |part: fn(&Response) -> &Headers| response.map_or(&none, part);
    list.headers(names::HTTP_REQUEST_HEADER, of_request(|r| &r.headers));
    list.headers(names::REQUEST_TRAILER, of_request(|r| &r.trailers));
    list.headers(names::HTTP_RESPONSE_HEADER, of_response(|r| &r.headers));
    list.headers(names::RESPONSE_TRAILER, of_response(|r| &r.trailers));
}

fn own(list: &mut Attributes, capture: &Capture) {
    let transaction = &capture.transaction;
    list.text(names::TRANSACTION_ID, capture.id.as_str());
    list.text(names::CAPTURE_LEVEL, capture.decision.level.name());
    list.maybe_text(names::CAPTURE_RULE, capture.decision.rule.as_deref());
    let wanted = capture.sampling.wanted_level.map(Level::name);
    list.maybe_text(names::WANTED_LEVEL, wanted);
    if capture.sampling.stands_for != 1.0 {
        list.double(names::STANDS_FOR, capture.sampling.stands_for);
    }
    let origin = match capture.ids.origin {
        // A header's parent is every tracer's.
        Origin::Root | Origin::Header => None,
        Origin::Computed => Some(names::COMPUTED),
        Origin::Inferred => Some(names::INFERRED),
    };
    list.maybe_text(names::TRACE_PARENT, origin);
    list.maybe_text(names::NO_SPAN, capture.ids.no_span.map(LeftOut::name));
    list.bool(names::COMPLETE, transaction.complete());
    marks(list, transaction);
    tags(list, capture);
    ttfb(list, transaction);
    if let Some(lasting) = transaction.lasting {
        list.int(names::PROGRESS_REPORTS, lasting.reports);
    }
}

/// One attribute for each key; they are sorted. A key with more than one value has a list.
fn tags(list: &mut Attributes, capture: &Capture) {
    let tags = &capture.process.identity.tags;
    for same in tags.chunk_by(|a, b| a.key() == b.key()) {
        let [first, more @ ..] = same else { continue };
        let name = format!("{}{}", names::TAG, first.key());
        if more.is_empty() {
            list.text(&name, first.value());
        } else {
            list.texts(&name, same.iter().map(|tag| tag.value().to_owned()));
        }
    }
}

fn marks(list: &mut Attributes, transaction: &Transaction) {
    if !transaction.marks.is_empty() {
        let marks = transaction.marks.iter().map(|m| m.name().to_owned());
        list.texts(names::MARKS, marks);
    }
}

fn ttfb(list: &mut Attributes, transaction: &Transaction) {
    if let Some(first) = transaction.timing.response_start {
        let nanos = first.since(transaction.timing.start);
        list.double(names::TTFB, nanos as f64 / 1e9);
    }
}

/// Counts of both directions; opcodes that did not occur are left out.
fn websocket(list: &mut Attributes, capture: &Capture) {
    let Some(websocket) = &capture.transaction.websocket else {
        return;
    };
    let sides = [
        ("from_client", &websocket.from_client),
        ("from_server", &websocket.from_server),
    ];
    for (side, frames) in sides {
        for (what, count) in counts(frames) {
            if count > 0 || what == "messages" {
                list.int(&format!("{}{side}.{what}", names::WEBSOCKET), count);
            }
        }
    }
    if let Some(code) = websocket.close_code() {
        list.int(&format!("{}close_code", names::WEBSOCKET), code.into());
    }
}

fn payload(list: &mut Attributes, link: Option<&PayloadLink>) {
    let Some(link) = link else {
        return;
    };
    list.maybe_text(names::PAYLOAD_URL, link.url.as_deref());
    list.maybe_text(names::PAYLOAD_DIGEST, link.digest.as_deref());
    if let Some(size) = link.size {
        list.int(names::PAYLOAD_SIZE, size);
    }
    list.text(names::PAYLOAD_STATUS, link.status.name());
}
