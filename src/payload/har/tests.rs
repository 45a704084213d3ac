use super::*;
use serde_json::{Value, json};

fn entry(document: &Value) -> Value {
    let document = Document::read(document.to_string().as_bytes()).expect("a document");
    serde_json::to_value(Entry::of(&document)).expect("JSON")
}

fn document() -> Value {
    json!({
        "metadata": {"connection_id": "c7", "service_name": "shop"},
        "request": {
            "method": "POST", "url": "https://shop.example/a b?x=1&x=%C3%A9+2", "scheme": "https", "path": "/a b",
            "authority": "shop.example", "query": "x=1&x=%C3%A9+2", "protocol_version": "1.1",
            "content_type": "application/x-www-form-urlencoded; charset=utf-8",
            "header_list": [["Host", "shop.example"], ["X", "1"], ["x", "2"], ["Cookie", "a=1"], ["Odd", {"base64": "/w=="}]],
            "body": "bj0xJm09JTIw", "body_is_text": true, "body_size": 9
        },
        "response": {
            "status": 302, "reason": "Found", "content_type": "text/plain",
            "header_list": [["Location", "/b"], ["Set-Cookie", "s=REDACTED; Path=/"], ["Content-Encoding", "gzip"]],
            "body": "aGVsbG8=", "body_is_text": true, "body_encoding": "gzip", "body_size": 3
        },
        "transaction_time": "2026-11-23T03:45:12.123456789Z", "duration_ns": 10_000_001, "request_end_ns": 1_000_000,
        "response_start_ns": 4_000_000, "version": 1, "transaction_id": "t1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
        "connection": {"role": "client", "local": "10.0.0.1:4000", "remote": "[::ffff:10.0.0.2]:443"}
    })
}

