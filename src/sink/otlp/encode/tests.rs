//! Conformance with the semantic conventions v1.44, row by row.

use super::*;
use crate::event::Role;
use crate::redact::Capture;
use crate::rules::Level;
use crate::sink::testing::{body, capture, headers};
use crate::sink::{PayloadLink, PayloadStatus};
use crate::transaction::websocket::WebSocket;
use crate::transaction::{Mark, Protocol, Request, Response, TraceContext, TraceContextSource};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use serde_json::{Value, json};

fn plain(value: &AnyValue) -> Value {
    match value.value.as_ref() {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::BoolValue(truth)) => json!(truth),
        Some(Any::ArrayValue(array)) => array.values.iter().map(plain).collect(),
        other => panic!("no such value is made: {other:?}"),
    }
}

fn find(list: &[KeyValue], name: &str) -> Option<Value> {
    let all: Vec<_> = list.iter().filter(|kv| kv.key == name).collect();
    assert!(all.len() < 2, "{name} is there {} times", all.len());
    all.first().and_then(|kv| kv.value.as_ref()).map(plain)
}

fn of(capture: &Capture) -> Span {
    span(capture, None, &EncodeOptions::default())
}

fn attr(capture: &Capture, name: &str) -> Option<Value> {
    find(&of(capture).attributes, name)
}

fn text(value: &str) -> Option<Value> {
    Some(json!(value))
}

fn request(capture: &mut Capture) -> &mut Request {
    capture.transaction.request.as_mut().expect("a request")
}

fn response(capture: &mut Capture) -> &mut Response {
    capture.transaction.response.as_mut().expect("a response")
}

fn client() -> Capture {
    capture(Role::Client)
}

fn server() -> Capture {
    capture(Role::Server)
}

/// A capture of the role with one thing changed.
fn with(role: Role, change: impl FnOnce(&mut Capture)) -> Capture {
    let mut capture = capture(role);
    change(&mut capture);
    capture
}

// 1.1 Span names

#[test]
fn the_name_is_the_method_and_http_for_an_unknown_one() {
    assert_eq!(of(&client()).name, "GET");
    let odd = with(Role::Client, |c| request(c).method = b"get".to_vec());
    assert_eq!(of(&odd).name, "HTTP");
    let unseen = with(Role::Client, |c| c.transaction.request = None);
    assert_eq!(of(&unseen).name, "HTTP");
}

#[test]
fn the_kind_is_the_side_of_the_request() {
    assert_eq!(of(&client()).kind, SpanKind::Client as i32);
    assert_eq!(of(&server()).kind, SpanKind::Server as i32);
}

// 1.2 HTTP attributes

#[test]
fn known_methods_are_exact_and_case_counts() {
    for method in [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        assert_eq!(attr(&c, "http.request.method"), text(method));
        assert_eq!(attr(&c, "http.request.method_original"), None);
    }
    for method in ["get", "PROPFIND", "Get"] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        assert_eq!(attr(&c, "http.request.method"), text("_OTHER"));
        assert_eq!(attr(&c, "http.request.method_original"), text(method));
    }
}

#[test]
fn the_list_of_known_methods_can_be_replaced() {
    let options = EncodeOptions {
        known_methods: KnownMethods::parse(" PROPFIND,, GET "),
    };
    for (method, name) in [("PROPFIND", "PROPFIND"), ("GET", "GET"), ("POST", "_OTHER")] {
        let c = with(Role::Client, |c| request(c).method = method.into());
        let span = span(&c, None, &options);
        assert_eq!(find(&span.attributes, "http.request.method"), text(name));
    }
    assert_eq!(KnownMethods::parse(" , "), KnownMethods::default());
}

