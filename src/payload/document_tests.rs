use super::*;
use crate::redact::sample::{body, policy, redact, transaction};
use crate::rules::Level;
use crate::sink::payload::encode;

fn read(json: &str) -> Result<Document, DocumentError> {
    Document::read(json.as_bytes())
}

#[test]
fn what_is_encoded_is_read_back() {
    let request = [("Host", "shop.example"), ("X-A", "1"), ("x-a", "2")];
    let mut t = transaction("/a?b=1", &request, &[("Content-Type", "text/plain")]);
    t.response.as_mut().expect("a response").body = body(b"\x00\xff bytes");
    let document =
        Document::read(&encode(&redact(&policy(), t, Level::Full).0)).expect("a document");
    let request = document.request.as_ref().expect("a request");
    assert_eq!(
        (&*request.method, &*request.url),
        ("GET", "https://shop.example/a?b=1")
    );
    let lines: Vec<_> = request.headers().collect();
    assert_eq!(
        lines,
        [
            (&b"Host"[..], &b"shop.example"[..]),
            (b"X-A", b"1"),
            (b"x-a", b"2")
        ]
    );
    let values: Vec<_> = request.values("X-a").collect();
    assert_eq!(values, [b"1", b"2"]);
    let response = document.response.as_ref().expect("a response");
    assert_eq!(
        (response.status, response.content()),
        (200, &b"\x00\xff bytes"[..])
    );
    assert_eq!((response.cut(), response.text()), (None, None));
}

#[test]
fn a_document_of_qtap_has_the_headers_of_its_map_in_their_order() {
    let document = read(
        r#"{"metadata": {"process_id": "1"}, "request": {"method": "GET", "url": "https://a/",
        "headers": {":method": "GET", "Host": "a", "Accept": "*/*"}, "body": "aGk="}, "response": null,
        "transaction_time": "2026-01-01T00:00:00Z", "duration_ms": 7, "direction": "ingress", "new": {"a": [1]}}"#,
    )
    .expect("a document");
    let request = document.request.as_ref().expect("a request");
    let lines: Vec<_> = request.headers().collect();
    assert_eq!(lines, [(&b"Host"[..], &b"a"[..]), (b"Accept", b"*/*")]);
    assert_eq!(
        (request.content(), document.duration_ns()),
        (&b"hi"[..], 7_000_000)
    );
    assert_eq!(document.version, None);
}

#[test]
fn a_header_that_is_not_utf_8_comes_as_its_bytes() {
    let document = read(
        r#"{"request": {"header_list": [["x", {"base64": "/w=="}], [{"base64": "/g=="}, ""]]}}"#,
    )
    .expect("a document");
    let request = document.request.expect("a request");
    let lines: Vec<_> = request.headers().collect();
    assert_eq!(lines, [(&b"x"[..], &b"\xff"[..]), (b"\xfe", b"")]);
}

#[test]
fn what_is_cut_says_so() {
    let cut = |keys: &str| {
        let document = read(&format!(r#"{{"response": {{{keys}}}}}"#)).expect("a document");
        document.response.expect("a response").cut()
    };
    assert_eq!(cut(r#""body": "aGk=", "body_size": 2"#), None);
    assert_eq!(cut(r#""body_size": 0"#), None);
    let said = cut(r#""body": "aGk=", "body_size": 9, "body_truncated": true"#);
    assert_eq!(said.as_deref(), Some("cut: 2 bytes are here; it had 9"));
    let said = cut(r#""body": "aGk=", "body_size": 9, "body_missing": 4"#);
    assert_eq!(said.as_deref(), Some("cut: 4 of its 9 bytes were not seen"));
    let said = cut(r#""body_size": 9"#);
    assert_eq!(
        said.as_deref(),
        Some("not kept at this level; it had 9 bytes")
    );
    let said = cut(r#""body": "", "body_dropped": "charset""#);
    assert!(said.is_some_and(|said| said.ends_with("charset")));
}

#[test]
fn what_is_no_document_is_an_error_and_long_lists_are_too() {
    let said = |json: &str| read(json).expect_err("an error").to_string();
    assert!(said("[1]").contains("no payload document"));
    assert!(said(r#"{"request": {"body": "%"}}"#).contains("no payload document"));
    assert!(said(r#"{"version": 2}"#).contains("version 2"));
    assert!(said(&format!("{{\"a\": {}", "[".repeat(100_000))).contains("no payload document"));
    let deep = "[".repeat(100_000);
    assert!(
        said(&format!("{{\"request\": {{\"header_list\": {deep}")).contains("no payload document")
    );
    let many = r#"["",""],"#.repeat(MAX_ELEMENTS);
    let list = said(&format!(
        r#"{{"request": {{"header_list": [{many}["",""]]}}}}"#
    ));
    assert!(list.contains("at most"), "{list}");
    let many: String = (0..=MAX_ELEMENTS)
        .map(|n| format!("\"{n}\":\"\","))
        .collect();
    let map = said(&format!(
        r#"{{"request": {{"headers": {{{many}"x":""}}}}}}"#
    ));
    assert!(map.contains("at most"), "{map}");
}
