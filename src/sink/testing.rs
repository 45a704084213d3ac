//! Captures for tests of sinks.

use crate::enrich::{Identity, Process, ResourceValue};
use crate::event::{KernelTime, Role, TlsId};
pub(crate) use crate::redact::sample::{body, headers};
use crate::redact::{BodyPolicy, Capture, Facts, SpanIds};
use crate::rules::{Decision, Level};
use crate::transaction::grpc::{Code, Counts, Grpc, Kind};
use crate::transaction::{
    ConnectionInfo, Marks, Protocol, Request, Response, Timing, TlsInfo, Transaction,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

pub fn process(pid: u32, service: &str) -> Arc<Process> {
    Arc::new(Process {
        pid,
        parent_pid: Some(1),
        exe: Some("/usr/bin/curl".into()),
        name: "curl".into(),
        uid: Some(0),
        owner: Some("root".into()),
        started: None,
        netns: None,
        container_id: None,
        identity: Identity::default(),
        is_agent: false,
        resource: vec![
            (
                "service.name".into(),
                ResourceValue::Str(service.to_owned()),
            ),
            ("process.pid".into(), ResourceValue::Int(pid.into())),
        ],
    })
}

/// `GET https://example.com/a/b?c=d` answered 200 with `hello`, at level headers, after 12.3 ms.
pub fn capture(role: Role) -> Capture {
    let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Capture {
        sampling: crate::sampling::Sampling::default(),
        route: None,
        id: "0123456789abcdef0123456789abcdef".into(),
        transaction: Box::new(transaction(role)),
        process: process(42, "unknown_service:curl"),
        decision: Decision {
            level: Level::Headers,
            rule: None,
        },
        start,
        end: start + Duration::from_micros(12_300),
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
        facts: Facts {
            host: Some("example.com".into()),
            user_agent: Some("curl/8".into()),
            ..Facts::default()
        },
        bodies: BodyPolicy::plain(1 << 20, false),
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

fn transaction(role: Role) -> Transaction {
    let (client, server) = (address("10.0.0.1:50000"), address("10.0.0.2:443"));
    let (local, remote) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    Transaction {
        role,
        protocol: Protocol::Http11,
        pid: 42,
        tid: 42,
        connection: ConnectionInfo {
            conn: None,
            tls: Some(TlsId(1)),
            local,
            remote,
            netns: 0,
            tls_info: Some(TlsInfo {
                version: Some("1.3"),
                sni: Some("sni.example.com".into()),
                ..TlsInfo::default()
            }),
            join: None,
        },
        ordinal: 0,
        request: Some(Request {
            method: b"GET".to_vec(),
            target: b"/a/b?c=d".to_vec(),
            headers: headers(&[("Host", "example.com"), ("User-Agent", "curl/8")]),
            wire_size: 80,
            ..Request::default()
        }),
        response: Some(Response {
            status: 200,
            headers: headers(&[("Content-Type", "text/plain"), ("Content-Length", "5")]),
            body: body(b"hello"),
            wire_size: 69,
            ..Response::default()
        }),
        timing: Timing {
            start: KernelTime(1_000_000_000),
            request_end: KernelTime(1_001_000_000),
            response_start: Some(KernelTime(1_010_000_000)),
            end: KernelTime(1_012_300_000),
        },
        marks: Marks::default(),
        context: None,
        websocket: None,
        grpc: None,
        lasting: None,
    }
}

/// Makes a call of it: `POST /shop.v1.Cart/Add` with one message and two answers.
pub fn call(capture: &mut Capture, code: Option<Code>) {
    let transaction = &mut capture.transaction;
    let counts = |messages| Counts {
        messages,
        size: 10 * messages,
        longest: 10,
        ..Counts::default()
    };
    transaction.grpc = Some(Grpc {
        kind: Kind::Grpc,
        from_client: Some(counts(1)),
        from_server: Some(counts(2)),
        code,
        inferred: false,
    });
    if let Some(request) = &mut transaction.request {
        request.method = b"POST".to_vec();
        request.target = b"/shop.v1.Cart/Add".to_vec();
    }
}