#[test]
fn url_full_is_absolute_and_on_clients_alone() {
    assert_eq!(
        attr(&client(), "url.full"),
        text("https://example.com/a/b?c=d")
    );
    assert_eq!(attr(&server(), "url.full"), None);
    let url = |change: fn(&mut Capture)| attr(&with(Role::Client, change), "url.full");
    let plain = url(|c| {
        c.transaction.connection.tls = None;
        c.transaction.connection.tls_info = None;
        c.facts.host = Some("example.com:8080".into());
    });
    assert_eq!(plain, text("http://example.com:8080/a/b?c=d"));
    let absolute = url(|c| request(c).target = b"http://other.org:81/x?y".to_vec());
    assert_eq!(absolute, text("http://other.org:81/x?y"));
    let connect = url(|c| {
        request(c).method = b"CONNECT".to_vec();
        request(c).target = b"other.org:443".to_vec();
    });
    assert_eq!(connect, text("https://other.org:443"));
    let asterisk = url(|c| request(c).target = b"*".to_vec());
    assert_eq!(asterisk, text("https://example.com"));
    let by_sni = url(|c| c.facts.host = None);
    assert_eq!(by_sni, text("https://sni.example.com/a/b?c=d"));
    let by_peer = url(|c| {
        c.facts.host = None;
        c.transaction.connection.tls_info = None;
        c.transaction.connection.remote = "[2001:db8::1]:8443".parse().ok();
    });
    assert_eq!(by_peer, text("https://[2001:db8::1]:8443/a/b?c=d"));
    let nowhere = url(|c| {
        c.facts.host = None;
        c.transaction.connection.tls_info = None;
        c.transaction.connection.remote = None;
    });
    assert_eq!(nowhere, None);
}

#[test]
fn url_scheme_is_the_first_proxys_else_the_connections() {
    assert_eq!(attr(&server(), "url.scheme"), text("https"));
    let scheme = |change: fn(&mut Capture)| attr(&with(Role::Server, change), "url.scheme");
    let by_header = scheme(|c| c.facts.x_forwarded_proto = Some("HTTP, https".into()));
    assert_eq!(by_header, text("http"));
    let by_forwarded = scheme(|c| {
        c.facts.x_forwarded_proto = Some("https".into());
        c.facts.forwarded = Some("for=1.2.3.4;proto=http".into());
    });
    assert_eq!(by_forwarded, text("http"));
    let nonsense = scheme(|c| c.facts.x_forwarded_proto = Some("<script>".into()));
    assert_eq!(nonsense, text("https"));
    // A client's own proxy headers say nothing of how it asked.
    let of_client = with(Role::Client, |c| {
        c.facts.x_forwarded_proto = Some("http".into());
    });
    assert_eq!(attr(&of_client, "url.scheme"), text("https"));
}

#[test]
fn url_path_and_query_are_on_servers_and_query_only_where_there_was_one() {
    assert_eq!(attr(&server(), "url.path"), text("/a/b"));
    assert_eq!(attr(&server(), "url.query"), text("c=d"));
    assert_eq!(attr(&client(), "url.path"), None);
    assert_eq!(attr(&client(), "url.query"), None);
    let bare = with(Role::Server, |c| request(c).target = b"/a".to_vec());
    assert_eq!(attr(&bare, "url.query"), None);
}

#[test]
fn server_address_and_port_of_a_client_are_those_of_the_url() {
    let of = |change: fn(&mut Capture)| {
        let c = with(Role::Client, change);
        (attr(&c, "server.address"), attr(&c, "server.port"))
    };
    let pair = |host, port: u16| (text(host), Some(json!(port)));
    assert_eq!(of(|_| {}), pair("example.com", 443));
    assert_eq!(
        of(|c| c.facts.host = Some("example.com:8443".into())),
        pair("example.com", 8443)
    );
    assert_eq!(
        of(|c| request(c).target = b"http://other.org/".to_vec()),
        pair("other.org", 80)
    );
    assert_eq!(
        of(|c| {
            c.facts.host = None;
            c.transaction.connection.tls_info = None;
        }),
        pair("10.0.0.2", 443)
    );
}

#[test]
fn server_address_and_port_of_a_server_are_what_the_first_client_asked_for() {
    let of = |change: fn(&mut Capture)| {
        let c = with(Role::Server, change);
        (attr(&c, "server.address"), attr(&c, "server.port"))
    };
    let pair = |host, port: u16| (text(host), Some(json!(port)));
    assert_eq!(of(|_| {}), pair("example.com", 443));
    assert_eq!(
        of(|c| c.facts.x_forwarded_host = Some("shop.org:8443, inner".into())),
        pair("shop.org", 8443)
    );
    assert_eq!(
        of(|c| {
            c.facts.x_forwarded_host = Some("shop.org".into());
            c.facts.x_forwarded_port = Some("444".into());
        }),
        pair("shop.org", 444)
    );
    assert_eq!(
        of(|c| {
            c.facts.x_forwarded_host = Some("no.org".into());
            c.facts.forwarded = Some("host=\"shop.org:1\"".into());
        }),
        pair("shop.org", 1)
    );
    assert_eq!(of(|c| c.facts.host = None), (None, None));
}

