//! Conformance with the semantic conventions v1.44, row by row.

mod attributes;
mod http;
mod log;
mod status;

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

#[test]
fn an_array_has_room_for_so_much_and_fields_with_long_names_are_left_out_and_named() {
    let many = "y".repeat(2000);
    let name = "n".repeat(names::MAX_NAME + 1);
    let c = with(Role::Client, |c| {
        let fields = [("X-Many", &many[..]); 6];
        request(c).headers = headers(&fields);
        request(c).headers.push(name.as_bytes(), b"v");
        request(c).headers.push(b"X-Short", b"v");
    });
    let kept = attr(&c, "http.request.header.x-many").expect("the header");
    assert_eq!(kept, json!(vec![many; 4]));
    assert_eq!(attr(&c, "http.request.header.x-short"), Some(json!(["v"])));
    let cut = format!("http.request.header.{}", &name[..names::MAX_NAME]);
    let marked = json!(["http.request.header.x-many", cut]);
    assert_eq!(attr(&c, "plainspan.attribute.truncated"), Some(marked));
    let absent = attr(&c, &cut).or(attr(&c, &format!("http.request.header.{name}")));
    assert_eq!(absent, None);
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
