use super::*;
use crate::redact::Redacted;
use crate::redact::sample::{body, policy, redact, transaction};
use crate::transaction::{Mark, Transaction};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

fn document(capture: &Redacted) -> Value {
    serde_json::from_slice(&encode(capture)).unwrap()
}

fn at(level: Level, t: Transaction) -> Value {
    document(&redact(&policy(), t, level).0)
}

fn usual() -> Transaction {
    transaction(
        "/a%20b?x=1&token=t",
        &[
            ("Host", "shop.example:8443"),
            ("user-agent", "curl/8"),
            ("X-user-ID", "17"),
            ("Authorization", "Bearer t"),
            ("x-user-id", "18"),
            ("content-type", "text/plain"),
        ],
        &[
            ("Content-Type", "application/json"),
            ("Via", "a"),
            ("Via", "b"),
        ],
    )
}

#[test]
fn the_document_has_qtaps_shape_and_ours() {
    let doc = at(Level::Full, usual());
    assert_eq!(
        doc["metadata"],
        json!({
            "process_id": "4242", "process_exe": "/usr/bin/curl",
            "container_name": "", "container_image": "", "pod_name": "", "pod_namespace": "",
            "bytes_sent": 100, "bytes_received": 300,
            "request_id": "0123456789abcdef0123456789abcdef", "connection_id": "c7",
            "endpoint_id": "shop.example", "container_id": "", "service_name": "", "thread_id": 4243,
        })
    );
    assert_eq!(
        doc["request"],
        json!({
            "method": "GET", "url": "https://shop.example:8443/a%20b?x=1&token=REDACTED",
            "scheme": "https", "path": "/a%20b", "authority": "shop.example:8443",
            "protocol": "http1", "request_id": "0123456789abcdef0123456789abcdef",
            "user_agent": "curl/8", "content_type": "text/plain",
            "headers": {
                ":authority": "shop.example:8443", ":method": "GET",
                ":path": "/a%20b?x=1&token=REDACTED", ":scheme": "https",
                "Authorization": "REDACTED", "Content-Type": "text/plain",
                "Host": "shop.example:8443", "User-Agent": "curl/8", "X-User-Id": "17",
            },
            "body": "cXVlc3Rpb24=", "body_is_text": true, "body_encoding": null,
            "body_decoded_truncated": false, "body_decode_stop": null, "body_captured": 8,
            "query": "x=1&token=REDACTED", "protocol_version": "1.1",
            "header_list": [
                ["Host", "shop.example:8443"], ["user-agent", "curl/8"], ["X-user-ID", "17"],
                ["Authorization", "REDACTED"], ["x-user-id", "18"], ["content-type", "text/plain"],
            ],
            "trailer_list": [],
            "body_size": 8, "body_truncated": false, "body_missing": 0, "wire_size": 100,
        })
    );
    assert_eq!(
        doc["response"],
        json!({
            "status": 200, "content_type": "application/json",
            "headers": { ":status": "200", "Content-Type": "application/json", "Via": "a" },
            "body": STANDARD.encode(b"answer\xff"), "body_is_text": true, "body_encoding": null,
            "body_decoded_truncated": false, "body_decode_stop": null, "body_captured": 7,
            "reason": "OK",
            "header_list": [["Content-Type", "application/json"], ["Via", "a"], ["Via", "b"]],
            "trailer_list": [],
            "body_size": 7, "body_truncated": false, "body_missing": 0, "wire_size": 300,
            "interim": [100],
        })
    );
    let rest = json!({
        "transaction_time": "2026-01-01T00:00:00.000000005Z", "duration_ms": 3,
        "direction": "egress-external", "version": 1,
        "transaction_id": "0123456789abcdef0123456789abcdef",
        "trace_id": "abababababababababababababababab", "span_id": "cdcdcdcdcdcdcdcd",
        "parent_span_id": null, "level": "full", "rule": null, "complete": true, "marks": [],
        "end_time": "2026-01-01T00:00:00.002500006Z", "duration_ns": 2_500_001,
        "request_end_ns": 500_000, "response_start_ns": 2_000_000,
        "connection": {
            "role": "client", "local": "10.0.0.1:40000", "remote": "93.184.216.34:443", "ordinal": 3,
            "tls": { "version": "1.3", "sni": "shop.example", "alpn_offered": [] },
        },
    });
    for (key, value) in rest.as_object().unwrap() {
        assert_eq!(&doc[key], value, "{key}");
    }
    assert_eq!(
        doc.as_object().unwrap().len(),
        rest.as_object().unwrap().len() + 3
    );
}