#[test]
fn client_address_is_the_first_client_that_proxies_name_else_the_peer() {
    let of = |change: fn(&mut Capture)| attr(&with(Role::Server, change), "client.address");
    assert_eq!(of(|_| {}), text("10.0.0.1"));
    assert_eq!(
        of(|c| c.facts.x_forwarded_for = Some("1.2.3.4, 5.6.7.8".into())),
        text("1.2.3.4")
    );
    assert_eq!(
        of(|c| c.facts.forwarded = Some("for=\"[2001:db8::1]:4711\"".into())),
        text("2001:db8::1")
    );
    assert_eq!(
        of(|c| c.facts.forwarded = Some("for=unknown".into())),
        text("10.0.0.1")
    );
    assert_eq!(attr(&client(), "client.address"), None);
}

#[test]
fn network_peer_and_local_are_the_sockets_whatever_the_headers_say() {
    for (role, peer, port, local) in [
        (Role::Client, "10.0.0.2", 443, "10.0.0.1"),
        (Role::Server, "10.0.0.1", 50000, "10.0.0.2"),
    ] {
        let c = with(role, |c| {
            c.facts.x_forwarded_for = Some("1.2.3.4".into());
            c.facts.host = Some("elsewhere.org".into());
        });
        assert_eq!(attr(&c, "network.peer.address"), text(peer));
        assert_eq!(attr(&c, "network.peer.port"), Some(json!(port)));
        assert_eq!(attr(&c, "network.local.address"), text(local));
    }
    let mapped = with(Role::Server, |c| {
        c.transaction.connection.remote = "[::ffff:10.1.2.3]:9".parse().ok();
    });
    assert_eq!(attr(&mapped, "network.peer.address"), text("10.1.2.3"));
    let unknown = with(Role::Client, |c| c.transaction.connection.remote = None);
    assert_eq!(attr(&unknown, "network.peer.address"), None);
    assert_eq!(attr(&unknown, "network.peer.port"), None);
}

#[test]
fn protocol_version_is_there_and_the_name_http_is_not() {
    for (protocol, version) in [
        (Protocol::Http10, "1.0"),
        (Protocol::Http11, "1.1"),
        (Protocol::Http2, "2"),
    ] {
        let c = with(Role::Client, |c| c.transaction.protocol = protocol);
        assert_eq!(attr(&c, "network.protocol.version"), text(version));
        assert_eq!(attr(&c, "network.protocol.name"), None);
    }
}

#[test]
fn status_code_is_there_where_a_response_is() {
    assert_eq!(
        attr(&client(), "http.response.status_code"),
        Some(json!(200))
    );
    let none = with(Role::Client, |c| c.transaction.response = None);
    assert_eq!(attr(&none, "http.response.status_code"), None);
}

#[test]
fn user_agent_is_on_servers_always_and_on_clients_from_level_headers() {
    for (role, level, there) in [
        (Role::Server, Level::Summary, true),
        (Role::Server, Level::Headers, true),
        (Role::Client, Level::Summary, false),
        (Role::Client, Level::Headers, true),
    ] {
        let c = with(role, |c| c.decision.level = level);
        let seen = attr(&c, "user_agent.original");
        assert_eq!(seen, there.then(|| json!("curl/8")), "{role:?} {level:?}");
    }
}

#[test]
fn sizes_are_bytes_on_the_wire() {
    let c = with(Role::Client, |c| request(c).body = body(b"abc"));
    assert_eq!(attr(&c, "http.request.body.size"), Some(json!(3)));
    assert_eq!(attr(&c, "http.response.body.size"), Some(json!(5)));
    assert_eq!(attr(&c, "http.request.size"), Some(json!(80)));
    assert_eq!(attr(&c, "http.response.size"), Some(json!(69)));
}

#[test]
fn tls_is_told_where_there_was_tls() {
    assert_eq!(attr(&client(), "tls.protocol.name"), text("tls"));
    assert_eq!(attr(&client(), "tls.protocol.version"), text("1.3"));
    let plain = with(Role::Client, |c| {
        c.transaction.connection.tls = None;
        c.transaction.connection.tls_info = None;
    });
    assert_eq!(attr(&plain, "tls.protocol.name"), None);
}

