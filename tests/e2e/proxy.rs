//! Through a forward proxy: what it is asked, and what goes through it, each once on each side.

use crate::harness::exchange::body_of;
use crate::harness::plan::Call;
use crate::harness::scene::{Scene, complete, payload};
use crate::harness::seen::{Seen, header};
use crate::harness::{pattern, servers, turn};
use crate::otlp_sink::SeenSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

fn of(spans: &[&SeenSpan], kind: SpanKind) -> usize {
    let kind = kind as i32;
    spans.iter().filter(|span| span.span.kind == kind).count()
}

#[test]
fn https_through_a_connect_tunnel_is_one_request_on_each_side_beside_the_tunnels_own() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx);
    let proxy = servers::proxy(&scene.work);
    let target = scene.work.url_path("upload/tunnel");
    let body = scene.work.path("body");
    std::fs::write(&body, pattern(50_000)).expect("write a body");
    let data = format!("@{}", body.display());
    let options = ["-x", &proxy.base(), "--data-binary", &data];
    let output = scene.curl(&target, &options);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let port = scene.server.port;
    let tunnels = |seen: &Seen| -> Vec<SeenSpan> {
        let connect = |span: &&SeenSpan| {
            span.text("http.request.method").as_deref() == Some("CONNECT")
                && span.int("server.port") == Some(port.into())
        };
        seen.spans().iter().filter(connect).cloned().collect()
    };
    let both = |sink: &_| tunnels(&Seen::of(sink)).len() >= 2;
    assert!(
        scene
            .sink
            .wait_for(both, std::time::Duration::from_secs(20)),
        "no spans of the tunnel: {}",
        Seen::of(&scene.sink).summary()
    );
    let (seen, _work) = scene.finish_all(&[&target], 2);
    let pair = seen.pair(&target);
    for span in [pair.client, pair.server] {
        assert!(complete(span), "{span:#?}");
        assert_eq!(span.text("http.request.method").as_deref(), Some("POST"));
        assert_eq!(span.int("http.response.status_code"), Some(200));
        assert_eq!(span.text("url.scheme").as_deref(), Some("https"));
        assert_eq!(span.text("server.address").as_deref(), Some("localhost"));
        assert_eq!(
            header(span.attr("http.response.header.x-server")),
            ["nginx"]
        );
        assert!(body_of(&payload(span)["request"]) == pattern(50_000));
    }
    let tunnels = tunnels(&seen);
    let tunnels: Vec<&SeenSpan> = tunnels.iter().collect();
    let sides = (
        of(&tunnels, SpanKind::Client),
        of(&tunnels, SpanKind::Server),
    );
    assert_eq!(sides, (1, 1), "{tunnels:#?}");
    for span in tunnels {
        assert!(complete(span), "{span:#?}");
        assert_eq!(span.int("http.response.status_code"), Some(200));
        assert_eq!(
            header(span.attr("http.response.header.x-server")),
            ["proxy"]
        );
        let none = [None, Some(0)];
        assert!(none.contains(&span.int("http.response.body.size")));
    }
}

#[test]
fn a_request_in_absolute_form_is_one_on_each_side_of_the_proxy() {
    let _turn = turn();
    let scene = Scene::new(servers::nginx_plain);
    let proxy = servers::proxy(&scene.work);
    let call = Call::get(scene.work.url_path("get/absolute?q=1"));
    let output = scene.curl(&call.target, &["-x", &proxy.base(), "-H", "x-call: 7"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let port = scene.server.port;
    let (seen, _work) = scene.finish_all(&[&call.target], 4);
    let spans = seen.spans_of(&call.target);
    let sides = (of(&spans, SpanKind::Client), of(&spans, SpanKind::Server));
    assert_eq!(sides, (2, 2), "{}", seen.summary());
    for span in &spans {
        assert!(complete(span), "{span:#?}");
        assert_eq!(span.int("http.response.status_code"), Some(200));
        assert_eq!(header(span.attr("http.request.header.x-call")), ["7"]);
        assert_eq!(span.text("server.address").as_deref(), Some("localhost"));
        assert_eq!(span.int("server.port"), Some(port.into()), "{span:#?}");
    }
    let of_proxy = spans.iter().filter(|span| {
        let peer = span.int("network.peer.port");
        peer == Some(proxy.port.into())
    });
    assert_eq!(of_proxy.count(), 1, "only curl talks to the proxy");
}
