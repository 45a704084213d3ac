//! Transactions for the unit tests of redaction and of what comes after it.

use super::{About, Hits, Raw, Redacted, Redactor, SpanIds};
use crate::config::{HttpCapture, NameMatch, RedactMode, RedactPlace, RedactRule};
use crate::enrich::Process;
use crate::event::{ConnId, KernelTime, Role, TlsId};
use crate::rules::{Decision, Level};
use crate::transaction::{
    Body, BodyLimits, ConnectionInfo, Headers, Marks, Protocol, Request, Response, Timing, TlsInfo,
    Transaction,
};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

pub(crate) fn policy() -> HttpCapture {
    HttpCapture {
        rules: Vec::new(),
        level: Level::Full,
        object_store: None,
        object_from_level: Level::Summary,
        headers_include: vec!["*".to_owned()],
        headers_exclude: Vec::new(),
        redact: Vec::new(),
        hash_key: None,
        body_max_bytes: 1 << 20,
        body_as_sent: false,
        ..HttpCapture::default()
    }
}

pub(crate) fn rule(
    name: &str,
    place: RedactPlace,
    matcher: NameMatch,
    mode: RedactMode,
) -> RedactRule {
    RedactRule {
        name: name.to_owned(),
        place,
        matcher,
        mode,
    }
}

pub(crate) fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in fields {
        headers.push(name.as_bytes(), value.as_bytes());
    }
    headers
}

pub(crate) fn body(bytes: &[u8]) -> Body {
    let mut body = Body::default();
    let limits = BodyLimits {
        capture: true,
        max_bytes: usize::MAX,
    };
    body.push(bytes, limits);
    body
}

pub(crate) fn process() -> Process {
    Process {
        pid: 4242,
        exe: Some("/usr/bin/curl".to_owned()),
        name: "curl".to_owned(),
        uid: Some(0),
        ..Process::default()
    }
}

/// `GET https://shop.example/a?…` by a client over TLS.
pub(crate) fn transaction(
    target: &str,
    request: &[(&str, &str)],
    response: &[(&str, &str)],
) -> Transaction {
    Transaction {
        role: Role::Client,
        protocol: Protocol::Http11,
        pid: 4242,
        tid: 4243,
        connection: ConnectionInfo {
            conn: Some(ConnId(7)),
            tls: Some(TlsId(9)),
            local: Some("10.0.0.1:40000".parse().unwrap()),
            remote: Some("93.184.216.34:443".parse().unwrap()),
            netns: 1,
            tls_info: Some(TlsInfo {
                version: Some("1.3"),
                sni: Some("shop.example".to_owned()),
                ..TlsInfo::default()
            }),
            join: None,
        },
        ordinal: 3,
        request: Some(Request {
            method: b"GET".to_vec(),
            target: target.as_bytes().to_vec(),
            headers: headers(request),
            trailers: Headers::default(),
            body: body(b"question"),
            wire_size: 100,
            offset: Some(0),
            h2_stream: None,
        }),
        response: Some(Response {
            status: 200,
            reason: b"OK".to_vec(),
            headers: headers(response),
            trailers: Headers::default(),
            body: body(b"answer\xff"),
            wire_size: 300,
            interim: vec![100],
        }),
        timing: Timing {
            start: KernelTime(1_000_000_000),
            request_end: KernelTime(1_000_500_000),
            response_start: Some(KernelTime(1_002_000_000)),
            end: KernelTime(1_002_500_001),
        },
        marks: Marks::default(),
        context: None,
        websocket: None,
        grpc: None,
        lasting: None,
    }
}

pub(crate) fn about(level: Level) -> About {
    let start = UNIX_EPOCH + Duration::new(1_767_225_600, 5);
    About {
        sampling: crate::sampling::Sampling::default(),
        route: None,
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        process: Arc::new(process()),
        decision: Decision { level, rule: None },
        start,
        end: start + Duration::from_nanos(2_500_001),
        ids: SpanIds {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
            parent_span_id: None,
            origin: crate::redact::Origin::default(),
            no_span: None,
            flags: 1,
            tracestate: String::new(),
            link: None,
        },
    }
}

pub(crate) fn redact(
    policy: &HttpCapture,
    transaction: Transaction,
    level: Level,
) -> (Redacted, Hits) {
    Redactor::new(policy)
        .unwrap()
        .redact(Raw::new(Box::new(transaction)), about(level))
}
