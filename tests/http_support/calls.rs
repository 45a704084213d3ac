//! Calls of gRPC, gRPC-Web and Connect.

use super::frames::{END_STREAM, Encoder, PREFACE, data, settings};
use super::{Fixture, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A message with its prefix.
pub fn message(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a small message");
    [&[flags][..], &len.to_be_bytes(), bytes].concat()
}

/// Fields of a request for a method.
pub fn call<'a>(path: &'a str, timeout: &'a str) -> [(&'a str, &'a str); 7] {
    [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "example.org:8443"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", timeout),
    ]
}

pub const ANSWER: [(&str, &str); 3] = [
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("grpc-encoding", "gzip"),
];

pub fn fixtures() -> Vec<Fixture> {
    vec![grpc(), web(), connect()]
}

/// HTTP/2: messages that cross frames and share them, trailers, and a response that is trailers only.
pub fn grpc() -> Fixture {
    let (mut c, mut s) = (Encoder::default(), Encoder::default());
    let asked = [message(0, b"first"), message(0, b""), message(1, &[9; 300])].concat();
    let answer = [message(0, &[1; 40]), message(1, b"second")].concat();
    let q = |parts: &[Vec<u8>]| Step::Request(parts.concat());
    let a = |parts: &[Vec<u8>]| Step::Response(parts.concat());
    let steps = vec![
        q(&[
            PREFACE.to_vec(),
            settings(),
            c.headers(1, 0, &call("/shop.v1.Cart/Fill", "1S")),
        ]),
        a(&[settings()]),
        q(&[data(1, 0, &asked[..3]), data(1, 0, &asked[3..100])]),
        q(&[c.headers(3, 0, &call("/shop.v1.Cart/Drop", "20m"))]),
        q(&[data(3, END_STREAM, &message(0, b"which"))]),
        a(&[s.headers(1, 0, &ANSWER), data(1, 0, &answer[..44])]),
        q(&[data(1, END_STREAM, &asked[100..])]),
        a(&[s.headers(
            3,
            END_STREAM,
            &[
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "14"),
                ("grpc-message", "no%20cart%21"),
            ],
        )]),
        a(&[
            data(1, 0, &answer[44..]),
            s.headers(1, END_STREAM, &[("grpc-status", "0")]),
        ]),
    ];
    Fixture {
        name: "h2_grpc",
        steps,
        transactions: 2,
    }
}

fn head(lines: &[&str]) -> Vec<u8> {
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

/// A request over HTTP/1 with its body.
fn post(path: &str, fields: &[&str], body: &[u8]) -> Step {
    let (line, length) = (
        format!("POST {path} HTTP/1.1"),
        format!("Content-Length: {}", body.len()),
    );
    let lines = [&[line.as_str(), "Host: x", length.as_str()], fields].concat();
    Step::Request([head(&lines), body.to_vec()].concat())
}

/// A chunked response over HTTP/1.
fn chunked(content_type: &str, chunks: &[&[u8]]) -> Step {
    let kind = format!("Content-Type: {content_type}");
    let mut out = head(&["HTTP/1.1 200 OK", &kind, "Transfer-Encoding: chunked"]);
    for bytes in chunks {
        out.extend(chunk(bytes));
    }
    out.extend(b"0\r\n\r\n");
    Step::Response(out)
}

/// gRPC-Web, binary and in base64; its trailers carry a secret.
fn web() -> Fixture {
    let trailers = message(
        0x80,
        b"grpc-status:5\r\ngrpc-message:none%20here\r\nset-cookie:a=secret\r\n",
    );
    let binary = [message(0, b"one"), message(0, b"two")].concat();
    let text = STANDARD.encode(&binary) + &STANDARD.encode(&trailers);
    let asked = STANDARD.encode(message(0, b"question"));
    let steps = vec![
        post(
            "/a.B/Binary",
            &["Content-Type: application/grpc-web+proto"],
            &message(0, b"question"),
        ),
        chunked(
            "application/grpc-web+proto",
            &[&binary[..7], &binary[7..], &trailers],
        ),
        post(
            "/a.B/Text",
            &["Content-Type: application/grpc-web-text"],
            asked.as_bytes(),
        ),
        chunked(
            "application/grpc-web-text",
            &[&text.as_bytes()[..9], &text.as_bytes()[9..]],
        ),
    ];
    Fixture {
        name: "grpc_web",
        steps,
        transactions: 2,
    }
}

/// Connect with streams and without.
fn connect() -> Fixture {
    let end = br#"{"error":{"code":"unavailable"},"metadata":{"x-token":["secret"]}}"#;
    let asked = [
        message(0, b"{\"a\":1}"),
        message(0, b"{}"),
        message(2, b"{}"),
    ]
    .concat();
    let answer = [message(0, b"{\"b\":2}"), message(2, end)].concat();
    let steps = vec![
        post(
            "/a.B/Stream",
            &["Content-Type: application/connect+json"],
            &asked,
        ),
        chunked("application/connect+json", &[&answer[..20], &answer[20..]]),
        post(
            "/a.B/Once",
            &[
                "Content-Type: application/json",
                "Connect-Protocol-Version: 1",
            ],
            b"{\"a\":1}",
        ),
        chunked("application/json", &[b"{\"b\":2}"]),
    ];
    Fixture {
        name: "connect_rpc",
        steps,
        transactions: 2,
    }
}
