//! A document as text for people: what was said, line by line.
//!
//! Nothing in it can move a cursor or colour a screen: control characters are escaped.

use super::document::{Document, Message};
use super::escape::{escaped, escaped_text};
use std::fmt::Write as _;

/// Bytes of a body that are shown, at the most.
const SHOWN: usize = 64 << 10;

/// The whole transaction.
pub fn whole(document: &Document) -> String {
    let mut out = facts(document);
    if let Some(request) = &document.request {
        _ = write!(
            out,
            "\n{}{}",
            request_head(request),
            body("request", request)
        );
    }
    match &document.response {
        Some(response) => {
            let head = response_head(response, document);
            _ = write!(out, "\n{head}{}", body("response", response));
        }
        None => out.push_str("\nno response was seen\n"),
    }
    out
}

/// Start lines and header lines of both messages, trailers behind them.
pub fn heads(document: &Document) -> String {
    let request = document.request.as_ref().map(request_head);
    let response = document.response.as_ref();
    let response = response.map(|response| response_head(response, document));
    let both: Vec<String> = [request, response].into_iter().flatten().collect();
    both.join("\n")
}

// Writing to a `String` cannot fail.

fn facts(document: &Document) -> String {
    let mut out = String::new();
    let ids = [&document.trace_id, &document.span_id];
    let ids = ids.map(|id| id.as_deref().unwrap_or("-")).join(" ");
    let connection = &document.connection;
    let ends = [&connection.local, &connection.remote];
    let ends = ends.map(|end| end.as_deref().unwrap_or("?")).join(" -> ");
    let metadata = &document.metadata;
    let grpc = document.grpc.as_ref();
    let status = grpc.and_then(|call| call.status.clone());
    for (name, value) in [
        ("time", document.transaction_time.clone()),
        (
            "duration",
            format!("{:.3} ms", document.duration_ns() as f64 / 1e6),
        ),
        ("service", metadata.service_name.clone()),
        ("process", metadata.process_exe.clone()),
        ("container", metadata.container_name.clone()),
        (
            "pod",
            [&*metadata.pod_namespace, &*metadata.pod_name].join("/"),
        ),
        ("connection", format!("{} {ends}", connection.role)),
        ("trace, span", ids),
        ("level", document.level.clone()),
        ("rule", document.rule.clone().unwrap_or_default()),
        ("grpc status", status.unwrap_or_default()),
        ("marks", document.marks.join(", ")),
    ] {
        if !value.is_empty() && value != "/" {
            _ = writeln!(out, "{name:<13}{}", escaped(value.as_bytes()));
        }
    }
    out
}

fn request_head(request: &Message) -> String {
    let start = format!("{} {}", request.method, request.url);
    head(&start, version(request), request)
}

fn response_head(response: &Message, document: &Document) -> String {
    let version = document.request.as_ref().map(version).unwrap_or_default();
    let start = format!("{} {}", response.status, response.reason);
    let start = format!("{version} {}", start.trim_end());
    head(start.trim_start(), "", response)
}

fn version(request: &Message) -> &'static str {
    match request.protocol_version.as_str() {
        "1.0" => "HTTP/1.0",
        "1.1" => "HTTP/1.1",
        "2" => "HTTP/2",
        _ => "",
    }
}

fn head(start: &str, end: &str, message: &Message) -> String {
    let mut out = escaped(format!("{start} {end}").trim_end().as_bytes());
    out.push('\n');
    let trailers = message.trailer_list.iter().map(|(n, v)| (&*n.0, &*v.0));
    for (name, value) in message.headers().chain(trailers) {
        _ = writeln!(out, "{}: {}", escaped(name), escaped(value));
    }
    out
}

fn body(side: &str, message: &Message) -> String {
    let mut out = String::new();
    let content = message.content();
    let shown = content.get(..SHOWN).unwrap_or(content);
    if !content.is_empty() {
        match message.text() {
            Some(_) => {
                _ = writeln!(out, "\n{}", escaped_text(shown).trim_end_matches('\n'));
                let more = content.len() - shown.len();
                if more > 0 {
                    _ = writeln!(out, "[{more} bytes more: --body {side} writes all]");
                }
            }
            None => {
                let len = content.len();
                _ = writeln!(
                    out,
                    "\n[{len} bytes that are no text: --body {side} writes them]"
                );
            }
        }
    }
    if let Some(cut) = message.cut() {
        _ = writeln!(out, "[the body is not whole: {}]", escaped(cut.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_told_line_by_line_and_nothing_reaches_the_terminal() {
        let document = Document::read(
            br#"{"transaction_time": "2026-11-23T10:00:00Z", "duration_ns": 1500000, "level": "full",
            "metadata": {"service_name": "sh\u001b[1mop"}, "connection": {"role": "client", "local": "1.2.3.4:5", "remote": null},
            "request": {"method": "GET", "url": "https://a/b", "protocol_version": "1.1", "header_list": [["X\u0007", "\u001b]0;x"]]},
            "response": {"status": 200, "reason": "OK", "header_list": [], "body": "G1sybTEKMgo=", "body_is_text": true,
                         "trailer_list": [["t", "1"]], "body_size": 9, "body_truncated": true}}"#,
        )
        .expect("a document");
        let text = whole(&document);
        let want = "time         2026-11-23T10:00:00Z\nduration     1.500 ms\nservice      sh\\u{1b}[1mop\n\
            connection   client 1.2.3.4:5 -> ?\ntrace, span  - -\nlevel        full\n\n\
            GET https://a/b HTTP/1.1\nX\\u{7}: \\u{1b}]0;x\n\n\
            HTTP/1.1 200 OK\nt: 1\n\n\\u{1b}[2m1\n2\n[the body is not whole: cut: 8 bytes are here; it had 9]\n";
        assert_eq!(text, want);
        assert_eq!(
            heads(&document),
            "GET https://a/b HTTP/1.1\nX\\u{7}: \\u{1b}]0;x\n\nHTTP/1.1 200 OK\nt: 1\n"
        );
    }

    #[test]
    fn bytes_are_not_shown_and_long_text_is_cut() {
        let of = |body: &[u8], text: bool| {
            use base64::Engine;
            let body = base64::engine::general_purpose::STANDARD.encode(body);
            let json = format!(r#"{{"response": {{"body": "{body}", "body_is_text": {text}}}}}"#);
            whole(&Document::read(json.as_bytes()).expect("a document"))
        };
        assert!(
            of(&[0, 1], false).contains("[2 bytes that are no text: --body response writes them]")
        );
        assert!(
            of(&vec![b'a'; SHOWN + 3], true).contains("[3 bytes more: --body response writes all]")
        );
    }
}
