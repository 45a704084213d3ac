//! A proxy with TLS on both sides: each request is there four times, and each time with the right peer.

use super::{Row, assert_verdict, calls, clients, scene};
use crate::harness::exchange::wait_for_targets;
use crate::harness::plan::{Answer, Call, Client};
use crate::harness::scene::{complete, marks};
use crate::harness::seen::{Seen, header, parent};
use crate::harness::servers::{Server, nginx, nginx_http2};
use crate::harness::work::Work;
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

pub fn run(row: &Row, start: fn(&Work, u16) -> Server, server_header: &str, behind_version: &str) {
    let (mut behind, mut idle) = (None, None);
    let scene = scene(|work| {
        idle = clients::NODE_HTTP2.idle(work);
        let nginx = match behind_version {
            "2" => nginx_http2(work, "https"),
            _ => nginx(work),
        };
        let server = start(work, nginx.port);
        behind = Some(nginx);
        server
    });
    let behind = behind.expect("the server behind");
    let client = match row.http {
        "2" => Client::Program(clients::NODE_HTTP2.program),
        _ => Client::Node,
    };
    let connections = calls(&scene.work);
    let answers = client.perform(&scene.work, &scene.server.base(), &connections);
    let calls = connections.concat();
    wait_for_targets(&scene.agent, &scene.sink, &calls, 4);
    scene.agent.ledger().assert_nothing_lost();
    assert_verdict(row, &scene);
    let port = scene.server.port;
    drop(idle);
    let (seen, _work) = scene.stop();
    for (call, answer) in calls.iter().zip(&answers) {
        let target = &call.target;
        assert_eq!(answer.status, 200, "{target}");
        let of = |kind, from| one(&seen, call, kind, from);
        let (from_client, at_proxy) = (
            of(SpanKind::Client, server_header),
            of(SpanKind::Server, server_header),
        );
        let (from_proxy, at_server) =
            (of(SpanKind::Client, "nginx"), of(SpanKind::Server, "nginx"));
        for (client, server, port, version) in [
            (from_client, at_proxy, port, row.http),
            (from_proxy, at_server, behind.port, behind_version),
        ] {
            verify(client, call, answer, version);
            verify(server, call, answer, version);
            assert_eq!(
                client.int("network.peer.port"),
                Some(port.into()),
                "{target}"
            );
            // Both ends compute it from what they know of their connection.
            assert_eq!(parent(server), Some(client.span_id()), "{target}");
        }
        let told = answer.local_port.map(i64::from);
        assert_eq!(at_proxy.int("network.peer.port"), told, "{target}");
        assert_eq!(seen.spans_of(target).len(), 4, "{target}");
    }
}

/// The one span of this kind whose answer is from this server.
fn one<'a>(seen: &'a Seen, call: &Call, kind: SpanKind, from: &str) -> &'a SeenSpan {
    let of = |span: &&SeenSpan| {
        let says = header(span.attr("http.response.header.x-server"));
        span.span.kind == kind as i32 && says == [from]
    };
    let found: Vec<_> = seen.spans_of(&call.target).into_iter().filter(of).collect();
    let kind = kind.as_str_name();
    assert_eq!(
        found.len(),
        1,
        "{kind} of {} from {from}: {found:#?}",
        call.target
    );
    found[0]
}

fn verify(span: &SeenSpan, call: &Call, answer: &Answer, version: &str) {
    let target = &call.target;
    assert!(complete(span), "{target}: {}", marks(span));
    assert_eq!(
        span.text("http.request.method").as_deref(),
        Some(call.method),
        "{target}"
    );
    assert_eq!(
        span.text("network.protocol.version").as_deref(),
        Some(version),
        "{target}"
    );
    assert_eq!(span.int("http.response.status_code"), Some(200), "{target}");
    let sent = call.body.as_ref().map_or(0, Vec::len) as i64;
    assert_eq!(
        span.int("http.request.body.size").unwrap_or(0),
        sent,
        "{target}"
    );
    let size = answer.body.len() as i64;
    assert_eq!(
        span.int("http.response.body.size").unwrap_or(0),
        size,
        "{target}"
    );
    let number = &call.headers[0].1;
    assert_eq!(
        header(span.attr("http.request.header.x-call")),
        [number.as_str()],
        "{target}"
    );
}