#[test]
fn qtaps_keys_come_first_and_the_bytes_depend_on_the_capture_alone() {
    let (capture, _) = redact(&policy(), usual(), Level::Full);
    let text = String::from_utf8(encode(&capture)).unwrap();
    assert_eq!(text.into_bytes(), encode(&capture));
    let text = String::from_utf8(encode(&capture)).unwrap();
    let keys = [
        "\"metadata\"",
        "\"request\"",
        "\"response\"",
        "\"transaction_time\"",
        "\"direction\"",
        "\"version\"",
    ];
    let places: Vec<_> = keys.iter().map(|k| text.find(k).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_level_has_what_it_keeps() {
    for (level, headers, bodies) in [
        (Level::Summary, false, false),
        (Level::Headers, true, false),
        (Level::Full, true, true),
    ] {
        let doc = at(level, usual());
        for side in ["request", "response"] {
            let part = doc[side].as_object().unwrap();
            for key in ["headers", "header_list", "trailer_list"] {
                assert_eq!(part.contains_key(key), headers, "{level:?} {side} {key}");
            }
            assert_eq!(part.contains_key("body"), bodies, "{level:?} {side}");
            assert!(part["body_size"].as_u64().unwrap() > 0);
        }
        assert_eq!(doc["request"]["user_agent"], "curl/8");
        assert_eq!(doc["request"]["authority"], "shop.example:8443");
        assert_eq!(doc["response"]["content_type"], "application/json");
        assert_eq!(doc["level"], level.name());
    }
}

#[test]
fn what_is_missing_is_said() {
    let mut t = usual();
    t.response = None;
    t.marks.set(Mark::ResponseMissing);
    t.timing.response_start = None;
    let doc = at(Level::Full, t);
    assert_eq!(doc["response"], Value::Null);
    assert_eq!(doc["marks"], json!(["response_missing"]));
    assert_eq!(doc["complete"], false);

    let mut t = usual();
    t.request = None;
    let doc = at(Level::Full, t);
    assert_eq!(doc["request"], Value::Null);
    assert_eq!(doc["metadata"]["endpoint_id"], "");

    let mut t = usual();
    t.request.as_mut().unwrap().body.push_missing(5);
    let doc = at(Level::Full, t);
    let request = &doc["request"];
    assert_eq!(
        (&request["body_size"], &request["body_missing"]),
        (&json!(13), &json!(5))
    );
    assert_eq!(request["body_truncated"], true);
}

#[test]
fn every_form_of_target_makes_a_url() {
    for (method, target, url, path, query) in [
        ("GET", "/", "https://shop.example/", "/", ""),
        (
            "GET",
            "http://other:81/p?q#f",
            "http://other:81/p?q#f",
            "/p",
            "q#f",
        ),
        ("GET", "http://other?q", "http://other?q", "", "q"),
        ("CONNECT", "other:443", "https://other:443", "", ""),
        ("OPTIONS", "*", "https://shop.example/*", "*", ""),
        (
            "GET",
            "/?u=http://x/",
            "https://shop.example/?u=http://x/",
            "/",
            "u=http://x/",
        ),
    ] {
        let mut t = transaction(target, &[("host", "shop.example")], &[]);
        t.request.as_mut().unwrap().method = method.as_bytes().to_vec();
        let doc = at(Level::Summary, t);
        let got = ["url", "path", "query"].map(|k| doc["request"][k].as_str().unwrap().to_owned());
        assert_eq!(got, [url, path, query], "{method} {target}");
    }
}

#[test]
fn without_a_host_the_servers_address_stands_for_it() {
    let mut t = transaction("/", &[], &[]);
    t.connection.remote = Some("[2001:db8::1]:443".parse().unwrap());
    let doc = at(Level::Summary, t);
    assert_eq!(doc["request"]["url"], "https://[2001:db8::1]:443/");
    assert_eq!(doc["metadata"]["endpoint_id"], "2001:db8::1");
}

#[test]
fn directions_have_qtaps_names() {
    for (role, remote, name) in [
        (Role::Server, "8.8.8.8:1", "ingress"),
        (Role::Client, "8.8.8.8:1", "egress-external"),
        (Role::Client, "10.1.1.1:1", "egress-internal"),
        (Role::Client, "[::ffff:192.168.1.1]:1", "egress-internal"),
        (Role::Client, "[fd00::1]:1", "egress-internal"),
        (Role::Client, "[::1]:1", "egress-internal"),
        (Role::Client, "[2001:db8::1]:1", "egress-external"),
    ] {
        let mut t = usual();
        t.role = role;
        t.connection.remote = Some(remote.parse().unwrap());
        assert_eq!(at(Level::Summary, t)["direction"], name, "{remote}");
    }
}

#[test]
fn sent_and_received_are_as_the_process_has_them() {
    let mut t = usual();
    t.role = Role::Server;
    let doc = at(Level::Summary, t);
    let metadata = &doc["metadata"];
    assert_eq!(
        (&metadata["bytes_sent"], &metadata["bytes_received"]),
        (&json!(300), &json!(100))
    );
}

#[test]
fn canonical_names_are_those_of_go() {
    for (name, canon) in [
        ("content-type", "Content-Type"),
        ("X-USER-id", "X-User-Id"),
        ("www-authenticate", "Www-Authenticate"),
        ("x_y", "X_y"),
        ("a b", "a b"),
    ] {
        assert_eq!(canonical(name.as_bytes()), canon);
    }
}

#[test]
fn a_value_that_is_not_utf8_is_whole_in_the_list() {
    let mut t = transaction("/\u{e4}", &[], &[]);
    let request = t.request.as_mut().unwrap();
    request.target = b"/\xe4?q=\xff".to_vec();
    request.headers.push(b"X-Latin", b"caf\xe9");
    let doc = at(Level::Headers, t);
    let request = &doc["request"];
    assert_eq!(request["headers"]["X-Latin"], "caf\u{fffd}");
    assert_eq!(
        request["header_list"],
        json!([["X-Latin", { "base64": STANDARD.encode(b"caf\xe9") }]])
    );
    assert_eq!(
        (&request["path"], &request["query"]),
        (&json!("/%E4"), &json!("q=%FF"))
    );
}

proptest! {
    #[test]
    fn any_bytes_make_json_and_bodies_come_back_as_they_were(
        target in prop::collection::vec(any::<u8>(), 0..40),
        name in "[a-zA-Z-]{1,8}",
        value in prop::collection::vec(any::<u8>(), 0..40),
        content in prop::collection::vec(any::<u8>(), 0..3000)
            // Text in UTF-16 that cannot be looked through is dropped.
            .prop_filter("a byte order mark", |c| !c.starts_with(b"\xff\xfe") && !c.starts_with(b"\xfe\xff")),
    ) {
        let mut t = transaction("/", &[], &[]);
        let request = t.request.as_mut().unwrap();
        request.target = target;
        request.headers.push(name.as_bytes(), &value);
        request.headers.push(&value, &value);
        request.body = body(&content);
        let doc = at(Level::Full, t);
        let stored = doc["request"]["body"].as_str().unwrap();
        prop_assert_eq!(STANDARD.decode(stored).unwrap(), content);
    }
}

/// The response part of a document whose response has this body in gzip.
fn zipped(policy: &crate::config::HttpCapture, sent: &[u8]) -> Value {
    let fields = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    let mut t = transaction("/", &[], &fields);
    t.response.as_mut().unwrap().body = body(sent);
    let doc = document(&redact(policy, t, Level::Full).0);
    doc["response"].clone()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_coded_body_is_stored_decoded_with_the_sizes_of_the_wire() {
    let content = b"hello ".repeat(100);
    let sent = gzip(&content);
    let response = zipped(&policy(), &sent);
    assert_eq!(response["body"], STANDARD.encode(&content));
    assert_eq!(response["body_encoding"], "gzip");
    assert_eq!(response["body_is_text"], true);
    assert_eq!(response["body_decoded_truncated"], false);
    assert_eq!(response["body_size"], sent.len());
    assert_eq!(response["body_captured"], sent.len());
    assert!(response.get("body_as_sent").is_none());
}

#[test]
fn a_coded_body_is_stored_as_sent_too_where_asked() {
    let with = crate::config::HttpCapture {
        body_as_sent: true,
        ..policy()
    };
    let sent = gzip(b"hello");
    let response = zipped(&with, &sent);
    assert_eq!(response["body"], STANDARD.encode("hello"));
    assert_eq!(response["body_as_sent"], STANDARD.encode(&sent));
    let plain = document(&redact(&with, usual(), Level::Full).0);
    assert!(plain["response"].get("body_as_sent").is_none());
    let headers = document(&redact(&with, usual(), Level::Headers).0);
    assert!(headers["response"].get("body_as_sent").is_none());
}

#[test]
fn a_bomb_is_cut_and_marked_and_so_is_a_body_cut_by_capturing() {
    let small = crate::config::HttpCapture {
        body_max_bytes: 10_000,
        ..policy()
    };
    let sent = gzip(&vec![b'a'; 5_000_000]);
    let response = zipped(&small, &sent);
    assert_eq!(response["body"], STANDARD.encode(vec![b'a'; 10_000]));
    assert_eq!(response["body_decoded_truncated"], true);
    assert_eq!(response["body_decode_stop"], "limit");
    let response = zipped(&policy(), &gzip(b"hello")[..13]);
    assert_eq!(response["body_decode_stop"], "input_ends");
    assert_eq!(response["body_decoded_truncated"], true);
    let response = zipped(&policy(), b"not gzip at all");
    assert_eq!(response["body"], STANDARD.encode("not gzip at all"));
    assert_eq!(response["body_decode_stop"], "damaged");
    assert_eq!(response["body_is_text"], false);
    assert!(response["body_encoding"].is_null());
}

#[test]
fn the_messages_of_a_websocket_stand_in_the_order_of_time_at_level_full_alone() {
    use crate::event::KernelTime;
    use crate::transaction::websocket::{WebSocket, WebSocketMessage};
    let mut t = usual();
    let message = |text: bool, after: u64, bytes: &[u8]| WebSocketMessage {
        text,
        compressed: false,
        whole: true,
        follows: true,
        time: KernelTime(t.timing.start.0 + after),
        size: 5,
        bytes: bytes.to_vec(),
    };
    let mut websocket = WebSocket::default();
    websocket.from_client.text = 1;
    websocket.from_client.messages = 1;
    websocket.from_client.kept = vec![message(true, 20, b"hello")];
    websocket.from_server.kept = vec![message(false, 10, &[255]), message(true, 30, b"bye..")];
    websocket.from_server.close_code = Some(1000);
    t.websocket = Some(websocket);
    let doc = at(Level::Full, t.clone())["websocket"].clone();
    assert_eq!(doc["from_client"]["text"], 1);
    assert_eq!(doc["close_code"], 1000);
    assert_eq!(
        doc["messages"],
        json!([
            {"from": "server", "type": "binary", "time_ns": 10, "size": 5, "truncated": true,
             "compressed": false, "base64": "/w=="},
            {"from": "client", "type": "text", "time_ns": 20, "size": 5, "truncated": false,
             "compressed": false, "text": "hello"},
            {"from": "server", "type": "text", "time_ns": 30, "size": 5, "truncated": false,
             "compressed": false, "text": "bye.."},
        ])
    );
    let doc = at(Level::Headers, t)["websocket"].clone();
    assert_eq!(doc["from_client"]["messages"], 1);
    assert!(doc.get("messages").is_none(), "{doc}");
    assert!(at(Level::Full, usual()).get("websocket").is_none());
}

#[test]
fn the_messages_of_a_call_are_split_at_level_full_alone() {
    use crate::redact::sample::headers;
    use crate::transaction::grpc::{Code, Counts, Grpc, Kind};
    let mut t = usual();
    let counts = Counts {
        messages: 3,
        size: 12,
        longest: 7,
        compressed: 1,
        partial: true,
        ..Counts::default()
    };
    t.grpc = Some(Grpc {
        kind: Kind::Grpc,
        from_client: None,
        from_server: Some(counts),
        code: Some(Code(5)),
        inferred: false,
    });
    let response = t.response.as_mut().unwrap();
    response.headers = headers(&[("content-type", "application/grpc+json")]);
    response.trailers = headers(&[("grpc-status", "5"), ("grpc-message", "no%20cart")]);
    response.body = body(b"\0\0\0\0\x02{}\x01\0\0\0\x01?\0\0\0\0\x09{\"cut");
    let doc = at(Level::Full, t.clone())["grpc"].clone();
    assert_eq!(
        doc,
        json!({
            "protocol": "grpc", "method": null, "status": "NOT_FOUND", "status_code": 5,
            "status_inferred": false, "message": "no cart", "from_client": null,
            "from_server": {"messages": 3, "payload_size": 12, "longest": 7, "compressed": 1,
                            "left_out": 1, "marks": ["partial"]},
            "messages": [
                {"from": "server", "size": 2, "truncated": false, "compressed": false, "text": "{}"},
                {"from": "server", "size": 1, "truncated": false, "compressed": true,
                 "encoding": null, "redacted": true, "dropped": "coded", "base64": ""},
                {"from": "server", "size": 9, "truncated": true, "compressed": false, "text": "{\"cut"},
            ],
        })
    );
    let doc = at(Level::Headers, t.clone())["grpc"].clone();
    assert_eq!(
        (&doc["message"], doc.get("messages")),
        (&json!("no cart"), None)
    );
    let doc = at(Level::Summary, t)["grpc"].clone();
    assert_eq!(
        (&doc["status"], doc.get("message")),
        (&json!("NOT_FOUND"), None)
    );
    assert!(at(Level::Full, usual()).get("grpc").is_none());
}
