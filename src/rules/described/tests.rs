use super::*;
use crate::rules::expr::{Buffers, Macros, Program};
use crate::rules::facts::TransactionFacts;
use serde_json::json;

fn holds(description: &Value, text: &str) -> bool {
    let described = Described::new(description).unwrap_or_else(|e| panic!("{e}"));
    let facts = TransactionFacts {
        transaction: &described.transaction,
        process: &described.process,
    };
    let (program, _) =
        Program::compile(text, &Macros::default()).unwrap_or_else(|f| panic!("{text}: {f:?}"));
    program.evaluate(&facts, &mut Buffers::default()).is_true()
}

#[test]
fn every_field_that_can_be_given_is_what_was_given() {
    for (field, value, text) in [
        (
            "http.req.method",
            json!("GET"),
            "http.req.method == \"GET\"",
        ),
        ("http.req.path", json!("/a"), "http.req.path == \"/a\""),
        ("http.req.query", json!("a=1"), "http.req.query.a == 1"),
        (
            "http.req.query.x",
            json!(["a b", "c"]),
            "http.req.query.x == \"a b\" and http.req.query.x == \"c\"",
        ),
        ("http.req.host", json!("a:80"), "http.req.host == \"a\""),
        (
            "http.req.url",
            json!("https://h/p?q=1"),
            "http.req.url == \"https://h/p?q=1\"",
        ),
        ("http.req.scheme", json!("https"), "tls.enabled"),
        (
            "http.req.headers.accept",
            json!(["a", "b"]),
            "http.req.headers.accept == \"b\"",
        ),
        (
            "http.req.cookies.sid",
            json!("1"),
            "http.req.cookies.sid == 1",
        ),
        (
            "http.req.body.size",
            json!("64KiB"),
            "http.req.body.size == 64KiB",
        ),
        ("http.res.status", json!(404), "http.res.status == 404"),
        ("http.res.headers.x", json!("1"), "http.res.headers.x == 1"),
        ("http.res.body.size", json!(7), "http.res.body.size == 7"),
        ("http.duration", json!("2s"), "http.duration == 2s"),
        ("http.version", json!("2"), "http.version == \"2\""),
        ("protocol", json!("http2"), "protocol == \"http2\""),
        (
            "grpc.status",
            json!(5),
            "exists(grpc.status) or http.duration == 0",
        ),
        (
            "direction",
            json!("egress-external"),
            "direction == \"egress-external\"",
        ),
        ("tls.enabled", json!(true), "tls.enabled"),
        ("tls.version", json!("1.3"), "tls.version == 1.3"),
        ("tls.sni", json!("a.b"), "dst.domain == \"a.b\""),
        ("tls.alpn", json!(["h2"]), "tls.alpn contains \"h2\""),
        ("src.ip", json!("10.0.0.1"), "src.ip == 10.0.0.1"),
        ("src.port", json!(80), "src.port == 80"),
        ("dst.ip", json!("::1"), "dst.ip == ::1"),
        ("dst.port", json!(443), "dst.port == 443"),
        (
            "src.process.path",
            json!("/bin/a"),
            "src.process.binary == \"a\"",
        ),
        (
            "src.process.binary",
            json!("b"),
            "src.process.binary == \"b\"",
        ),
        ("src.process.pid", json!(7), "src.process.pid == 7"),
        ("src.process.user.id", json!(0), "src.process.user.id == 0"),
        (
            "src.process.user.name",
            json!("root"),
            "src.process.user.name == \"root\"",
        ),
        (
            "src.container.id",
            json!("abcdef"),
            "src.container.id == \"abcdef\"",
        ),
        (
            "trace.id",
            json!("0af7651916cd43dd8448eb211c80319c"),
            "trace.id == \"0af7651916cd43dd8448eb211c80319c\"",
        ),
    ] {
        assert!(holds(&json!({field: value}), text), "{field}");
    }
    let nested =
        json!({"http": {"req": {"method": "PUT", "headers": {"x-a": "1"}}, "res.status": 500}});
    assert!(holds(
        &nested,
        "http.req.method == \"PUT\" and http.req.headers.x-a == 1 and http.res.status == 500"
    ));
    let call = json!({"grpc": {"service": "a.B", "method": "C", "status": 5}});
    assert!(holds(
        &call,
        "grpc.service == \"a.B\" and grpc.method == \"C\" and grpc.status == 5 and protocol == \"grpc\""
    ));
}

#[test]
fn what_is_no_field_or_does_not_fit_is_an_error() {
    for (description, said) in [
        (json!([]), "JSON object"),
        (
            json!({"http.req.mehtod": "GET"}),
            "did you mean `http.req.method`",
        ),
        (json!({"http": {"foo": 1}}), "no field `http.foo`"),
        (
            json!({"src.process.hostname": "a"}),
            "not known to this version",
        ),
        (json!({"tags": ["a"]}), "a list of `key:value`"),
        (json!({"dst.domain": "a"}), "follows from other fields"),
        (json!({"http.res.status": "ok"}), "a whole number"),
        (json!({"dst.ip": "host"}), "an address"),
        (json!({"http.duration": "soon"}), "a time"),
        (json!({"tls.enabled": "yes"}), "true or false"),
        (json!({"http.req.headers.a": {}}), ""),
    ] {
        match Described::new(&description) {
            Err(error) => assert!(error.to_string().contains(said), "{description}: {error}"),
            Ok(_) => assert!(said.is_empty(), "{description}"),
        }
    }
}

#[test]
fn a_payload_document_is_the_transaction_that_it_was_made_of() {
    let document = json!({
        "transaction_id": "x",
        "metadata": {"process_id": "42", "process_exe": "/usr/bin/curl", "container_id": ""},
        "request": {
            "method": "POST", "path": "/a", "query": "b=1", "authority": "h.example", "scheme": "https",
            "protocol_version": "2", "header_list": [["x-a", "1"], ["x-a", "2"]], "body_size": 3
        },
        "response": {"status": 503, "header_list": [["retry-after", "9"]], "body_size": 4},
        "duration_ns": 2_500_000_000u64, "response_start_ns": 1_000_000,
        "connection": {"role": "client", "local": "10.0.0.1:5", "remote": "1.1.1.1:443",
            "tls": {"version": "1.3", "sni": "h.example", "alpn_offered": ["h2"]}}
    });
    for text in [
        "http.req.method == \"POST\" and http.req.path == \"/a\" and http.req.query.b == 1",
        "http.req.host == \"h.example\" and http.req.headers.x-a == 2 and http.req.body.size == 3",
        "http.res.status == 503 and http.res.headers.retry-after > 8 and http.res.body.size == 4",
        "http.duration == 2500ms and http.ttfb == 1ms and http.version == \"2\"",
        "direction == \"egress-external\" and dst.port == 443 and tls.version == 1.3 and tls.alpn contains \"h2\"",
        "src.process.pid == 42 and src.process.binary == \"curl\" and not exists(src.container.id)",
    ] {
        assert!(holds(&document, text), "{text}");
    }
}
