use super::*;
use crate::sink::testing::{body, capture, headers};
use crate::transaction::Mark;
use proptest::prelude::*;
use std::io::Write as _;

const LINE: &str =
    "2023-11-14T22:13:20.000Z curl[42] → GET https://example.com/a/b?c=d 200 12.3 ms ↑0 B ↓5 B\n";

fn shown(capture: &Capture, detail: Level) -> String {
    let mut out = String::new();
    push(&mut out, capture, None, detail, false);
    out
}

fn full() -> Capture {
    let mut capture = capture(Role::Client);
    capture.decision.level = Level::Full;
    capture.facts.response_content_type = Some("text/plain".into());
    capture
}

fn answer(capture: &mut Capture) -> &mut crate::transaction::Response {
    capture.transaction.response.as_mut().expect("a response")
}

#[test]
fn a_summary_is_one_line() {
    assert_eq!(shown(&capture(Role::Client), Level::Summary), LINE);
    let server = LINE.replace('→', "←");
    assert_eq!(shown(&capture(Role::Server), Level::Summary), server);
}

#[test]
fn details_have_qtaps_sections_with_the_header_lines_of_both_messages() {
    let below = concat!(
        "  Process\n    PID: 42 @ /usr/bin/curl\n",
        "  Network\n    Direction: egress-internal\n    Sent: 80 B\n    Received: 69 B\n",
        "  REQUEST\n    > Host: example.com\n    > User-Agent: curl/8\n",
        "  RESPONSE\n    < Content-Type: text/plain\n    < Content-Length: 5\n",
    );
    assert_eq!(
        shown(&capture(Role::Client), Level::Headers),
        format!("{LINE}{below}")
    );
    // The capture's own level is `headers`: no body was kept.
    assert_eq!(
        shown(&capture(Role::Client), Level::Full),
        format!("{LINE}{below}")
    );
}

#[test]
fn details_name_container_and_pod_where_there_are_such() {
    use crate::enrich::identity::Container;
    let mut capture = capture(Role::Server);
    let mut process = (*capture.process).clone();
    process.identity.container = Some(std::sync::Arc::new(Container {
        image: Some("shop/web:2\n".into()),
        ..Container::default()
    }));
    for (name, value) in [
        ("container.name", "web"),
        ("k8s.pod.name", "web-7"),
        ("k8s.namespace.name", "prod"),
    ] {
        let value = crate::enrich::ResourceValue::Str(value.into());
        process.resource.push((name.into(), value));
    }
    capture.process = std::sync::Arc::new(process);
    let out = shown(&capture, Level::Headers);
    let wanted = concat!(
        "  Process\n    PID: 42 @ /usr/bin/curl\n    Container: web\n    Image: shop/web:2\\n\n",
        "    Pod: web-7\n    Namespace: prod\n",
        "  Network\n    Direction: ingress\n    Sent: 69 B\n    Received: 80 B\n  REQUEST\n",
    );
    assert!(out.contains(wanted), "{out}");
}

#[test]
fn full_shows_text_line_by_line_behind_the_headers() {
    let mut capture = full();
    answer(&mut capture).body = body(b"{\r\n\t\"a\": 1\n}\n");
    answer(&mut capture).trailers = headers(&[("X-Sum", "1")]);
    let out = shown(&capture, Level::Full);
    let end = "    < Content-Length: 5\n      {\n      \\t\"a\": 1\n      }\n    < X-Sum: 1\n";
    assert!(out.ends_with(end), "{out}");
}

#[test]
fn full_names_what_is_no_text() {
    let end = |change: fn(&mut Capture)| {
        let mut capture = full();
        change(&mut capture);
        let out = shown(&capture, Level::Full);
        out.lines().last().map(str::to_owned).expect("lines")
    };
    let png = end(|c| c.facts.response_content_type = Some("image/png".into()));
    assert_eq!(png, "      <5 bytes of image/png>");
    let coded = end(|c| {
        c.facts.response_content_encoding = Some("aes128gcm".into());
        answer(c).headers.push(b"Content-Encoding", b"aes128gcm");
    });
    assert_eq!(coded, "      <5 bytes of text/plain, aes128gcm>");
    let unknown = end(|c| c.facts.response_content_type = None);
    assert_eq!(unknown, "      <5 bytes of unknown type>");
}

#[test]
fn coded_text_is_shown_decoded() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(b"one\ntwo\n")
        .expect("a vector takes all");
    let zipped = encoder.finish().expect("a vector takes all");
    let mut capture = full();
    answer(&mut capture)
        .headers
        .push(b"Content-Encoding", b"gzip");
    answer(&mut capture).body = body(&zipped);
    let out = shown(&capture, Level::Full);
    assert!(out.ends_with("gzip\n      one\n      two\n"), "{out}");
    answer(&mut capture).body = body(&zipped[..zipped.len() - 8]);
    let out = shown(&capture, Level::Full);
    let end = "      two\n      <8 bytes shown, the rest is missing>\n";
    assert!(out.ends_with(end), "{out}");
}