#[test]
fn peer_service_is_on_clients_whose_request_had_no_trace_context() {
    for name in ["peer.service", "service.peer.name"] {
        assert_eq!(attr(&client(), name), text("example.com"));
        assert_eq!(attr(&server(), name), None);
        let traced = with(Role::Client, |c| c.transaction.context = Some(context()));
        assert_eq!(attr(&traced, name), None);
    }
}

#[test]
fn deprecated_names_are_never_there() {
    for c in [client(), server()] {
        for kv in of(&c).attributes {
            let old = ["http.method", "http.status_code", "http.url", "net."];
            assert!(!old.iter().any(|o| kv.key.starts_with(o)), "{}", kv.key);
        }
    }
}

// 1.3 Status and error.type

/// Status code of the span (0 unset, 2 error) and `error.type`.
fn ended(role: Role, status: Option<u16>, marks: &[Mark]) -> (i32, Option<Value>) {
    let c = with(role, |c| {
        match status {
            Some(status) => response(c).status = status,
            None => c.transaction.response = None,
        }
        marks.iter().for_each(|m| c.transaction.marks.set(*m));
    });
    let span = of(&c);
    let code = span.status.as_ref().map_or(0, |s| {
        assert_eq!(s.message, "");
        s.code
    });
    (code, find(&span.attributes, "error.type"))
}

const UNSET: (i32, Option<Value>) = (StatusCode::Unset as i32, None);

fn error(word: &str) -> (i32, Option<Value>) {
    (StatusCode::Error as i32, text(word))
}

#[test]
fn success_is_unset_on_both_sides() {
    for role in [Role::Client, Role::Server] {
        for status in [101, 200, 204, 301, 399] {
            assert_eq!(ended(role, Some(status), &[]), UNSET, "{role:?} {status}");
        }
    }
}

#[test]
fn a_4xx_is_an_error_of_the_client_and_not_of_the_server() {
    for status in [400, 404, 499] {
        assert_eq!(
            ended(Role::Client, Some(status), &[]),
            error(&status.to_string())
        );
        assert_eq!(ended(Role::Server, Some(status), &[]), UNSET);
    }
}

#[test]
fn a_5xx_or_a_code_out_of_range_is_an_error_on_both_sides() {
    for role in [Role::Client, Role::Server] {
        for status in [500, 503, 599, 600, 999, 0] {
            assert_eq!(
                ended(role, Some(status), &[]),
                error(&status.to_string()),
                "{role:?}"
            );
        }
    }
}

#[test]
fn a_transaction_that_broke_off_is_an_error_with_our_word() {
    use Mark::*;
    for role in [Role::Client, Role::Server] {
        for (status, marks, word) in [
            (None, &[ResponseMissing][..], "incomplete_response"),
            (None, &[ResponseMissing, Reset], "connection_reset"),
            (None, &[RequestCut], "incomplete_response"),
            (None, &[RequestCut, Reset], "connection_reset"),
            (Some(200), &[ResponseCut], "incomplete_response"),
            (Some(200), &[ResponseCut, Reset], "connection_reset"),
            (None, &[ResponseMissing, StreamReset], "stream_reset"),
            (Some(200), &[ResponseCut, StreamReset], "stream_reset"),
            (None, &[ResponseMalformed], "parse_error"),
            (None, &[RequestGap, ResponseMissing], "incomplete_response"),
        ] {
            assert_eq!(
                ended(role, status, marks),
                error(word),
                "{role:?} {marks:?}"
            );
        }
        let c = with(role, |c| c.transaction.marks.set(ResponseCut));
        assert_eq!(attr(&c, "http.response.status_code"), Some(json!(200)));
    }
}

#[test]
fn what_only_the_capture_lost_is_no_error() {
    use Mark::*;
    for role in [Role::Client, Role::Server] {
        for (status, marks) in [
            (Some(200), &[RequestGap][..]),
            (Some(200), &[ResponseGap]),
            (Some(200), &[RequestMissing]),
            (Some(200), &[RequestMalformed]),
            (Some(200), &[RequestCut]),
            (Some(200), &[Unfinished, ResponseCut]),
            (Some(0), &[HeadersUnknown]),
            (Some(200), &[Reset]),
            (None, &[Unfinished]),
            (None, &[Unfinished, ResponseMissing]),
            (None, &[ResponseGap, ResponseMissing]),
        ] {
            assert_eq!(ended(role, status, marks), UNSET, "{role:?} {marks:?}");
        }
    }
}

// 1.4 Headers

