//! Fixed transactions for tests of rules.

use crate::enrich::identity::{Container, Pod};
use crate::enrich::{Identity, Lookup, Process, Tag, Variables};
use crate::event::{KernelTime, Role, TlsId};
use crate::redact::sample::headers;
use crate::transaction::*;
use std::sync::Arc;

pub(crate) struct Sample {
    pub transaction: Transaction,
    pub process: Process,
}

fn body(size: u64) -> Body {
    let mut body = Body::default();
    let limits = BodyLimits {
        capture: false,
        max_bytes: 0,
    };
    body.push(&vec![b'x'; usize::try_from(size).expect("fits")], limits);
    body
}

pub(crate) fn process() -> Process {
    Process {
        pid: 4711,
        parent_pid: Some(1),
        exe: Some("/usr/bin/python3.11".into()),
        name: "python3.11".into(),
        uid: Some(33),
        owner: Some("www-data".into()),
        started: None,
        netns: Some(7),
        container_id: Some("0123456789abcdef".repeat(4)),
        identity: Identity::default(),
        is_agent: false,
        resource: Vec::new(),
    }
}

/// A client's POST over TLS that took 1.5 s, with repeated headers, cookies, a query and a trace context.
pub(crate) fn orders() -> Sample {
    let ms = |ms: u64| KernelTime(1_000_000_000 + ms * 1_000_000);
    let request = Request {
        method: b"POST".to_vec(),
        target: b"/api/v2/orders?page=2&page=3&q=a%20b+c&empty=&flag&limit=50".to_vec(),
        headers: headers(&[
            ("Host", "API.Example.com:8443"),
            ("Content-Type", "application/json; charset=utf-8"),
            ("X-Tenant", "acme"),
            ("X-Tag", "red"),
            ("x-tag", "blue"),
            ("X-Count", "42"),
            ("X-Ratio", "0.5"),
            ("X-Empty", ""),
            ("X-Forwarded-For", "192.168.7.9"),
            ("X-Name", "J\u{dc}RGEN"),
            ("Cookie", "sid=abc; theme=\"dark\""),
            ("Cookie", "sid=def"),
        ]),
        body: body(2048),
        ..Request::default()
    };
    let response = Response {
        status: 201,
        reason: b"Created".to_vec(),
        headers: headers(&[
            ("Content-Type", "text/html"),
            ("X-Cache", "HIT"),
            ("Retry-After", "120"),
        ]),
        body: body(70_000),
        ..Response::default()
    };
    let transaction = Transaction {
        role: Role::Client,
        protocol: Protocol::Http11,
        pid: 4711,
        tid: 4711,
        connection: ConnectionInfo {
            conn: None,
            tls: Some(TlsId(5)),
            local: Some("10.1.2.3:40000".parse().expect("an address")),
            remote: Some("10.9.8.7:8443".parse().expect("an address")),
            netns: 7,
            tls_info: Some(TlsInfo {
                version: Some("1.3"),
                sni: Some("API.example.com".into()),
                alpn_offered: vec!["h2".into(), "http/1.1".into()],
            }),
            join: None,
        },
        ordinal: 0,
        request: Some(request),
        response: Some(response),
        timing: Timing {
            start: ms(0),
            request_end: ms(10),
            response_start: Some(ms(260)),
            end: ms(1500),
        },
        marks: Marks::default(),
        context: Some(TraceContext {
            trace_id: [0xab; 16],
            span_id: [1; 8],
            flags: 1,
            tracestate: String::new(),
            source: TraceContextSource::W3c,
        }),
        websocket: None,
        grpc: None,
        lasting: None,
    };
    Sample {
        transaction,
        process: process(),
    }
}

/// A server's GET over IPv6 without TLS that got no answer, of a process of which little is known.
pub(crate) fn bare() -> Sample {
    let mut sample = orders();
    let transaction = &mut sample.transaction;
    transaction.role = Role::Server;
    transaction.protocol = Protocol::Http10;
    transaction.connection = ConnectionInfo {
        conn: None,
        tls: None,
        local: Some("[::1]:8080".parse().expect("an address")),
        remote: Some("[2001:db8::17]:5555".parse().expect("an address")),
        netns: 0,
        tls_info: None,
        join: None,
    };
    transaction.request = Some(Request {
        method: b"GET".to_vec(),
        target: b"/".to_vec(),
        ..Request::default()
    });
    transaction.response = None;
    transaction.timing.response_start = None;
    transaction.context = None;
    sample.process = Process {
        exe: None,
        uid: None,
        owner: None,
        container_id: None,
        ..sample.process
    };
    sample
}

/// A gRPC call over HTTP/2 to a public address.
pub(crate) fn grpc() -> Sample {
    let mut sample = orders();
    let transaction = &mut sample.transaction;
    transaction.protocol = Protocol::Http2;
    transaction.connection.remote = Some("93.184.216.34:443".parse().expect("an address"));
    transaction.request = Some(Request {
        method: b"POST".to_vec(),
        target: b"/shop.v1.Cart/AddItem".to_vec(),
        headers: headers(&[
            ("host", "cart.example.co.uk"),
            ("content-type", "application/grpc+proto"),
        ]),
        ..Request::default()
    });
    transaction.response = Some(Response {
        status: 200,
        trailers: headers(&[("grpc-status", "5"), ("grpc-message", "not found")]),
        ..Response::default()
    });
    sample
}

/// A failed DELETE of a container of a pod of which the runtime told all.
pub(crate) fn pod() -> Sample {
    let mut sample = orders();
    if let Some(request) = &mut sample.transaction.request {
        request.method = b"DELETE".to_vec();
    }
    if let Some(response) = &mut sample.transaction.response {
        response.status = 503;
    }
    let labels = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let container = Container {
        id: "0123456789abcdef".repeat(4),
        name: Some("payments-api".into()),
        image: Some("registry.example/shop/payments:2.7.1".into()),
        labels: labels(&[("com.example.tier", "backend"), ("replica", "3")]),
        pod: Some(Pod {
            name: "payments-5d4f8-x7k2p".into(),
            namespace: "prod".into(),
            labels: labels(&[("app", "payments"), ("canary", "")]),
            annotations: labels(&[("owner.team", "Checkout")]),
            ..Pod::default()
        }),
        ..Container::default()
    };
    sample.process.identity = Identity {
        lookup: Lookup::Known,
        container: Some(Arc::new(container)),
        env: Variables::new(vec![("REGION".into(), "eu-1".into())]),
        tags: [("team", "Checkout"), ("tier", "gold")]
            .into_iter()
            .filter_map(|(key, value)| Tag::new(key, value))
            .collect(),
        ..Identity::default()
    };
    sample
}