#[test]
fn long_bodies_are_cut_between_characters() {
    let mut capture = full();
    let text = format!("{}é{}", "a".repeat(MAX_BODY - 1), "b".repeat(100));
    answer(&mut capture).body = body(text.as_bytes());
    let out = shown(&capture, Level::Full);
    let end = format!(
        "aaa\n      <{} of {} bytes shown>\n",
        MAX_BODY - 1,
        text.len()
    );
    assert!(out.ends_with(&end), "{}", &out[out.len() - 100..]);
}

#[test]
fn what_is_missing_stands_in_the_line() {
    let mut capture = capture(Role::Client);
    capture.transaction.request = None;
    capture.transaction.marks.set(Mark::RequestMissing);
    capture.transaction.marks.set(Mark::ResponseCut);
    assert_eq!(
        shown(&capture, Level::Headers).lines().next(),
        Some(
            "2023-11-14T22:13:20.000Z curl[42] → (request not seen) 200 12.3 ms ↓5 B [request_missing response_cut]"
        )
    );
    let mut capture = full();
    capture.transaction.response = None;
    capture.transaction.marks.set(Mark::ResponseMissing);
    capture.transaction.marks.set(Mark::Reset);
    let out = shown(&capture, Level::Summary);
    let end = "?c=d connection_reset 12.3 ms ↑0 B [response_missing reset]\n";
    assert!(out.ends_with(end), "{out}");
}

#[test]
fn the_payloads_link_ends_the_line() {
    let mut link = PayloadLink {
        url: Some("s3://b/ab\u{202e}".into()),
        digest: None,
        size: None,
        status: PayloadStatus::Stored,
    };
    let mut end = || {
        let mut out = String::new();
        push(
            &mut out,
            &capture(Role::Client),
            Some(&link),
            Level::Summary,
            false,
        );
        link.status = PayloadStatus::Lost;
        out.split(" ↓5 B ").nth(1).map(str::to_owned)
    };
    assert_eq!(end().as_deref(), Some("s3://b/ab\\u{202e}\n"));
    assert_eq!(
        end().as_deref(),
        Some("s3://b/ab\\u{202e} (payload lost)\n")
    );
}

#[test]
fn colours_go_by_the_class_of_the_status() {
    for (role, status, paint) in [
        (Role::Client, 204, 32),
        (Role::Client, 302, 36),
        (Role::Client, 404, 33),
        (Role::Server, 404, 33),
        (Role::Server, 503, 31),
        (Role::Client, 999, 31),
    ] {
        let mut capture = capture(role);
        answer(&mut capture).status = status;
        let mut out = String::new();
        push(&mut out, &capture, None, Level::Summary, true);
        let painted = format!(" \x1b[{paint}m{status}\x1b[0m ");
        assert!(out.contains(&painted), "{out:?}");
    }
}

#[test]
fn sizes_have_units() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (u64::MAX, "16384.0 PiB"),
    ] {
        let mut out = String::new();
        size(&mut out, bytes);
        assert_eq!(out, text);
    }
}

proptest! {
    /// Line breaks are ours alone, and so is what stands at the left edge.
    #[test]
    fn no_captured_byte_steers_the_terminal(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let mut capture = full();
        let mut fields = Headers::default();
        fields.push(&bytes, text.as_bytes());
        fields.push(text.as_bytes(), &bytes);
        let request = capture.transaction.request.as_mut().unwrap();
        request.method = bytes.clone();
        request.target = bytes.clone();
        request.headers = fields.clone();
        answer(&mut capture).trailers = fields;
        answer(&mut capture).body = body(&bytes);
        capture.facts.host = Some(text.clone());
        capture.facts.request_content_type = Some(text.clone());
        let out = shown(&capture, Level::Full);
        prop_assert!(!out.chars().any(|c| c != '\n' && escape::hidden(c)), "{:?}", out);
        let mut lines = out.lines();
        prop_assert!(lines.next().is_some_and(|l| l.starts_with("2023-")));
        prop_assert!(lines.all(|l| l.starts_with("  ")), "{:?}", out);
    }
}

#[test]
fn a_call_shows_its_code_and_how_many_messages_went_each_way() {
    use crate::transaction::grpc::Code;
    let mut capture = capture(Role::Client);
    crate::sink::testing::call(&mut capture, Some(Code::UNAVAILABLE));
    let line = shown(&capture, Level::Summary);
    let wanted = "/shop.v1.Cart/Add 200 UNAVAILABLE 12.3 ms ↑0 B ↓5 B messages ↑1 ↓2\n";
    assert!(line.ends_with(wanted), "{line}");
    if let Some(grpc) = &mut capture.transaction.grpc {
        grpc.from_client = None;
        grpc.from_server.as_mut().unwrap().gap = true;
    }
    let line = shown(&capture, Level::Summary);
    assert!(line.ends_with(" messages ↓2?\n"), "{line}");
}