#[test]
fn headers_are_arrays_with_an_element_a_line_and_lower_case_names() {
    let c = with(Role::Client, |c| {
        request(c).headers = headers(&[("X-Forwarded-For", "a, b"), ("x-forwarded-FOR", "c")]);
        response(c).headers = headers(&[("Set-Cookie", "a=1"), ("set-cookie", "b=2, x")]);
        response(c).trailers = headers(&[("Digest", "q")]);
    });
    assert_eq!(
        attr(&c, "http.request.header.x-forwarded-for"),
        Some(json!(["a, b", "c"]))
    );
    assert_eq!(
        attr(&c, "http.response.header.set-cookie"),
        Some(json!(["a=1", "b=2, x"]))
    );
    assert_eq!(
        attr(&c, "plainspan.response.trailer.digest"),
        Some(json!(["q"]))
    );
}

#[test]
fn a_single_header_is_an_array_too_and_pseudo_headers_are_none() {
    let c = with(Role::Client, |c| {
        request(c).headers = headers(&[(":path", "/"), ("Accept", "*/*")]);
    });
    assert_eq!(attr(&c, "http.request.header.accept"), Some(json!(["*/*"])));
    assert_eq!(attr(&c, "http.request.header.:path"), None);
}

#[test]
fn headers_are_there_from_level_headers_on() {
    for (level, there) in [
        (Level::Summary, false),
        (Level::Headers, true),
        (Level::Full, true),
    ] {
        let c = with(Role::Server, |c| c.decision.level = level);
        let any = of(&c)
            .attributes
            .iter()
            .any(|kv| kv.key.contains(".header."));
        assert_eq!(any, there, "{level:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    let c = with(Role::Client, |c| {
        request(c).headers.push(b"X-Raw", b"a\xffb");
        request(c).target = b"/\xff".to_vec();
    });
    assert_eq!(
        attr(&c, "http.request.header.x-raw"),
        Some(json!(["a\u{fffd}b"]))
    );
    assert_eq!(attr(&c, "url.full"), text("https://example.com/\u{fffd}"));
}

// 1.5 Lengths

#[test]
fn long_values_are_cut_on_a_character_boundary_and_named() {
    let c = with(Role::Server, |c| {
        // 2048 falls into the middle of a two-byte character.
        let long = format!("/{}", "é".repeat(2000));
        request(c).target = long.into_bytes();
        request(c)
            .headers
            .push(b"X-Long", "x".repeat(5000).as_bytes());
        request(c)
            .headers
            .push(b"x-long", "y".repeat(5000).as_bytes());
    });
    let path = attr(&c, "url.path").expect("a path");
    assert_eq!(path.as_str().map(str::len), Some(2047));
    let long = attr(&c, "http.request.header.x-long").expect("the header");
    assert_eq!(long[0].as_str().map(str::len), Some(2048));
    assert_eq!(
        attr(&c, "plainspan.attribute.truncated"),
        Some(json!(["url.path", "http.request.header.x-long"]))
    );
    assert_eq!(attr(&server(), "plainspan.attribute.truncated"), None);
}

// Ours

#[test]
fn our_own_attributes_say_how_it_was_captured() {
    let c = with(Role::Client, |c| {
        c.decision.rule = Some("errors".into());
        c.transaction.marks.set(Mark::RequestGap);
        c.transaction.marks.set(Mark::Reset);
    });
    for (name, value) in [
        ("plainspan.transaction.id", json!(c.id)),
        ("plainspan.capture.level", json!("headers")),
        ("plainspan.capture.rule", json!("errors")),
        ("plainspan.capture.complete", json!(false)),
        ("plainspan.capture.marks", json!(["request_gap", "reset"])),
        ("plainspan.ttfb", json!(0.01)),
    ] {
        assert_eq!(attr(&c, name), Some(value), "{name}");
    }
    assert_eq!(
        attr(&client(), "plainspan.capture.complete"),
        Some(json!(true))
    );
    assert_eq!(attr(&client(), "plainspan.capture.rule"), None);
    assert_eq!(attr(&client(), "plainspan.capture.marks"), None);
}

fn link() -> PayloadLink {
    PayloadLink {
        url: Some("https://s3/bucket/abc".into()),
        digest: Some("abc".into()),
        size: Some(7),
        status: PayloadStatus::Stored,
    }
}

