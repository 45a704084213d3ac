use super::*;
use crate::event::Role;
use crate::sink::PayloadStatus;
use crate::sink::testing::{body as content_of, capture};
use crate::transaction::Mark;
use proptest::prelude::*;
use serde_json::{Value, json};

fn line(capture: &Capture, mode: Level) -> String {
    String::from_utf8(encode(capture, None, mode)).expect("JSON is UTF-8")
}

fn value(capture: &Capture, mode: Level) -> Value {
    serde_json::from_str(&line(capture, mode)).expect("valid JSON")
}

const OURS: &str = concat!(
    r#""timestamp":"2023-11-14T22:13:20.000000000Z","level":"headers","duration_ms":12.3,"pid":42,"#,
    r#""trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd","complete":true}"#,
);

#[test]
fn summary_has_qtaps_keys_and_ours() {
    let qtaps = concat!(
        r#"{"msg":"HTTP transaction","bin":"curl","direction":"egress-internal","method":"GET","#,
        r#""url":"https://example.com/a/b?c=d","status":200,"qpoint_request_id":"0123456789abcdef0123456789abcdef","#,
    );
    let line = line(&capture(Role::Client), Level::Summary);
    assert_eq!(line, format!("{qtaps}{OURS}"));
}

#[test]
fn details_have_meta_and_headers_of_both_messages() {
    let qtaps = concat!(
        r#"{"msg":"HTTP transaction","meta":{"bytes_sent":"80","bytes_received":"69","pid":42,"exe":"/usr/bin/curl","#,
        r#""container_name":"","container_image":"","pod_name":"","pod_namespace":""},"direction":"egress-internal","#,
        r#""request":{"url":"https://example.com/a/b?c=d","method":"GET","proto":"http1","#,
        r#""qpoint_request_id":"0123456789abcdef0123456789abcdef","headers":{"Host":"example.com","User-Agent":"curl/8"},"#,
        r#""header_list":[["Host","example.com"],["User-Agent","curl/8"]],"trailer_list":[],"body_size":0,"body_truncated":false},"#,
        r#""response":{"status":200,"headers":{"Content-Length":"5","Content-Type":"text/plain"},"#,
        r#""header_list":[["Content-Type","text/plain"],["Content-Length","5"]],"trailer_list":[],"body_size":5,"body_truncated":false},"#,
    );
    let capture = capture(Role::Client);
    assert_eq!(line(&capture, Level::Headers), format!("{qtaps}{OURS}"));
    // Its own level is `headers`: there is no more to show.
    assert_eq!(line(&capture, Level::Full), format!("{qtaps}{OURS}"));
}

#[test]
fn the_servers_bytes_go_the_other_way() {
    let value = value(&capture(Role::Server), Level::Headers);
    assert_eq!(value["direction"], "ingress");
    assert_eq!(value["meta"]["bytes_sent"], "69");
}

#[test]
fn full_has_text_and_names_what_is_binary() {
    let mut capture = capture(Role::Client);
    capture.decision.level = Level::Full;
    capture.facts.response_content_type = Some("application/json".into());
    capture.transaction.response.as_mut().unwrap().body = content_of(b"{\"a\":\"\xff\n\"}");
    let text = value(&capture, Level::Full);
    assert_eq!(text["response"]["body"], "{\"a\":\"\u{fffd}\n\"}");
    assert_eq!(text["request"]["body"], "");
    assert_eq!(
        value(&capture, Level::Headers)["response"].get("body"),
        None
    );
    let response = capture.transaction.response.as_mut().unwrap();
    response.headers.push(b"Content-Encoding", b"unheard-of");
    assert_eq!(value(&capture, Level::Full)["response"]["body"], "<binary>");
}

#[test]
fn a_summary_capture_has_no_headers_in_any_mode() {
    let mut capture = capture(Role::Client);
    capture.decision.level = Level::Summary;
    capture.transaction.request.as_mut().unwrap().headers = Headers::default();
    let value = value(&capture, Level::Full);
    assert_eq!(value["request"].get("headers"), None);
    assert_eq!(value["request"]["body_size"], 0);
}

#[test]
fn what_was_not_seen_is_null_and_marked() {
    let mut capture = capture(Role::Client);
    capture.transaction.request = None;
    capture.transaction.response = None;
    capture.transaction.marks.set(Mark::ResponseMissing);
    let summary = value(&capture, Level::Summary);
    for key in ["method", "url", "status"] {
        assert_eq!(summary.get(key), Some(&Value::Null), "{key}");
    }
    assert_eq!(summary["error"], "incomplete_response");
    assert_eq!(summary["complete"], false);
    assert_eq!(summary["marks"], json!(["response_missing"]));
    let details = value(&capture, Level::Headers);
    assert_eq!(
        (&details["request"], &details["response"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_payload_is_linked() {
    let link = PayloadLink {
        url: Some("file:///p/1".into()),
        digest: Some("ff".into()),
        size: Some(7),
        status: PayloadStatus::Pending,
    };
    let line = encode(&capture(Role::Client), Some(&link), Level::Summary);
    let value: Value = serde_json::from_slice(&line).unwrap();
    let expected = json!({"url": "file:///p/1", "digest": "ff", "size": 7, "status": "pending"});
    assert_eq!(value["payload"], expected);
}

proptest! {
    #[test]
    fn any_bytes_make_one_line_of_valid_json(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let mut capture = capture(Role::Client);
        capture.decision.level = Level::Full;
        capture.facts.response_content_type = Some("text/plain".into());
        capture.facts.host = Some(text);
        let request = capture.transaction.request.as_mut().unwrap();
        request.method = bytes.clone();
        request.target = bytes.clone();
        request.headers.push(&bytes, &bytes);
        capture.transaction.response.as_mut().unwrap().body = content_of(&bytes);
        for mode in [Level::Summary, Level::Headers, Level::Full] {
            let line = line(&capture, mode);
            prop_assert!(serde_json::from_str::<Value>(&line).is_ok(), "{}", line);
            prop_assert!(!line.contains('\n'));
        }
    }
}