#[test]
fn an_entry_says_what_the_document_says() {
    let entry = entry(&document());
    let request = &entry["request"];
    assert_eq!(request["url"], "https://shop.example/a%20b?x=1&x=%C3%A9+2");
    assert_eq!(request["httpVersion"], "HTTP/1.1");
    let names: Vec<_> = request["headers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|h| &h["name"])
        .collect();
    assert_eq!(names, ["Host", "X", "x", "Cookie", "Odd"]);
    assert_eq!(request["headers"][4]["value"], "ÿ");
    assert_eq!(
        request["queryString"],
        json!([{"name": "x", "value": "1"}, {"name": "x", "value": "é 2"}])
    );
    assert_eq!(request["cookies"], json!([{"name": "a", "value": "1"}]));
    assert_eq!(request["postData"]["text"], "n=1&m=%20");
    assert_eq!(
        request["postData"]["params"][1],
        json!({"name": "m", "value": " "})
    );
    assert_eq!(
        (&request["headersSize"], &request["bodySize"]),
        (&json!(-1), &json!(9))
    );
    let response = &entry["response"];
    assert_eq!(
        (&response["status"], &response["statusText"]),
        (&json!(302), &json!("Found"))
    );
    assert_eq!(response["redirectURL"], "/b");
    assert_eq!(response["cookies"][0]["value"], "REDACTED");
    let content = json!({"size": 5, "compression": 2, "mimeType": "text/plain", "text": "hello"});
    assert_eq!(response["content"], content);
    assert_eq!(entry["serverIPAddress"], "10.0.0.2");
    assert_eq!(entry["_trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(entry["_span_id"], "b7ad6b7169203331");
}

#[test]
fn times_add_up_and_those_that_nobody_saw_are_minus_one() {
    for (sent, first) in [
        (json!(1_000_000), json!(4_000_000)),
        (json!(5_000_000), json!(4_000_000)),
        (json!(99_000_000), Value::Null),
        (Value::Null, json!(99_000_000)),
    ] {
        let mut document = document();
        document["request_end_ns"] = sent;
        document["response_start_ns"] = first;
        let entry = entry(&document);
        let timings = &entry["timings"];
        for unknown in ["blocked", "dns", "connect", "ssl"] {
            assert_eq!(timings[unknown], -1);
        }
        let sum: f64 = ["send", "wait", "receive"]
            .iter()
            .map(|key| timings[key].as_f64().expect("a number"))
            .inspect(|part| assert!(*part >= 0.0, "{timings}"))
            .sum();
        assert!((sum - 10.000_001).abs() < 1e-9, "{timings}");
        assert!((entry["time"].as_f64().expect("a number") - sum).abs() < 1e-9);
    }
}

#[test]
fn content_that_is_no_text_is_base64_both_ways() {
    let mut document = document();
    for side in ["request", "response"] {
        document[side]["body_is_text"] = json!(false);
    }
    let entry = entry(&document);
    let post = &entry["request"]["postData"];
    assert_eq!(
        (&post["text"], &post["encoding"]),
        (&json!("bj0xJm09JTIw"), &json!("base64"))
    );
    let content = &entry["response"]["content"];
    assert_eq!(
        (&content["text"], &content["encoding"]),
        (&json!("aGVsbG8="), &json!("base64"))
    );
}

#[test]
fn what_is_cut_or_not_kept_is_said() {
    let mut cut = document();
    cut["response"]["body_truncated"] = json!(true);
    cut["response"]["body_size"] = json!(900);
    let content = &entry(&cut)["response"]["content"];
    assert_eq!(content["comment"], "cut: 5 bytes are here; it had 900");
    assert!(content.get("compression").is_none());
    let mut headers = document();
    for side in ["request", "response"] {
        let side = headers[side].as_object_mut().expect("an object");
        side.remove("body");
        side.remove("body_encoding");
    }
    let entry = entry(&headers);
    assert!(entry["request"].get("postData").is_none());
    assert_eq!(
        entry["request"]["comment"],
        "not kept at this level; it had 9 bytes"
    );
    let content = &entry["response"]["content"];
    assert_eq!((&content["size"], content.get("text")), (&json!(-1), None));
    assert_eq!(entry["response"]["bodySize"], 3);
}

#[test]
fn halves_are_entries_too() {
    let mut half = document();
    half["response"] = Value::Null;
    half["marks"] = json!(["no_response"]);
    let shown = entry(&half);
    assert_eq!(
        (
            &shown["response"]["status"],
            &shown["response"]["httpVersion"]
        ),
        (&json!(0), &json!(""))
    );
    assert_eq!(shown["response"]["bodySize"], -1);
    assert_eq!(shown["comment"], "no response was seen; marks: no_response");
    half = document();
    half["request"] = Value::Null;
    assert_eq!(entry(&half)["request"]["url"], "about:blank");
    assert_eq!(entry(&json!({}))["time"], 0.0);
}

#[test]
fn messages_of_a_websocket_stand_as_chrome_writes_them() {
    let mut socket = document();
    socket["websocket"] = json!({"messages": [
        {"from": "client", "type": "text", "time_ns": 500_000_000, "text": "hi"},
        {"from": "server", "type": "binary", "time_ns": 0, "base64": "AA=="},
    ]});
    let shown = entry(&socket);
    assert_eq!(shown["_resourceType"], "websocket");
    let messages = &shown["_webSocketMessages"];
    assert_eq!(messages[0]["type"], "send");
    assert_eq!(messages[0]["data"], "hi");
    let time = messages[0]["time"].as_f64().expect("a number");
    assert!((time - 1_795_405_512.623_456).abs() < 1e-3, "{time}");
    assert_eq!(
        (&messages[1]["opcode"], &messages[1]["data"]),
        (&json!(2), &json!("AA=="))
    );
}

#[test]
fn head_entries_and_tail_are_one_archive() {
    let text = format!(
        "{}{},{}{TAIL}",
        head(),
        entry(&document()),
        entry(&document())
    );
    let archive: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(archive["log"]["version"], "1.2");
    assert_eq!(
        archive["log"]["entries"].as_array().expect("a list").len(),
        2
    );
}