#[test]
fn the_payload_link_is_on_span_and_log_record_alike() {
    let options = EncodeOptions::default();
    let c = client();
    let span = span(&c, Some(&link()), &options);
    let log = log_record(&c, Some(&link()), c.end, &options);
    for list in [&span.attributes, &log.attributes] {
        assert_eq!(
            find(list, "plainspan.payload.url"),
            text("https://s3/bucket/abc")
        );
        assert_eq!(find(list, "plainspan.payload.digest"), text("abc"));
        assert_eq!(find(list, "plainspan.payload.size"), Some(json!(7)));
        assert_eq!(find(list, "plainspan.payload.status"), text("stored"));
    }
    let lost = PayloadLink {
        url: None,
        digest: None,
        size: None,
        status: PayloadStatus::Lost,
    };
    let span = super::span(&c, Some(&lost), &options);
    assert_eq!(
        find(&span.attributes, "plainspan.payload.status"),
        text("lost")
    );
    assert_eq!(find(&span.attributes, "plainspan.payload.url"), None);
}

// 2. Trace context

fn context() -> TraceContext {
    TraceContext {
        trace_id: [1; 16],
        span_id: [2; 8],
        flags: 3,
        tracestate: "a=b".into(),
        source: TraceContextSource::W3c,
    }
}

#[test]
fn a_root_has_flags_101_and_an_adopted_parent_301() {
    let root = of(&client());
    assert_eq!(root.flags, 0x101);
    assert!(root.parent_span_id.is_empty() && root.links.is_empty());
    assert_eq!(
        (root.trace_id, root.span_id),
        (vec![0xab; 16], vec![0xcd; 8])
    );
    let adopted = of(&with(Role::Server, |c| {
        c.ids.parent_span_id = Some([9; 8]);
        c.ids.tracestate = "a=b,c=d".into();
    }));
    assert_eq!(adopted.flags, 0x301);
    assert_eq!(adopted.parent_span_id, [9; 8]);
    assert_eq!(adopted.trace_state, "a=b,c=d");
}

#[test]
fn policy_link_is_a_root_with_a_span_link() {
    let span = of(&with(Role::Server, |c| c.ids.link = Some(context())));
    assert_eq!((span.flags, span.parent_span_id.len()), (0x101, 0));
    let link = &span.links[0];
    assert_eq!(
        (&link.trace_id[..], &link.span_id[..]),
        (&[1; 16][..], &[2; 8][..])
    );
    assert_eq!((link.flags, &link.trace_state[..]), (0x303, "a=b"));
}

#[test]
fn times_are_wall_clock_nanoseconds() {
    let span = of(&client());
    assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(span.end_time_unix_nano, 1_700_000_000_012_300_000);
}

// Log records

#[test]
fn a_log_record_is_an_event_that_points_to_its_span() {
    let c = client();
    let observed = c.end + std::time::Duration::from_millis(1);
    let log = log_record(&c, None, observed, &EncodeOptions::default());
    assert_eq!(log.event_name, "plainspan.http.transaction");
    assert_eq!(log.time_unix_nano, unix_nanos(c.end));
    assert_eq!(log.observed_time_unix_nano, unix_nanos(observed));
    assert_eq!((log.severity_number, &log.severity_text[..]), (9, ""));
    assert_eq!((log.trace_id, log.span_id), (vec![0xab; 16], vec![0xcd; 8]));
    assert_eq!(log.flags, 1);
    assert_eq!(
        log.body.as_ref().map(plain),
        text("GET https://example.com/a/b?c=d 200 12.3 ms")
    );
    for (name, value) in [
        ("http.request.method", json!("GET")),
        ("url.full", json!("https://example.com/a/b?c=d")),
        ("http.response.status_code", json!(200)),
        ("http.response.header.content-type", json!(["text/plain"])),
        ("plainspan.capture.level", json!("headers")),
        ("plainspan.transaction.id", json!(c.id)),
    ] {
        assert_eq!(find(&log.attributes, name), Some(value), "{name}");
    }
}

#[test]
fn severity_is_by_outcome() {
    for (role, status, severity) in [
        (Role::Client, 200, 9),
        (Role::Client, 404, 13),
        (Role::Server, 404, 13),
        (Role::Client, 503, 17),
        (Role::Server, 500, 17),
    ] {
        let c = with(role, |c| response(c).status = status);
        let log = log_record(&c, None, c.end, &EncodeOptions::default());
        assert_eq!(log.severity_number, severity, "{role:?} {status}");
        let error_type = find(&log.attributes, "error.type");
        assert_eq!(error_type, attr(&c, "error.type"));
    }
    let broken = with(Role::Server, |c| {
        c.transaction.response = None;
        c.transaction.marks.set(Mark::ResponseMissing);
    });
    let log = log_record(&broken, None, broken.end, &EncodeOptions::default());
    assert_eq!(log.severity_number, 17);
    assert_eq!(
        log.body.as_ref().map(plain),
        text("GET https://example.com/a/b?c=d incomplete_response 12.3 ms")
    );
}

