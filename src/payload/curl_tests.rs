use super::*;
use serde_json::{Value, json};

/// The line of a request over HTTP/1.1 with these keys besides.
fn of(keys: Value) -> Result<Line, CurlError> {
    let mut request = json!({
        "method": "GET", "url": "http://shop.example/a", "scheme": "http", "authority": "shop.example", "path": "/a",
        "protocol_version": "1.1",
        "header_list": [["Host", "shop.example"], ["User-Agent", "t"], ["Accept", "*/*"]],
    });
    for (key, value) in keys.as_object().expect("keys") {
        request[key] = value.clone();
    }
    let document = json!({ "request": request }).to_string();
    line(&Document::read(document.as_bytes()).expect("a document"))
}

fn text(keys: Value) -> String {
    of(keys).expect("a line").text
}

fn notes(keys: Value) -> String {
    of(keys).expect("a line").notes.join("\n")
}

const END: &str = "--globoff --path-as-is --url http://shop.example/a";

#[test]
fn a_plain_request_is_a_short_line() {
    assert_eq!(
        text(json!({})),
        format!("curl --http1.1 --header 'User-Agent: t' --header 'Accept: */*' {END}")
    );
    assert_eq!(notes(json!({})), "");
}

#[test]
fn what_curl_would_add_by_itself_is_turned_off() {
    let line = text(json!({"header_list": [["X", ""]], "body": "aGk=", "method": "POST"}));
    assert_eq!(
        line,
        format!(
            "curl --http1.1 --header 'X;' --header User-Agent: --header Accept: --header Content-Type: --data-raw hi {END}"
        )
    );
}

#[test]
fn methods_and_versions_are_those_of_the_request() {
    assert!(text(json!({"method": "DELETE"})).starts_with("curl --request DELETE --http1.1 "));
    assert!(text(json!({"method": "HEAD"})).starts_with("curl --head "));
    assert!(text(json!({"method": "POST"})).starts_with("curl --request POST "));
    assert!(text(json!({"body": "aGk="})).starts_with("curl --request GET "));
    assert!(text(json!({"protocol_version": "1.0"})).starts_with("curl --http1.0 "));
    assert!(text(json!({"protocol_version": "2"})).starts_with("curl --http2-prior-knowledge "));
    let https =
        json!({"protocol_version": "2", "scheme": "https", "url": "https://shop.example/a"});
    assert!(text(https).starts_with("curl --http2 "));
    let star = text(json!({"method": "OPTIONS", "path": "*", "url": "http://shop.example/*"}));
    assert!(
        star.ends_with("--request-target '*' --url http://shop.example/"),
        "{star}"
    );
}

#[test]
fn nothing_of_a_request_gets_out_of_its_word() {
    let line = text(json!({
        "url": "http://shop.example/'; touch x; '?a=$(touch x)", "method": "'TOUCH`",
        "header_list": [["User-Agent", "'; touch x"], ["Accept", "`touch x`"]],
    }));
    assert_eq!(
        line,
        r"curl --request ''\''TOUCH`' --http1.1 --header 'User-Agent: '\''; touch x' --header 'Accept: `touch x`' --globoff --path-as-is --url 'http://shop.example/'\'';%20touch%20x;%20'\''?a=$(touch%20x)'"
    );
}

#[test]
fn curl_reads_no_file_whatever_a_request_says() {
    let line = of(json!({
        "method": "POST", "body": STANDARD.encode("@/etc/passwd"),
        "header_list": [["@/etc/passwd", "x"], ["a", "b\r\nc: d"], ["n", "\u{0}"]],
    }))
    .expect("a line");
    assert!(
        line.text.contains("--data-raw @/etc/passwd"),
        "{}",
        line.text
    );
    assert!(!line.text.contains("--header @") && !line.text.contains("c: d"));
    assert_eq!(line.notes.len(), 3, "{:?}", line.notes);
    let file = of(json!({"url": "file:///etc/passwd", "scheme": "file"}));
    assert!(matches!(file, Err(CurlError::Scheme(_))), "{file:?}");
    let odd = of(json!({"method": "A B"}));
    assert_eq!(odd, Err(CurlError::Method("A B".into())));
}

#[test]
fn binary_and_long_bodies_go_through_a_pipe() {
    let binary = text(json!({"method": "PUT", "body": STANDARD.encode([0, 255, 10])}));
    assert!(
        binary.starts_with("printf %s AP8K | base64 -d | curl --request PUT "),
        "{binary}"
    );
    assert!(binary.contains(" --data-binary @- "), "{binary}");
    let long = text(json!({"method": "PUT", "body": STANDARD.encode(vec![b'a'; MAX_WORD + 1])}));
    assert!(long.starts_with("printf %s YWFh") && !long.contains("Expect"));
    let longer = text(json!({"method": "PUT", "body": STANDARD.encode(vec![b'a'; ASKS])}));
    assert!(longer.contains("--header Expect:"));
}

#[test]
fn what_is_not_as_it_was_is_said() {
    let told = notes(json!({
        "header_list": [["Authorization", "REDACTED"], ["X-User", "hmac:0a:0011223344556677"]],
        "url": "http://shop.example/a?token=REDACTED", "body": "aGk=", "body_size": 9, "body_truncated": true,
        "body_redacted": true, "body_encoding": "gzip",
    }));
    for part in [
        "`Authorization` was redacted",
        "`X-User` was redacted",
        "the URL were redacted",
        "the body were redacted",
        "cut: 2 bytes",
        "gzip",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(notes(json!({"header_list": [["Host", "other"]]})).is_empty());
    assert!(notes(json!({"header_list": []})).contains("no headers"));
}

#[test]
fn a_coded_body_is_sent_with_its_coding_where_that_is_kept_and_else_without_its_header() {
    let headers = json!([["Content-Encoding", "gzip"]]);
    let line = text(
        json!({"method": "PUT", "header_list": headers, "body": "aGk=", "body_encoding": "gzip"}),
    );
    assert!(
        line.contains("--data-raw hi ") && !line.contains("gzip"),
        "{line}"
    );
    let sent = json!({"method": "PUT", "header_list": headers, "body": "aGk=", "body_encoding": "gzip", "body_as_sent": "AAE="});
    let line = text(sent.clone());
    assert!(
        line.starts_with("printf %s AAE= |") && line.contains("Content-Encoding: gzip"),
        "{line}"
    );
    assert_eq!(of(sent).expect("a line").notes, [""; 0]);
}

#[test]
fn a_connect_and_a_half_have_no_line() {
    assert_eq!(of(json!({"method": "CONNECT"})), Err(CurlError::Connect));
    let half = Document::read(br#"{"response": {"status": 200}}"#).expect("a document");
    assert_eq!(line(&half), Err(CurlError::NoRequest));
}
