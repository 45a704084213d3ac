use super::*;
use crate::event::Role;
use crate::sink::PayloadStatus;
use crate::sink::testing::{capture, headers};
use crate::transaction::{TraceContext, TraceContextSource};
use proptest::prelude::*;
use serde_json::{Value as Any, json};

fn line(capture: &Capture, link: Option<&PayloadLink>) -> String {
    let bytes = encode(capture, link, &EncodeOptions::default());
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

#[test]
fn a_span_is_one_flat_object() {
    let link = PayloadLink {
        url: Some("file:///p/1".into()),
        digest: Some("ff".into()),
        size: Some(7),
        status: PayloadStatus::Stored,
    };
    let expected = concat!(
        r#"{"timestamp":"2023-11-14T22:13:20.000000000Z","duration_ms":12.3,"name":"GET","kind":"client","#,
        r#""trace_id":"abababababababababababababababab","span_id":"cdcdcdcdcdcdcdcd","status":"unset","#,
        r#""service.name":"unknown_service:curl","process.pid":42,"process.executable.path":"/usr/bin/curl","#,
        r#""http.request.method":"GET","url.scheme":"https","url.full":"https://example.com/a/b?c=d","#,
        r#""server.address":"example.com","http.response.status_code":200,"#,
        r#""http.request.header.host":["example.com"],"http.request.header.user-agent":["curl/8"],"#,
        r#""http.response.header.content-type":["text/plain"],"http.response.header.content-length":["5"],"#,
        r#""plainspan.transaction.id":"0123456789abcdef0123456789abcdef","plainspan.capture.level":"headers","#,
        r#""plainspan.capture.complete":true,"plainspan.ttfb":0.01,"plainspan.payload.url":"file:///p/1","plainspan.payload.digest":"ff","#,
        r#""plainspan.payload.size":7,"plainspan.payload.status":"stored","#,
        r#""server.port":443,"peer.service":"example.com","service.peer.name":"example.com","#,
        r#""network.peer.address":"10.0.0.2","network.peer.port":443,"network.local.address":"10.0.0.1","network.local.port":50000,"#,
        r#""network.protocol.version":"1.1","http.request.body.size":0,"http.request.size":80,"#,
        r#""http.response.body.size":5,"http.response.size":69,"user_agent.original":"curl/8","tls.protocol.name":"tls","#,
        r#""tls.protocol.version":"1.3"}"#,
    );
    assert_eq!(line(&capture(Role::Client), Some(&link)), expected);
}

#[test]
fn parents_links_and_errors_are_told() {
    let mut capture = capture(Role::Server);
    capture.ids.parent_span_id = Some([0x12; 8]);
    capture.ids.link = Some(TraceContext {
        trace_id: [1; 16],
        span_id: [2; 8],
        flags: 0,
        tracestate: String::new(),
        source: TraceContextSource::W3c,
    });
    capture.transaction.response.as_mut().unwrap().status = 503;
    let value: Any = serde_json::from_str(&line(&capture, None)).unwrap();
    assert_eq!(value["kind"], "server");
    assert_eq!(value["status"], "error");
    assert_eq!(value["error.type"], "503");
    assert_eq!(value["parent_span_id"], "1212121212121212");
    let link = json!([{"trace_id": "01".repeat(16), "span_id": "02".repeat(8)}]);
    assert_eq!(value["links"], link);
}

#[test]
fn an_array_has_one_element_a_header_line() {
    let mut capture = capture(Role::Client);
    capture.transaction.response.as_mut().unwrap().headers = headers(&[("Via", "a"), ("via", "b")]);
    let value: Any = serde_json::from_str(&line(&capture, None)).unwrap();
    assert_eq!(value["http.response.header.via"], json!(["a", "b"]));
}

proptest! {
    #[test]
    fn any_bytes_make_one_line_of_valid_json(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let mut capture = capture(Role::Client);
        let request = capture.transaction.request.as_mut().unwrap();
        request.method = bytes.clone();
        request.target = bytes.clone();
        request.headers.push(&bytes, &bytes);
        request.headers.push(text.as_bytes(), text.as_bytes());
        capture.facts.host = Some(text);
        let line = line(&capture, None);
        let value: Any = serde_json::from_str(&line).unwrap();
        prop_assert!(value.is_object());
        prop_assert!(!line.contains('\n'));
    }
}