#[test]
fn half_a_transaction_is_still_a_span_and_a_log_record() {
    for role in [Role::Client, Role::Server] {
        let c = with(role, |c| {
            c.transaction.request = None;
            c.transaction.marks.set(Mark::RequestMissing);
        });
        assert_eq!(attr(&c, "http.request.method"), text("_OTHER"));
        assert_eq!(attr(&c, "http.response.status_code"), Some(json!(200)));
        let log = log_record(&c, None, c.end, &EncodeOptions::default());
        assert_eq!(
            log.body.as_ref().map(plain),
            text("(request not seen) 200 12.3 ms")
        );
    }
}

#[test]
fn what_went_over_a_websocket_is_counted() {
    let c = with(Role::Client, |c| {
        let mut websocket = WebSocket::default();
        websocket.from_client.text = 3;
        websocket.from_client.messages = 2;
        websocket.from_client.close_code = Some(1001);
        c.transaction.websocket = Some(websocket);
    });
    let of = |name: &str| attr(&c, &format!("plainspan.websocket.{name}"));
    assert_eq!(of("from_client.text"), Some(json!(3)));
    assert_eq!(of("from_client.messages"), Some(json!(2)));
    assert_eq!(of("from_server.messages"), Some(json!(0)));
    assert_eq!(of("from_server.text"), None);
    assert_eq!(of("close_code"), Some(json!(1001)));
}

// Resource

#[test]
fn a_resource_carries_what_the_process_has_and_the_scope_is_ours() {
    let resource = resource(&client().process);
    assert_eq!(
        find(&resource.attributes, "service.name"),
        text("unknown_service:curl")
    );
    assert_eq!(find(&resource.attributes, "process.pid"), Some(json!(42)));
    let scope = scope();
    assert_eq!(scope.name, "plainspan");
    assert_eq!(scope.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_report_is_a_log_record_with_the_ids_of_the_span_and_counts_so_far() {
    let mut capture = capture_that_lasts();
    capture.transaction.response.as_mut().expect("one").status = 503;
    let record = progress_record(&capture, capture.end, &EncodeOptions::default());
    assert_eq!(record.event_name, "plainspan.http.progress");
    assert_eq!(record.severity_number, Severity::Info as i32);
    let span = of(&capture);
    assert_eq!(
        (record.trace_id, record.span_id),
        (span.trace_id, span.span_id)
    );
    let attr = |name| find(&record.attributes, name);
    assert_eq!(attr("plainspan.progress.report"), Some(json!(2)));
    assert_eq!(attr("plainspan.progress.duration"), Some(json!(0.0123)));
    assert_eq!(attr("http.response.body.size"), Some(json!(5)));
    assert_eq!(attr("http.response.status_code"), Some(json!(503)));
    assert_eq!(attr("plainspan.transaction.id"), text(&capture.id));
    // Of the end, which nobody knows yet.
    assert_eq!(
        (attr("error.type"), attr("plainspan.capture.complete")),
        (None, None)
    );
    let line = progress_line(&capture);
    assert_eq!(
        line,
        "GET https://example.com/a/b?c=d 503 goes on after 0.0 s"
    );
    capture.transaction.response = None;
    assert!(progress_line(&capture).contains(" (no response yet) goes on "));
}

#[test]
fn a_span_says_how_many_reports_there_were_of_it() {
    let told = attr(&capture_that_lasts(), "plainspan.progress.reports");
    assert_eq!(told, Some(json!(2)));
    assert_eq!(attr(&client(), "plainspan.progress.reports"), None);
}

fn capture_that_lasts() -> Capture {
    use crate::event::KernelTime;
    let mut schedule = crate::transaction::Schedule::new(10);
    let mut capture = client();
    for now in [10, 20] {
        assert!(schedule.tick(KernelTime(now)));
        assert!(schedule.due(KernelTime(0), &mut capture.transaction.lasting));
    }
    capture
}
